//! `[transcode]`, `[profiles.NAME]`, `[thumbnails]`: what is made of a stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
}

/// `[transcode] shortage`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// The processor encodes.
    #[default]
    Cpu,
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
    /// Frames a second at most; 0 keeps the source's.
    #[serde(default)]
    pub fps: f64,
    /// Bits a second: a number, or `"2800k"`, `"2.8M"`.
    pub video_bitrate: Bitrate,
    /// Bits a second of audio that has to be encoded (AAC is passed through).
    #[serde(default = "default_audio_bitrate")]
    pub audio_bitrate: Bitrate,
    /// `h264`.
    #[serde(default = "default_codec")]
    pub codec: String,
    /// x264's speed preset, where it is not `[transcode] preset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A quality (0 to 51, less is better) in place of a constant bit rate, which is then the most. x264 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crf: Option<u8>,
    /// The sources that it is made for.
    #[serde(default)]
    pub when: When,
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
}

impl Default for Thumbnails {
    fn default() -> Self {
        Self { interval_ms: 10_000, height: 360 }
    }
}

fn default_audio_bitrate() -> Bitrate {
    Bitrate(128_000)
}

fn default_codec() -> String {
    "h264".into()
}

impl Default for Transcode {
    fn default() -> Self {
        Self { preset: "veryfast".into(), encoder: "auto".into(), shortage: Shortage::default() }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { passthrough: true, rungs: Vec::new() }
    }
}

/// `default`: a ladder down to a phone on a bad line. `source`: the publisher's own bits and nothing else.
pub(super) fn default_profiles() -> BTreeMap<String, Profile> {
    let rung = |name: &str, height, fps, kbit: u32| Rung {
        name: name.into(),
        height,
        fps,
        video_bitrate: Bitrate(kbit * 1000),
        audio_bitrate: default_audio_bitrate(),
        codec: default_codec(),
        preset: None,
        crf: None,
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
        ("default".to_owned(), Profile { passthrough: true, rungs }),
        ("source".to_owned(), Profile::default()),
    ])
}
