//! Which streams there are: program association and program map (2.4.4.3, 2.4.4.8).

use crate::cursor::Cursor;

/// Elementary streams of a program that are looked at.
const MOST_STREAMS: usize = 32;

/// How an elementary stream is coded (table 2-34, and what registration descriptors say of private streams).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// AVC in Annex B.
    H264,
    /// HEVC in Annex B.
    Hevc,
    /// AAC in ADTS frames.
    Adts,
    /// AAC in LATM (LOAS).
    Latm,
    /// Opus with its control headers (ETSI TS 102 366 style registration `Opus`).
    Opus,
    /// MPEG-1 or MPEG-2 audio, layers I to III.
    MpegAudio,
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// SCTE 35 splice information, in sections.
    Scte35,
    /// ID3 tags in PES packets.
    Id3,
    /// KLV metadata (SMPTE 336, MISB).
    Klv,
    /// Anything else: its `stream_type`.
    Unknown(u8),
}

/// One elementary stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The PID that its packets have.
    pub pid: u16,
    /// How it is coded.
    pub coding: Coding,
    /// ISO 639-2 code of its language, where it is said.
    pub language: Option<[u8; 3]>,
    /// Channel configuration of an Opus stream (extension descriptor 0x80), 0 where it is not said.
    pub channels: u8,
}

/// The streams of the program that is received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its number.
    pub number: u16,
    /// The PID that carries the clock.
    pub pcr_pid: u16,
    /// In the order of the table.
    pub streams: Vec<Stream>,
}

/// A table's common head: the body between it and the CRC. None: not this table, not yet in force, or cut short.
fn body(section: &[u8], table: u8) -> Option<(u16, &[u8])> {
    let mut cursor = Cursor::new(section);
    let (id, _length) = (cursor.u8()?, cursor.u16()?);
    let extension = cursor.u16()?;
    let current = cursor.u8()? & 1 == 1;
    let (_number, _last) = (cursor.u8()?, cursor.u8()?);
    let rest = cursor.rest();
    let body = rest.get(..rest.len().checked_sub(4)?)?;
    (id == table && current).then_some((extension, body))
}

/// The first program of an association table: its number and the PID of its map.
pub(super) fn first_program(section: &[u8]) -> Option<(u16, u16)> {
    let (_, body) = body(section, 0)?;
    let programs = body.as_chunks::<4>().0.iter();
    let mut programs =
        programs.map(|[a, b, c, d]| (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([c & 0x1f, *d])));
    // Program 0 is the network's own.
    programs.find(|(number, _)| *number != 0)
}

impl Program {
    /// Reads a program map.
    pub(super) fn parse(section: &[u8]) -> Option<Self> {
        let (number, body) = body(section, 2)?;
        let mut cursor = Cursor::new(body);
        let pcr_pid = cursor.u16()? & 0x1fff;
        let info = usize::from(cursor.u16()? & 0x0fff);
        let of_program = cursor.take(info)?;
        let mut program = Self { number, pcr_pid, streams: Vec::new() };
        while !cursor.is_empty() && program.streams.len() < MOST_STREAMS {
            let kind = cursor.u8()?;
            let pid = cursor.u16()? & 0x1fff;
            let length = usize::from(cursor.u16()? & 0x0fff);
            let stream = Stream::new(kind, pid, cursor.take(length)?, of_program);
            if !program.streams.iter().any(|known| known.pid == pid) {
                program.streams.push(stream);
            }
        }
        Some(program)
    }
}

impl Stream {
    fn new(kind: u8, pid: u16, descriptors: &[u8], of_program: &[u8]) -> Self {
        let mut stream = Self { pid, coding: Coding::Unknown(kind), language: None, channels: 0 };
        let mut registered = None;
        let mut described = None;
        for (tag, data) in each(descriptors) {
            match tag {
                0x05 => registered = data.first_chunk::<4>().copied().or(registered),
                0x0a => stream.language = data.first_chunk::<3>().copied(),
                0x6a => described = Some(Coding::Ac3),
                0x7a => described = Some(Coding::Eac3),
                // Extension descriptor: the user-defined tag 0x80 is Opus' channel configuration.
                0x7f if data.first() == Some(&0x80) => {
                    stream.channels = data.get(1).copied().unwrap_or_default();
                }
                _ => {}
            }
        }
        let scte = each(of_program).any(|(tag, data)| tag == 0x05 && data.starts_with(b"CUEI"));
        stream.coding = match kind {
            0x1b => Coding::H264,
            0x24 => Coding::Hevc,
            0x0f => Coding::Adts,
            0x11 => Coding::Latm,
            0x03 | 0x04 => Coding::MpegAudio,
            0x81 => Coding::Ac3,
            0x87 => Coding::Eac3,
            0x86 if scte || registered == Some(*b"CUEI") => Coding::Scte35,
            0x15 if registered.is_none_or(|it| it == *b"ID3 ") => Coding::Id3,
            0x06 | 0x15 => match registered.as_ref() {
                Some(b"Opus") => Coding::Opus,
                Some(b"HEVC") => Coding::Hevc,
                Some(b"AC-3") => Coding::Ac3,
                Some(b"EAC3") => Coding::Eac3,
                Some(b"KLVA") => Coding::Klv,
                Some(b"ID3 ") => Coding::Id3,
                _ => described.unwrap_or(Coding::Unknown(kind)),
            },
            other => described.unwrap_or(Coding::Unknown(other)),
        };
        stream
    }
}

/// The descriptors in `bytes`, as far as they are whole.
fn each(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut cursor = Cursor::new(bytes);
    std::iter::from_fn(move || {
        let tag = cursor.u8()?;
        let length = usize::from(cursor.u8()?);
        Some((tag, cursor.take(length)?))
    })
}
