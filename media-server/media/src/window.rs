//! The rolling window of one rendition: which segments are listed, which are only kept for late requests, and what
//! has been measured. All times are media time, so a stalled stream loses nothing.
use std::collections::VecDeque;
use std::sync::Arc;

use crate::playlist::Segment;
use crate::segmenter::Targets;
use crate::time::{Span, Timestamp};

/// Segments listed beyond the configured window, where very short ones must fill three target durations.
const MOST_EXTRA: usize = 64;

/// A segment out of the list.
#[derive(Debug)]
struct Retired {
    segment: Arc<Segment>,
    /// Media time at which it may go.
    until: Timestamp,
}

/// The rolling window.
#[derive(Debug)]
pub struct Window {
    targets: Targets,
    segments: VecDeque<Arc<Segment>>,
    length: Span,
    retired: VecDeque<Retired>,
    /// Longest list so far.
    longest: Span,
    discontinuities: u64,
    peak: u64,
    bits: u64,
    samples: u64,
    measured: Span,
}

impl Window {
    /// An empty window, before which `discontinuities` are taken to have left the list.
    pub fn new(targets: Targets, discontinuities: u64) -> Self {
        Self {
            targets,
            segments: VecDeque::new(),
            length: Span::ZERO,
            retired: VecDeque::new(),
            longest: Span::ZERO,
            discontinuities,
            peak: 0,
            bits: 0,
            samples: 0,
            measured: Span::ZERO,
        }
    }

    /// Appends a finished segment and lets go of what is old.
    pub fn push(&mut self, segment: Segment) {
        self.measure(&segment);
        let now = segment.end();
        self.length += segment.duration;
        self.segments.push_back(Arc::new(segment));
        self.longest = self.longest.max(self.length);
        while self.segments.len() > self.targets.window.max(1) {
            let Some(first) = self.segments.front() else { break };
            // Less than three target durations must never be left (rfc8216bis 6.2.2).
            let short = self.length - first.duration < self.targets.target_span().times(3);
            if short && self.segments.len() <= self.targets.window.saturating_add(MOST_EXTRA) {
                break;
            }
            self.retire_first(now);
        }
        while self.retired.front().is_some_and(|retired| retired.until <= now) {
            self.retired.pop_front();
        }
    }

    /// Takes everything off the list, as after an absence longer than any list.
    pub fn clear(&mut self) {
        while let Some(now) = self.segments.front().map(|first| first.end()) {
            self.retire_first(now);
        }
    }

    /// The same, with another number of discontinuities from then on.
    pub fn begin_anew(&mut self, discontinuities: u64) {
        self.clear();
        self.discontinuities = discontinuities;
    }

    /// The listed segments, oldest first.
    pub fn listed(&self) -> Vec<Arc<Segment>> {
        self.segments.iter().cloned().collect()
    }

    /// Segments that left the list and can still be asked for, oldest first.
    pub fn retired(&self) -> Vec<Arc<Segment>> {
        self.retired.iter().map(|retired| Arc::clone(&retired.segment)).collect()
    }

    /// Discontinuities that left the list.
    pub fn discontinuities(&self) -> u64 {
        self.discontinuities
    }

    /// Peak (of single segments) and mean bits a second.
    pub fn bandwidth(&self) -> Option<(u64, u64)> {
        (self.peak > 0).then(|| (self.peak, per_second(self.bits, self.measured)))
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> Option<f64> {
        (self.samples > 0 && self.measured > Span::ZERO)
            .then(|| self.samples as f64 / self.measured.seconds())
    }

    /// Segment's own duration plus the longest playlist that held it, and no less than what its parts are owed.
    fn retire_first(&mut self, now: Timestamp) {
        let Some(segment) = self.segments.pop_front() else { return };
        self.length -= segment.duration;
        if segment.head.discontinuity {
            self.discontinuities = self.discontinuities.saturating_add(1);
        }
        if segment.gap {
            return;
        }
        let kept = (segment.duration + self.longest).max(self.targets.target_span().times(4));
        self.retired.push_back(Retired { segment, until: now + kept });
    }

    fn measure(&mut self, segment: &Segment) {
        if segment.gap || segment.duration <= Span::ZERO {
            return;
        }
        let bits = segment.size.saturating_mul(8);
        self.peak = self.peak.max(per_second(bits, segment.duration));
        self.bits = self.bits.saturating_add(bits);
        self.samples = self.samples.saturating_add(segment.samples);
        self.measured += segment.duration;
    }
}

/// Rounded up.
fn per_second(bits: u64, span: Span) -> u64 {
    let flicks = u128::from(span.flicks().max(1).unsigned_abs());
    let rate =
        (u128::from(bits) * u128::from(Span::from_millis(1000).flicks().unsigned_abs())).div_ceil(flicks);
    u64::try_from(rate).unwrap_or(u64::MAX)
}
