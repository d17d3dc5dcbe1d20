//! Whole messages, and their type ids (5.4, 6.2, 7.1).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Message type ids.
pub(super) mod kind {
    pub(in crate::rtmp) const SET_CHUNK_SIZE: u8 = 1;
    pub(in crate::rtmp) const ABORT: u8 = 2;
    pub(in crate::rtmp) const ACKNOWLEDGEMENT: u8 = 3;
    pub(in crate::rtmp) const USER_CONTROL: u8 = 4;
    pub(in crate::rtmp) const WINDOW_SIZE: u8 = 5;
    pub(in crate::rtmp) const PEER_BANDWIDTH: u8 = 6;
    pub(in crate::rtmp) const AUDIO: u8 = 8;
    pub(in crate::rtmp) const VIDEO: u8 = 9;
    pub(in crate::rtmp) const DATA_AMF3: u8 = 15;
    pub(in crate::rtmp) const COMMAND_AMF3: u8 = 17;
    pub(in crate::rtmp) const DATA_AMF0: u8 = 18;
    pub(in crate::rtmp) const COMMAND_AMF0: u8 = 20;
    pub(in crate::rtmp) const AGGREGATE: u8 = 22;
}

/// One message off the chunk layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// Message stream id.
    pub(super) stream: u32,
    /// Milliseconds, wrapping.
    pub(super) timestamp: u32,
    /// Empty where `discarded`.
    pub(super) payload: Bytes,
    /// The body was media that nobody wants, and was not kept.
    pub(super) discarded: bool,
}

/// Carries audio or video.
pub(super) fn is_media(kind: u8) -> bool {
    matches!(kind, kind::AUDIO | kind::VIDEO | kind::AGGREGATE)
}
