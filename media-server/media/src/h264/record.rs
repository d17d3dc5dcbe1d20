//! AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1): read and written.

use bytes::{BufMut, Bytes, BytesMut};

use super::nal::{kind, nal_kind};
use super::{H264Error, Sps, sps};
use crate::unit::VideoFormat;

/// Profiles whose records carry chroma format and bit depths (ISO/IEC 14496-15 5.3.3.1.2).
const WITH_CHROMA: [u8; 4] = [100, 110, 122, 144];

/// The fields of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of a NAL length in the access units: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, at least one.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, at least one.
    pub pps: Vec<Bytes>,
}

/// Cuts `count` bytes off the front.
fn take(rest: &mut Bytes, count: usize, part: &'static str) -> Result<Bytes, H264Error> {
    if rest.len() < count { Err(H264Error::Truncated(part)) } else { Ok(rest.split_to(count)) }
}

fn byte(rest: &mut Bytes, part: &'static str) -> Result<u8, H264Error> {
    take(rest, 1, part)?.first().copied().ok_or(H264Error::Truncated(part))
}

/// `count` parameter sets, each behind a length of 16 bits; empty ones are left out.
fn sets(rest: &mut Bytes, count: u8, part: &'static str) -> Result<Vec<Bytes>, H264Error> {
    let mut out = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let high = byte(rest, part)?;
        let low = byte(rest, part)?;
        let set = take(rest, usize::from(u16::from_be_bytes([high, low])), part)?;
        if !set.is_empty() {
            out.push(set);
        }
    }
    Ok(out)
}

impl Config {
    /// Reads a record. What follows its picture parameter sets is not looked at: encoders disagree about it.
    pub fn parse(record: &Bytes) -> Result<Self, H264Error> {
        let mut rest = record.clone();
        let version = byte(&mut rest, "its header")?;
        if version != 1 {
            return Err(H264Error::Version(version));
        }
        take(&mut rest, 3, "its header")?;
        let length_size = (byte(&mut rest, "its header")? & 0x03).saturating_add(1);
        if length_size == 3 {
            return Err(H264Error::LengthSize(length_size));
        }
        let count = byte(&mut rest, "its header")? & 0x1f;
        let sps = sets(&mut rest, count, "an SPS")?;
        if sps.is_empty() {
            return Err(H264Error::MissingSps);
        }
        let count = byte(&mut rest, "the number of PPS")?;
        let pps = sets(&mut rest, count, "a PPS")?;
        if pps.is_empty() {
            return Err(H264Error::MissingPps);
        }
        Ok(Self { length_size, sps, pps })
    }

    /// The first sequence parameter set, read.
    pub fn sps(&self) -> Result<Sps, H264Error> {
        sps(self.sps.first().ok_or(H264Error::MissingSps)?)
    }
}

/// The format that a configuration record describes. The record in the answer announces lengths of 4 bytes, as
/// every payload in the house has them ([`super::Intake`]).
pub fn format(record: &Bytes) -> Result<VideoFormat, H264Error> {
    let config = Config::parse(record)?;
    let sps = config.sps()?;
    let record =
        if config.length_size == 4 { record.clone() } else { config_record(&config.sps, &config.pps)? };
    Ok(VideoFormat {
        codec: sps.codec(),
        width: sps.width,
        height: sps.height,
        frame_rate: sps.frame_rate,
        config: record,
    })
}

/// Writes the record of these parameter sets (NAL headers included), for payloads with lengths of 4 bytes.
pub fn config_record(sps_list: &[Bytes], pps_list: &[Bytes]) -> Result<Bytes, H264Error> {
    let first = sps_list.first().ok_or(H264Error::MissingSps)?;
    if pps_list.is_empty() {
        return Err(H264Error::MissingPps);
    }
    let parsed = sps(first)?;
    let sps_count = u8::try_from(sps_list.len()).ok().filter(|count| *count <= 31);
    let pps_count = u8::try_from(pps_list.len()).ok();
    let (Some(sps_count), Some(pps_count)) = (sps_count, pps_count) else {
        return Err(H264Error::TooMany("more than 31 SPS or 255 PPS"));
    };
    let mut out = BytesMut::with_capacity(64);
    out.put_slice(&[1, parsed.profile, parsed.constraints, parsed.level, 0xff, 0xe0 | sps_count]);
    put_sets(&mut out, sps_list)?;
    out.put_u8(pps_count);
    put_sets(&mut out, pps_list)?;
    if WITH_CHROMA.contains(&parsed.profile) {
        let luma = parsed.bit_depth_luma.saturating_sub(8) & 0x07;
        let chroma = parsed.bit_depth_chroma.saturating_sub(8) & 0x07;
        out.put_slice(&[0xfc | (parsed.chroma_format & 0x03), 0xf8 | luma, 0xf8 | chroma, 0]);
    }
    Ok(out.freeze())
}

fn put_sets(out: &mut BytesMut, sets: &[Bytes]) -> Result<(), H264Error> {
    for set in sets {
        if !matches!(nal_kind(set), kind::SPS | kind::PPS) {
            return Err(H264Error::NotSps(nal_kind(set)));
        }
        let length =
            u16::try_from(set.len()).map_err(|_| H264Error::TooMany("one is longer than 65535 bytes"))?;
        out.put_u16(length);
        out.put_slice(set);
    }
    Ok(())
}
