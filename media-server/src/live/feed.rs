//! One publisher as its stream holds it: what it announced, and the group of pictures that it is in, so that it can
//! be joined at any moment without waiting for a keyframe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::ladder::Profile;
use media::{AccessUnit, AudioFormat, Format, Span, Timestamp, VideoFormat};
use tokio::sync::mpsc;

use super::publisher::{Ended, Expect, Input, Track};
use super::snapshot::{Counters, SessionInfo};
use super::sound::{self, Voice};
use super::timed::Timed;

/// Media kept for joining at most; a longer group of pictures is joined at its next keyframe.
const MOST_BYTES: usize = 32 << 20;
const MOST_UNITS: usize = 8192;
/// Sound alone for this long, from a publisher that announced no picture, is enough to join it.
const SOUND_ALONE: Duration = Duration::from_secs(1);
/// How much a publisher's time is moved at most, to begin where the run is.
const MOST_OFFSET: Span = Span::from_millis(400);
/// A pause in a publisher's media beyond this makes it begin anew to be called stable.
const PAUSE: Duration = Duration::from_millis(600);

/// A unit as it came in.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) track: Track,
    pub(super) unit: AccessUnit,
    pub(super) at: Instant,
}

/// What was said of a publisher's tracks.
#[derive(Clone, Default)]
pub(super) struct Announced {
    pub(super) expect: Expect,
    pub(super) video: Option<VideoFormat>,
    /// Its sounds, by number, and what was said of them.
    pub(super) sounds: Vec<(u8, AudioFormat)>,
    pub(super) voices: Vec<Voice>,
    /// Further video tracks, by number.
    pub(super) others: Vec<(u8, VideoFormat)>,
    /// What it last said that holds until it says otherwise.
    pub(super) said: Option<Timed>,
}

/// See the module.
pub(super) struct Feed {
    pub(super) inputs: mpsc::Receiver<Input>,
    /// For when the stream no longer wants this publisher.
    pub(super) ended: Ended,
    pub(super) session: SessionInfo,
    pub(super) profile: Profile,
    pub(super) counters: Arc<Counters>,
    pub(super) announced: Announced,
    /// What it sends is taken into the run.
    pub(super) joined: bool,
    /// Its time is this much behind the run's.
    offset: Span,
    /// From the newest keyframe on; sound beside it.
    kept: VecDeque<Arrived>,
    kept_bytes: usize,
    /// Pictures of the source among what is kept.
    kept_pictures: usize,
    since: Instant,
    pub(super) last_video: Instant,
    /// By number.
    last_sounds: [Instant; sound::MOST],
    /// Media has flowed without a pause since then.
    stable_since: Instant,
    heard: bool,
}

impl Feed {
    pub(super) fn new(
        inputs: mpsc::Receiver<Input>,
        ended: Ended,
        session: SessionInfo,
        profile: Profile,
        counters: Arc<Counters>,
    ) -> Self {
        let now = Instant::now();
        Self {
            inputs,
            ended,
            session,
            profile,
            counters,
            announced: Announced::default(),
            joined: false,
            offset: Span::ZERO,
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_pictures: 0,
            since: now,
            last_video: now,
            last_sounds: [now; sound::MOST],
            stable_since: now,
            heard: false,
        }
    }

    /// When it last sent media; when it came, if it has sent none.
    pub(super) fn last_media(&self) -> Instant {
        self.last_sounds.iter().copied().fold(self.last_video, Instant::max)
    }

    /// When it last sent this sound; when it came, if it has sent none.
    pub(super) fn last_sound(&self, number: u8) -> Instant {
        self.last_sounds.get(usize::from(number)).copied().unwrap_or(self.since)
    }

    /// It has this sound.
    pub(super) fn has_sound(&self, number: u8) -> bool {
        self.announced.sounds.iter().any(|(known, _)| *known == number)
    }

    /// For how long it has sent media without a pause.
    pub(super) fn stable_for(&self, now: Instant) -> Duration {
        if self.heard { now.saturating_duration_since(self.stable_since) } else { Duration::ZERO }
    }

    /// Notes what it says of a track.
    pub(super) fn format(&mut self, track: Track, format: &Format) {
        let announced = &mut self.announced;
        match (track, format) {
            (Track::Video(0), Format::Video(video)) => announced.video = Some(video.clone()),
            (Track::Video(n), Format::Video(video)) => {
                announced.others.retain(|(known, _)| *known != n);
                announced.others.push((n, video.clone()));
            }
            // What made it was replaced by another of its kind.
            (Track::Audio(n), Format::Audio(audio))
                if announced.sounds.iter().any(|it| *it == (n, audio.clone())) =>
            {
                return;
            }
            (Track::Audio(n), Format::Audio(audio)) => {
                announced.sounds.retain(|(known, _)| *known != n);
                announced.sounds.push((n, audio.clone()));
            }
            (Track::Audio(_), Format::Video(_)) | (Track::Video(_), Format::Audio(_)) => return,
        }
        // What is kept was made for the format before.
        self.forget();
    }

