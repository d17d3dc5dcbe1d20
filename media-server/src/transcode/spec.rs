//! What a worker is asked to make. Travels as JSON in the protocol's `Start` message.

use std::time::Duration;

use bytes::Bytes;
use media::VideoFormat;
use media::ladder::{self, Tuning};
use media::storyboard::TILES;
use serde::{Deserialize, Serialize};

use super::backend::{Backend, Coding};

/// x264's speed presets, fastest first.
pub const PRESETS: [&str; 10] = [
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
];

/// The encoder that every machine has.
pub const X264: &str = "x264enc";

/// Most rungs of one stream.
const MAX_RUNGS: usize = 16;
/// Largest side of a picture, in pixels (level 6.2 of H.264).
const MAX_SIDE: u32 = 16_384;

/// One rung to encode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungSpec {
    /// Its name in logs, e.g. `360p`.
    pub name: String,
    /// Picture width in pixels, even.
    pub width: u32,
    /// Picture height in pixels, even.
    pub height: u32,
    /// Frames a second wished for, as (numerator, denominator): one of every n source frames is kept, n being the
    /// nearest whole number. `None` keeps every frame.
    pub fps: Option<(u32, u32)>,
    /// Target bit rate in bit/s; with a quality the most, unless that is said.
    pub video_bitrate: u32,
    /// What it is encoded as.
    pub codec: Coding,
    /// GStreamer's element that encodes it, where it is not the job's.
    #[serde(default)]
    pub encoder: Option<String>,
    /// How.
    #[serde(with = "TuningFields")]
    pub tuning: Tuning,
}

impl RungSpec {
    /// One as the job says.
    pub fn new(name: &str, (width, height): (u32, u32), video_bitrate: u32) -> Self {
        Self {
            name: name.to_owned(),
            width,
            height,
            fps: None,
            video_bitrate,
            codec: Coding::H264,
            encoder: None,
            tuning: Tuning::default(),
        }
    }
}

/// One stream's encoding job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscodeSpec {
    /// The stream's public name, for logs.
    pub stream: String,
    /// How to decode the source.
    #[serde(with = "VideoFormatFields")]
    pub video: VideoFormat,
    /// What to encode, in the order that events index.
    pub rungs: Vec<RungSpec>,
    /// x264 speed preset, one of [`PRESETS`]; other encoders are told what comes near it.
    pub preset: String,
    /// GStreamer's element that encodes, where a rung has none of its own.
    pub encoder: String,
    /// A device's element that decodes; None for the processor.
    #[serde(default)]
    pub decoder: Option<String>,
    /// A device's element that scales; None for the processor.
    #[serde(default)]
    pub scaler: Option<String>,
    /// Bounds on memory and time.
    #[serde(default)]
    pub limits: Limits,
}

/// A file to be encoded once, as a source that it stands in for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlateSpec {
    /// Picture width in pixels, even.
    pub width: u32,
    /// Picture height in pixels, even.
    pub height: u32,
    /// Frames a second as (numerator, denominator).
    pub frame_rate: (u32, u32),
    /// Target bit rate in bit/s.
    pub video_bitrate: u32,
    /// Samples a second and channels of its sound, where the source has any.
    pub sound: Option<(u32, u16)>,
    /// x264 speed preset, one of [`PRESETS`].
    pub preset: String,
    /// Bytes of the file, which follow.
    pub file_bytes: usize,
}

/// A picture to be made of a keyframe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PosterSpec {
    /// How to decode it.
    #[serde(with = "VideoFormatFields")]
    pub video: VideoFormat,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// A sheet of the storyboard is made as well.
    pub sheet: Option<SheetSpec>,
}

/// Small pictures side by side: those that are known, which follow as raw bytes, and behind them the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetSpec {
    /// Pixels of one, the width a multiple of eight.
    pub tile: (u32, u32),
    /// How many are known.
    pub known: usize,
}

impl PosterSpec {
    /// Checks what GStreamer's setters would otherwise panic on.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        let named = |name, size| RungSpec::new(name, size, 1_000_000).validate();
        named("thumbnail", (self.width, self.height))?;
        let Some(SheetSpec { tile: (width, height), known }) = self.sheet else { return Ok(()) };
        named("storyboard", (width, height))?;
        if width.is_multiple_of(8) && known < TILES { Ok(()) } else { Err(InvalidSpec::Sheet) }
    }
}

/// A sound to be encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundSpec {
    /// The stream's public name, for logs.
    pub stream: String,
    /// How it is coded now.
    pub codec: SoundCodec,
    /// AudioSpecificConfig of AAC, empty of others.
    pub config: Vec<u8>,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels of the source.
    pub channels: u16,
    /// What it is encoded as.
    pub makes: SoundMade,
    /// Channels that are encoded at most: 1 or 2.
    pub most_channels: u16,
    /// Target bit rate in bit/s.
    pub bitrate: u32,
}

