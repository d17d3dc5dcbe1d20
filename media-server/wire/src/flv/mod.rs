//! The bodies of RTMP audio and video messages, which are those of FLV tags (Adobe, "Video File Format
//! Specification" 10.1, Annex E.4.2 and E.4.3), and those of Enhanced RTMP v2 (Veovera, 2024) with its
//! modifiers and several tracks. The coded data stay slices of the message.

mod audio;
mod codec;
mod enhanced;
mod video;

pub use audio::{AudioPacket, AudioTag, AudioTags};
pub use codec::{AudioCodec, FourCc, VideoCodec};
pub use video::{FrameType, VideoPacket, VideoTag, VideoTags};

/// A tag too short for its own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("media tag of {length} bytes ends within its header")]
pub struct TruncatedTag {
    /// Bytes the tag has.
    pub length: usize,
}

#[cfg(test)]
mod tests;
