//! Access units as elementary streams have them, outside of any container that knows their configuration: NAL units
//! behind start codes with the parameter sets among them (H.264 and H.265, annex B), AAC frames behind ADTS headers
//! (ISO/IEC 13818-7 6.2), Opus packets behind their control headers (ETSI TS 102 366 style, as ffmpeg and Chromium read
//! them). Nothing is copied: a unit is given in pieces.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::{BufMut, Bytes, BytesMut};

use crate::h264::{self, nal_kind, nals};
use crate::unit::{AccessUnit, AudioFormat, Format, VideoFormat};
use crate::{aac, h265};

const START: &[u8] = &[0, 0, 0, 1];
/// Access unit delimiters, behind their start codes: pictures of any kind follow.
const DELIMIT_H264: &[u8] = &[0, 0, 0, 1, 9, 0xf0];
const DELIMIT_HEVC: &[u8] = &[0, 0, 0, 1, 70, 1, 0x50];
/// NAL unit types.
const H264_SPS: u8 = 7;
const H264_DELIMITER: u8 = 9;
const HEVC_DELIMITER: u8 = 35;
/// Bytes of an ADTS header without a checksum.
const ADTS: usize = 7;

/// How a track is coded as an elementary stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// H.264, annex B.
    H264,
    /// H.265, annex B.
    Hevc,
    /// AAC in ADTS frames.
    Adts,
    /// Opus of so many channels.
    Opus(u8),
}

/// Why a track cannot be an elementary stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementaryError {
    /// A codec that no receiver of transport streams knows.
    #[error("{0} has no place in an MPEG transport stream; H.264, HEVC, AAC and Opus have")]
    Codec(String),
    /// Its configuration cannot be read.
    #[error("the configuration of its {0} cannot be read")]
    Configuration(String),
}

/// Makes one track's units into those of an elementary stream.
#[derive(Clone, Debug)]
pub struct Elementary {
    coding: Coding,
    /// Start codes and parameter sets, or the ADTS header of an empty frame.
    head: Bytes,
}

impl Elementary {
    /// Of a track of this format.
    pub fn new(format: &Format) -> Result<Self, ElementaryError> {
        match format {
            Format::Video(video) => Self::video(video),
            Format::Audio(audio) => Self::audio(audio),
        }
    }

    fn video(format: &VideoFormat) -> Result<Self, ElementaryError> {
        let unread = || ElementaryError::Configuration(format.codec.clone());
        let (coding, sets) = match format.codec.get(..4) {
            Some("avc1") => {
                let config = h264::Config::parse(&format.config).map_err(|_| unread())?;
                (Coding::H264, [config.sps, config.pps].concat())
            }
            Some("hvc1" | "hev1") => {
                let config = h265::Config::parse(&format.config).map_err(|_| unread())?;
                (Coding::Hevc, [config.vps, config.sps, config.pps].concat())
            }
            _ => return Err(ElementaryError::Codec(format.codec.clone())),
        };
        let mut head = BytesMut::new();
        for set in sets {
            head.put_slice(START);
            head.put_slice(&set);
        }
        Ok(Self { coding, head: head.freeze() })
    }

    fn audio(format: &AudioFormat) -> Result<Self, ElementaryError> {
        if format.codec == "opus" {
            let channels = u8::try_from(format.channels).unwrap_or(2);
            return Ok(Self { coding: Coding::Opus(channels), head: Bytes::new() });
        }
        let unread = || ElementaryError::Configuration(format.codec.clone());
        if !format.codec.starts_with("mp4a.40.") {
            return Err(ElementaryError::Codec(format.codec.clone()));
        }
        let head = aac::adts_header(&format.config).ok_or_else(unread)?;
        Ok(Self { coding: Coding::Adts, head: Bytes::copy_from_slice(&head) })
    }

    /// How it is coded.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// A unit in pieces. None: it is damaged, or longer than its header can say.
    pub fn pieces(&self, unit: &AccessUnit) -> Option<Vec<Bytes>> {
        match self.coding {
            Coding::H264 => self.picture(unit, DELIMIT_H264, |nal| {
                (nal_kind(nal) == H264_DELIMITER, nal_kind(nal) == H264_SPS)
            }),
            Coding::Hevc => self.picture(unit, DELIMIT_HEVC, |nal| {
                let kind = h265::nal_kind(nal);
                (kind == HEVC_DELIMITER, kind == h265::kind::SPS)
            }),
            Coding::Adts => {
                let length = unit.payload.len().checked_add(ADTS).filter(|length| *length < 1 << 13)?;
                let mut head = *self.head.first_chunk::<ADTS>()?;
                let [_, _, _, high, middle, low, _] = &mut head;
                *high |= (length >> 11) as u8 & 3;
                *middle = (length >> 3) as u8;
                *low |= ((length & 7) << 5) as u8;
                Some(vec![Bytes::copy_from_slice(&head), unit.payload.clone()])
            }
            Coding::Opus(_) => {
                let length = unit.payload.len();
                let mut head = BytesMut::from(&[0x7f, 0xe0][..]);
                head.put_bytes(0xff, length / 255);
                head.put_u8((length % 255) as u8);
                Some(vec![head.freeze(), unit.payload.clone()])
            }
        }
    }

