//! What an encoder says once and whoever comes later needs: metadata and sequence headers. Between `publish` and its
//! answer they wait here; afterwards a checkpoint takes them along.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::{Message, kind};
use crate::flv::{AudioPacket, AudioTag, VideoPacket, VideoTag};

/// Longest message that is kept, in bytes.
pub(super) const MAX_HELD: usize = 16 << 10;
/// Sequence headers kept: two kinds of media with some tracks each.
const MOST_HEADERS: usize = 16;

/// The newest of each.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    metadata: Option<Message>,
    headers: VecDeque<Header>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    kind: u8,
    track: u8,
    message: Message,
}

impl Held {
    /// Keeps `onMetaData`.
    pub(super) fn metadata(&mut self, message: &Message) {
        if message.payload.len() <= MAX_HELD {
            self.metadata = Some(copy(message));
        }
    }

    /// Keeps a sequence header in place of the one before it; false for any other media.
    pub(super) fn media(&mut self, message: &Message) -> bool {
        let Some(track) = header_of(message).filter(|_| message.payload.len() <= MAX_HELD) else {
            return false;
        };
        self.headers.retain(|known| (known.kind, known.track) != (message.kind, track));
        if self.headers.len() >= MOST_HEADERS {
            self.headers.pop_front();
        }
        self.headers.push_back(Header { kind: message.kind, track, message: copy(message) });
        true
    }

    /// What is kept, metadata first.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.metadata.iter().chain(self.headers.iter().map(|header| &header.message)).cloned().collect()
    }

    /// Bytes and count are what this module would have kept itself.
    pub(super) fn is_sound(&self) -> bool {
        self.headers.len() <= MOST_HEADERS && self.messages().iter().all(|m| m.payload.len() <= MAX_HELD)
    }
}

/// A copy, so that it does not keep the buffer of what lay around it.
fn copy(message: &Message) -> Message {
    Message { payload: Bytes::copy_from_slice(&message.payload), ..*message }
}

/// The track of a sequence header.
fn header_of(message: &Message) -> Option<u8> {
    if message.kind == kind::VIDEO {
        let tag = VideoTag::parse(&message.payload).ok()?;
        (tag.packet == VideoPacket::SequenceHeader).then_some(tag.track)
    } else {
        let tag = AudioTag::parse(&message.payload).ok()?;
        (tag.packet == AudioPacket::SequenceHeader).then_some(tag.track)
    }
}
