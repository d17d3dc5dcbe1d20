//! The hand that an ingest holds: exactly one a stream. Dropping it ends the publish session.

use std::time::Instant;

use media::{AccessUnit, AudioFormat, Format, Kind, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::snapshot::{Counters, SessionInfo};
use super::sound::Voice;
use super::tap::Tapped;
use super::timed::Timed;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Units that may wait for the stream's task: some seconds of audio and video. The task never blocks, so the queue
/// fills only on a machine that has no time left at all.
pub(super) const QUEUE: usize = 1024;

/// Which of a stream's publishers one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The publisher.
    #[default]
    Primary,
    /// Held warm, and shown while the primary does not send.
    Backup,
}

/// A track of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Its sounds: 0 is the first, others are in other languages.
    Audio(u8),
    /// Its pictures: 0 is the source, others are further renditions that it sends itself.
    Video(u8),
}

impl From<Kind> for Track {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Audio => Self::Audio(0),
            Kind::Video => Self::Video(0),
        }
    }
}

/// What an ingest asks a stream for.
#[derive(Clone, Debug)]
pub struct PublishSpec {
    /// As what it comes.
    pub role: Role,
    /// Who publishes.
    pub session: SessionInfo,
    /// The ladder that admission named, resolved.
    pub profile: media::ladder::Profile,
    /// Packaging and reconnect settings of this moment.
    pub settings: super::Settings,
    /// The stream cancels it when it no longer wants this publisher: dropped by an operator, taken over, or shut down.
    pub ended: CancellationToken,
}

/// What travels from publisher to stream.
#[derive(Debug)]
pub(super) enum Input {
    Format { track: Track, format: Format },
    Unit { track: Track, unit: AccessUnit, arrived: Instant },
    Expect(Expect),
    Timed(Timed),
    Beside(Tapped),
    Voices(Vec<Voice>),
}

/// What the publisher announced before its media (RTMP `onMetaData`); `None` where it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// A video track comes.
    pub video: Option<bool>,
    /// An audio track comes.
    pub audio: Option<bool>,
    /// Bits a second of the video, where announced.
    pub video_bitrate: Option<u32>,
    /// Bits a second of the audio, where announced.
    pub audio_bitrate: Option<u32>,
}

/// Gives one sound to a publisher's stream: see [`Publisher::inlet`].
#[derive(Clone, Debug)]
pub struct Inlet {
    inputs: mpsc::Sender<Input>,
    counters: Arc<Counters>,
    number: u8,
}

impl Inlet {
    /// How the frames that follow decode. False: the stream is gone.
    pub fn format(&self, format: AudioFormat) -> bool {
        self.send(Input::Format { track: Track::Audio(self.number), format: Format::Audio(format) })
    }

    /// One frame. False: the stream is gone.
    pub fn frame(&self, unit: AccessUnit) -> bool {
        Counters::add(&self.counters.audio_units, 1);
        self.send(Input::Unit { track: Track::Audio(self.number), unit, arrived: Instant::now() })
    }

    /// A frame was left out: nobody could encode it in time.
    pub fn dropped(&self) {
        Counters::add(&self.counters.dropped, 1);
    }

    /// Resolves when the stream has gone.
    pub async fn closed(&self) {
        self.inputs.closed().await;
    }

    fn send(&self, input: Input) -> bool {
        match self.inputs.try_send(input) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                Counters::add(&self.counters.dropped, 1);
                true
            }
            sent => sent.is_ok(),
        }
    }
}

/// The stream's one publisher.
#[derive(Debug)]
pub struct Publisher {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) start: Timestamp,
    pub(super) counters: Arc<Counters>,
    /// A viewer cannot go on without a keyframe.
    pub(super) wish: Arc<AtomicBool>,
    /// Video tracks of which the queue lost a unit: skipped until their next keyframe, so that no broken picture is
    /// shown.
    pub(super) skipping: Vec<u8>,
    pub(super) farewell: Arc<OnceLock<String>>,
}

/// How a stream ends a publisher that it no longer wants.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) halt: CancellationToken,
    /// What its broadcaster is told, where there is more to tell than that.
    pub(super) farewell: Arc<OnceLock<String>>,
}

