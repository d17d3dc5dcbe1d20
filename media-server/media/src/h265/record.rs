//! HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1): read and written.

use bytes::{BufMut, Bytes, BytesMut};

use super::{H265Error, Sps, kind, nal_kind, sps};
use crate::unit::VideoFormat;

/// Parameter sets of one kind kept at most; real streams have one or two.
const MOST_SETS: usize = 64;

/// The parameter sets of a stream, NAL headers included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a NAL length in the access units: 1, 2 or 4.
    pub length_size: u8,
    /// Video parameter sets.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
}

fn take(rest: &mut Bytes, count: usize) -> Result<Bytes, H265Error> {
    if rest.len() < count { Err(H265Error::Truncated("a parameter set")) } else { Ok(rest.split_to(count)) }
}

fn u16_of(rest: &mut Bytes) -> Result<usize, H265Error> {
    let bytes = take(rest, 2)?;
    Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

impl Config {
    /// Reads a record. Which sets there must be is [`Config::format`]'s to say: the rest may come in band.
    pub fn parse(record: &Bytes) -> Result<Self, H265Error> {
        let version = *record.first().ok_or(H265Error::Truncated("its header"))?;
        if version != 1 {
            return Err(H265Error::Version(version));
        }
        let mut rest = record.clone();
        let head =
            if rest.len() < 23 { Err(H265Error::Truncated("its header")) } else { Ok(rest.split_to(23)) }?;
        let byte = |at: usize| head.get(at).copied().unwrap_or_default();
        let length_size = (byte(21) & 0x03).saturating_add(1);
        if length_size == 3 {
            return Err(H265Error::LengthSize(length_size));
        }
        let mut config = Self { length_size, ..Self::default() };
        for _ in 0..byte(22) {
            take(&mut rest, 1)?; // The sets' own headers say what they are.
            for _ in 0..u16_of(&mut rest)? {
                let length = u16_of(&mut rest)?;
                config.note(&take(&mut rest, length)?);
            }
        }
        Ok(config)
    }

    /// Keeps `nal` if it is a parameter set; true where it is.
    pub(super) fn note(&mut self, nal: &Bytes) -> bool {
        let list = match nal_kind(nal) {
            kind::VPS => &mut self.vps,
            kind::SPS => &mut self.sps,
            kind::PPS => &mut self.pps,
            _ => return false,
        };
        if list.len() < MOST_SETS {
            list.push(nal.clone());
        }
        true
    }

    /// Nothing is known yet.
    pub(super) fn is_whole(&self) -> bool {
        !self.vps.is_empty() && !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The format that these sets describe; its record announces lengths of 4 bytes.
    pub fn format(&self) -> Result<VideoFormat, H265Error> {
        if self.vps.is_empty() {
            return Err(H265Error::Missing("VPS"));
        }
        if self.pps.is_empty() {
            return Err(H265Error::Missing("PPS"));
        }
        let read = sps(self.sps.first().ok_or(H265Error::Missing("SPS"))?)?;
        Ok(VideoFormat {
            codec: read.profile.codec(),
            width: read.width,
            height: read.height,
            frame_rate: read.frame_rate,
            config: self.record(&read)?,
        })
    }

    fn record(&self, sps: &Sps) -> Result<Bytes, H265Error> {
        let mut out = BytesMut::with_capacity(128);
        out.put_slice(&[1, sps.profile.space_tier_idc]);
        out.put_u32(sps.profile.compatibility);
        out.put_slice(&sps.profile.constraints);
        out.put_u8(sps.profile.level);
        out.put_u16(0xf000); // min_spatial_segmentation_idc: not told
        out.put_u8(0xfc); // parallelismType: not told
        out.put_u8(0xfc | (sps.chroma_format & 0x03));
        out.put_u8(0xf8 | (sps.bit_depth_luma.saturating_sub(8) & 0x07));
        out.put_u8(0xf8 | (sps.bit_depth_chroma.saturating_sub(8) & 0x07));
        out.put_u16(0); // avgFrameRate: not told
        out.put_u8((sps.temporal_layers & 0x07) << 3 | u8::from(sps.temporal_nesting) << 2 | 0x03);
        out.put_u8(3);
        for (kind, sets) in [(kind::VPS, &self.vps), (kind::SPS, &self.sps), (kind::PPS, &self.pps)] {
            // array_completeness: all of them are here.
            out.put_u8(0x80 | kind);
            out.put_u16(u16::try_from(sets.len()).map_err(|_| H265Error::TooMany)?);
            for set in sets {
                out.put_u16(u16::try_from(set.len()).map_err(|_| H265Error::TooMany)?);
                out.put_slice(set);
            }
        }
        Ok(out.freeze())
    }
}

/// The format that a configuration record describes.
pub fn format(record: &Bytes) -> Result<VideoFormat, H265Error> {
    Config::parse(record)?.format()
}
