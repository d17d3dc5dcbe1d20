//! Names of codecs.

use std::borrow::Cow;

/// A four-character code of Enhanced RTMP.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl std::fmt::Display for FourCc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl std::fmt::Debug for FourCc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// How pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// AVC: legacy codec id 7, or FourCC `avc1`.
    H264,
    /// HEVC: FourCC `hvc1` or `hev1`.
    Hevc,
    /// AV1: FourCC `av01`.
    Av1,
    /// Anything else that Enhanced RTMP signals by a FourCC.
    Enhanced(FourCc),
    /// Any other legacy codec id (0 to 15).
    Legacy(u8),
    /// A command to the player has none.
    Unnamed,
}

impl VideoCodec {
    pub(super) fn from_four_cc(code: [u8; 4]) -> Self {
        match &code {
            b"avc1" => Self::H264,
            b"hvc1" | b"hev1" => Self::Hevc,
            b"av01" => Self::Av1,
            _ => Self::Enhanced(FourCc(code)),
        }
    }

    /// A name that people know.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Enhanced(FourCc(code)) => match code {
                b"vvc1" => "VVC",
                b"vp09" => "VP9",
                b"vp08" => "VP8",
                _ => return Cow::Owned(format!("codec '{}'", code.escape_ascii())),
            },
            Self::Legacy(id) => match id {
                2 => "Sorenson H.263",
                3 => "Screen Video",
                4 => "VP6",
                5 => "VP6 with alpha",
                6 => "Screen Video 2",
                // Not in the specification: what Chinese encoders and CDNs put there before Enhanced RTMP.
                12 => "HEVC",
                13 => "AV1",
                _ => return Cow::Owned(format!("video codec id {id}")),
            },
            Self::Unnamed => "no video codec",
        })
    }
}

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC: legacy sound format 10, or FourCC `mp4a`.
    Aac,
    /// Opus: FourCC `Opus`.
    Opus,
    /// MP3: legacy sound format 2 or 14, or FourCC `.mp3`.
    Mp3,
    /// Anything else that Enhanced RTMP signals by a FourCC.
    Enhanced(FourCc),
    /// Any other legacy sound format (0 to 15).
    Legacy(u8),
}

impl AudioCodec {
    pub(super) fn from_four_cc(code: [u8; 4]) -> Self {
        match &code {
            b"mp4a" => Self::Aac,
            b"Opus" => Self::Opus,
            b".mp3" => Self::Mp3,
            _ => Self::Enhanced(FourCc(code)),
        }
    }

    pub(super) fn from_legacy(format: u8) -> Self {
        match format {
            10 => Self::Aac,
            2 | 14 => Self::Mp3,
            other => Self::Legacy(other),
        }
    }

    /// A name that people know.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Mp3 => "MP3",
            Self::Enhanced(FourCc(code)) => match code {
                b"fLaC" => "FLAC",
                b"ac-3" => "AC-3",
                b"ec-3" => "E-AC-3",
                _ => return Cow::Owned(format!("codec '{}'", code.escape_ascii())),
            },
            Self::Legacy(format) => match format {
                0 | 3 => "PCM",
                1 => "ADPCM",
                4..=6 => "Nellymoser",
                7 => "G.711 A-law",
                8 => "G.711 mu-law",
                11 => "Speex",
                13 => "Opus",
                _ => return Cow::Owned(format!("sound format {format}")),
            },
        })
    }
}