impl Ended {
    /// Ends it, with a word to its broadcaster.
    pub(super) fn because(&self, message: String) {
        self.farewell.get_or_init(|| message);
        self.halt.cancel();
    }
}

impl Publisher {
    /// Where on the stream's timeline this session's media begins.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// A way by which another task gives one of this publisher's sounds. The session goes on as long as one of them or
    /// the publisher is there.
    pub fn inlet(&self, number: u8) -> Inlet {
        Inlet { inputs: self.inputs.clone(), counters: Arc::clone(&self.counters), number }
    }

    /// A viewer cannot go on without a keyframe; said once.
    pub fn keyframe_wanted(&self) -> bool {
        self.wish.load(Ordering::Relaxed) && self.wish.swap(false, Ordering::Relaxed)
    }

    /// Counters to add to.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Resolves when the stream has taken in half of what may wait for it. Live sources never wait; who reads from a
    /// file does.
    pub async fn caught_up(&self) {
        // A stream that is gone takes nothing in: there is nothing to wait for.
        let _room = self.inputs.reserve_many(QUEUE / 2).await.is_ok();
    }

    /// What its broadcaster is to be told: the stream has refused it after it was let in.
    pub fn farewell(&self) -> Option<&str> {
        self.farewell.get().map(String::as_str)
    }

    /// What the publisher announced.
    pub fn expect(&mut self, expect: Expect) {
        self.send(Input::Expect(expect));
    }

    /// What it says beside its media.
    pub fn timed(&mut self, timed: Timed) {
        self.send(Input::Timed(timed));
    }

    /// A frame of its first sound as it was sent, where players are given another made of it.
    pub fn beside(&mut self, format: Arc<Format>, unit: AccessUnit) {
        self.send(Input::Beside(Tapped { sound: 0, language: None, format, unit }));
    }

    /// How a track decodes from its next unit on.
    pub fn format(&mut self, format: Format) {
        self.send(Input::Format { track: format.kind().into(), format });
    }

    /// Which sounds it has, all of them; without a word one, in no language that is known.
    pub fn voices(&mut self, voices: Vec<Voice>) {
        self.send(Input::Voices(voices));
    }

    /// How a sound decodes from its next frame on, by its number.
    pub fn sound_format(&mut self, number: u8, format: AudioFormat) {
        self.send(Input::Format { track: Track::Audio(number), format: Format::Audio(format) });
    }

    /// One frame of a sound.
    pub fn sound(&mut self, number: u8, unit: AccessUnit, arrived: Instant) {
        self.pass(Track::Audio(number), unit, arrived);
    }

    /// How a further video track decodes. Track 0 is [`Self::format`]'s.
    pub fn track_format(&mut self, number: u8, format: Format) {
        self.send(Input::Format { track: Track::Video(number), format });
    }

    /// One unit of a further video track.
    pub fn track_unit(&mut self, number: u8, unit: AccessUnit, arrived: Instant) {
        self.pass(Track::Video(number), unit, arrived);
    }

    /// One unit, placed by the session's timeline; `arrived` is when its last byte was read.
    pub fn unit(&mut self, kind: Kind, unit: AccessUnit, arrived: Instant) {
        self.pass(kind.into(), unit, arrived);
    }

    fn pass(&mut self, track: Track, unit: AccessUnit, arrived: Instant) {
        let counter = match track {
            Track::Video(_) => &self.counters.video_units,
            Track::Audio(_) => &self.counters.audio_units,
        };
        Counters::add(counter, 1);
        Counters::add(&self.counters.bytes, unit.payload.len() as u64);
        if let Track::Video(number) = track
            && let Some(skipped) = self.skipping.iter().position(|skipping| *skipping == number)
        {
            if !unit.keyframe {
                Counters::add(&self.counters.dropped, 1);
                return;
            }
            self.skipping.swap_remove(skipped);
        }
        self.send(Input::Unit { track, unit, arrived });
    }

    fn send(&mut self, input: Input) {
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.inputs.try_send(input) {
            Counters::add(&self.counters.dropped, 1);
            if let Input::Unit { track: Track::Video(number), .. } = lost
                && !self.skipping.contains(&number)
            {
                self.skipping.push(number);
            }
        }
    }
}
