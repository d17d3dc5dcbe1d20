//! What is shown while no publisher sends, where a file is configured for it: a picture or a loop, encoded beforehand,
//! with the source's size and frame rate, and given out unit by unit as time passes. Pure, but for the door to whoever
//! encodes it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use media::{AccessUnit, AudioFormat, Span, Timestamp, VideoFormat};

use super::publisher::Track;

/// Who is this late has missed what was to be shown, and goes on at the present.
const LATE: Span = Span::from_millis(5_000);

/// What a slate must look like, to stand in for a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlateRequest {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: (u32, u32),
    /// Bits a second of the picture; 0 where the source does not say.
    pub bitrate: u32,
    /// Samples a second and channels of its sound, where it has any.
    pub sound: Option<(u32, u16)>,
}

/// A slate, encoded.
#[derive(Debug)]
pub struct Slate {
    /// How its pictures decode.
    pub video: VideoFormat,
    /// One turn: a keyframe first, times from zero, one after the other.
    pub pictures: Vec<AccessUnit>,
    /// AudioSpecificConfig of its sound.
    pub sound_config: Bytes,
    /// Frames of one turn; none for a picture, or a loop without sound.
    pub sound: Vec<Bytes>,
}

/// Where a slate is put once it is made; stays empty where it cannot be.
pub type SlateCell = Arc<OnceLock<Arc<Slate>>>;

/// Makes slates; given to the room by the wiring.
pub type SlateFactory = Arc<dyn Fn(SlateRequest) -> SlateCell + Send + Sync>;

/// A slate on the air.
pub(super) struct Showing {
    slate: Arc<Slate>,
    /// When its first turn began.
    base: Timestamp,
    /// Pictures and frames of sound given since then.
    pictures: usize,
    sounds: usize,
    /// Length of a turn.
    turn: Span,
    /// Length of a frame of sound; none is given where it does not fit the source's.
    frame: Option<Span>,
}

impl Showing {
    /// Begins at `base`. None where the slate has nothing to show.
    pub(super) fn begin(slate: Arc<Slate>, base: Timestamp, sound: Option<&AudioFormat>) -> Option<Self> {
        let last = slate.pictures.last()?;
        let turn = (last.pts + last.duration).since_zero();
        let fits = sound.filter(|format| !slate.sound.is_empty() && format.config == slate.sound_config);
        let frame = fits
            .map(|f| Span::from_ticks(i64::from(f.frame_samples), f.sample_rate))
            .filter(|f| *f > Span::ZERO);
        (turn > Span::ZERO).then_some(Self { slate, base, pictures: 0, sounds: 0, turn, frame })
    }

    /// Its pictures have sound of their own.
    pub(super) fn has_sound(&self) -> bool {
        self.frame.is_some()
    }

    /// When its next unit is due.
    pub(super) fn next_at(&self) -> Timestamp {
        let picture = self.picture().pts;
        self.frame.map_or(picture, |frame| picture.min(self.sound_at(frame)))
    }

