//! H.265 (HEVC) as the house carries it: the configuration record in, `VideoFormat` and codec string out; NAL units of
//! length-prefixed access units (ISO/IEC 14496-15 8.3).
//!
//! Nothing here decodes pictures. Parameter sets that come in band are taken into the record: samples are `hvc1`.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod intake;
mod record;
mod references;
mod sps;
mod vui;

pub use intake::Intake;
pub use record::{Config, format};
pub use sps::{Sps, sps};

/// NAL unit types (ITU-T H.265 table 7-1) that the house looks at.
pub(crate) mod kind {
    /// The last of the coded slice segments.
    pub(crate) const LAST_SLICE: u8 = 31;
    /// Where decoding can begin: BLA, IDR and CRA pictures.
    pub(crate) const IRAP: std::ops::RangeInclusive<u8> = 16..=21;
    /// Video parameter set.
    pub(crate) const VPS: u8 = 32;
    /// Sequence parameter set.
    pub(crate) const SPS: u8 = 33;
    /// Picture parameter set.
    pub(crate) const PPS: u8 = 34;
}

/// nal_unit_type of a NAL unit (7.3.1.2); reserved 63 for an empty one.
pub(crate) fn nal_kind(nal: &[u8]) -> u8 {
    nal.first().map_or(63, |byte| (byte >> 1) & 0x3f)
}

/// Why an HEVC configuration cannot be used. Each text says what the broadcaster can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum H265Error {
    /// Fewer bytes than announced.
    #[error("HEVC configuration ends early, in {0}")]
    Truncated(&'static str),
    /// configurationVersion other than 1.
    #[error("HEVC configuration version {0}, only version 1 exists; the payload is not a sequence header")]
    Version(u8),
    /// lengthSizeMinusOne of 2 is not allowed.
    #[error("HEVC NAL length size of {0} bytes; 1, 2 or 4 are possible")]
    LengthSize(u8),
    /// A parameter set is missing.
    #[error("HEVC configuration without {0}: pictures cannot be decoded; restart the encoder's video")]
    Missing(&'static str),
    /// More or longer parameter sets than a record can hold.
    #[error("HEVC parameter sets do not fit a configuration record")]
    TooMany,
    /// A field out of the range that the standard gives it.
    #[error("HEVC SPS: {field} is {value}, out of range")]
    OutOfRange {
        /// The standard's name of the field.
        field: &'static str,
        /// What was read.
        value: u32,
    },
    /// Cropping leaves no picture.
    #[error("HEVC SPS: the conformance window leaves no picture of {width}x{height}")]
    Cropping {
        /// Coded width before cropping.
        width: u32,
        /// Coded height before cropping.
        height: u32,
    },
}

#[cfg(test)]
mod tests;
