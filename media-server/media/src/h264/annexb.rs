//! Annex B byte streams (ITU-T H.264 B.1): NAL units between start codes.

use bytes::{BufMut, Bytes, BytesMut};

/// The NAL units between the start codes of `stream`, without zero padding; bytes before the first start code are
/// not part of any.
pub fn annex_b_nals(stream: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut next = start_code(stream, 0);
    std::iter::from_fn(move || {
        loop {
            let from = next?;
            next = start_code(stream, from);
            // `next` is just behind the following start code of three bytes.
            let end = next.map_or(stream.len(), |behind| behind.saturating_sub(3));
            let nal = stream.get(from..end)?;
            let padding = nal.iter().rev().take_while(|byte| **byte == 0).count();
            let end = end.saturating_sub(padding);
            if end > from {
                return Some(stream.slice(from..end));
            }
        }
    })
}

/// The position just behind the next 00 00 01 at or after `from`.
fn start_code(stream: &[u8], from: usize) -> Option<usize> {
    let tail = stream.get(from..)?;
    let at = tail.windows(3).position(|three| three == [0, 0, 1])?;
    from.checked_add(at)?.checked_add(3)
}

/// `stream` with 4-byte lengths in the place of its start codes. Copies; empty if there is no NAL unit in it.
pub fn from_annex_b(stream: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(stream.len().saturating_add(16));
    for nal in annex_b_nals(stream) {
        // A NAL unit of 4 GiB cannot be in memory here: ingest bounds a message far below.
        let Ok(length) = u32::try_from(nal.len()) else { continue };
        out.put_u32(length);
        out.put_slice(&nal);
    }
    out.freeze()
}
