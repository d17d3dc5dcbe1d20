//! What publishers send, made into what the house carries, whatever the codec: the one place that knows which codecs
//! there are on the way in.

use bytes::Bytes;

use crate::unit::VideoFormat;
use crate::{av1, h264, h265, vpx};

/// A picture fit to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// H.264 and H.265: NAL units with 4-byte lengths; AV1: a temporal unit without delimiters.
    pub payload: Bytes,
    /// Decoding can begin here.
    pub keyframe: bool,
}

/// How pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// AVC.
    H264,
    /// HEVC.
    H265,
    /// AOMedia Video 1.
    Av1,
    /// VP8: decoded only.
    Vp8,
    /// VP9.
    Vp9,
}

impl VideoCodec {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
        }
    }

    /// Players take it in CMAF.
    pub fn is_played(self) -> bool {
        self != Self::Vp8
    }

    /// Of an RFC 6381 codec string.
    pub fn of(codec: &str) -> Option<Self> {
        match codec.get(..4)? {
            "avc1" | "avc3" => Some(Self::H264),
            "hvc1" | "hev1" => Some(Self::H265),
            "av01" => Some(Self::Av1),
            "vp08" => Some(Self::Vp8),
            "vp09" => Some(Self::Vp9),
            _ => None,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// H.264.
    #[error(transparent)]
    H264(#[from] h264::H264Error),
    /// HEVC.
    #[error(transparent)]
    H265(#[from] h265::H265Error),
    /// AV1.
    #[error(transparent)]
    Av1(#[from] av1::Av1Error),
    /// VP8 or VP9.
    #[error(transparent)]
    Vpx(#[from] vpx::VpxError),
}

/// Takes the pictures of one video track, in order. Never an error: what cannot be used is dropped.
#[derive(Clone, Debug)]
pub struct VideoIntake {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    H264(h264::Intake),
    H265(h265::Intake),
    Av1(av1::Intake),
    Vpx(vpx::Intake),
}

impl VideoIntake {
    /// For a track of this codec.
    pub fn new(codec: VideoCodec) -> Self {
        let engine = match codec {
            VideoCodec::H264 => Engine::H264(h264::Intake::new(4)),
            VideoCodec::H265 => Engine::H265(h265::Intake::new(4)),
            VideoCodec::Av1 => Engine::Av1(av1::Intake::default()),
            VideoCodec::Vp8 => Engine::Vpx(vpx::Intake::new(vpx::Kind::Vp8)),
            VideoCodec::Vp9 => Engine::Vpx(vpx::Intake::new(vpx::Kind::Vp9)),
        };
        Self { engine }
    }

    /// Which codec it takes.
    pub fn codec(&self) -> VideoCodec {
        match &self.engine {
            Engine::H264(_) => VideoCodec::H264,
            Engine::H265(_) => VideoCodec::H265,
            Engine::Av1(_) => VideoCodec::Av1,
            Engine::Vpx(intake) if intake.kind() == vpx::Kind::Vp8 => VideoCodec::Vp8,
            Engine::Vpx(_) => VideoCodec::Vp9,
        }
    }

    /// The configuration record of what follows (`avcC`, `hvcC`, `av1C`). `None`: its parameter sets come in band.
    pub fn header(&mut self, record: &Bytes) -> Result<Option<VideoFormat>, IntakeError> {
        match &mut self.engine {
            Engine::H264(intake) => {
                let config = h264::Config::parse(record)?;
                intake.set_length_size(config.length_size);
                Ok(Some(h264::format(record)?))
            }
            Engine::H265(intake) => {
                let config = h265::Config::parse(record)?;
                *intake = h265::Intake::new(config.length_size);
                if config.sps.is_empty() { Ok(None) } else { Ok(Some(config.format()?)) }
            }
            Engine::Av1(intake) => Ok(intake.header(record)?),
            Engine::Vpx(_) => Err(vpx::VpxError::NoRecord.into()),
        }
    }

    /// The picture to go on with; `None` where there is none in it, or it is damaged.
    pub fn picture(&mut self, payload: Bytes) -> Option<Picture> {
        match &mut self.engine {
            Engine::H264(intake) => {
                let picture = intake.accept(payload)?;
                Some(Picture { payload: picture.payload, keyframe: picture.idr })
            }
            Engine::H265(intake) => intake.accept(payload),
            Engine::Av1(intake) => intake.accept(&payload),
            Engine::Vpx(intake) => intake.accept(payload),
        }
    }

    /// The format of the parameter sets that were found within pictures, for a track whose header lacks them.
    pub fn in_band(&self) -> Result<Option<VideoFormat>, IntakeError> {
        match &self.engine {
            Engine::H264(intake) => {
                let sets = intake.in_band();
                if sets.sps.is_empty() || sets.pps.is_empty() {
                    return Ok(None);
                }
                let record = h264::config_record(&sets.sps, &sets.pps)?;
                Ok(Some(h264::format(&record)?))
            }
            Engine::H265(intake) => Ok(intake.in_band().map(h265::Config::format).transpose()?),
            Engine::Av1(intake) => Ok(intake.in_band().cloned()),
            Engine::Vpx(intake) => Ok(intake.in_band().cloned()),
        }
    }
}
