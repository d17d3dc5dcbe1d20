//! AV1CodecConfigurationRecord (AV1 in ISO-BMFF 2.3): read and written.

use bytes::{BufMut, Bytes, BytesMut};

use super::obu::{kind, obus};
use super::{Av1Error, Sequence};
use crate::unit::VideoFormat;

/// The format that a configuration record describes; `None` where its sequence header comes in band.
pub fn format(record: &Bytes) -> Result<Option<VideoFormat>, Av1Error> {
    let first = *record.first().ok_or(Av1Error::Truncated("its header"))?;
    if first != 0x81 {
        return Err(Av1Error::Version(first));
    }
    if record.len() < 4 {
        return Err(Av1Error::Truncated("its header"));
    }
    in_band(&record.slice(4..)).transpose()
}

/// The format of the first sequence header among these units.
pub(super) fn in_band(units: &Bytes) -> Option<Result<VideoFormat, Av1Error>> {
    let header = obus(units).map_while(|obu| obu).find(|obu| obu.kind == kind::SEQUENCE_HEADER)?;
    Some(Sequence::parse(&header.payload).map(|sequence| VideoFormat {
        codec: sequence.codec(),
        width: sequence.width,
        height: sequence.height,
        frame_rate: sequence.frame_rate,
        config: record(&sequence, &header.payload),
    }))
}

fn record(sequence: &Sequence, header: &[u8]) -> Bytes {
    let flags = [
        sequence.high_tier,
        sequence.bit_depth > 8,
        sequence.bit_depth > 10,
        sequence.monochrome,
        sequence.subsampled_x,
        sequence.subsampled_y,
    ];
    let flags = flags.iter().fold(0_u8, |byte, flag| (byte << 1) | u8::from(*flag));
    let mut out = BytesMut::with_capacity(header.len().saturating_add(8));
    out.put_u8(0x81);
    out.put_u8(sequence.profile << 5 | (sequence.level & 0x1f));
    out.put_u8(flags << 2 | (sequence.chroma_position & 0x03));
    out.put_u8(0); // no initial presentation delay
    // The header again, always with a size.
    out.put_u8(kind::SEQUENCE_HEADER << 3 | 0x02);
    let mut size = header.len();
    while size > 0x7f {
        out.put_u8((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    out.put_u8(size as u8);
    out.put_slice(header);
    out.freeze()
}