    /// What is due up to `now`, oldest first.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(Track, AccessUnit)> {
        if now - self.next_at() > LATE {
            (self.base, self.pictures, self.sounds) = (now, 0, 0);
        }
        let mut due = Vec::new();
        while self.next_at() <= now {
            let picture = self.picture();
            match self.frame.map(|frame| (frame, self.sound_at(frame))) {
                Some((frame, at)) if at < picture.pts => {
                    due.push((Track::Audio(0), self.sound(frame, at)));
                    self.sounds = self.sounds.saturating_add(1);
                }
                _ => {
                    due.push((Track::Video(0), picture));
                    self.pictures = self.pictures.saturating_add(1);
                }
            }
        }
        due
    }

    /// The next picture at its time. There is one: [`Self::begin`] has seen it.
    fn picture(&self) -> AccessUnit {
        let count = self.slate.pictures.len().max(1);
        let mut unit = self.slate.pictures[self.pictures % count].clone();
        let by = self.turn.times(i64::try_from(self.pictures / count).unwrap_or(i64::MAX))
            + self.base.since_zero();
        unit.dts += by;
        unit.pts += by;
        unit
    }

    /// Frames follow one another without a seam, whatever the turns' length.
    fn sound_at(&self, frame: Span) -> Timestamp {
        self.base + frame.times(i64::try_from(self.sounds).unwrap_or(i64::MAX))
    }

    /// There is one, where [`Self::begin`] has set a frame's length. The frame of the turn that is nearest to that time: turns do not drift away from their pictures.
    fn sound(&self, frame: Span, at: Timestamp) -> AccessUnit {
        let within = (at - self.base).flicks().checked_rem(self.turn.flicks()).unwrap_or(0);
        let index = within.saturating_add(frame.flicks() / 2).checked_div(frame.flicks()).unwrap_or(0);
        let last = self.slate.sound.len().saturating_sub(1);
        let payload = self.slate.sound[usize::try_from(index).unwrap_or(0).min(last)].clone();
        AccessUnit { dts: at, pts: at, duration: frame, keyframe: true, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ticks(ms, 1000)
    }

    /// A turn of `pictures` at 25 a second, with sound of 20 ms frames that say their number.
    fn slate(pictures: i64, sounds: u8) -> Arc<Slate> {
        let picture = |n: i64| AccessUnit {
            dts: ms(n * 40),
            pts: ms(n * 40),
            duration: Span::from_millis(40),
            keyframe: n == 0,
            payload: Bytes::from(vec![n as u8]),
        };
        Arc::new(Slate {
            video: VideoFormat {
                codec: "avc1".into(),
                width: 2,
                height: 2,
                frame_rate: None,
                config: Bytes::new(),
            },
            pictures: (0..pictures).map(picture).collect(),
            sound_config: Bytes::from_static(b"asc"),
            sound: (0..sounds).map(|n| Bytes::from(vec![n])).collect(),
        })
    }

    fn sound() -> AudioFormat {
        AudioFormat {
            codec: "mp4a.40.2".into(),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: 960,
            config: Bytes::from_static(b"asc"),
        }
    }

    #[test]
    fn turns_follow_one_another_in_time_and_each_begins_with_its_keyframe() {
        let mut showing = Showing::begin(slate(3, 0), ms(1_000), None).unwrap();
        assert_eq!(showing.due(ms(999)), []);
        let due = showing.due(ms(1_200));
        let times: Vec<_> = due.iter().map(|(_, unit)| unit.pts).collect();
        assert_eq!(times, (0..6).map(|n| ms(1_000 + n * 40)).collect::<Vec<_>>());
        let keys: Vec<_> = due.iter().map(|(_, unit)| unit.keyframe).collect();
        assert_eq!(keys, [true, false, false, true, false, false]);
        assert_eq!(showing.next_at(), ms(1_240));
    }

    #[test]
    fn sound_goes_on_without_a_seam_and_stays_with_its_pictures() {
        // A turn of 130 ms does not divide by 20 ms.
        let mut odd = Arc::try_unwrap(slate(3, 7)).unwrap();
        odd.pictures[2].duration = Span::from_millis(50);
        let mut showing = Showing::begin(Arc::new(odd), ms(0), Some(&sound())).unwrap();
        let mut last = None;
        for (track, unit) in (0..600).flat_map(|n| showing.due(ms(n * 20))) {
            if track == Track::Audio(0) {
                assert_eq!(last.map_or(ms(0), |at: Timestamp| at + Span::from_millis(20)), unit.pts);
                last = Some(unit.pts);
                let said = i64::from(unit.payload[0]) * 20;
                let within = unit.pts.ticks(1000) % 130;
                assert!((said - within).abs() <= 20, "{said} at {within}");
            }
        }
    }

    #[test]
    fn sound_of_another_kind_is_not_given_and_who_slept_does_not_catch_up() {
        let mut other = sound();
        other.config = Bytes::from_static(b"else");
        let mut showing = Showing::begin(slate(3, 7), ms(0), Some(&other)).unwrap();
        assert!(!showing.has_sound());
        let due = showing.due(ms(60_000));
        assert_eq!(due.len(), 1);
        assert!(due[0].1.keyframe && due[0].1.pts == ms(60_000));
        assert!(Showing::begin(slate(0, 0), ms(0), None).is_none());
    }
}
