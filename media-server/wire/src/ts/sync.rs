//! Finds packets in bytes: a message of the transport may hold any number of them, whole or not.

use bytes::{Buf, Bytes, BytesMut};

use super::packet::{PACKET, SYNC};

/// Gathers bytes to packets. Keeps one packet at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    /// The beginning of a packet whose end has not come.
    rest: BytesMut,
    synced: bool,
}

/// What is found next.
pub(super) enum Found {
    /// A packet.
    Packet(Bytes),
    /// So many bytes were no packet.
    Skipped(usize),
}

impl Sync {
    /// The next packet in `bytes`, which is moved on. None: more is needed.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Option<Found> {
        // Whole packets are passed on as they lie.
        if self.rest.is_empty() && self.synced && bytes.len() >= PACKET && bytes.first() == Some(&SYNC) {
            return Some(Found::Packet(bytes.split_to(PACKET)));
        }
        let wanted = PACKET.saturating_sub(self.rest.len()).min(bytes.len());
        self.rest.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        bytes.advance(wanted);
        let begin = self.rest.iter().position(|byte| *byte == SYNC).unwrap_or(self.rest.len());
        if begin > 0 {
            return Some(self.skip(begin));
        }
        if self.rest.len() < PACKET {
            return None;
        }
        if !self.synced {
            // Only where another packet follows; else it is a sync byte within something else.
            match bytes.first() {
                None => return None,
                Some(&SYNC) => self.synced = true,
                Some(_) => return Some(self.skip(1)),
            }
        }
        Some(Found::Packet(self.rest.split().freeze()))
    }

    fn skip(&mut self, length: usize) -> Found {
        self.rest.advance(length);
        self.synced = false;
        Found::Skipped(length)
    }
}
