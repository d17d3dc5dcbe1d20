//! The drift between the source's clock and the arrival clock, as a slope over the whole session.
//!
//! Network delay only ever makes a unit late, so within each window the unit with the least delay is kept: the one
//! whose media time is furthest ahead of its arrival. A line through those points has the drift as its slope.

use crate::time::{Span, Timestamp};

/// Length of the first windows.
const WINDOW: Span = Span::from_millis(10_000);
/// Points kept; when full, neighbours are merged and the window doubles, so memory is bounded and nothing is reset.
const POINTS: usize = 64;
/// Windows needed for an answer.
const ENOUGH: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Point {
    arrival: Timestamp,
    /// Media time ahead of the arrival clock.
    ahead: Span,
}

#[derive(Clone, Debug)]
pub(super) struct Slope {
    points: Vec<Point>,
    window: Span,
    /// Where the open window began, and its best point.
    open: Option<(Timestamp, Point)>,
    /// Undoes re-basing: a jump of the source's clock is no drift.
    bias: Span,
    last: Option<Span>,
}

impl Default for Slope {
    fn default() -> Self {
        Self { points: Vec::new(), window: WINDOW, open: None, bias: Span::ZERO, last: None }
    }
}

impl Slope {
    pub(super) fn note(&mut self, source: Timestamp, arrival: Timestamp, rebased: bool) {
        let mut ahead = (source - arrival) + self.bias;
        if rebased && let Some(last) = self.last {
            self.bias += last - ahead;
            ahead = last;
        }
        self.last = Some(ahead);
        let point = Point { arrival, ahead };
        let Some((began, best)) = self.open else {
            self.open = Some((arrival, point));
            return;
        };
        if arrival - began >= self.window {
            self.close(best);
            self.open = Some((arrival, point));
        } else if ahead > best.ahead {
            self.open = Some((began, point));
        }
    }

    fn close(&mut self, best: Point) {
        self.points.push(best);
        if self.points.len() >= POINTS {
            let merged =
                self.points.chunks(2).filter_map(|pair| pair.iter().copied().max_by_key(|p| p.ahead));
            self.points = merged.collect();
            self.window = self.window.times(2);
        }
    }

    /// Least squares through the closed windows; positive where the source's clock is fast.
    pub(super) fn ppm(&self) -> Option<f64> {
        let first = self.points.first()?;
        if self.points.len() < ENOUGH {
            return None;
        }
        let count = self.points.len() as f64;
        let xy = self.points.iter().map(|p| {
            let x = (p.arrival - first.arrival).seconds();
            let y = (p.ahead - first.ahead).seconds();
            (x, y)
        });
        let (sx, sy) = xy.clone().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
        let (mx, my) = (sx / count, sy / count);
        let (sxx, sxy) =
            xy.fold((0.0, 0.0), |(sxx, sxy), (x, y)| (sxx + (x - mx).powi(2), sxy + (x - mx) * (y - my)));
        if sxx > 0.0 { Some(sxy / sxx * 1e6) } else { None }
    }
}
