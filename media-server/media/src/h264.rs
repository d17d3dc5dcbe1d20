//! H.264 as the house carries it: parameter sets in, `VideoFormat` and codec string out; NAL units of
//! length-prefixed access units (ISO/IEC 14496-15 5.3), and Annex B (ITU-T H.264 B.1) turned into them.
//!
//! Nothing here decodes pictures. Reading a config fails with a reason a broadcaster can act on; reading an access
//! unit never fails, it answers what to keep and what was repaired ([`Intake`]).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod annexb;
mod intake;
mod level;
mod nal;
mod record;
mod sps;
mod vui;

pub use annexb::{annex_b_nals, from_annex_b};
pub use intake::{Damages, Intake, Picture};
pub use level::level_of;
pub(crate) use nal::widen;
pub use nal::{Damaged, Nals, ParameterSets, is_idr, kind, nal_kind, nals, parameter_sets};
pub use record::{Config, config_record, format};
pub use sps::{Colour, Sps, sps};
pub(crate) use vui::lowest_rate;

/// Why an H.264 configuration cannot be used. Each text says what the broadcaster can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum H264Error {
    /// Fewer bytes than the record announces.
    #[error("H.264 configuration ends early, in {0}")]
    Truncated(&'static str),
    /// configurationVersion other than 1.
    #[error(
        "H.264 configuration version {0}, only version 1 exists; the payload is not an AVC sequence header"
    )]
    Version(u8),
    /// lengthSizeMinusOne of 2 is not allowed (ISO/IEC 14496-15 5.3.3.1.2).
    #[error("H.264 NAL length size of {0} bytes; 1, 2 or 4 are possible")]
    LengthSize(u8),
    /// No sequence parameter set.
    #[error(
        "H.264 configuration without SPS: the size of the picture is unknown; restart the encoder's video"
    )]
    MissingSps,
    /// No picture parameter set.
    #[error("H.264 configuration without PPS: pictures cannot be decoded; restart the encoder's video")]
    MissingPps,
    /// More or longer parameter sets than a record can hold.
    #[error("H.264 parameter sets do not fit a configuration record: {0}")]
    TooMany(&'static str),
    /// The NAL unit in the place of an SPS is something else.
    #[error("NAL unit of type {0} where an SPS (7) should be")]
    NotSps(u8),
    /// A field out of the range that the standard gives it.
    #[error("H.264 SPS: {field} is {value}, out of range")]
    OutOfRange {
        /// The standard's name of the field.
        field: &'static str,
        /// What was read.
        value: u32,
    },
    /// Cropping leaves no picture.
    #[error("H.264 SPS: cropping leaves no picture of {width}x{height}")]
    Cropping {
        /// Coded width before cropping.
        width: u32,
        /// Coded height before cropping.
        height: u32,
    },
}

#[cfg(test)]
mod tests;
