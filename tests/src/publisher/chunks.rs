//! Writing RTMP chunks (RTMP 1.0, 5.3) in the plainest form: full headers, no state between messages.

use bytes::{BufMut as _, BytesMut};

use super::flv::{AUDIO, Tag};

/// Chunk size that this writer announces. Large: one chunk a message costs nobody anything.
pub const CHUNK_SIZE: u32 = 65_536;

/// `Set Chunk Size` (5.4.1), to be sent before the first message.
pub fn set_chunk_size(out: &mut BytesMut) {
    message(out, 2, 1, 0, 0, &CHUNK_SIZE.to_be_bytes(), 128);
}

/// A media message of the published stream.
pub fn media(out: &mut BytesMut, tag: &Tag, timestamp: u32, stream: u32) {
    let chunk_stream = if tag.kind == AUDIO { 4 } else { 6 };
    message(out, chunk_stream, tag.kind, timestamp, stream, &tag.body, CHUNK_SIZE as usize);
}

/// Any message as type 0 and type 3 chunks; the timestamp is extended where it has to be.
pub fn message(
    out: &mut BytesMut,
    chunk_stream: u8,
    kind: u8,
    timestamp: u32,
    stream: u32,
    body: &[u8],
    chunk_size: usize,
) {
    let extended = timestamp >= 0x00ff_ffff;
    out.reserve(body.len() + 32);
    out.put_u8(chunk_stream & 0x3f);
    out.put_uint(u64::from(if extended { 0x00ff_ffff } else { timestamp }), 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(kind);
    out.put_u32_le(stream);
    for (index, chunk) in body.chunks(chunk_size).enumerate() {
        if index > 0 {
            out.put_u8(0xc0 | (chunk_stream & 0x3f));
        }
        if extended {
            out.put_u32(timestamp);
        }
        out.put_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_and_late_timestamps_extended() {
        let mut out = BytesMut::new();
        message(&mut out, 6, 9, 0x0100_0000, 1, &[7; 5], 4);
        let expected = [
            &[0x06, 0xff, 0xff, 0xff, 0, 0, 5, 9, 1, 0, 0, 0, 1, 0, 0, 0, 7, 7, 7, 7][..],
            &[0xc6, 1, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(out[..], expected);
    }
}
