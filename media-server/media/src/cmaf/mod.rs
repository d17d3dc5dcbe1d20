//! CMAF boxes (ISO/IEC 23000-19, ISO/IEC 14496-12): one init per format, one `moof`+`mdat` per part, one track per file.
//!
//! Nothing here decides what a part holds; see `packager`.
mod fragment;
mod init;

pub use fragment::{Sample, fragment_header};
pub use init::{init_segment, timescale};

/// Why boxes could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CmafError {
    /// A picture wider or higher than a sample entry can say.
    #[error("pictures of {width}x{height} do not fit a sample entry")]
    PictureSize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A fragment larger than a box of 32-bit size.
    #[error("a fragment of {0} bytes does not fit a box")]
    TooLarge(u64),
    /// No player takes it.
    #[error("{0} has no place in CMAF")]
    Codec(&'static str),
    /// The box writer refused.
    #[error("box writer: {0}")]
    Boxes(#[from] mp4_atom::Error),
}
