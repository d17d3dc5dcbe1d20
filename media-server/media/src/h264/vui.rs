//! Video usability information (ITU-T H.264 E.1.1): aspect, colour, timing, reordering.

use super::sps::Colour;
use crate::bits::Bits;

/// Sample aspect ratios by aspect_ratio_idc (table E-1).
const ASPECTS: [(u32, u32); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
const EXTENDED_SAR: u32 = 255;

/// What was readable of a VUI.
#[derive(Debug, Default)]
pub(super) struct Vui {
    pub(super) sample_aspect: Option<(u32, u32)>,
    pub(super) colour: Option<Colour>,
    pub(super) frame_rate: Option<(u32, u32)>,
    pub(super) fixed_frame_rate: bool,
    pub(super) reorder_frames: Option<u32>,
}

/// Reads as far as the bits go: each field stands on its own.
pub(super) fn vui(bits: &mut Bits<'_>) -> Vui {
    let mut out = Vui::default();
    // The end of the bits ends the reading; what was read before it stays.
    let _whole: Option<()> = fields(bits, &mut out);
    out
}

fn fields(bits: &mut Bits<'_>, out: &mut Vui) -> Option<()> {
    if bits.bit()? {
        let aspect = match bits.read(8)? {
            EXTENDED_SAR => (bits.read(16)?, bits.read(16)?),
            index => usize::try_from(index).ok().and_then(|i| ASPECTS.get(i).copied()).unwrap_or_default(),
        };
        out.sample_aspect = Some(aspect).filter(|(w, h)| *w > 0 && *h > 0);
    }
    if bits.bit()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if bits.bit()? {
        bits.skip(3)?; // video_format
        let full_range = bits.bit()?;
        let mut colour = Colour { primaries: 2, transfer: 2, matrix: 2, full_range };
        if bits.bit()? {
            colour.primaries = bits.read(8)? as u8;
            colour.transfer = bits.read(8)? as u8;
            colour.matrix = bits.read(8)? as u8;
        }
        out.colour = Some(colour);
    }
    if bits.bit()? {
        bits.ue()?; // chroma_sample_loc_type_top_field
        bits.ue()?; // chroma_sample_loc_type_bottom_field
    }
    if bits.bit()? {
        let units = bits.read(32)?;
        let scale = bits.read(32)?;
        out.fixed_frame_rate = bits.bit()?;
        out.frame_rate = frame_rate(units, scale);
    }
    let nal_hrd = bits.bit()?;
    if nal_hrd {
        hrd(bits)?;
    }
    let vcl_hrd = bits.bit()?;
    if vcl_hrd {
        hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.skip(1)?; // low_delay_hrd_flag
    }
    bits.skip(1)?; // pic_struct_present_flag
    if bits.bit()? {
        bits.skip(1)?; // motion_vectors_over_pic_boundaries_flag
        for _ in 0..4 {
            bits.ue()?; // max_bytes_per_pic_denom … log2_max_mv_length_vertical
        }
        out.reorder_frames = Some(bits.ue()?).filter(|frames| *frames <= 16);
    }
    Some(())
}

/// Steps over hrd_parameters (E.1.2).
fn hrd(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.ue().filter(|count| *count <= 31)?;
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

/// time_scale counts fields: a frame lasts 2 * num_units_in_tick.
fn frame_rate(units: u32, scale: u32) -> Option<(u32, u32)> {
    lowest_rate(u64::from(scale), u64::from(units).checked_mul(2)?)
}

/// A frame rate in lowest terms; between 0.1 and 1000 a second, or not told.
pub(crate) fn lowest_rate(numerator: u64, denominator: u64) -> Option<(u32, u32)> {
    let slow = numerator.checked_mul(10)? < denominator;
    let fast = numerator > denominator.checked_mul(1000)?;
    if denominator == 0 || slow || fast {
        return None;
    }
    let divisor = gcd(numerator, denominator);
    let lowest = |value: u64| value.checked_div(divisor).and_then(|v| u32::try_from(v).ok());
    Some((lowest(numerator)?, lowest(denominator)?))
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}
