//! The part that is being made: how long its samples are, and when it is full.

use std::sync::Arc;

use bytes::Bytes;

use super::Packager;
use crate::cmaf::{Sample, fragment_header};
use crate::playlist::Part;
use crate::time::Span;
use crate::unit::{AccessUnit, Kind};

/// Parts shorter than this share of their target stay open (rfc8216bis 4.4.4.9), with a margin for rounding.
const LEAST_PERCENT: i64 = 86;

/// The samples of the open part. The last one's duration is a prediction until the next unit comes.
#[derive(Debug, Default)]
pub(super) struct PartBuilder {
    /// Decode time of the first sample.
    start: i64,
    samples: Vec<Sample>,
    payload: Vec<Bytes>,
    /// Where the source says that the last sample ends.
    predicted_end: i64,
    /// Decode time of the last sample.
    last: i64,
}

impl PartBuilder {
    /// The earliest decode time that another sample can have; `or` if nothing is open.
    pub(super) fn least_end(&self, or: i64) -> i64 {
        if self.samples.is_empty() { or } else { self.last.saturating_add(1) }
    }
}

impl Packager {
    /// Adds a unit to the open part; closes it as soon as no other unit would fit. True: a part came.
    pub(super) fn append(&mut self, unit: AccessUnit, kind: Kind) -> bool {
        let mut changed = false;
        let truth = self.true_decode(&unit);
        let frame = unit.duration.ticks(self.scale).max(1);
        if !self.part.samples.is_empty() {
            let at = self.successor(truth, frame, kind);
            let full = self.part.start.saturating_add(self.target_ticks());
            self.part.predicted_end = at;
            if at.saturating_add(frame / 2) > full && !self.is_last_part() {
                changed |= self.close_part();
            } else {
                self.settle_last(at);
            }
        }
        if self.part.samples.is_empty() {
            self.part.start = self.end;
        }
        let decode = self.end;
        let presented = unit.pts.ticks(self.scale);
        let offset = match kind {
            Kind::Video => i32::try_from(presented.saturating_sub(decode)).unwrap_or(0),
            Kind::Audio => 0,
        };
        self.part.samples.push(Sample {
            duration: 1,
            size: u32::try_from(unit.payload.len()).unwrap_or(u32::MAX),
            offset,
            sync: unit.keyframe,
        });
        self.part.payload.push(unit.payload);
        self.part.last = decode;
        self.part.predicted_end = match kind {
            Kind::Video => truth.saturating_add(frame),
            Kind::Audio => decode.saturating_add(sound_length(truth.saturating_sub(decode), frame)),
        };
        let target = self.target_ticks();
        let length = self.part.predicted_end.saturating_sub(self.part.start);
        let enough = length.saturating_mul(100) >= target.saturating_mul(LEAST_PERCENT);
        let full = length > target || (enough && length.saturating_add(frame) > target);
        if full && !self.is_last_part() {
            changed |= self.close_part();
        }
        changed
    }

    /// Where the next sample lies, seen from the open part: sound keeps its frame length unless it is off by half a
    /// frame, pictures follow the source.
    fn successor(&self, truth: i64, frame: i64, kind: Kind) -> i64 {
        match kind {
            Kind::Audio if near(truth, self.part.predicted_end, frame) => self.part.predicted_end,
            Kind::Audio | Kind::Video => truth,
        }
    }

    /// Lets the open part reach to the unit that begins the next segment, as far as it may.
    pub(super) fn stretch_open_part(&mut self, unit: &AccessUnit, kind: Kind) {
        if self.part.samples.is_empty() || self.reanchor {
            return;
        }
        let frame = unit.duration.ticks(self.scale).max(1);
        let at = self.successor(self.true_decode(unit), frame, kind);
        self.part.predicted_end = at;
    }

    /// Nothing but the open part fits into the segment any more, so it stays open until the edge: its frames are
    /// squeezed if the timeline has more to catch up with than the segment can take.
    fn is_last_part(&self) -> bool {
        self.segment_limit() < self.part.start.saturating_add(self.target_ticks())
    }

    /// Gives the last sample its duration: up to `until`, within the part's and the segment's limits.
    fn settle_last(&mut self, until: i64) {
        let limit = if self.is_last_part() {
            // Room for what may still come, a tick each.
            self.segment_limit().saturating_sub(i64::from(self.scale) / 400)
        } else {
            self.part.start.saturating_add(self.target_ticks())
        };
        let duration = until.min(limit).saturating_sub(self.part.last).max(1);
        if let Some(last) = self.part.samples.last_mut() {
            last.duration = u32::try_from(duration).unwrap_or(u32::MAX);
        }
        self.end = self.part.last.saturating_add(duration);
    }

    /// Closes the open part. True: there was one.
    pub(super) fn close_part(&mut self) -> bool {
        if self.part.samples.is_empty() {
            return false;
        }
        self.settle_last(self.part.predicted_end.max(self.part.last.saturating_add(1)));
        let samples = std::mem::take(&mut self.part.samples);
        let payload = std::mem::take(&mut self.part.payload);
        let base = self.part.start.max(0).unsigned_abs();
        self.sequence = self.sequence.wrapping_add(1);
        let Ok(header) = fragment_header(self.sequence, base, &samples) else {
            self.dropped = self.dropped.saturating_add(samples.len() as u64);
            return false;
        };
        let Some(running) = self.running.as_mut() else { return false };
        let length = self.end.saturating_sub(self.part.start);
        let mut chunks = Vec::with_capacity(payload.len().saturating_add(1));
        chunks.push(header);
        chunks.extend(payload);
        let independent = samples.first().is_some_and(|sample| sample.sync);
        running.parts.push(Arc::new(Part::new(
            &self.config.epoch,
            self.parts_made,
            Span::from_ticks(length, self.scale),
            independent,
            samples.len() as u64,
            chunks,
        )));
        self.parts_made = self.parts_made.saturating_add(1);
        true
    }
}

/// How long an audio frame is made that is `owed` ticks early.
fn sound_length(owed: i64, frame: i64) -> i64 {
    if near(owed, 0, frame) { frame } else { frame.saturating_add(owed).max(1) }
}

/// Less than half a frame apart.
fn near(one: i64, other: i64, frame: i64) -> bool {
    one.saturating_sub(other).saturating_abs().saturating_mul(2) < frame
}
