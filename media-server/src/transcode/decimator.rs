//! Lower frame rates by leaving frames out, never by making any up: each frame of a rung is one of the source's,
//! at the source's own PTS, and the frames on segment edges are always among them.

use media::{Span, Timestamp, time::FLICKS_PER_SECOND};

/// Says of each frame in presentation order whether a rung keeps it.
#[derive(Debug)]
pub(crate) struct Decimator {
    /// `None` keeps everything.
    interval: Option<Span>,
    due: Option<Timestamp>,
}

impl Decimator {
    /// From the source's rate to the rung's. Within 10 % of each other nothing is left out: a stray missing frame
    /// is uglier than a rate that is 29.97 in place of 30.
    pub(crate) fn new(source: Option<(u32, u32)>, rung: Option<(u32, u32)>) -> Self {
        let source = source.and_then(interval);
        let interval = rung
            .and_then(interval)
            .filter(|rung| source.is_none_or(|source| source.times(11) < rung.times(10)));
        Self { interval, due: None }
    }

    /// Continues behind a frame that an earlier decimator kept.
    pub(crate) fn resume_after(&mut self, pts: Timestamp) {
        self.due = self.interval.map(|interval| pts + interval);
    }

    /// Decides on one frame.
    pub(crate) fn keep(&mut self, pts: Timestamp, edge: bool) -> bool {
        let Some(interval) = self.interval else { return true };
        // A quarter of an interval of slack takes up the jitter of millisecond clocks.
        let slack = interval.half().half();
        match self.due {
            Some(due) if !edge && pts + slack < due => false,
            Some(due) if !edge => {
                self.due = Some((due + interval).max(pts + interval.half()));
                true
            }
            _ => {
                self.due = Some(pts + interval);
                true
            }
        }
    }
}

/// Nominal time between two frames.
pub(crate) fn interval((numerator, denominator): (u32, u32)) -> Option<Span> {
    let numerator = i64::from(numerator);
    (numerator > 0 && denominator > 0)
        .then(|| Span::from_flicks(FLICKS_PER_SECOND * i64::from(denominator) / numerator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(source_fps: u32, rung_fps: u32, frames: u32) -> Vec<u32> {
        let mut decimator = Decimator::new(Some((source_fps, 1)), Some((rung_fps, 1)));
        // Millisecond clocks, as RTMP's.
        (0..frames)
            .filter(|i| decimator.keep(Timestamp::from_ticks(i64::from(i * 1000 / source_fps), 1000), false))
            .collect()
    }

    #[test]
    fn sixty_to_thirty_keeps_every_second_frame() {
        assert_eq!(kept(60, 30, 600), (0..600).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn fifty_to_thirty_keeps_three_in_five() {
        let count = kept(50, 30, 500).len();
        assert!((298..=302).contains(&count), "{count}");
    }

    #[test]
    fn near_rates_and_rates_above_keep_all() {
        for (source, rung) in [(30, 30), (30, 60), (32, 30)] {
            assert_eq!(kept(source, rung, 300).len(), 300);
        }
    }

    #[test]
    fn an_edge_is_kept_and_restarts_the_cadence() {
        let mut decimator = Decimator::new(Some((60, 1)), Some((30, 1)));
        let at = |i: i64| Timestamp::from_ticks(i, 60);
        let edges = [0, 7];
        let kept: Vec<_> = (0..12).filter(|i| decimator.keep(at(*i), edges.contains(i))).collect();
        assert_eq!(kept, [0, 2, 4, 6, 7, 9, 11]);
    }

    #[test]
    fn a_replacement_keeps_the_cadence() {
        let mut decimator = Decimator::new(Some((60, 1)), Some((30, 1)));
        decimator.resume_after(Timestamp::from_ticks(10, 60));
        let kept: Vec<_> =
            (11..16).filter(|i| decimator.keep(Timestamp::from_ticks(*i, 60), false)).collect();
        assert_eq!(kept, [12, 14]);
    }
}
