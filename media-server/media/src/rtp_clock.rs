//! One clock for a session whose tracks have one each, as in RTP (RFC 3550 5.1): timestamps of both on one count of
//! ticks, by the sender's reports (6.4.1) once they say what belongs together, by arrival until then.

use crate::time::{Span, Timestamp};
use crate::timeline::Clock;
use crate::unit::Kind;

/// Ticks a second: the least that both 90 kHz and 48 kHz divide.
const RATE: u32 = 720_000;
/// Reports that place the tracks further apart than this, against what arrived, are garbage.
const APART: i64 = 10 * RATE as i64;
/// A correction by a later report is taken in by a quarter: reports waver by some tenths of a millisecond.
const SHARE: i64 = 4;

/// A sender whose reports leave where they were by more than this has begun a new count: what the other tracks' older reports
/// say does not belong together with it. GStreamer 1.22 does so.
const JUMP: i64 = RATE as i64 / 5;
/// Reports that move the sound further than this, against what arrived together, are believed the second time.
const STRANGE: i64 = RATE as i64 / 2;
/// Reports further apart than this say nothing of how two tracks lie: a new count may have begun between them.
const TOGETHER: i64 = 5 * RATE as i64 / 2;

/// So long reports are waited for.
const A_WHILE: i64 = RATE as i64;
/// As near as this, reports and what arrived say the same.
const NEAR: i64 = RATE as i64 * 25 / 1000;
/// As far as this, what arrived together may be apart by accident.
const ABOUT: i64 = RATE as i64 * 60 / 1000;

/// Layers of one picture.
pub const MOST_LAYERS: usize = 8;

/// One track's clock. Offsets are in ticks and wrap: only their differences mean something.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// Ticks of the common clock to one of its own.
    scale: u64,
    /// From its own count to the common one.
    shift: Option<u64>,
    /// From its own count to the sender's wall clock, by a report that can still be used.
    wall: Option<u64>,
    /// The same by the last report, and that one's wall clock.
    reported: Option<(u64, u64)>,
    /// The newest timestamp, with its wraps unrolled.
    newest: Option<u64>,
    /// When its first unit arrived.
    began: Option<u64>,
    /// By how much the unit that was the least time on its way was sooner than the first: a large first picture of an
    /// encoder that begins takes longer than those that follow.
    sooner: i64,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct RtpClock {
    video: Side,
    audio: Side,
    /// Of the same pictures in several sizes (simulcast): each has a clock of its own.
    layers: [Side; MOST_LAYERS],
    /// The layer that is the picture; what `layers` has of it is stale.
    source: usize,
    /// Reports have said how the tracks lie to one another.
    told: bool,
    /// A strange move of the sound that was not believed.
    strange: Option<i64>,
    /// What arrived after the first units has said how the tracks lie to one another.
    compared: bool,
}

impl Side {
    fn new(rate: u32) -> Self {
        let scale = u64::from(RATE.checked_div(rate).unwrap_or(1));
        Self { scale, shift: None, wall: None, reported: None, newest: None, began: None, sooner: 0 }
    }

    fn scaled(&self, timestamp: u64) -> u64 {
        timestamp.wrapping_mul(self.scale)
    }

    /// The whole count of a timestamp of 32 bits: the nearest to the newest.
    fn unrolled(&self, timestamp: u32) -> Option<u64> {
        let newest = self.newest?;
        let off = timestamp.wrapping_sub(newest as u32).cast_signed();
        Some(newest.wrapping_add_signed(i64::from(off)))
    }

    /// A sender report; one before the first unit says nothing. True: its count is another one now.
    fn report(&mut self, timestamp: u32, wall: Span) -> bool {
        let Some(timestamp) = self.unrolled(timestamp) else { return false };
        let at = wall.ticks(RATE).cast_unsigned();
        let now = at.wrapping_sub(self.scaled(timestamp));
        self.wall = Some(now);
        let before = self.reported.replace((now, at));
        before.is_some_and(|(before, _)| apart(now, before) > JUMP)
    }

