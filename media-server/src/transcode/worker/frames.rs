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
    /// How far each rung is; None of those that are not made.
    passed: Vec<Option<u64>>,
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
        Self { state: Mutex::new(State { zero: None, frames: BTreeMap::new(), passed: vec![None; rungs] }) }
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

    /// A rung is made from now on: it is given what the slowest has not passed yet.
    pub(super) fn join(&self, rung: usize) {
        let mut state = self.state();
        let slowest = state.passed.iter().copied().flatten().min().unwrap_or(0);
        if let Some(passed) = state.passed.get_mut(rung) {
            *passed = Some(slowest);
        }
    }

    /// A rung is not made any more: nothing is kept for it.
    pub(super) fn part(&self, rung: usize) {
        if let Some(passed) = self.state().passed.get_mut(rung) {
            *passed = None;
        }
    }

    /// The source frame behind a picture.
    pub(super) fn at(&self, pts: u64) -> Option<Frame> {
        self.state().frames.get(&pts).copied()
    }

    /// As [`Self::at`], when a rung gives its unit out, and when that is decoded: the exact time of the frame that is shown
    /// then, if one is. What is older is not asked for again by it: no later unit is shown before this one is decoded.
    pub(super) fn leave(&self, rung: usize, times: Times) -> Option<(Frame, Timestamp)> {
        let mut state = self.state();
        let frame = state.frames.get(&times.pts).copied();
        let zero = state.zero.unwrap_or(Timestamp::ZERO);
        let decoded = state.frames.get(&times.dts).map_or_else(
            || {
                let since = i64::try_from(times.dts).unwrap_or(i64::MAX);
                zero + Timestamp::from_ticks(since, 1_000_000_000).since_zero()
            },
            |frame| frame.pts,
        );
        if let Some(Some(passed)) = state.passed.get_mut(rung) {
            *passed = times.dts.min(times.pts);
        }
        if let Some(slowest) = state.passed.iter().copied().flatten().min() {
            state.frames = state.frames.split_off(&slowest);
        }
        frame.map(|frame| (frame, decoded.min(frame.pts)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn made(rungs: usize) -> Frames {
        let frames = Frames::new(rungs);
        (0..rungs).for_each(|rung| frames.join(rung));
        frames
    }

    fn unit(pts: i64) -> AccessUnit {
        AccessUnit {
            dts: Timestamp::from_flicks(pts),
            pts: Timestamp::from_flicks(pts),
            duration: Span::ZERO,
            keyframe: false,
            payload: Bytes::new(),
        }
    }

    fn at_once(pts: u64) -> Times {
        Times { dts: pts, pts }
    }

    #[test]
    fn what_is_decoded_before_others_are_shown_leaves_them_there() {
        let frames = made(1);
        let keys: Vec<_> = (0..7).map(|i| frames.enter(&unit(i * 1_000_000), false).unwrap().pts).collect();
        // I0 P3 B1 B2 P6 B4 B5: each decoded when the one in front is shown.
        let order = [0, 3, 1, 2, 6, 4, 5];
        for (turn, shown) in order.into_iter().enumerate() {
            let dts = turn.checked_sub(1).map_or(keys[0] - 1_417_234, |before| keys[before]);
            let (frame, decoded) = frames.leave(0, Times { dts, pts: keys[shown] }).unwrap();
            assert_eq!(frame.pts.flicks(), shown as i64 * 1_000_000);
            let expected = turn as i64 * 1_000_000 - 1_000_000;
            assert!((decoded.flicks() - expected).abs() < 2, "{turn}: {decoded:?}");
            assert!(turn == 0 || decoded.flicks() == expected, "exact where a frame is shown then");
        }
        assert_eq!(frames.state().frames.len(), 2, "what is shown before is forgotten");
    }

    #[test]
    fn every_flick_comes_back_exactly() {
        let frames = made(1);
        let start = -5_000_000_000_000;
        let keys: Vec<_> =
            (0..2000).map(|i| (start + i, frames.enter(&unit(start + i), false).unwrap().pts)).collect();
        for (flicks, key) in keys {
            assert_eq!(frames.at(key).unwrap().pts.flicks(), flicks);
        }
    }

    #[test]
    fn what_every_rung_has_passed_is_forgotten() {
        let frames = made(2);
        let keys: Vec<_> = (0..10).map(|i| frames.enter(&unit(i * 1_000_000), false).unwrap().pts).collect();
        assert!(frames.leave(0, at_once(keys[8])).is_some());
        assert!(frames.leave(1, at_once(keys[3])).is_some());
        assert_eq!(frames.at(keys[2]), None);
        assert!(frames.at(keys[3]).is_some());
    }

    #[test]
    fn a_rung_that_is_not_made_any_more_holds_nothing_back_and_one_that_joins_does() {
        let frames = made(2);
        let keys: Vec<_> = (0..10).map(|i| frames.enter(&unit(i * 1_000_000), false).unwrap().pts).collect();
        frames.leave(0, at_once(keys[3]));
        assert!(frames.at(keys[0]).is_some());
        frames.part(1);
        frames.leave(0, at_once(keys[5]));
        assert_eq!(frames.at(keys[4]), None);
        frames.join(1);
        frames.leave(0, at_once(keys[8]));
        assert!(frames.at(keys[5]).is_some(), "the new one may still ask for it");
        frames.leave(1, at_once(keys[7]));
        assert_eq!(frames.at(keys[6]), None);
    }

    #[test]
    fn frames_that_never_come_out_do_not_pile_up() {
        let frames = made(1);
        for i in 0..10_000 {
            frames.enter(&unit(i * 1_000_000), false);
        }
        assert_eq!(frames.state().frames.len(), MOST);
    }

    #[test]
    fn a_time_before_the_pipelines_zero_is_refused() {
        let frames = made(1);
        assert!(frames.enter(&unit(0), false).is_some());
        assert_eq!(frames.enter(&unit(i64::MIN / 2), false), None);
    }
}
