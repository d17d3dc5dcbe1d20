//! The plain handshake (5.2). Clients that put a digest into C1 (Flash Player 9 and later) accept it too: the
//! version field of S1 is zero, which says that there is no digest to check.

use bytes::{BufMut, BytesMut};

use super::SessionError;

const VERSION: u8 = 3;
/// C1, C2, S1 and S2.
const PACKET: usize = 1536;
/// C0, C1 and C2.
const TOTAL: usize = 1 + PACKET + PACKET;

/// The server's side of the handshake.
pub(super) struct Handshake {
    entropy: Box<[u8; 1528]>,
    /// C1 as far as it is there.
    client: Vec<u8>,
    /// Bytes consumed of C0, C1 and C2.
    received: usize,
}

impl Handshake {
    pub(super) fn new(entropy: Box<[u8; 1528]>) -> Self {
        Self { entropy, client: Vec::new(), received: 0 }
    }

    /// Takes its bytes off the front of `data`; true once C2 is through.
    pub(super) fn read(&mut self, data: &mut &[u8], out: &mut BytesMut) -> Result<bool, SessionError> {
        if self.received == 0 {
            let Some((&version, _)) = data.split_first() else { return Ok(false) };
            if version != VERSION {
                return Err(SessionError::Version { version });
            }
            self.take(data, 1);
        }
        let wanted = PACKET.saturating_sub(self.client.len());
        if wanted > 0 {
            let part = self.take(data, wanted);
            self.client.extend_from_slice(part);
            if part.len() < wanted {
                return Ok(false);
            }
            // S0, S1 (time and version zero), S2 (an echo of C1).
            out.put_u8(VERSION);
            out.put_bytes(0, 8);
            out.put_slice(&self.entropy[..]);
            out.put_slice(&self.client);
        }
        // C2 should echo S1; nothing depends on it, and some clients send noise.
        self.take(data, TOTAL.saturating_sub(self.received));
        Ok(self.received >= TOTAL)
    }

    fn take<'a>(&mut self, data: &mut &'a [u8], wanted: usize) -> &'a [u8] {
        let (part, rest) = data.split_at_checked(wanted).unwrap_or((*data, &[]));
        *data = rest;
        self.received = self.received.saturating_add(part.len());
        part
    }
}