    /// The last reports of both are of about the same moment.
    fn is_with(&self, other: &Self) -> bool {
        let of_both = self.reported.zip(other.reported);
        of_both.is_some_and(|((_, one), (_, other))| apart(one, other) <= TOGETHER)
    }
}

fn apart(one: u64, other: u64) -> i64 {
    one.wrapping_sub(other).cast_signed().saturating_abs()
}

impl Default for RtpClock {
    fn default() -> Self {
        let (video, audio) = (Side::new(90_000), Side::new(48_000));
        Self {
            video,
            audio,
            layers: [video; MOST_LAYERS],
            source: 0,
            told: false,
            strange: None,
            compared: false,
        }
    }
}

impl RtpClock {
    /// Of what [`Self::raw`] answers.
    pub const CLOCK: Clock = Clock { rate: RATE, bits: 64 };

    fn side(&mut self, kind: Kind) -> &mut Side {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }

    /// A unit's time on the common clock. `timestamp` counts 90 kHz of pictures, 48 kHz of sound, with its wraps unrolled;
    /// `arrival` is on a monotonic clock.
    pub fn raw(&mut self, kind: Kind, timestamp: u64, arrival: Timestamp) -> u64 {
        let side = self.side(kind);
        side.newest = Some(timestamp);
        let scaled = side.scaled(timestamp);
        let arrived = arrival.since_zero().ticks(RATE).cast_unsigned();
        side.began.get_or_insert(arrived);
        let now = arrived.wrapping_sub(scaled);
        let shift = *side.shift.get_or_insert(now);
        side.sooner = side.sooner.max(shift.wrapping_sub(now).cast_signed());
        let raw = scaled.wrapping_add(shift);
        self.compare(arrived);
        self.settle();
        raw
    }

    /// Where no report has come for a while, the sound moves to where the units that were the least time on their way say that
    /// it belongs: reports may be seconds apart.
    fn compare(&mut self, now: u64) {
        let (Some(video), Some(audio), Some(shift)) = (self.video.began, self.audio.began, self.audio.shift)
        else {
            return;
        };
        let both = now.wrapping_sub(video).cast_signed().min(now.wrapping_sub(audio).cast_signed());
        if self.told || self.compared || both < A_WHILE {
            return;
        }
        self.compared = true;
        let by = self.video.sooner.saturating_sub(self.audio.sooner);
        // Timestamps that leap within the first second say nothing of when anything left.
        if by.saturating_abs() > APART {
            return;
        }
        self.audio.shift = Some(shift.wrapping_add_signed(by));
        self.audio.sooner = self.video.sooner;
    }

    /// A sender report of a track: `timestamp`, as RTP has it, and the sender's wall clock at that moment, since any origin.
    pub fn report(&mut self, kind: Kind, timestamp: u32, wall: Span) {
        if self.side(kind).report(timestamp, wall) {
            // The other's next report belongs with this one.
            let other = if kind == Kind::Video { Kind::Audio } else { Kind::Video };
            self.side(other).wall = None;
        }
        self.settle();
    }

    /// As [`Self::raw`], of a layer that is not the picture: None until its reports, and the picture's, have said how
    /// they lie to one another. A layer shows what the picture shows at the same time.
    pub fn layer(&mut self, layer: usize, timestamp: u64) -> Option<u64> {
        let side = self.layers.get_mut(layer)?;
        side.newest = Some(timestamp);
        Some(side.scaled(timestamp).wrapping_add(side.shift?))
    }

    /// As [`Self::report`], of a layer that is not the picture.
    pub fn layer_report(&mut self, layer: usize, timestamp: u32, wall: Span) {
        let video = self.video;
        let Some(side) = self.layers.get_mut(layer) else { return };
        if side.report(timestamp, wall) {
            self.video.wall = None;
            return;
        }
        let (Some(shift), Some(of_video), Some(of_layer)) = (video.shift, video.wall, side.wall) else {
            return;
        };
        let wanted = shift.wrapping_add(of_layer.wrapping_sub(of_video));
        if side.is_with(&video) {
            // Reports waver by some milliseconds: the mean is nearer than any of them.
            let near = side.shift.filter(|shift| apart(wanted, *shift) <= JUMP);
            let mean = near.map(|shift| {
                let off = wanted.wrapping_sub(shift).cast_signed();
                shift.wrapping_add_signed(off.checked_div(SHARE).unwrap_or(0))
            });
            side.shift = Some(mean.unwrap_or(wanted));
        }
    }

