//! Chunk headers (5.3.1): from bytes to fields, given what the chunk stream had before.

use crate::cursor::Cursor;

/// Longest header: 3 bytes of basic header, 11 of message header, 4 of extended timestamp.
pub(super) const MAX_HEADER: usize = 18;

/// The 24-bit timestamp that says that a 32-bit one follows.
const EXTENDED: u32 = 0x00FF_FFFF;

/// Where a header's timestamp comes from, and so what else the header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Type 0: everything, timestamp absolute.
    Full,
    /// Type 1: all but the message stream, timestamp a delta.
    SameStream,
    /// Type 2: a timestamp delta only.
    SameLength,
    /// Type 3: nothing.
    Same,
}

/// A chunk header; fields that its format leaves out are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) chunk_stream: u32,
    /// Timestamp or delta, with its extension.
    pub(super) time: Option<u32>,
    /// The 24-bit field was saturated.
    pub(super) extended: bool,
    pub(super) length: Option<u32>,
    pub(super) kind: Option<u8>,
    /// Message stream id.
    pub(super) stream: Option<u32>,
    /// Bytes that it takes.
    pub(super) size: usize,
}

/// The basic header alone: format, chunk stream id, and where the rest starts.
pub(super) fn basic(bytes: &[u8]) -> Option<(Format, u32, Cursor<'_>)> {
    let mut cursor = Cursor::new(bytes);
    let first = cursor.u8()?;
    let format = match first >> 6 {
        0 => Format::Full,
        1 => Format::SameStream,
        2 => Format::SameLength,
        _ => Format::Same,
    };
    let id = match first & 0x3F {
        0 => u32::from(cursor.u8()?).saturating_add(64),
        1 => {
            let low = u32::from(cursor.u8()?);
            let high = u32::from(cursor.u8()?);
            (high << 8 | low).saturating_add(64)
        }
        id => u32::from(id),
    };
    Some((format, id, cursor))
}

/// Reads the rest of the header; `None` until enough bytes are there.
///
/// `expected`: for a chunk stream whose last header had an extended timestamp, the values that a type 3 chunk
/// would repeat. Two dialects exist: the specification (5.3.1.3) repeats the four bytes, librtmp in OBS up to 2024
/// leaves them out. So they are taken as a timestamp only where they are the expected one.
pub(super) fn rest(
    format: Format,
    chunk_stream: u32,
    mut cursor: Cursor<'_>,
    expected: Option<[u32; 2]>,
) -> Option<Header> {
    let mut header = Header {
        format,
        chunk_stream,
        time: None,
        extended: false,
        length: None,
        kind: None,
        stream: None,
        size: 0,
    };
    if format == Format::Same {
        if let Some(expected) = expected
            && repeats(&mut cursor, expected)?
        {
            header.extended = true;
        }
        header.size = cursor.position();
        return Some(header);
    }
    let mut time = cursor.u24()?;
    if matches!(format, Format::Full | Format::SameStream) {
        header.length = Some(cursor.u24()?);
        header.kind = Some(cursor.u8()?);
    }
    if format == Format::Full {
        header.stream = Some(cursor.u32()?.swap_bytes());
    }
    if time == EXTENDED {
        header.extended = true;
        time = cursor.u32()?;
    }
    header.time = Some(time);
    header.size = cursor.position();
    Some(header)
}

/// Whether the next four bytes are one of `expected`; they are consumed then. Undecided (`None`) only while the
/// bytes at hand are the start of one.
fn repeats(cursor: &mut Cursor<'_>, expected: [u32; 2]) -> Option<bool> {
    let at_hand = cursor.rest();
    let at_hand = at_hand.get(..4).unwrap_or(at_hand);
    if !expected.iter().any(|value| value.to_be_bytes().starts_with(at_hand)) {
        return Some(false);
    }
    cursor.u32().map(|_| true)
}
