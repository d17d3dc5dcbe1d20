//! What the pipeline must not lose about a frame: its exact PTS, its duration, and whether a segment begins there.
//!
//! GStreamer counts nanoseconds, Weir flicks. Each frame's nanosecond PTS is a key back to the exact one, so that
//! nothing is rounded on the way; a picture that a decoder makes up has no key and is left out.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use media::{AccessUnit, Span, Timestamp, time::FLICKS_PER_SECOND};

/// Frames in flight at most; a decoder holds 16, queues a few more.
const MOST: usize = 4096;
/// Room below the first frame: B-frames present later than the first decodes, but a broken stream may not.
pub(super) const HEADROOM: Span = Span::from_millis(10_000);

/// One source frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) pts: Timestamp,
    pub(super) duration: Span,
    pub(super) edge: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The pipeline's zero.
    zero: Option<Timestamp>,
    frames: BTreeMap<u64, Frame>,
    /// How far each rung is.
    passed: Vec<u64>,
}

/// A unit's times in the pipeline, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) dts: u64,
    pub(super) pts: u64,
}

/// `None` before the pipeline's zero.
pub(super) fn nanoseconds(at: Timestamp, zero: Timestamp) -> Option<u64> {
    let flicks = i128::from((at - zero).flicks());
    let scaled = (flicks * 1_000_000_000 + i128::from(FLICKS_PER_SECOND) / 2) / i128::from(FLICKS_PER_SECOND);
    if flicks < 0 { None } else { u64::try_from(scaled).ok() }
}

impl Frames {
    pub(super) fn new(rungs: usize) -> Self {
        Self { state: Mutex::new(State { zero: None, frames: BTreeMap::new(), passed: vec![0; rungs] }) }
    }

    /// Registers a source unit. `None` if its times cannot be told in the pipeline.
    pub(super) fn enter(&self, unit: &AccessUnit, edge: bool) -> Option<Times> {
        let mut state = self.state();
        let zero = *state.zero.get_or_insert(unit.dts.min(unit.pts) - HEADROOM);
        let times = Times { dts: nanoseconds(unit.dts, zero)?, pts: nanoseconds(unit.pts, zero)? };
        state.frames.insert(times.pts, Frame { pts: unit.pts, duration: unit.duration, edge });
        if state.frames.len() > MOST {
            state.frames.pop_first();
        }
        Some(times)
    }

    /// The source frame behind a picture.
    pub(super) fn at(&self, pts: u64) -> Option<Frame> {
        self.state().frames.get(&pts).copied()
    }

    /// As [`Self::at`], when a rung gives its unit out: older frames are not asked for again by it.
    pub(super) fn leave(&self, rung: usize, pts: u64) -> Option<Frame> {
        let mut state = self.state();
        let frame = state.frames.get(&pts).copied();
        if let Some(passed) = state.passed.get_mut(rung) {
            *passed = pts;
        }
        if let Some(&slowest) = state.passed.iter().min() {
            state.frames = state.frames.split_off(&slowest);
        }
        frame
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn unit(pts: i64) -> AccessUnit {
        AccessUnit {
            dts: Timestamp::from_flicks(pts),
            pts: Timestamp::from_flicks(pts),
            duration: Span::ZERO,
            keyframe: false,
            payload: Bytes::new(),
        }
    }

    #[test]
    fn every_flick_comes_back_exactly() {
        let frames = Frames::new(1);
        let start = -5_000_000_000_000;
        let keys: Vec<_> =
            (0..2000).map(|i| (start + i, frames.enter(&unit(start + i), false).unwrap().pts)).collect();
        for (flicks, key) in keys {
            assert_eq!(frames.at(key).unwrap().pts.flicks(), flicks);
        }
    }

    #[test]
    fn what_every_rung_has_passed_is_forgotten() {
        let frames = Frames::new(2);
        let keys: Vec<_> = (0..10).map(|i| frames.enter(&unit(i * 1_000_000), false).unwrap().pts).collect();
        assert!(frames.leave(0, keys[8]).is_some());
        assert!(frames.leave(1, keys[3]).is_some());
        assert_eq!(frames.at(keys[2]), None);
        assert!(frames.at(keys[3]).is_some());
    }

    #[test]
    fn frames_that_never_come_out_do_not_pile_up() {
        let frames = Frames::new(1);
        for i in 0..10_000 {
            frames.enter(&unit(i * 1_000_000), false);
        }
        assert_eq!(frames.state().frames.len(), MOST);
    }

    #[test]
    fn a_time_before_the_pipelines_zero_is_refused() {
        let frames = Frames::new(1);
        assert!(frames.enter(&unit(0), false).is_some());
        assert_eq!(frames.enter(&unit(i64::MIN / 2), false), None);
    }
}
