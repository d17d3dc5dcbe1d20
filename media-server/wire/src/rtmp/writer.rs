//! Messages to chunks: always full headers on small chunk streams, since the answers of a server are few.

use bytes::{BufMut, Bytes, BytesMut};

/// Chunk stream of protocol control (5.4: 2).
pub(super) const CONTROL: u8 = 2;
/// Chunk stream of command answers.
pub(super) const COMMAND: u8 = 3;
/// Chunk stream of stream status.
pub(super) const STATUS: u8 = 5;

/// Until the peer is told otherwise (5.4.1).
const FIRST_CHUNK_SIZE: usize = 128;

/// The bytes that wait for the peer.
pub(super) struct ChunkWriter {
    pub(super) out: BytesMut,
    chunk_size: usize,
}

impl ChunkWriter {
    pub(super) fn new() -> Self {
        Self { out: BytesMut::new(), chunk_size: FIRST_CHUNK_SIZE }
    }

    pub(super) fn take(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Tells the peer a chunk size, and uses it.
    pub(super) fn set_chunk_size(&mut self, size: u32) {
        let size = size.clamp(1, 0x00FF_FFFF);
        self.message(CONTROL, super::message::kind::SET_CHUNK_SIZE, 0, &size.to_be_bytes());
        self.chunk_size = size as usize;
    }

    /// Writes one message at time zero; `payload` is far shorter than the 24 bits of its length.
    pub(super) fn message(&mut self, chunk_stream: u8, kind: u8, stream: u32, payload: &[u8]) {
        self.out.put_u8(chunk_stream & 0x3F);
        self.out.put_uint(0, 3);
        self.out.put_uint(payload.len() as u64, 3);
        self.out.put_u8(kind);
        self.out.put_u32_le(stream);
        for (number, chunk) in payload.chunks(self.chunk_size.max(1)).enumerate() {
            if number > 0 {
                self.out.put_u8(0xC0 | chunk_stream & 0x3F);
            }
            self.out.put_slice(chunk);
        }
    }
}
