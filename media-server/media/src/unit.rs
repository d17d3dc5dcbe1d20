//! What travels through the house: access units, and the formats that say how to decode them.

use bytes::Bytes;

use crate::time::{Span, Timestamp};

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One access unit: what one timestamp decodes to (a picture, an audio frame).
///
/// H.264 payloads are length-prefixed NAL units (4-byte lengths, ISO/IEC 14496-15), AAC payloads are raw frames
/// without ADTS. The payload is a slice of what was parsed; nothing downstream copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// Decoding time. Strictly increasing within a track.
    pub dts: Timestamp,
    /// Presentation time.
    pub pts: Timestamp,
    /// How long it is expected to last: exact for audio, the nominal frame interval for video.
    pub duration: Span,
    /// For video: an IDR picture. For audio: always true.
    pub keyframe: bool,
    /// The coded bytes.
    pub payload: Bytes,
}

/// How to decode a video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// RFC 6381 codec string, e.g. `avc1.64001f`.
    pub codec: String,
    /// Coded size after cropping, in pixels.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// Frames a second as (numerator, denominator), where known.
    pub frame_rate: Option<(u32, u32)>,
    /// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1).
    pub config: Bytes,
}

/// How to decode an audio track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// RFC 6381 codec string, e.g. `mp4a.40.2`.
    pub codec: String,
    /// Samples a second as the container says (for HE-AAC: of the core).
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Samples a frame (1024, or 960 where the config says so).
    pub frame_samples: u32,
    /// AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
    pub config: Bytes,
}

/// How to decode a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// A video track.
    Video(VideoFormat),
    /// An audio track.
    Audio(AudioFormat),
}

impl Format {
    /// Video or audio.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Video(_) => Kind::Video,
            Self::Audio(_) => Kind::Audio,
        }
    }

    /// RFC 6381 codec string.
    pub fn codec(&self) -> &str {
        match self {
            Self::Video(v) => &v.codec,
            Self::Audio(a) => &a.codec,
        }
    }
}