    /// `of`: whether a NAL unit is a delimiter, and whether it is an SPS.
    fn picture(
        &self,
        unit: &AccessUnit,
        delimiter: &'static [u8],
        of: impl Fn(&[u8]) -> (bool, bool),
    ) -> Option<Vec<Bytes>> {
        let mut pieces = vec![Bytes::from_static(delimiter)];
        let mut has_sets = !unit.keyframe;
        let first = pieces.len();
        for nal in nals(&unit.payload, 4) {
            let nal = nal.ok()?;
            let (is_delimiter, is_sps) = of(&nal);
            if is_delimiter {
                continue;
            }
            has_sets |= is_sps;
            pieces.extend([Bytes::from_static(START), nal]);
        }
        if !has_sets {
            pieces.insert(first, self.head.clone());
        }
        Some(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Frames;
    use crate::{Span, Timestamp, opus};

    fn unit(payload: Vec<u8>, keyframe: bool) -> AccessUnit {
        let at = Timestamp::ZERO;
        AccessUnit { dts: at, pts: at, duration: Span::from_millis(20), keyframe, payload: payload.into() }
    }

    fn joined(elementary: &Elementary, unit: &AccessUnit) -> Bytes {
        elementary.pieces(unit).unwrap().concat().into()
    }

    fn audio(codec: &str, config: Bytes) -> Format {
        let codec = codec.to_owned();
        Format::Audio(AudioFormat { codec, sample_rate: 48_000, channels: 2, frame_samples: 1024, config })
    }

    #[test]
    fn aac_frames_are_read_back_with_their_configuration() {
        let config = aac::lc_config(44_100, 2).unwrap();
        let elementary = Elementary::new(&audio("mp4a.40.2", config.clone())).unwrap();
        let mut frames = Frames::adts();
        for length in [1, 300, 8000] {
            frames.push(joined(&elementary, &unit(vec![0x21; length], true)));
            let frame = frames.next().unwrap();
            assert_eq!((frame.payload.len(), &frame.config[..]), (length, &config[..]));
        }
        assert_eq!(frames.skipped(), 0);
        assert!(elementary.pieces(&unit(vec![0; 8190], true)).is_none(), "no header can say this length");
    }

    #[test]
    fn opus_packets_are_read_back() {
        let elementary = Elementary::new(&audio("opus", opus::header(2))).unwrap();
        let both = [vec![3; 10], vec![4; 255], vec![5; 600]];
        let mut all = Bytes::from(
            both.iter().flat_map(|p| joined(&elementary, &unit(p.clone(), true))).collect::<Vec<_>>(),
        );
        for packet in both {
            assert_eq!(opus::split_ts(&mut all).unwrap(), packet);
        }
    }

    #[test]
    fn pictures_have_a_delimiter_and_keyframes_their_parameter_sets() {
        let (sps, pps) = (Bytes::from_static(&[0x67, 1, 2, 3]), Bytes::from_static(&[0x68, 4]));
        let elementary =
            Elementary { coding: Coding::H264, head: [START, &sps, START, &pps].concat().into() };
        let idr = [&[0, 0, 0, 2, 0x65, 9][..]].concat();
        let got = joined(&elementary, &unit(idr.clone(), true));
        assert_eq!(got, [DELIMIT_H264, &elementary.head, START, &[0x65, 9]].concat());
        let nals: Vec<_> = h264::annex_b_nals(&got).collect();
        assert_eq!(nals.len(), 4);
        // Its own sets and delimiter are not doubled; what is no keyframe gets none.
        let own = [&[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x67, 7][..], &idr].concat();
        assert_eq!(
            joined(&elementary, &unit(own, true)),
            [DELIMIT_H264, START, &[0x67, 7], START, &[0x65, 9]].concat()
        );
        let other = joined(&elementary, &unit(vec![0, 0, 0, 2, 0x41, 9], false));
        assert_eq!(other, [DELIMIT_H264, START, &[0x41, 9]].concat());
        assert!(elementary.pieces(&unit(vec![0, 0, 0, 9, 1], false)).is_none(), "damaged");
    }

    #[test]
    fn what_has_no_place_is_named() {
        let format = VideoFormat {
            codec: "av01.0.04M.08".into(),
            width: 64,
            height: 64,
            frame_rate: None,
            config: Bytes::new(),
        };
        let error = Elementary::new(&Format::Video(format)).unwrap_err();
        assert!(error.to_string().starts_with("av01"), "{error}");
        assert!(Elementary::new(&audio("mp4a.40.2", Bytes::new())).is_err());
    }
}
