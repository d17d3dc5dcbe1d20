//! A snapshot of one rendition's playlist.

use std::sync::Arc;

use super::date_range::DateRange;
use super::object::{Init, Object, Part, Segment, SegmentHead};
use super::render::Constants;
use crate::segmenter::Targets;
use crate::time::{Span, Timestamp};

/// What a request that names a position must do (rfc8216bis 6.2.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Answer with this playlist now.
    Ready,
    /// Hold it until a later playlist says [`Wait::Ready`].
    Block,
    /// Refuse it with 400: no client that follows the playlist asks so far ahead.
    TooFar,
}

/// Where another rendition stands, for EXT-X-RENDITION-REPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The other playlist, relative to this one.
    pub uri: &'a str,
    /// From its [`MediaPlaylist::last`].
    pub last_msn: u64,
    /// From its [`MediaPlaylist::last`].
    pub last_part: Option<u64>,
}

/// The segment that is being made.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) head: SegmentHead,
    pub(crate) parts: Vec<Arc<Part>>,
}

/// A rendition at one moment. Immutable; a new one comes with every part.
#[derive(Debug)]
pub struct MediaPlaylist {
    pub(crate) constants: Arc<Constants>,
    pub(crate) targets: Targets,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Out of the list, still fetchable.
    pub(crate) retired: Vec<Arc<Segment>>,
    pub(crate) running: Option<Running>,
    pub(crate) next_msn: u64,
    pub(crate) hint: String,
    pub(crate) discontinuities: u64,
    pub(crate) ended: bool,
    pub(crate) bits: Option<(u64, u64)>,
    pub(crate) frame_rate: Option<f64>,
    /// What was said beside the media, oldest first.
    pub(crate) date_ranges: Arc<[Arc<DateRange>]>,
    /// The newest init, before a segment uses it.
    pub(crate) init: Option<Arc<Init>>,
}

impl MediaPlaylist {
    /// No part and no segment came yet: there is nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.running_parts().is_empty()
    }

    /// A whole segment is listed.
    pub fn has_segment(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Sequence number of the first listed segment.
    pub fn first_msn(&self) -> u64 {
        self.segments.first().map_or(self.next_msn, |segment| segment.msn())
    }

    /// The newest position: the segment, finished or not, and its newest part.
    pub fn last(&self) -> (u64, Option<u64>) {
        if let Some(part) = (self.running_parts().len() as u64).checked_sub(1) {
            return (self.next_msn, Some(part));
        }
        let part = self.segments.last().and_then(|segment| (segment.parts.len() as u64).checked_sub(1));
        (self.next_msn.saturating_sub(1), part)
    }

    /// Sequence number of the segment that is being made, or comes next.
    pub fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// Nothing will be added.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The lengths it is cut to.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The finished segments it lists.
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The parts of the segment that is being made.
    pub fn running_parts(&self) -> &[Arc<Part>] {
        self.running.as_ref().map_or(&[], |running| running.parts.as_slice())
    }

    /// Every listed segment decodes on its own.
    pub fn independent(&self) -> bool {
        self.segments.iter().all(|segment| segment.head.independent)
            && self.running.as_ref().is_none_or(|running| running.head.independent)
    }

    /// What a request for segment `msn`, or its part `part`, must do.
    pub fn wait_for(&self, msn: u64, part: Option<u64>) -> Wait {
        if self.ended {
            return Wait::Ready;
        }
        if self.is_empty() {
            return Wait::Block;
        }
        // The last listed segment plus two: one past the one that is being made.
        if msn > self.next_msn.saturating_add(1) {
            return Wait::TooFar;
        }
        let Some(part) = part else {
            return if msn < self.next_msn { Wait::Ready } else { Wait::Block };
        };
        // Parts past the end of a finished segment are the first of the next.
        let last = self.segments.last().filter(|last| last.msn() == msn);
        let (msn, part) = match last {
            Some(last) if part >= last.parts.len() as u64 => (msn.saturating_add(1), 0),
            _ => (msn, part),
        };
        if msn < self.next_msn {
            return Wait::Ready;
        }
        let have = if msn == self.next_msn { self.running_parts().len() as u64 } else { 0 };
        if part < have {
            Wait::Ready
        } else if part - have > self.constants.advance_limit {
            Wait::TooFar
        } else {
            Wait::Block
        }
    }

    /// Finds an object by its name, also one that has left the list of late.
    pub fn object(&self, name: &str) -> Option<Object> {
        let rest = name.strip_prefix(self.constants.epoch.as_str())?.strip_prefix('-')?;
        let (stem, kind) = rest.strip_prefix(['i', 'p', 's']).map(|stem| (stem, rest.as_bytes().first()))?;
        let number: u64 = stem.split('.').next()?.parse().ok()?;
        let segments = || self.segments.iter().rev().chain(self.retired.iter().rev());
        match kind {
            Some(b'p') => {
                let running = self.running_parts();
                let parts = segments().map(|segment| segment.parts.as_slice());
                std::iter::once(running)
                    .chain(parts)
                    .find_map(|parts| {
                        let first = parts.first()?.number;
                        parts.get(usize::try_from(number.checked_sub(first)?).ok()?)
                    })
                    .filter(|part| part.name == name)
                    .map(|part| Object::Part(Arc::clone(part)))
            }
            Some(b's') => segments()
                .find(|segment| segment.msn() == number && !segment.gap && segment.name == name)
                .map(|segment| Object::Segment(Arc::clone(segment))),
            _ => {
                let heads = segments().filter_map(|segment| segment.head.init.as_ref());
                let running = self.running.as_ref().and_then(|running| running.head.init.as_ref());
                self.init
                    .iter()
                    .chain(running)
                    .chain(heads)
                    .find(|init| init.name == name)
                    .map(|init| Object::Init(Arc::clone(init)))
            }
        }
    }

    /// The name of the part that is being made: a request for it waits for a playlist that has it.
    pub fn hinted(&self) -> Option<&str> {
        (!self.ended).then_some(self.hint.as_str())
    }

    /// Peak and average bits a second over the complete segments so far: a segment's own rate at most, and the mean.
    pub fn bandwidth(&self) -> Option<(u64, u64)> {
        self.bits
    }

    /// Units a second over the complete segments so far.
    pub fn frame_rate(&self) -> Option<f64> {
        self.frame_rate
    }

    /// Decode time at which the listed media end.
    pub fn end(&self) -> Option<Timestamp> {
        match &self.running {
            Some(running) if !running.parts.is_empty() => {
                Some(running.parts.iter().fold(running.head.start, |end, part| end + part.duration))
            }
            _ => self.segments.last().map(|segment| segment.end()),
        }
    }

    /// The ranges that concern what is listed: moments within it, and what holds there.
    pub(super) fn listed_date_ranges(&self) -> impl Iterator<Item = &DateRange> {
        let first = self.segments.first().map_or(Timestamp::ZERO, |segment| segment.head.start);
        self.date_ranges.iter().enumerate().filter_map(move |(at, range)| {
            let later = self.date_ranges.iter().skip(at + 1);
            let holds = range.is_lasting()
                && !later.clone().any(|next| range.ends_with(next) && next.start() <= first);
            (range.start() >= first || holds).then_some(&**range)
        })
    }

    /// Length of the parts of the segment that is being made.
    pub(super) fn running_length(&self) -> Span {
        self.running_parts().iter().fold(Span::ZERO, |total, part| total + part.duration)
    }
}
