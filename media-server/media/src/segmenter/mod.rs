//! Where segments and parts begin: one GOP clock for all renditions of a stream.
//!
//! The clock watches the *source* and says at which presentation times segments begin. Every rendition cuts there:
//! the pass-through rung because the source has an IDR there, encoded rungs because an IDR is forced there, audio at
//! its nearest frame. It knows nothing of boxes or playlists.
mod clock;
mod targets;

pub use clock::{Edge, Gop, GopClock};
pub use targets::Targets;

#[cfg(test)]
mod tests;