/// What a sound is encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoundMade {
    /// AAC-LC.
    AacLc,
    /// HE-AAC, version 1.
    HeAac,
    /// Opus.
    Opus,
}

impl From<ladder::SoundCodec> for SoundMade {
    fn from(codec: ladder::SoundCodec) -> Self {
        match codec {
            ladder::SoundCodec::AacLc => Self::AacLc,
            ladder::SoundCodec::HeAac => Self::HeAac,
            ladder::SoundCodec::Opus => Self::Opus,
        }
    }
}

/// Sound that some players do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoundCodec {
    /// MPEG audio by its layer, 1 to 3.
    MpegAudio(u8),
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// Opus, as it is sent by RTP: of 48 kHz.
    Opus,
    /// AAC without ADTS.
    Aac,
}

impl SoundSpec {
    /// Checks what GStreamer's setters would otherwise panic on.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        if !(8000..=96_000).contains(&self.sample_rate) || !(1..=8).contains(&self.channels) {
            return Err(InvalidSpec::Sound);
        }
        if !(1..=2).contains(&self.most_channels) {
            return Err(InvalidSpec::Sound);
        }
        let most = if self.makes == SoundMade::Opus { 510_000 } else { 1_000_000 };
        if !(8_000..=most).contains(&self.bitrate) {
            return Err(InvalidSpec::Bitrate("audio".into()));
        }
        Ok(())
    }

    /// Samples a second of what is made, as it is played.
    pub fn made_rate(&self) -> u32 {
        if self.makes == SoundMade::Opus { 48_000 } else { self.sample_rate }
    }

    /// Channels that are encoded.
    pub fn made_channels(&self) -> u16 {
        self.channels.min(self.most_channels)
    }
}

/// Bounds on what one stream's transcoding may hold and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Source bytes that may wait for the worker.
    pub queue_bytes: usize,
    /// Media time that may wait for the worker. Beyond either bound the queue skips to its newest keyframe.
    pub queue_span: Duration,
    /// Source bytes kept for a replacement worker.
    pub replay_bytes: usize,
    /// Media time kept for a replacement worker: it has to be decoded again within a second.
    pub replay_span: Duration,
    /// Time without progress, while input waits, after which a worker is taken for hung.
    pub hang: Duration,
    /// Time a worker may take until it is ready for input.
    pub startup: Duration,
    /// More restarts than this within `restart_window` and the rungs are given up.
    pub restarts: usize,
    /// See `restarts`.
    pub restart_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_bytes: 32 << 20,
            queue_span: Duration::from_secs(8),
            replay_bytes: 32 << 20,
            replay_span: Duration::from_secs(15),
            hang: Duration::from_millis(1750),
            startup: Duration::from_secs(10),
            restarts: 10,
            restart_window: Duration::from_mins(1),
        }
    }
}

/// Why a job cannot be done as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// More rungs than the protocol numbers.
    #[error("{0} rungs; at most {MAX_RUNGS}")]
    TooManyRungs(usize),
    /// A size that 4:2:0 H.264 cannot have.
    #[error("rung {name}: {width}x{height}; sides must be even and 2 to {MAX_SIDE}")]
    Size {
        /// The rung.
        name: String,
        /// Asked width.
        width: u32,
        /// Asked height.
        height: u32,
    },
    /// A frame rate of zero.
    #[error("rung {0}: the frame rate must be above zero")]
    FrameRate(String),
    /// A bit rate out of x264's range.
    #[error("rung {0}: the bit rate must be 1 kbit/s to 2 Gbit/s")]
    Bitrate(String),
    /// A quality out of x264's range.
    #[error("rung {0}: the quality must be 0 to 51")]
    Quality(String),
    /// A buffer, B-frames or lookahead out of x264's range.
    #[error("rung {0}: the buffer must be 1 ms to 10 s, B-frames 16 and lookahead 250 frames at most")]
    Delay(String),
    /// A sheet that has no room for another picture, or pictures whose rows would have padding.
    #[error("a sheet has {TILES} pictures at most, each a multiple of 8 pixels wide")]
    Sheet,
    /// Sound that AAC does not have.
    #[error("sound must have 8000 to 96000 samples a second and 1 to 8 channels")]
    Sound,
    /// An element that is no encoder of a rung's codec.
    #[error("no encoder of {1} is called {0:?}; `media-server encoders` shows those that are there")]
    Encoder(String, &'static str),
    /// An element that neither decodes this source nor scales.
    #[error("{0:?} neither decodes this source nor scales")]
    Stage(String),
    /// Not an x264 preset.
    #[error("no x264 preset is called {0:?}")]
    Preset(String),
}

impl SlateSpec {
    /// Checks what GStreamer's setters would otherwise panic on.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        let (width, height) = (self.width, self.height);
        let rung = RungSpec::new("slate", (width, height), self.video_bitrate);
        let rung = RungSpec { fps: Some(self.frame_rate), ..rung };
        rung.validate()?;
        let sound = self
            .sound
            .is_none_or(|(rate, channels)| (8000..=96_000).contains(&rate) && (1..=8).contains(&channels));
        if !sound {
            return Err(InvalidSpec::Sound);
        }
        if PRESETS.contains(&self.preset.as_str()) {
            Ok(())
        } else {
            Err(InvalidSpec::Preset(self.preset.clone()))
        }
    }
}