    /// It is known where the layer lies.
    pub fn is_placed(&self, layer: usize) -> bool {
        self.layers.get(layer).is_some_and(|side| side.shift.is_some())
    }

    /// The layer is the picture from now on; false where it is not known how it lies to the one so far.
    pub fn promote(&mut self, layer: usize) -> bool {
        let Some(side) = self.layers.get(layer).copied() else { return false };
        if layer == self.source {
            return true;
        }
        if self.video.shift.is_some() && side.shift.is_none() {
            return false;
        }
        if let Some(before) = self.layers.get_mut(self.source) {
            *before = self.video;
        }
        // Of this one's way here nothing is known.
        self.compared |= self.video.shift.is_some();
        (self.video, self.source) = (side, layer);
        true
    }

    /// Moves the sound to where the reports say that it belongs.
    fn settle(&mut self) {
        let (Some(video), Some(audio)) = (self.video.shift, self.audio.shift) else { return };
        let (Some(of_video), Some(of_audio)) = (self.video.wall, self.audio.wall) else { return };
        if !self.audio.is_with(&self.video) {
            return;
        }
        let wanted = video.wrapping_add(of_audio.wrapping_sub(of_video));
        let off = wanted.wrapping_sub(audio).cast_signed();
        if off.saturating_abs() > APART {
            return;
        }
        // Taken once each.
        self.audio.wall = None;
        if off.saturating_abs() > STRANGE {
            let before = self.strange.replace(off);
            if before.is_none_or(|before| off.saturating_sub(before).saturating_abs() > JUMP) {
                return;
            }
        }
        let step = if self.told { off.checked_div(SHARE).unwrap_or(0) } else { self.first_step(off) };
        (self.told, self.strange) = (true, None);
        self.audio.shift = Some(audio.wrapping_add_signed(step));
    }

