//! Lowers a frame rate by keeping every n-th frame, counted anew from each segment edge.

use crate::time::{FLICKS_PER_SECOND, Span, Timestamp};

/// Chooses which frames of a source a rung of a lower rate keeps. Frames at segment edges are always kept, so that
/// every rung has a frame exactly where segments begin.
///
/// Works by time, not by counting: frames that are missing at the source do not shift the pattern. Feed it frames in
/// presentation order.
#[derive(Clone, Debug)]
pub struct Decimator {
    /// Time between kept frames; zero keeps all.
    interval: Span,
    /// How much early a frame may be: a quarter of a source frame, a few milliseconds at most.
    slack: Span,
    anchor: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Decimator {
    /// For a source of `fps` frames a second (numerator, denominator), keeping one of `every`.
    pub fn new(fps: (u32, u32), every: u32) -> Self {
        let frame =
            i64::from(fps.1).saturating_mul(FLICKS_PER_SECOND).checked_div(i64::from(fps.0)).unwrap_or(0);
        let interval = if every <= 1 { 0 } else { frame.saturating_mul(i64::from(every)) };
        let slack = Span::from_flicks(frame / 4).min(Span::from_millis(8));
        Self { interval: Span::from_flicks(interval), slack, anchor: None, last: None }
    }

    /// Whether the frame at `pts` is kept; `edge` where a segment begins with it.
    pub fn keep(&mut self, pts: Timestamp, edge: bool) -> bool {
        if self.interval <= Span::ZERO {
            return true;
        }
        let due = match self.anchor {
            Some(anchor) if !edge && pts >= anchor => {
                let slot = |time: Timestamp| {
                    let passed =
                        time.flicks().saturating_sub(anchor.flicks()).saturating_add(self.slack.flicks());
                    passed.checked_div(self.interval.flicks())
                };
                self.last.is_none_or(|last| slot(pts) > slot(last))
            }
            // An edge, the first frame, or time that ran backwards: the pattern begins here.
            _ => {
                self.anchor = Some(pts);
                true
            }
        };
        if due {
            self.last = Some(pts);
        }
        due
    }
}
