//! Splice information (SCTE 35): what a section asks for, and when.

use crate::cursor::Cursor;

const MASK: u64 = (1 << 33) - 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpliceCommand {
    /// Away from the programme: a break begins.
    Out,
    /// Back to the programme.
    In,
    /// Anything else that has a meaning: `time_signal`, a cancellation, a private command.
    Other,
}

/// A splice information section, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// What.
    pub command: SpliceCommand,
    /// When, in ticks of the stream's own timestamps; at once where it is not said.
    pub at: Option<u64>,
}

impl Splice {
    /// Reads a section (9.6). None: it is no splice information, asks for nothing (a heartbeat), or cannot be read.
    pub fn parse(section: &[u8]) -> Option<Self> {
        const TABLE: u8 = 0xfc;
        const NULL: u8 = 0;
        const INSERT: u8 = 5;
        const TIME_SIGNAL: u8 = 6;
        let mut cursor = Cursor::new(section);
        if cursor.u8()? != TABLE {
            return None;
        }
        let (_length, _version) = (cursor.u16()?, cursor.u8()?);
        let first = cursor.u8()?;
        let adjustment = (u64::from(first & 1) << 32) | u64::from(cursor.u32()?);
        let encrypted = first & 0x80 != 0;
        let (_index, _tier_and_length) = (cursor.u8()?, cursor.u24()?);
        let kind = cursor.u8()?;
        let (command, at) = match kind {
            NULL => return None,
            _ if encrypted => (SpliceCommand::Other, None),
            TIME_SIGNAL => (SpliceCommand::Other, time(&mut cursor)),
            INSERT => insert(&mut cursor)?,
            _ => (SpliceCommand::Other, None),
        };
        Some(Self { command, at: at.map(|at| at.wrapping_add(adjustment) & MASK) })
    }
}

/// `splice_insert` (9.7.3).
fn insert(cursor: &mut Cursor<'_>) -> Option<(SpliceCommand, Option<u64>)> {
    let (_event, cancel) = (cursor.u32()?, cursor.u8()? & 0x80 != 0);
    if cancel {
        return Some((SpliceCommand::Other, None));
    }
    let flags = cursor.u8()?;
    let command = if flags & 0x80 != 0 { SpliceCommand::Out } else { SpliceCommand::In };
    let (of_program, immediate) = (flags & 0x40 != 0, flags & 0x10 != 0);
    let at = if of_program && !immediate { time(cursor) } else { None };
    Some((command, at))
}

/// `splice_time` (9.8.1). None: it says none.
fn time(cursor: &mut Cursor<'_>) -> Option<u64> {
    let first = cursor.u8().filter(|first| first & 0x80 != 0)?;
    Some((u64::from(first & 1) << 32) | u64::from(cursor.u32()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A section with this command at 90 000 ticks, adjusted by 10.
    fn section(kind: u8, command: &[u8]) -> Vec<u8> {
        let mut out = vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 10, 0, 0xff, 0xf0, command.len() as u8, kind];
        out.extend(command);
        out.extend([0; 6]);
        out
    }

    #[test]
    fn breaks_begin_and_end_when_they_say() {
        let at = [0x80_u8 | 0x7e, 0, 1, 0x5f, 0x90];
        let out = [&[0, 0, 0, 7, 0x7f, 0xcf][..], &at, &[0; 4]].concat();
        let read = |kind, command: &[u8]| Splice::parse(&section(kind, command));
        assert_eq!(read(5, &out), Some(Splice { command: SpliceCommand::Out, at: Some(90_010) }));
        let back = [&[0, 0, 0, 7, 0x7f, 0x5f][..], &[0; 4]].concat();
        assert_eq!(read(5, &back), Some(Splice { command: SpliceCommand::In, at: None }));
        assert_eq!(read(6, &at), Some(Splice { command: SpliceCommand::Other, at: Some(90_010) }));
        assert_eq!(read(0, &[]), None, "a heartbeat");
        assert_eq!(Splice::parse(&section(5, &out)[..16]), None, "cut off");
        assert_eq!(Splice::parse(&[0xfd; 30]), None);
    }

    proptest! {
        #[test]
        fn any_section_is_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60), good: bool) {
            let mut bytes = bytes;
            if good && let Some(first) = bytes.first_mut() {
                *first = 0xfc;
            }
            let _any = Splice::parse(&bytes);
        }
    }
}