    /// By how much the sound moves with the first reports, which say `off`. They are believed where they say what arrived,
    /// and where that can be no accident; between the two lies the truth somewhere in the middle: a busy sender's reports
    /// are some tens of milliseconds off.
    fn first_step(&self, off: i64) -> i64 {
        let arrived = self.video.sooner.saturating_sub(self.audio.sooner);
        let between = off.saturating_sub(arrived);
        if (NEAR..=ABOUT).contains(&between.saturating_abs()) {
            off.saturating_sub(between.checked_div(2).unwrap_or(0))
        } else {
            off
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = RATE as u64;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ticks(ms, 1_000)
    }

    #[test]
    fn without_reports_what_arrives_together_belongs_together() {
        let mut clock = RtpClock::default();
        let video = clock.raw(Kind::Video, 4_000_000_000, at(1_000));
        let audio = clock.raw(Kind::Audio, 17, at(1_250));
        assert_eq!(audio.wrapping_sub(video), SECOND / 4);
        assert_eq!(clock.raw(Kind::Video, 4_000_090_000, at(9_999)).wrapping_sub(video), SECOND);
        assert_eq!(clock.raw(Kind::Audio, 48_017, at(9_999)).wrapping_sub(audio), SECOND);
    }

    #[test]
    fn reports_say_what_belongs_together_whatever_arrived_when() {
        let mut clock = RtpClock::default();
        // Taken at the same moment; the picture took 200 ms longer.
        let video = clock.raw(Kind::Video, 90_000, at(1_200));
        let audio = clock.raw(Kind::Audio, 48_000, at(1_000));
        assert_eq!(video.wrapping_sub(audio), SECOND / 5);
        clock.report(Kind::Video, 90_000, Span::from_millis(1_000_000));
        clock.report(Kind::Audio, 96_000, Span::from_millis(1_001_000));
        let (video, audio) =
            (clock.raw(Kind::Video, 180_000, at(2_200)), clock.raw(Kind::Audio, 96_000, at(2_000)));
        assert_eq!(video, audio);
        // A report that wavers moves little, and one that is garbage nothing.
        clock.report(Kind::Audio, 96_000, Span::from_millis(1_001_004));
        assert_eq!(clock.raw(Kind::Audio, 96_000, at(0)).wrapping_sub(audio), SECOND / 1000);
        clock.report(Kind::Audio, 96_000, Span::from_millis(0));
        assert_eq!(clock.raw(Kind::Audio, 96_000, at(0)).wrapping_sub(audio), SECOND / 1000);
    }

    /// After a first picture that took `first` ms and others that took 10 as all sound did, reports by which the sound is to
    /// move by `says` ms: how far it does.
    fn moved(first: i64, says: i64) -> i64 {
        let mut clock = RtpClock::default();
        for n in 0..30_u32 {
            let took = if n == 0 { first } else { 10 };
            clock.raw(Kind::Video, u64::from(n) * 3_000, at(i64::from(n) * 100 / 3 + took));
            clock.raw(Kind::Audio, u64::from(n) * 1_600, at(i64::from(n) * 100 / 3 + 10));
        }
        let before = clock.raw(Kind::Audio, 43_200, at(910));
        clock.report(Kind::Video, 90_000, Span::from_millis(1_000_000));
        clock.report(Kind::Audio, 48_000, Span::from_millis(1_000_000 + says - (first - 10)));
        let after = clock.raw(Kind::Audio, 43_200, at(910));
        after.wrapping_sub(before).cast_signed() * 1_000 / i64::from(RATE)
    }

    #[test]
    fn the_first_reports_are_believed_where_they_say_what_arrived_and_half_where_they_do_not() {
        for (first, says, so) in [(60, 50, 50), (60, 35, 35), (60, 10, 30), (10, 40, 20), (10, 200, 200)] {
            assert_eq!(moved(first, says), so, "{first} ms, {says} ms");
        }
    }

    #[test]
    fn where_no_reports_come_what_arrived_soonest_belongs_together() {
        let mut clock = RtpClock::default();
        let mut apart = Vec::new();
        for n in 0..90_u32 {
            let took = if n == 0 { 60 } else { 10 };
            let video = clock.raw(Kind::Video, u64::from(n) * 3_000, at(i64::from(n) * 100 / 3 + took));
            let audio = clock.raw(Kind::Audio, u64::from(n) * 1_600, at(i64::from(n) * 100 / 3 + 10));
            apart.push(video.wrapping_sub(audio).cast_signed() * 1_000 / i64::from(RATE));
        }
        assert_eq!((apart[0], apart[29], apart[35], apart[89]), (50, 50, 0, 0));
    }

    #[test]
    fn a_layer_lies_where_its_reports_say() {
        let mut clock = RtpClock::default();
        let video = clock.raw(Kind::Video, 90_000, at(1_000));
        clock.report(Kind::Video, 90_000, Span::from_millis(7_000));
        assert_eq!(clock.layer(1, 500_000), None, "nothing is known of the layer");
        clock.layer_report(1, 500_000, Span::from_millis(7_500));
        assert_eq!(clock.layer(1, 500_000).unwrap().wrapping_sub(video), SECOND / 2);
        assert_eq!(clock.layer(1, 455_000), Some(video));
        assert_eq!(clock.layer(99, 0), None);
        // Of reports that waver it is the mean; those of another clock count at once.
        clock.layer_report(1, 500_000, Span::from_millis(7_504));
        assert_eq!(clock.layer(1, 455_000), Some(video + SECOND / 1000));
        clock.layer_report(1, 500_000, Span::from_millis(7_497));
        assert_eq!(clock.layer(1, 455_000), Some(video));
        clock.layer_report(1, 500_000, Span::from_millis(8_500));
        assert_eq!(clock.layer(1, 455_000), Some(video), "the picture's next report is waited for");
        clock.report(Kind::Video, 90_000, Span::from_millis(7_000));
        clock.layer_report(1, 500_000, Span::from_millis(8_500));
        assert_eq!(clock.layer(1, 410_000), Some(video + SECOND / 2));
    }

    #[test]
    fn a_sender_that_begins_a_new_count_moves_nothing() {
        let mut clock = RtpClock::default();
        clock.raw(Kind::Video, 90_000, at(0));
        clock.raw(Kind::Audio, 48_000, at(0));
        clock.report(Kind::Video, 90_000, Span::from_millis(7_000));
        clock.report(Kind::Audio, 48_000, Span::from_millis(7_000));
        let sound = clock.raw(Kind::Audio, 96_000, at(1_000));
        // A report that is older than that says nothing.
        let mut late = clock;
        late.report(Kind::Audio, 96_000 + 48_000, Span::from_millis(11_000));
        assert_eq!(late.raw(Kind::Audio, 96_000, at(1_000)), sound);
        // Both tracks' reports say nine seconds more, the sound's first.
        clock.report(Kind::Audio, 96_000 + 9 * 48_000, Span::from_millis(8_000));
        assert_eq!(clock.raw(Kind::Audio, 96_000, at(1_000)), sound);
        clock.report(Kind::Video, 180_000 + 9 * 90_000, Span::from_millis(8_000));
        assert_eq!(clock.raw(Kind::Audio, 96_000, at(1_000)), sound);
        clock.report(Kind::Video, 270_000 + 9 * 90_000, Span::from_millis(9_000));
        assert_eq!(clock.raw(Kind::Audio, 96_000, at(1_000)), sound);
    }

    #[test]
    fn a_strange_move_is_believed_the_second_time() {
        let mut clock = RtpClock::default();
        clock.raw(Kind::Video, 90_000, at(0));
        let sound = clock.raw(Kind::Audio, 48_000, at(0));
        for (millis, moved) in [(7_000, 0), (8_000, SECOND)] {
            let later = u32::try_from(millis - 7_000).unwrap();
            clock.report(Kind::Video, 90_000 + later * 90, Span::from_millis(millis));
            clock.report(Kind::Audio, 48_000 + later * 48, Span::from_millis(millis + 1_000));
            assert_eq!(clock.raw(Kind::Audio, 48_000, at(0)).wrapping_sub(sound), moved, "after {millis} ms");
        }
    }

    #[test]
    fn another_layer_goes_on_as_the_picture() {
        let mut clock = RtpClock::default();
        assert!(clock.promote(2), "nothing has been placed yet");
        let video = clock.raw(Kind::Video, 90_000, at(1_000));
        clock.report(Kind::Video, 90_000, Span::from_millis(7_000));
        assert!(!clock.promote(0), "nothing is known of it");
        clock.layer(0, 500_000);
        clock.layer_report(0, 500_000, Span::from_millis(7_500));
        assert!(clock.promote(0));
        assert_eq!(clock.raw(Kind::Video, 500_000, at(9_000)), video + SECOND / 2);
        assert_eq!(clock.layer(2, 180_000), Some(video + SECOND), "the one before is a layer now");
    }

    #[test]
    fn reports_are_understood_over_the_wrap() {
        let mut clock = RtpClock::default();
        let wrapped = (1_u64 << 32) + 90_000;
        let video = clock.raw(Kind::Video, wrapped, at(0));
        let audio = clock.raw(Kind::Audio, 0, at(0));
        assert_eq!(video, audio);
        clock.report(Kind::Video, u32::MAX - 89_999, Span::from_millis(5_000));
        clock.report(Kind::Audio, 0, Span::from_millis(7_100));
        // The report was of two seconds before; the sound is 100 ms behind.
        let moved = clock.raw(Kind::Audio, 0, at(0)).wrapping_sub(audio);
        assert_eq!(moved, SECOND / 10);
    }

    proptest! {
        #[test]
        fn any_sender_is_followed(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), any::<u64>(), any::<i64>()), 0..60),
        ) {
            let mut clock = RtpClock::default();
            for (video, unit, timestamp, time) in steps {
                let kind = if video { Kind::Video } else { Kind::Audio };
                if unit {
                    clock.raw(kind, timestamp, Timestamp::from_flicks(time));
                } else {
                    clock.report(kind, timestamp as u32, Span::from_flicks(time));
                }
            }
        }
    }
}