    /// Notes a unit, and keeps it as long as it may be needed for joining.
    pub(super) fn unit(&mut self, arrived: &Arrived) {
        if arrived.at.saturating_duration_since(self.last_media()) > PAUSE || !self.heard {
            self.stable_since = arrived.at;
        }
        self.heard = true;
        match arrived.track {
            Track::Audio(number) => {
                if let Some(last) = self.last_sounds.get_mut(usize::from(number)) {
                    *last = arrived.at;
                }
            }
            Track::Video(_) => self.last_video = arrived.at,
        }
        let source_key = arrived.track == Track::Video(0) && arrived.unit.keyframe;
        if source_key {
            self.begin_group(arrived.unit.pts);
        }
        if self.kept_bytes > MOST_BYTES || self.kept.len() >= MOST_UNITS {
            self.forget();
        }
        let begun = self.has_keyframe() || source_key;
        if begun || is_sound(arrived) {
            self.kept_bytes += arrived.unit.payload.len();
            self.kept_pictures += usize::from(arrived.track == Track::Video(0));
            self.kept.push_back(arrived.clone());
        }
        if !begun {
            self.shorten_sound();
        }
    }

    /// A keyframe has come: what lies before it is not needed again, but for the sound beside it, which may have come
    /// earlier.
    fn begin_group(&mut self, at: Timestamp) {
        self.kept_pictures = 0;
        let bytes = &mut self.kept_bytes;
        self.kept.retain(|kept| {
            let stays = is_sound(kept) && kept.unit.pts + kept.unit.duration > at;
            if !stays {
                *bytes = bytes.saturating_sub(kept.unit.payload.len());
            }
            stays
        });
    }

    /// Without a picture, half a second of sound is all that a joiner could want.
    fn shorten_sound(&mut self) {
        let Some(newest) = self.kept.back().map(|kept| kept.unit.pts) else { return };
        while let Some(first) = self.kept.front()
            && newest - first.unit.pts > Span::from_millis(500)
        {
            self.kept_bytes = self.kept_bytes.saturating_sub(first.unit.payload.len());
            self.kept.pop_front();
        }
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.kept_bytes = 0;
        self.kept_pictures = 0;
    }

    fn has_keyframe(&self) -> bool {
        self.kept_pictures > 0
    }

    /// The newest unit of its picture is a keyframe: the best moment to cut to it.
    pub(super) fn is_at_keyframe(&self) -> bool {
        self.kept_pictures == 1
    }

    /// It can be joined now: it has a keyframe, or has no picture and is not going to have one.
    pub(super) fn is_joinable(&self) -> bool {
        let sound_only = self.announced.video.is_none()
            && !self.announced.sounds.is_empty()
            && self.heard
            && (self.announced.expect.video == Some(false) || self.since.elapsed() >= SOUND_ALONE);
        self.has_keyframe() || sound_only
    }

    /// What a joiner needs, oldest first, at the run's time.
    pub(super) fn kept(&self) -> Vec<Arrived> {
        self.kept.iter().cloned().map(|arrived| self.placed(arrived)).collect()
    }

    /// Its time is this much behind the run's.
    pub(super) fn offset(&self) -> Span {
        self.offset
    }

    /// A unit at the run's time.
    pub(super) fn placed(&self, mut arrived: Arrived) -> Arrived {
        arrived.unit.dts += self.offset;
        arrived.unit.pts += self.offset;
        arrived
    }

    /// Joins at `seam`, the run's time behind everything shown. Where the keyframe is only a little before it, as when
    /// its sender has just come, it is shown there and the sender's time is moved by that little; otherwise its pictures
    /// up to the seam are decoded and not shown.
    pub(super) fn join(&mut self, seam: Option<Timestamp>) {
        self.joined = true;
        let first = self.kept.iter().find(|kept| kept.track == Track::Video(0)).map(|kept| kept.unit.pts);
        let behind = seam.zip(first).map_or(Span::ZERO, |(seam, first)| seam - first);
        self.offset = if (Span::ZERO..=MOST_OFFSET).contains(&behind) { behind } else { Span::ZERO };
    }
}

fn is_sound(arrived: &Arrived) -> bool {
    matches!(arrived.track, Track::Audio(_))
}
