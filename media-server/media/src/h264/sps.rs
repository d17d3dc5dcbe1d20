//! Sequence parameter set (ITU-T H.264 7.3.2.1.1): size, profile, and what its VUI says about time.

use super::H264Error;
use super::nal::{kind, nal_kind};
use super::vui::{Vui, vui};
use crate::bits::{Bits, unescape};

/// Macroblocks along one side at level 6.2 (table A-1: sqrt(8 * MaxFS)).
const MAX_MACROBLOCKS: u32 = 1055;

/// Profiles that carry chroma format, bit depths and scaling lists (7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What the house wants to know of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile: u8,
    /// The constraint_set flags and reserved bits, as one byte.
    pub constraints: u8,
    /// level_idc.
    pub level: u8,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits a luma sample.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample.
    pub bit_depth_chroma: u8,
    /// Width after cropping, in pixels.
    pub width: u32,
    /// Height after cropping, in pixels.
    pub height: u32,
    /// False where fields or MBAFF may be coded (interlaced).
    pub progressive: bool,
    /// max_num_ref_frames.
    pub reference_frames: u32,
    /// Sample aspect ratio, where told.
    pub sample_aspect: Option<(u32, u32)>,
    /// Frames a second as (numerator, denominator) in lowest terms, where told and sane.
    pub frame_rate: Option<(u32, u32)>,
    /// fixed_frame_rate_flag.
    pub fixed_frame_rate: bool,
    /// max_num_reorder_frames, where told; 0 means no B-frames.
    pub reorder_frames: Option<u32>,
    /// Colour description, where told.
    pub colour: Option<Colour>,
}

/// Colour description (ITU-T H.264 E.2.1, code points of H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// colour_primaries.
    pub primaries: u8,
    /// transfer_characteristics.
    pub transfer: u8,
    /// matrix_coefficients.
    pub matrix: u8,
    /// video_full_range_flag.
    pub full_range: bool,
}

impl Sps {
    /// RFC 6381 codec string, e.g. `avc1.64001f`.
    pub fn codec(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile, self.constraints, self.level)
    }
}

fn end() -> H264Error {
    H264Error::Truncated("the SPS")
}

/// Reads ue(v) and checks it against the standard's range.
fn bounded(bits: &mut Bits<'_>, field: &'static str, max: u32) -> Result<u32, H264Error> {
    let value = bits.ue().ok_or_else(end)?;
    if value > max { Err(H264Error::OutOfRange { field, value }) } else { Ok(value) }
}

fn flag(bits: &mut Bits<'_>) -> Result<bool, H264Error> {
    bits.bit().ok_or_else(end)
}

/// Reads an SPS NAL unit (header included). A damaged VUI costs what the VUI says, not the SPS.
pub fn sps(nal: &[u8]) -> Result<Sps, H264Error> {
    let (Some(header), Some(body)) = (nal.first(), nal.get(1..)) else { return Err(end()) };
    if nal_kind(nal) != kind::SPS {
        return Err(H264Error::NotSps(header & 0x1f));
    }
    let body = unescape(body);
    let mut bits = Bits::new(&body);
    let mut byte = || bits.read(8).and_then(|value| u8::try_from(value).ok()).ok_or_else(end);
    let (profile, constraints, level) = (byte()?, byte()?, byte()?);
    bounded(&mut bits, "seq_parameter_set_id", 31)?;
    let chroma = if HIGH_PROFILES.contains(&profile) { chroma(&mut bits)? } else { Chroma::default() };
    bounded(&mut bits, "log2_max_frame_num_minus4", 12)?;
    picture_order(&mut bits)?;
    let reference_frames = bounded(&mut bits, "max_num_ref_frames", 16)?;
    flag(&mut bits)?; // gaps_in_frame_num_value_allowed_flag
    let columns = bounded(&mut bits, "pic_width_in_mbs_minus1", MAX_MACROBLOCKS.saturating_sub(1))?;
    let rows = bounded(&mut bits, "pic_height_in_map_units_minus1", MAX_MACROBLOCKS.saturating_sub(1))?;
    let progressive = flag(&mut bits)?;
    if !progressive {
        flag(&mut bits)?; // mb_adaptive_frame_field_flag
    }
    flag(&mut bits)?; // direct_8x8_inference_flag
    let fields = if progressive { 1 } else { 2 };
    let width = columns.saturating_add(1).saturating_mul(16);
    let height = rows.saturating_add(1).saturating_mul(16).saturating_mul(fields);
    let (width, height) =
        if flag(&mut bits)? { crop(&mut bits, &chroma, fields, width, height)? } else { (width, height) };
    let told = match bits.bit() {
        Some(true) => vui(&mut bits),
        _ => Vui::default(),
    };
    Ok(Sps {
        profile,
        constraints,
        level,
        chroma_format: chroma.format,
        bit_depth_luma: chroma.luma_depth,
        bit_depth_chroma: chroma.depth,
        width,
        height,
        progressive,
        reference_frames,
        sample_aspect: told.sample_aspect,
        frame_rate: told.frame_rate,
        fixed_frame_rate: told.fixed_frame_rate,
        reorder_frames: told.reorder_frames,
        colour: told.colour,
    })
}

