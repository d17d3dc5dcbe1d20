//! Edges that wait for the unit that they cut at.

use std::collections::VecDeque;

use crate::segmenter::Edge;
use crate::time::{Span, Timestamp};
use crate::unit::{AccessUnit, Kind};

/// Edges kept waiting at most: minutes ahead of the units.
const MOST_WAITING: usize = 256;

/// How late after an edge a rendition's first segment may begin: publishers start sound and pictures apart.
const MOST_LATE: Span = Span::from_millis(500);

/// An edge whose unit has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) edge: Edge,
    /// The longest distance of two edges in a row since the last that was found.
    pub(super) spread: Span,
}

/// Edges that wait for their units, in order.
#[derive(Debug, Default)]
pub(super) struct Edges {
    waiting: VecDeque<Edge>,
    /// The last that was passed.
    passed: Option<Timestamp>,
}

impl Edges {
    /// Appends an edge unless a segment of its number or a later one was begun (`done`) or waits.
    pub(super) fn push(&mut self, edge: Edge, done: Option<u64>) {
        let last = self.waiting.back().map(|edge| edge.msn).or(done);
        if last.is_some_and(|last| edge.msn <= last) {
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(edge);
    }

    /// The last edge that the unit has reached, if a segment can begin at this unit. `must`: the running segment
    /// cannot wait for a keyframe any longer. `needs_key`: only a keyframe will do.
    pub(super) fn take(
        &mut self,
        unit: &AccessUnit,
        kind: Kind,
        started: bool,
        must: bool,
        needs_key: bool,
    ) -> Option<Found> {
        // Sound begins at the frame nearest to the edge, pictures at the first that is not before it.
        let half = unit.duration.half();
        let reached = self.waiting.iter().take_while(|edge| unit.pts >= edge.at - half).count();
        let edge = *self.waiting.get(reached.checked_sub(1)?)?;
        if needs_key && !unit.keyframe {
            return None;
        }
        if !started && unit.pts > edge.at + unit.duration.max(MOST_LATE) {
            // Too late for a first segment: it would not hold what its number means elsewhere.
            self.pass(reached);
            return None;
        }
        let fits = unit.keyframe || kind == Kind::Audio || !edge.independent || must;
        fits.then(|| Found { edge, spread: self.pass(reached) })
    }

    /// Drops the first `count`; answers the longest distance between them, counted from the last passed before.
    fn pass(&mut self, count: usize) -> Span {
        let mut spread = Span::ZERO;
        for edge in self.waiting.drain(..count.min(self.waiting.len())) {
            if let Some(passed) = self.passed {
                spread = spread.max(edge.at - passed);
            }
            self.passed = Some(edge.at);
        }
        spread
    }
}
