//! Joins what several sources send for one track into one timeline that never steps back: a publisher and its
//! successor, a primary and a backup, a picture that is held and the return of the real one.
//!
//! Every source stamps its units on the stream's own time. Where a source is joined in mid-air its units may lie
//! before what was emitted already: pictures that later ones refer to, or that came late. They must be decoded all
//! the same, so they are *squeezed*: a tenth of a millisecond apart, behind the last unit. From the first unit on
//! that lies behind the seam everything keeps its own time. Nothing is delayed and no picture misses its references.
//! Sound needs no references: frames before the seam are left out.

use crate::time::{Span, Timestamp};
use crate::unit::AccessUnit;

/// Decode time between two squeezed pictures: nine ticks of the 90 kHz clock.
const SQUEEZED: Span = Span::from_flicks(crate::time::FLICKS_PER_SECOND / 10_000);

/// The seam of one video track.
#[derive(Clone, Debug, Default)]
pub struct VideoSplice {
    /// Decode time and presentation time of the last unit emitted, and the highest presentation time.
    last: Option<Last>,
    joining: Join,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    dts: Timestamp,
    /// Behind everything shown so far.
    end: Timestamp,
    /// The highest presentation time so far.
    front: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Join {
    /// Units keep their times.
    #[default]
    Joined,
    /// Nothing is emitted until a keyframe comes.
    Waiting,
    /// Units before the seam are squeezed.
    Squeezing,
}

impl VideoSplice {
    /// Another source follows: it begins with its next keyframe.
    pub fn join(&mut self) {
        self.joining = Join::Waiting;
    }

    /// The time behind everything emitted. None before the first unit.
    pub fn end(&self) -> Option<Timestamp> {
        self.last.map(|last| last.end)
    }

    /// Places the next unit of the present source, in decode order. None: it cannot be used (no keyframe yet).
    pub fn place(&mut self, mut unit: AccessUnit) -> Option<AccessUnit> {
        if self.joining == Join::Waiting {
            if !unit.keyframe {
                return None;
            }
            self.joining = Join::Squeezing;
        }
        if let Some(last) = self.last {
            let seam = if self.joining == Join::Squeezing { last.end.max(last.dts) } else { last.dts };
            let late = unit.dts <= last.dts || (self.joining == Join::Squeezing && unit.pts < seam);
            if late {
                squeeze(&mut unit, last);
            } else {
                self.joining = Join::Joined;
            }
        } else {
            self.joining = Join::Joined;
        }
        let last = self.last.map_or(unit.pts, |last| last.front);
        let end = self.last.map_or(unit.pts, |last| last.end);
        self.last =
            Some(Last { dts: unit.dts, end: end.max(unit.pts + unit.duration), front: last.max(unit.pts) });
        Some(unit)
    }
}

/// Behind the last one in decoding. A keyframe is shown at the seam, so that nothing is shown before it; what follows
/// it keeps its order by a composition offset made as small as the distance of the decode times.
fn squeeze(unit: &mut AccessUnit, last: Last) {
    let frame = unit.duration.flicks().max(1);
    let offset =
        i128::from((unit.pts - unit.dts).flicks()) * i128::from(SQUEEZED.flicks()) / i128::from(frame);
    let offset = offset.clamp(0, i128::from(SQUEEZED.times(16).flicks()));
    let behind = if unit.keyframe { last.end.max(last.dts + SQUEEZED) } else { last.dts + SQUEEZED };
    unit.dts = behind;
    unit.pts = behind + Span::from_flicks(i64::try_from(offset).unwrap_or(0));
    unit.duration = SQUEEZED;
}

/// The seam of one audio track.
#[derive(Clone, Debug, Default)]
pub struct AudioSplice {
    end: Option<Timestamp>,
}

impl AudioSplice {
    /// The time behind everything emitted. None before the first frame.
    pub fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// What follows begins there, whatever was emitted.
    pub fn begin(&mut self, at: Timestamp) {
        self.end = Some(at);
    }

