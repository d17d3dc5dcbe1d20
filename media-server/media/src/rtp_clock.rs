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

/// One track's clock. Offsets are in ticks and wrap: only their differences mean something.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// Ticks of the common clock to one of its own.
    scale: u64,
    /// From its own count to the common one.
    shift: Option<u64>,
    /// From its own count to the sender's wall clock.
    wall: Option<u64>,
    /// The newest timestamp, with its wraps unrolled.
    newest: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct RtpClock {
    video: Side,
    audio: Side,
    /// Reports have said how the tracks lie to one another.
    told: bool,
}

impl Side {
    fn new(rate: u32) -> Self {
        let scale = u64::from(RATE.checked_div(rate).unwrap_or(1));
        Self { scale, shift: None, wall: None, newest: 0 }
    }

    fn scaled(&self, timestamp: u64) -> u64 {
        timestamp.wrapping_mul(self.scale)
    }

    /// The whole count of a timestamp of 32 bits: the nearest to the newest.
    fn unrolled(&self, timestamp: u32) -> u64 {
        let off = timestamp.wrapping_sub(self.newest as u32).cast_signed();
        self.newest.wrapping_add_signed(i64::from(off))
    }
}

impl Default for RtpClock {
    fn default() -> Self {
        Self { video: Side::new(90_000), audio: Side::new(48_000), told: false }
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
        side.newest = timestamp;
        let scaled = side.scaled(timestamp);
        let arrived = arrival.since_zero().ticks(RATE).cast_unsigned();
        let shift = *side.shift.get_or_insert(arrived.wrapping_sub(scaled));
        let raw = scaled.wrapping_add(shift);
        self.settle();
        raw
    }

    /// A sender report of a track: `timestamp`, as RTP has it, and the sender's wall clock at that moment, since any origin.
    pub fn report(&mut self, kind: Kind, timestamp: u32, wall: Span) {
        let side = self.side(kind);
        if side.shift.is_none() {
            return;
        }
        let scaled = side.scaled(side.unrolled(timestamp));
        side.wall = Some(wall.ticks(RATE).cast_unsigned().wrapping_sub(scaled));
        self.settle();
    }

    /// Moves the sound to where the reports say that it belongs.
    fn settle(&mut self) {
        let (Some(video), Some(audio)) = (self.video.shift, self.audio.shift) else { return };
        let (Some(of_video), Some(of_audio)) = (self.video.wall, self.audio.wall) else { return };
        let wanted = video.wrapping_add(of_audio.wrapping_sub(of_video));
        let off = wanted.wrapping_sub(audio).cast_signed();
        if off.saturating_abs() > APART {
            return;
        }
        let step = if self.told { off.checked_div(SHARE).unwrap_or(0) } else { off };
        self.told = true;
        // Taken once each.
        self.audio.wall = None;
        self.audio.shift = Some(audio.wrapping_add_signed(step));
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
