//! Sequence parameter set (ITU-T H.265 7.3.2.2): size, profile, and what its VUI says about time.

use super::references::step_over_reference_sets;
use super::{H265Error, kind, nal_kind};
use crate::bits::{Bits, unescape};

/// The largest picture of level 6.2 has no side longer than sqrt(8 * MaxLumaPs) (table A.8).
const MAX_SIDE: u32 = 16_888;

/// general_profile_space to general_level_idc (7.3.3), as the record and the codec string repeat them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// general_profile_space, general_tier_flag and general_profile_idc, as one byte.
    pub(super) space_tier_idc: u8,
    /// general_profile_compatibility_flag, the first one highest.
    pub(super) compatibility: u32,
    /// The 48 bits of constraint flags.
    pub(super) constraints: [u8; 6],
    /// general_level_idc: 30 times the level.
    pub(super) level: u8,
}

impl Profile {
    /// RFC 6381 codec string (ISO/IEC 14496-15 E.3), e.g. `hvc1.1.6.L93.B0`.
    pub(super) fn codec(&self) -> String {
        let space = match self.space_tier_idc >> 6 {
            1 => "A",
            2 => "B",
            3 => "C",
            _ => "",
        };
        let tier = if self.space_tier_idc & 0x20 == 0 { 'L' } else { 'H' };
        let idc = self.space_tier_idc & 0x1f;
        let mut text =
            format!("hvc1.{space}{idc}.{:X}.{tier}{}", self.compatibility.reverse_bits(), self.level);
        let used =
            self.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
        for byte in self.constraints.iter().take(used) {
            text = format!("{text}.{byte:X}");
        }
        text
    }
}

/// What the house wants to know of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Profile, tier and level.
    pub profile: Profile,
    /// sps_max_sub_layers_minus1 + 1.
    pub temporal_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub temporal_nesting: bool,
    /// chroma_format_idc: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits a luma sample.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample.
    pub bit_depth_chroma: u8,
    /// Width within the conformance window, in pixels.
    pub width: u32,
    /// Height within the conformance window, in pixels.
    pub height: u32,
    /// Frames a second as (numerator, denominator) in lowest terms, where told and sane.
    pub frame_rate: Option<(u32, u32)>,
}

fn end() -> H265Error {
    H265Error::Truncated("the SPS")
}

fn bounded(bits: &mut Bits<'_>, field: &'static str, max: u32) -> Result<u32, H265Error> {
    let value = bits.ue().ok_or_else(end)?;
    if value > max { Err(H265Error::OutOfRange { field, value }) } else { Ok(value) }
}

/// Reads an SPS NAL unit (header included). What cannot be read behind the picture's size costs the frame rate only.
pub fn sps(nal: &[u8]) -> Result<Sps, H265Error> {
    if nal_kind(nal) != kind::SPS {
        return Err(H265Error::Missing("SPS"));
    }
    let body = unescape(nal.get(2..).unwrap_or_default());
    let mut bits = Bits::new(&body);
    bits.skip(4).ok_or_else(end)?; // sps_video_parameter_set_id
    let sub_layers = bits.read(3).ok_or_else(end)?.min(6);
    let temporal_nesting = bits.bit().ok_or_else(end)?;
    let profile = profile(&mut bits, sub_layers).ok_or_else(end)?;
    bounded(&mut bits, "sps_seq_parameter_set_id", 15)?;
    let chroma_format = bounded(&mut bits, "chroma_format_idc", 3)?;
    let separate_planes = chroma_format == 3 && bits.bit().ok_or_else(end)?;
    let width = bounded(&mut bits, "pic_width_in_luma_samples", MAX_SIDE)?;
    let height = bounded(&mut bits, "pic_height_in_luma_samples", MAX_SIDE)?;
    let (width, height) = if bits.bit().ok_or_else(end)? {
        window(&mut bits, chroma_format, separate_planes, width, height)?
    } else {
        (width, height)
    };
    if width == 0 || height == 0 {
        return Err(H265Error::Cropping { width, height });
    }
    let luma = bounded(&mut bits, "bit_depth_luma_minus8", 8)?;
    let chroma = bounded(&mut bits, "bit_depth_chroma_minus8", 8)?;
    let frame_rate = frame_rate(&mut bits, sub_layers, chroma_format);
    Ok(Sps {
        profile,
        temporal_layers: (sub_layers as u8).saturating_add(1),
        temporal_nesting,
        chroma_format: chroma_format as u8,
        bit_depth_luma: (luma as u8).saturating_add(8),
        bit_depth_chroma: (chroma as u8).saturating_add(8),
        width,
        height,
        frame_rate,
    })
}

