//! Video usability information (ITU-T H.265 E.2.1), as far as its timing.

use super::sps::skip_codes;
use crate::bits::Bits;
use crate::h264::lowest_rate;

const EXTENDED_SAR: u32 = 255;

/// Frames a second, where the VUI says so.
pub(super) fn frame_rate(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    if bits.bit()? && bits.read(8)? == EXTENDED_SAR {
        bits.skip(32)?;
    }
    if bits.bit()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if bits.bit()? {
        bits.skip(4)?; // video_format, video_full_range_flag
        if bits.bit()? {
            bits.skip(24)?; // colour description
        }
    }
    if bits.bit()? {
        skip_codes(bits, 2)?; // chroma sample location
    }
    bits.skip(3)?; // neutral_chroma_indication, field_seq, frame_field_info_present
    if bits.bit()? {
        skip_codes(bits, 4)?; // default display window
    }
    if !bits.bit()? {
        return None;
    }
    let units = bits.read(32)?;
    let scale = bits.read(32)?;
    lowest_rate(u64::from(scale), u64::from(units))
}
