//! `[transcode]`, `[profiles.NAME]`, `[thumbnails]`: what is made of a stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::types::Bitrate;

/// `[transcode]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transcode {
    /// x264's speed preset; other encoders are told what comes near it.
    pub preset: String,
    /// What encodes: `auto`, or GStreamer's element.
    pub encoder: String,
    /// What is done where that takes no further stream.
    pub shortage: Shortage,
    /// Whether rungs are made that nobody watches.
    pub encode: Encode,
    /// How long nobody must have watched a rung before it is no longer made, in milliseconds, where that is `on-demand`.
    pub park_after_ms: u64,
}

/// `[transcode] encode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encode {
    /// Every rung, as long as its stream is live.
    #[default]
    Always,
    /// Those that somebody watches.
    OnDemand,
}

/// `[transcode] shortage`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// The processor encodes.
    #[default]
    Cpu,
    /// The largest rungs are left out until the others fit.
    Shed,
    /// The publisher is ended.
    Fail,
    /// The stream goes out as it comes.
    Passthrough,
}

/// `[profiles.NAME]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The publisher's own video is the top rung.
    pub passthrough: bool,
    /// Rungs to encode; those not below the source are left out.
    pub rungs: Vec<Rung>,
    /// Rungs of sound, of each of the stream's sounds, beside those as they are sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audio: Vec<AudioRung>,
}

/// One rung of a ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Its folder in addresses, e.g. `720p`.
    pub name: String,
    /// The picture's short side in pixels; 0 keeps the source's.
    #[serde(default)]
    pub height: u32,
    /// In place of that a frame that the picture fits into: `"1280x720"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Frame>,
    /// Frames a second at most, 0 keeps the source's; or a share of the source's: `"1/2"`.
    #[serde(default)]
    pub fps: Fps,
    /// Bits a second: a number, or `"2800k"`, `"2.8M"`.
    pub video_bitrate: Bitrate,
    /// Bits a second that are never exceeded, over the buffer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<Bitrate>,
    /// The decoder's buffer, in milliseconds of the greatest rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_ms: Option<u32>,
    /// Bits a second of audio that has to be encoded (AAC is passed through).
    #[serde(default = "default_audio_bitrate")]
    pub audio_bitrate: Bitrate,
    /// `h264`, `hevc` or `av1`.
    #[serde(default)]
    pub codec: Codec,
    /// The codec's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// x264's speed preset, where it is not `[transcode] preset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What the pictures are like: `film`, `animation`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<String>,
    /// A quality (0 to 51, less is better) in place of a constant bit rate, which is then the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crf: Option<u8>,
    /// Pictures in a row that may refer to later ones.
    #[serde(default)]
    pub b_frames: u8,
    /// Frames that the encoder looks ahead.
    #[serde(default)]
    pub lookahead: u16,
    /// The sources that it is made for.
    #[serde(default)]
    pub when: When,
}

/// One rung of sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioRung {
    /// Its group in playlists, e.g. `opus`.
    pub name: String,
    /// `aac`, `he-aac` or `opus`.
    #[serde(default)]
    pub codec: AudioCodec,
    /// Bits a second: a number, or `"96k"`.
    pub bitrate: Bitrate,
    /// Channels at most: 1 or 2.
    #[serde(default = "default_channels")]
    pub channels: u16,
}

/// `codec` of a rung of sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioCodec {
    /// AAC-LC, which every player decodes.
    #[default]
    Aac,
    /// HE-AAC, for few bits.
    HeAac,
    /// Opus.
    Opus,
}

/// `codec` of a rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264, which every player decodes.
    #[default]
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
}

impl Codec {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
        }
    }
}

/// `size` of a rung: pixels that the picture fits into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}x{}", self.width, self.height))
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
            Some(Self { width: width.trim().parse().ok()?, height: height.trim().parse().ok()? })
        });
        sides.ok_or_else(|| de::Error::custom("a size is width by height in pixels, such as \"1280x720\""))
    }
}

/// `fps` of a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fps {
    /// Frames a second at most; 0 keeps the source's.
    Most(f64),
    /// One of so many of the source's frames.
    Share(u32),
}

impl Default for Fps {
    fn default() -> Self {
        Self::Most(0.0)
    }
}

impl Serialize for Fps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Most(most) => serializer.serialize_f64(*most),
            Self::Share(one_of) => serializer.collect_str(&format_args!("1/{one_of}")),
        }
    }
}

impl<'de> Deserialize<'de> for Fps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let read = match Written::deserialize(deserializer) {
            Ok(Written::Number(most)) => Some(Self::Most(most)),
            Ok(Written::Text(text)) => text
                .split_once('/')
                .filter(|(one, _)| one.trim() == "1")
                .and_then(|(_, of)| of.trim().parse().ok())
                .map(Self::Share),
            Err(_) => None,
        };
        read.ok_or_else(|| {
            de::Error::custom(
                "fps is frames a second at most, such as 30 or 29.97, or one of so many of the source's frames: \"1/2\", \"1/3\"",
            )
        })
    }
}

/// `when` of a rung: all bounds that are there must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The source's short side in pixels, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_height: Option<u32>,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u32>,
    /// The source's frames a second, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fps: Option<f64>,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f64>,
}

/// `[thumbnails]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thumbnails {
    /// From one picture to the next, in milliseconds; 0 for none.
    pub interval_ms: u64,
    /// Lines of a picture, at most.
    pub height: u32,
    /// How far back the storyboard goes, in milliseconds; 0 for none.
    pub storyboard_ms: u64,
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self { interval_ms: 10_000, height: 360, storyboard_ms: 600_000 }
    }
}

fn default_channels() -> u16 {
    2
}

fn default_audio_bitrate() -> Bitrate {
    Bitrate(128_000)
}

impl Default for Transcode {
    fn default() -> Self {
        Self {
            preset: "veryfast".into(),
            encoder: "auto".into(),
            shortage: Shortage::default(),
            encode: Encode::default(),
            park_after_ms: 30_000,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { passthrough: true, rungs: Vec::new(), audio: Vec::new() }
    }
}

/// `default`: a ladder down to a phone on a bad line. `source`: the publisher's own bits and nothing else.
pub(super) fn default_profiles() -> BTreeMap<String, Profile> {
    let rung = |name: &str, height, fps, kbit: u32| Rung {
        name: name.into(),
        height,
        size: None,
        fps: Fps::Most(fps),
        video_bitrate: Bitrate(kbit * 1000),
        max_bitrate: None,
        buffer_ms: None,
        audio_bitrate: default_audio_bitrate(),
        codec: Codec::default(),
        profile: None,
        preset: None,
        tune: None,
        crf: None,
        b_frames: 0,
        lookahead: 0,
        when: When::default(),
    };
    let rungs = vec![
        rung("720p", 720, 0.0, 2800),
        rung("480p", 480, 30.0, 1400),
        rung("360p", 360, 30.0, 800),
        rung("240p", 240, 30.0, 400),
        rung("144p", 144, 30.0, 200),
    ];
    BTreeMap::from([
        ("default".to_owned(), Profile { rungs, ..Profile::default() }),
        ("source".to_owned(), Profile::default()),
    ])
}
