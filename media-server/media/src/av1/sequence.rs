//! sequence_header_obu (AV1 specification 5.5): profile, level, size and rate.

use super::Av1Error;
use crate::bits::Bits;
use crate::h264::lowest_rate;

/// What the house wants to know of a sequence header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the specification, independent of each other")]
pub struct Sequence {
    /// seq_profile.
    pub profile: u8,
    /// seq_level_idx of the first operating point.
    pub level: u8,
    /// seq_tier of the first operating point.
    pub high_tier: bool,
    /// Bits a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Only luma.
    pub monochrome: bool,
    /// Chroma has half the columns.
    pub subsampled_x: bool,
    /// Chroma has half the lines.
    pub subsampled_y: bool,
    /// chroma_sample_position.
    pub chroma_position: u8,
    /// The largest width, in pixels.
    pub width: u32,
    /// The largest height, in pixels.
    pub height: u32,
    /// Frames a second, where told and sane.
    pub frame_rate: Option<(u32, u32)>,
}

impl Sequence {
    /// Reads the payload of a sequence header OBU.
    pub fn parse(payload: &[u8]) -> Result<Self, Av1Error> {
        let mut bits = Bits::new(payload);
        let mut sequence = Self::default();
        let still = sequence.read(&mut bits).ok_or(Av1Error::Truncated("the sequence header"))?;
        if still { Err(Av1Error::StillPicture) } else { Ok(sequence) }
    }

    /// RFC 6381 codec string (AV1 in ISO-BMFF 5), e.g. `av01.0.04M.08`.
    pub fn codec(&self) -> String {
        let tier = if self.high_tier { 'H' } else { 'M' };
        format!("av01.{}.{:02}{tier}.{:02}", self.profile, self.level, self.bit_depth)
    }

    /// True for a still picture, of which the rest is not read.
    fn read(&mut self, bits: &mut Bits<'_>) -> Option<bool> {
        self.profile = bits.read(3)? as u8;
        let (_still_picture, reduced) = (bits.bit()?, bits.bit()?);
        if reduced {
            return Some(true);
        }
        let delay_bits = self.timing(bits)?;
        self.operating_points(bits, delay_bits)?;
        let (width_bits, height_bits) = (bits.read(4)?.saturating_add(1), bits.read(4)?.saturating_add(1));
        self.width = bits.read(width_bits)?.saturating_add(1);
        self.height = bits.read(height_bits)?.saturating_add(1);
        if bits.bit()? {
            bits.skip(7)?; // frame id lengths
        }
        bits.skip(3)?; // 128x128 superblocks, filter intra, intra edge filter
        bits.skip(4)?; // interintra, masked, warped, dual filter
        let order_hint = bits.bit()?;
        if order_hint {
            bits.skip(2)?;
        }
        let choose_screen_content = bits.bit()?;
        let screen_content = choose_screen_content || bits.bit()?;
        if screen_content && !bits.bit()? {
            bits.skip(1)?; // seq_force_integer_mv
        }
        if order_hint {
            bits.skip(3)?;
        }
        bits.skip(3)?; // superres, cdef, restoration
        self.colour(bits)?;
        Some(false)
    }

    /// timing_info and decoder_model_info; bits of a buffer delay, 0 where there is no decoder model.
    fn timing(&mut self, bits: &mut Bits<'_>) -> Option<u32> {
        if !bits.bit()? {
            return Some(0);
        }
        let (units, scale) = (bits.read(32)?, bits.read(32)?);
        if bits.bit()? {
            // Every picture lasts so many ticks: only then is a rate told.
            let ticks = u64::from(bits.ue()?).saturating_add(1);
            self.frame_rate = lowest_rate(u64::from(scale), u64::from(units).saturating_mul(ticks));
        }
        if !bits.bit()? {
            return Some(0);
        }
        let delay_bits = bits.read(5)?.saturating_add(1);
        bits.skip(32 + 5 + 5)?;
        Some(delay_bits)
    }

    fn operating_points(&mut self, bits: &mut Bits<'_>, delay_bits: u32) -> Option<()> {
        let initial_delay = bits.bit()?;
        for point in 0..=bits.read(5)? {
            bits.skip(12)?;
            let level = bits.read(5)? as u8;
            let high_tier = level > 7 && bits.bit()?;
            if delay_bits > 0 && bits.bit()? {
                bits.skip((delay_bits as usize).saturating_mul(2).saturating_add(1))?;
            }
            if initial_delay && bits.bit()? {
                bits.skip(4)?;
            }
            if point == 0 {
                (self.level, self.high_tier) = (level, high_tier);
            }
        }
        Some(())
    }

    /// color_config (5.5.2).
    fn colour(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let high = bits.bit()?;
        let twelve = self.profile == 2 && high && bits.bit()?;
        self.bit_depth = if twelve {
            12
        } else if high {
            10
        } else {
            8
        };
        self.monochrome = self.profile != 1 && bits.bit()?;
        let description = if bits.bit()? { [bits.read(8)?, bits.read(8)?, bits.read(8)?] } else { [2, 2, 2] };
        if self.monochrome {
            bits.skip(1)?; // color_range
            (self.subsampled_x, self.subsampled_y) = (true, true);
            return Some(());
        }
        // BT.709 primaries, sRGB transfer, identity matrix.
        if description == [1, 13, 0] {
            return Some(());
        }
        bits.skip(1)?; // color_range
        (self.subsampled_x, self.subsampled_y) = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if twelve => {
                let x = bits.bit()?;
                (x, x && bits.bit()?)
            }
            _ => (true, false),
        };
        if self.subsampled_x && self.subsampled_y {
            self.chroma_position = bits.read(2)? as u8;
        }
        Some(())
    }
}