impl RungSpec {
    fn validate(&self) -> Result<(), InvalidSpec> {
        let side = |n: u32| n.is_multiple_of(2) && (2..=MAX_SIDE).contains(&n);
        if !side(self.width) || !side(self.height) {
            let (width, height) = (self.width, self.height);
            return Err(InvalidSpec::Size { name: self.name.clone(), width, height });
        }
        if self.fps.is_some_and(|(n, d)| n == 0 || d == 0 || n > i32::MAX as u32 || d > i32::MAX as u32) {
            return Err(InvalidSpec::FrameRate(self.name.clone()));
        }
        if !(1_000..=2_000_000_000).contains(&self.video_bitrate) {
            return Err(InvalidSpec::Bitrate(self.name.clone()));
        }
        let Tuning { crf, max_bitrate, buffer_ms, b_frames, lookahead, .. } = &self.tuning;
        if max_bitrate.is_some_and(|most| !(1_000..=2_000_000_000).contains(&most)) {
            return Err(InvalidSpec::Bitrate(self.name.clone()));
        }
        if crf.is_some_and(|crf| crf > 51) {
            return Err(InvalidSpec::Quality(self.name.clone()));
        }
        if buffer_ms.is_some_and(|buffer| !(1..=10_000).contains(&buffer))
            || *b_frames > 16
            || *lookahead > 250
        {
            return Err(InvalidSpec::Delay(self.name.clone()));
        }
        match &self.tuning.preset {
            Some(preset) if !PRESETS.contains(&preset.as_str()) => Err(InvalidSpec::Preset(preset.clone())),
            _ => Ok(()),
        }
    }
}

impl TranscodeSpec {
    /// What encodes a rung.
    pub(super) fn encoder_of<'a>(
        &'a self,
        rung: &'a RungSpec,
    ) -> Result<(&'a str, &'static Backend), InvalidSpec> {
        let element = rung.encoder.as_ref().unwrap_or(&self.encoder);
        Backend::of(element)
            .filter(|backend| backend.coding == rung.codec)
            .map(|backend| (element.as_str(), backend))
            .ok_or_else(|| InvalidSpec::Encoder(element.clone(), rung.codec.name()))
    }

    /// Checks what GStreamer's setters would otherwise panic on.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        if self.rungs.len() > MAX_RUNGS {
            return Err(InvalidSpec::TooManyRungs(self.rungs.len()));
        }
        if !PRESETS.contains(&self.preset.as_str()) {
            return Err(InvalidSpec::Preset(self.preset.clone()));
        }
        self.rungs.iter().try_for_each(|rung| self.encoder_of(rung).map(|_| ()).and(rung.validate()))
    }
}

/// The fields of [`VideoFormat`] as they travel; `media` itself knows no serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "VideoFormat")]
struct VideoFormatFields {
    codec: String,
    width: u32,
    height: u32,
    frame_rate: Option<(u32, u32)>,
    #[serde(with = "base64_bytes")]
    config: Bytes,
}

/// The fields of [`Tuning`] as they travel.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Tuning")]
struct TuningFields {
    preset: Option<String>,
    crf: Option<u8>,
    max_bitrate: Option<u32>,
    buffer_ms: Option<u32>,
    profile: Option<String>,
    tune: Option<String>,
    b_frames: u8,
    lookahead: u16,
}

mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TranscodeSpec {
        TranscodeSpec {
            stream: "ada".into(),
            video: VideoFormat {
                codec: "avc1.64001e".into(),
                width: 640,
                height: 360,
                frame_rate: Some((30, 1)),
                config: Bytes::from_static(&[1, 100, 0, 30, 255]),
            },
            rungs: vec![RungSpec::new("240p", (426, 240), 400_000)],
            preset: "veryfast".into(),
            encoder: X264.into(),
            decoder: None,
            scaler: None,
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_job_survives_the_wire() {
        let spec = spec();
        let json = serde_json::to_vec(&spec).unwrap();
        assert_eq!(serde_json::from_slice::<TranscodeSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn what_the_encoder_cannot_do_is_refused_by_name() {
        assert_eq!(spec().validate(), Ok(()));
        let mut odd = spec();
        odd.rungs[0].width = 427;
        assert!(odd.validate().unwrap_err().to_string().contains("240p: 427x240"));
        let mut preset = spec();
        preset.preset = "warp".into();
        assert!(preset.validate().unwrap_err().to_string().contains("warp"));
        let mut rate = spec();
        rate.rungs[0].fps = Some((30, 0));
        assert!(matches!(rate.validate(), Err(InvalidSpec::FrameRate(_))));
    }
}