struct Chroma {
    format: u8,
    separate_planes: bool,
    luma_depth: u8,
    depth: u8,
}

impl Default for Chroma {
    fn default() -> Self {
        Self { format: 1, separate_planes: false, luma_depth: 8, depth: 8 }
    }
}

fn chroma(bits: &mut Bits<'_>) -> Result<Chroma, H264Error> {
    let format = bounded(bits, "chroma_format_idc", 3)?;
    let separate_planes = format == 3 && flag(bits)?;
    let luma = bounded(bits, "bit_depth_luma_minus8", 6)?;
    let depth = bounded(bits, "bit_depth_chroma_minus8", 6)?;
    flag(bits)?; // qpprime_y_zero_transform_bypass_flag
    if flag(bits)? {
        let lists: u32 = if format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if flag(bits)? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(Chroma {
        format: format as u8,
        separate_planes,
        luma_depth: (luma as u8).saturating_add(8),
        depth: (depth as u8).saturating_add(8),
    })
}

/// Steps over a scaling list (7.3.2.1.1.1).
fn scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), H264Error> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..size {
        if next != 0 {
            let delta = bits.se().ok_or_else(end)?;
            next = last.saturating_add(delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

fn picture_order(bits: &mut Bits<'_>) -> Result<(), H264Error> {
    match bounded(bits, "pic_order_cnt_type", 2)? {
        0 => {
            bounded(bits, "log2_max_pic_order_cnt_lsb_minus4", 12)?;
        }
        1 => {
            flag(bits)?; // delta_pic_order_always_zero_flag
            bits.se().ok_or_else(end)?; // offset_for_non_ref_pic
            bits.se().ok_or_else(end)?; // offset_for_top_to_bottom_field
            for _ in 0..bounded(bits, "num_ref_frames_in_pic_order_cnt_cycle", 255)? {
                bits.se().ok_or_else(end)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn crop(
    bits: &mut Bits<'_>,
    chroma: &Chroma,
    fields: u32,
    width: u32,
    height: u32,
) -> Result<(u32, u32), H264Error> {
    let mut edge = || bits.ue().ok_or_else(end);
    let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
    // Table 6-1: cropping counts in chroma samples.
    let (unit_x, unit_y) = match (chroma.format, chroma.separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let across = left.saturating_add(right).saturating_mul(unit_x);
    let down = top.saturating_add(bottom).saturating_mul(unit_y).saturating_mul(fields);
    match (width.checked_sub(across), height.checked_sub(down)) {
        (Some(w), Some(h)) if w > 0 && h > 0 => Ok((w, h)),
        _ => Err(H264Error::Cropping { width, height }),
    }
}