/// profile_tier_level(1, …) (7.3.3).
fn profile(bits: &mut Bits<'_>, sub_layers: u32) -> Option<Profile> {
    let space_tier_idc = bits.read(8)? as u8;
    let compatibility = bits.read(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.read(8)? as u8;
    }
    let level = bits.read(8)? as u8;
    let mut present = [(false, false); 6];
    for layer in present.iter_mut().take(sub_layers as usize) {
        *layer = (bits.bit()?, bits.bit()?);
    }
    if sub_layers > 0 {
        bits.skip((8_usize.saturating_sub(sub_layers as usize)).saturating_mul(2))?;
    }
    for (has_profile, has_level) in present {
        bits.skip(if has_profile { 88 } else { 0 })?;
        bits.skip(if has_level { 8 } else { 0 })?;
    }
    Some(Profile { space_tier_idc, compatibility, constraints, level })
}

fn window(
    bits: &mut Bits<'_>,
    chroma_format: u32,
    separate_planes: bool,
    width: u32,
    height: u32,
) -> Result<(u32, u32), H265Error> {
    let mut edge = || bits.ue().ok_or_else(end);
    let (left, right, top, bottom) = (edge()?, edge()?, edge()?, edge()?);
    // Table 6-1: the window counts in chroma samples.
    let (unit_x, unit_y) = match (chroma_format, separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let across = left.saturating_add(right).saturating_mul(unit_x);
    let down = top.saturating_add(bottom).saturating_mul(unit_y);
    match (width.checked_sub(across), height.checked_sub(down)) {
        (Some(w), Some(h)) if w > 0 && h > 0 => Ok((w, h)),
        _ => Err(H265Error::Cropping { width, height }),
    }
}

/// Steps from behind the bit depths to the VUI's timing.
fn frame_rate(bits: &mut Bits<'_>, sub_layers: u32, chroma_format: u32) -> Option<(u32, u32)> {
    let poc_bits = bits.ue().filter(|value| *value <= 12)?.saturating_add(4);
    let each_layer = bits.bit()?;
    for _ in 0..=(if each_layer { sub_layers } else { 0 }) {
        skip_codes(bits, 3)?;
    }
    skip_codes(bits, 6)?; // block sizes and transform depths
    if bits.bit()? && bits.bit()? {
        scaling_lists(bits, chroma_format)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.bit()? {
        bits.skip(8)?;
        skip_codes(bits, 2)?;
        bits.skip(1)?;
    }
    step_over_reference_sets(bits)?;
    if bits.bit()? {
        for _ in 0..bits.ue().filter(|count| *count <= 32)? {
            bits.skip(poc_bits as usize)?;
            bits.skip(1)?;
        }
    }
    bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if bits.bit()? { super::vui::frame_rate(bits) } else { None }
}

/// Steps over ue(v) codes.
pub(super) fn skip_codes(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| bits.ue().map(drop))
}

/// scaling_list_data (7.3.4).
fn scaling_lists(bits: &mut Bits<'_>, chroma_format: u32) -> Option<()> {
    for size in 0..4_u32 {
        let step = if size == 3 && chroma_format != 3 { 3 } else { 1 };
        for _ in (0..6).step_by(step) {
            if !bits.bit()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            let coefficients = if size == 0 { 16 } else { 64 };
            for _ in 0..coefficients {
                bits.se()?;
            }
        }
    }
    Some(())
}
