//! LL-HLS playlists (draft-pantos-hls-rfc8216bis): immutable snapshots of a rendition, their text, and the objects
//! that the text names.
//!
//! A snapshot is cheap: segments and parts are shared, and each carries its own lines, written once.
mod date;
mod date_range;
mod media;
mod multivariant;
mod object;
mod render;

pub use date_range::{DateRange, Field};
pub use media::{MediaPlaylist, Report, Wait};
pub use multivariant::{AudioRendition, Variant, multivariant};
pub use object::{Init, Object, Part, Segment};

pub(crate) use date::append_date;
pub(crate) use media::Running;
pub(crate) use object::{SegmentHead, part_name};
pub(crate) use render::Constants;

#[cfg(test)]
mod tests;
