//! What a transport that asks again for what is lost (SRT) says of its line, over the last minute.

use std::collections::VecDeque;

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};

/// How much of it is looked at, and between two samples.
const MINUTE: Span = Span::from_millis(60_000);
const STEP: Span = Span::from_millis(2_000);
/// Packets lost for good within a minute that are no accident, and that no stream bears (in a hundred).
const LOST: u64 = 3;
const LOST_BAD: f64 = 1.0;
/// Missing packets in a hundred, got again or not: a line worth a look.
const MISSING: f64 = 5.0;
/// A packet can be asked for twice within so many round trips.
const ROUND_TRIPS: i64 = 3;
/// What the advice is: as many as are recommended for SRT.
const ADVISED: i64 = 4;

/// A line as its transport counts it. Counts are of the whole connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Measured round trip time.
    pub round_trip: Span,
    /// What packets are held back by, so that lost ones can come again.
    pub latency: Span,
    /// Packets that came.
    pub packets: u64,
    /// Packets that were missing at first.
    pub missing: u64,
    /// Packets that did not come in time.
    pub lost: u64,
}

/// The last minute of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    log: VecDeque<(Timestamp, Line)>,
}

impl Lines {
    pub(super) fn note(&mut self, line: Line, now: Timestamp) {
        if self.log.back().is_some_and(|(at, _)| now - *at < STEP) {
            return;
        }
        while self.log.front().is_some_and(|(at, _)| now - *at > MINUTE) {
            self.log.pop_front();
        }
        self.log.push_back((now, line));
    }

    /// How it is now, and what was counted within the minute: packets, missing, lost.
    fn minute(&self) -> Option<(Line, u64, u64, u64)> {
        let ((_, first), (_, last)) = (self.log.front()?, self.log.back()?);
        let packets = last.packets.saturating_sub(first.packets);
        let missing = last.missing.saturating_sub(first.missing);
        Some((*last, packets, missing, last.lost.saturating_sub(first.lost)))
    }

    /// Packets did not come in time.
    pub(super) fn lost(&self) -> Verdict {
        let Some((line, packets, _, lost)) = self.minute() else { return Verdict::Good };
        Verdict::sign(lost >= LOST, || {
            let share = percent(lost, packets.saturating_add(lost));
            let text = format!(
                "{lost} packets of the last minute ({share:.2} %) did not come within the latency of {} ms",
                line.latency.millis()
            );
            let sign = if share >= LOST_BAD { Sign::critical(text) } else { Sign::warning(text) };
            sign.figures(lost as f64, 0.0)
        })
    }

    /// Many packets have to be sent again.
    pub(super) fn missing(&self) -> Verdict {
        let Some((_, packets, missing, _)) = self.minute() else { return Verdict::Good };
        let share = percent(missing, packets);
        Verdict::sign(share >= MISSING && packets > 100, || {
            Sign::warning(format!(
                "{share:.1} % of the packets are lost on the way and have to be sent again"
            ))
            .figures(share, MISSING)
        })
    }

    /// What is lost can hardly come again in time. Of no matter where nothing is lost.
    pub(super) fn hurry(&self) -> Verdict {
        let Some((line, _, missing, _)) = self.minute() else { return Verdict::Good };
        let short = line.latency < line.round_trip.times(ROUND_TRIPS);
        Verdict::sign(short && missing > 0, || {
            let (latency, round_trip) = (line.latency.millis(), line.round_trip.millis());
            Sign::warning(format!(
                "The latency of {latency} ms is short for a round trip of {round_trip} ms: what is lost can hardly come again in time"
            ))
            .figures(latency as f64, line.round_trip.times(ADVISED).millis() as f64)
        })
    }

    /// The latency to set, milliseconds: four round trips, in steps of 50, at least twice what it is.
    pub(super) fn advised_ms(&self) -> i64 {
        let Some((line, ..)) = self.minute() else { return 1000 };
        let wished = line.round_trip.times(ADVISED).millis().max(line.latency.millis().saturating_mul(2));
        (wished.saturating_add(49) / 50).saturating_mul(50).clamp(200, 8000)
    }
}

fn percent(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: i64) -> Span {
        Span::from_millis(n)
    }

    fn judged(line: Line) -> [bool; 3] {
        let mut lines = Lines::default();
        let first = Line { packets: 0, missing: 0, lost: 0, ..line };
        lines.note(first, Timestamp::ZERO);
        lines.note(line, Timestamp::ZERO + ms(30_000));
        [lines.lost(), lines.missing(), lines.hurry()].map(|verdict| matches!(verdict, Verdict::Bad(_)))
    }

    #[test]
    fn each_trouble_of_a_line_is_told_apart() {
        let good = Line { round_trip: ms(20), latency: ms(120), packets: 10_000, missing: 100, lost: 0 };
        assert_eq!(judged(good), [false; 3]);
        assert_eq!(judged(Line { lost: 5, ..good }), [true, false, false]);
        assert_eq!(judged(Line { missing: 700, ..good }), [false, true, false]);
        assert_eq!(judged(Line { round_trip: ms(50), ..good }), [false, false, true]);
        assert_eq!(
            judged(Line { round_trip: ms(50), missing: 0, ..good }),
            [false; 3],
            "nothing to get again"
        );
    }

    #[test]
    fn what_was_a_minute_ago_is_forgotten() {
        let mut lines = Lines::default();
        let line = Line { packets: 1000, lost: 50, ..Line::default() };
        lines.note(Line::default(), Timestamp::ZERO);
        lines.note(line, Timestamp::ZERO + ms(2000));
        assert!(matches!(lines.lost(), Verdict::Bad(_)));
        for second in 3..70 {
            lines.note(line, Timestamp::ZERO + ms(second * 1000));
        }
        assert!(matches!(lines.lost(), Verdict::Good));
        assert!(lines.log.len() <= 32, "{}", lines.log.len());
    }

    #[test]
    fn the_advice_is_four_round_trips_and_more_than_before() {
        let mut lines = Lines::default();
        lines.note(Line { round_trip: ms(101), latency: ms(120), ..Line::default() }, Timestamp::ZERO);
        assert_eq!(lines.advised_ms(), 450);
        let mut lines = Lines::default();
        lines.note(Line { round_trip: ms(10), latency: ms(400), ..Line::default() }, Timestamp::ZERO);
        assert_eq!(lines.advised_ms(), 800);
    }
}