    /// Places the next frame. None: most of it lies before what was emitted.
    pub fn place(&mut self, unit: AccessUnit) -> Option<AccessUnit> {
        if self.end.is_some_and(|end| unit.pts + unit.duration.half() < end) {
            return None;
        }
        let end = unit.pts + unit.duration;
        self.end = Some(self.end.map_or(end, |before| before.max(end)));
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const FRAME: Span = Span::from_millis(40);

    fn at(ms: i64) -> Timestamp {
        Timestamp::ZERO + Span::from_millis(ms)
    }

    fn picture(ms: i64, composition: i64, keyframe: bool) -> AccessUnit {
        AccessUnit {
            dts: at(ms),
            pts: at(ms + composition),
            duration: FRAME,
            keyframe,
            payload: Bytes::new(),
        }
    }

    fn gop(from: i64, count: i64) -> Vec<AccessUnit> {
        (0..count).map(|i| picture(from + i * 40, 0, i == 0)).collect()
    }

    #[test]
    fn one_source_keeps_its_times() {
        let mut splice = VideoSplice::default();
        for unit in gop(500, 100) {
            assert_eq!(splice.place(unit.clone()), Some(unit));
        }
        assert_eq!(splice.end(), Some(at(500 + 4000)));
    }

    #[test]
    fn a_backup_joined_in_the_middle_of_its_gop_goes_on_where_the_primary_stopped() {
        let mut splice = VideoSplice::default();
        for unit in gop(0, 50) {
            splice.place(unit);
        }
        // The backup's keyframe is a second old; its pictures until 2 s are only decoded.
        splice.join();
        let placed: Vec<_> = gop(1000, 50).into_iter().filter_map(|unit| splice.place(unit)).collect();
        assert_eq!(placed.len(), 50, "every picture is decoded");
        let squeezed = placed.iter().take_while(|unit| unit.duration < FRAME).count();
        assert!((25..=26).contains(&squeezed), "{squeezed}");
        assert!(placed[squeezed - 1].pts < at(2000) + Span::from_millis(10));
        assert!(placed[squeezed..].iter().zip(gop(1000, 50).iter().skip(squeezed)).all(|(a, b)| a == b));
        assert!(placed[0].keyframe && placed[0].dts >= at(2000));
    }

    #[test]
    fn a_source_that_is_joined_begins_with_a_keyframe() {
        let mut splice = VideoSplice::default();
        for unit in gop(0, 3) {
            splice.place(unit);
        }
        splice.join();
        assert_eq!(splice.place(picture(200, 0, false)), None);
        assert!(splice.place(picture(240, 0, true)).is_some());
    }

    #[test]
    fn late_sound_is_left_out() {
        let mut splice = AudioSplice::default();
        let frame = |ms| AccessUnit {
            dts: at(ms),
            pts: at(ms),
            duration: Span::from_millis(20),
            keyframe: true,
            payload: Bytes::new(),
        };
        assert!(splice.place(frame(0)).is_some());
        assert!(splice.place(frame(5)).is_none());
        assert!(splice.place(frame(12)).is_some());
        assert_eq!(splice.end(), Some(at(32)));
    }

    proptest! {
        #[test]
        fn decoding_times_always_increase_and_never_precede_presentation(
            sources in proptest::collection::vec((0_i64..5_000, 1_i64..80, 0_i64..3), 1..8),
        ) {
            let mut splice = VideoSplice::default();
            let mut last: Option<Timestamp> = None;
            let mut keyframe_due = true;
            for (from, count, reorder) in sources {
                splice.join();
                keyframe_due |= true;
                for index in 0..count {
                    let composition = if reorder > 0 { (index * 7 % (reorder + 1)) * 40 } else { 0 };
                    if let Some(unit) = splice.place(picture(from + index * 40, composition, index % 30 == 0)) {
                        prop_assert!(!keyframe_due || unit.keyframe);
                        keyframe_due = false;
                        prop_assert!(last.is_none_or(|last| unit.dts > last), "{last:?} {unit:?}");
                        prop_assert!(unit.pts >= unit.dts);
                        last = Some(unit.dts);
                    }
                }
            }
        }
    }
}
