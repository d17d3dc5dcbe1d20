//! AV1 as the house carries it: the configuration record in, `VideoFormat` and codec string out; temporal units in the
//! low-overhead format (AV1 Bitstream & Decoding Process, 5.2; AV1 in ISO-BMFF 2.4) without temporal delimiters.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod intake;
mod obu;
mod record;
mod sequence;

pub use intake::Intake;
pub use record::format;
pub use sequence::Sequence;

/// Why an AV1 configuration cannot be used. Each text says what the broadcaster can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Av1Error {
    /// Fewer bytes than announced.
    #[error("AV1 configuration ends early, in {0}")]
    Truncated(&'static str),
    /// marker and version other than 1 and 1.
    #[error("AV1 configuration begins with {0:#04x}, not 0x81; the payload is not a sequence header")]
    Version(u8),
    /// A still picture is no stream.
    #[error("AV1 still picture: choose a video encoder")]
    StillPicture,
}

#[cfg(test)]
mod tests;
