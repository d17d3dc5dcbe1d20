//! What the enhanced video and audio headers share (Enhanced RTMP v2, "ModEx" and "Multitrack").

use bytes::Bytes;

use crate::cursor::Cursor;

const MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;
const MOD_EX: u8 = 7;
const TIMESTAMP_OFFSET_NANO: u8 = 0;
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// The packet type behind the modifiers, and how the tracks follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnhancedHeader {
    /// VideoPacketType or AudioPacketType.
    pub(super) packet_type: u8,
    /// Nanoseconds to add to the message's timestamp.
    pub(super) nano_offset: u32,
    layout: Layout,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    /// No track has a number: the rest is the one track's.
    Plain([u8; 4]),
    /// The one track has a number.
    OneTrack([u8; 4]),
    /// Each track has a number and a size; its codec too, where there is none for all.
    Many(Option<[u8; 4]>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Video,
    Audio,
}

/// One track's share of a message.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) number: u8,
    pub(super) four_cc: [u8; 4],
    pub(super) data: Bytes,
}

/// Reads from behind the first byte, whose low nibble is `packet_type`, to the first track.
pub(super) fn read(cursor: &mut Cursor<'_>, mut packet_type: u8, media: Media) -> Option<EnhancedHeader> {
    let mut nano_offset = 0;
    // Each modifier takes at least three bytes, so the data bound the loop.
    while packet_type == MOD_EX {
        let mut size = usize::from(cursor.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(cursor.u16()?).saturating_add(1);
        }
        let data = cursor.take(size)?;
        let types = cursor.u8()?;
        if types >> 4 == TIMESTAMP_OFFSET_NANO
            && let Some(offset) = Cursor::new(data).u24()
        {
            nano_offset = offset.min(999_999);
        }
        packet_type = types & 0x0F;
    }
    let marker = if media == Media::Video { MULTITRACK } else { AUDIO_MULTITRACK };
    let layout = if packet_type == marker {
        let types = cursor.u8()?;
        packet_type = types & 0x0F;
        match types >> 4 {
            ONE_TRACK => Layout::OneTrack(cursor.four_cc()?),
            MANY_TRACKS_MANY_CODECS => Layout::Many(None),
            _ => Layout::Many(Some(cursor.four_cc()?)),
        }
    } else {
        Layout::Plain(cursor.four_cc()?)
    };
    Some(EnhancedHeader { packet_type, nano_offset, layout })
}

impl EnhancedHeader {
    /// Takes the next track out of the rest of a message; `None` where it ends within a track's head. A track that
    /// says it is longer than the rest ends the message too.
    pub(super) fn take(&self, rest: &mut Bytes) -> Option<Track> {
        let mut cursor = Cursor::new(rest);
        let (number, four_cc, size) = match self.layout {
            Layout::Plain(four_cc) => (0, four_cc, None),
            Layout::OneTrack(four_cc) => (cursor.u8()?, four_cc, None),
            Layout::Many(for_all) => {
                let four_cc = for_all.or_else(|| cursor.four_cc())?;
                (cursor.u8()?, four_cc, Some(cursor.u24()? as usize))
            }
        };
        let start = cursor.position();
        let end = start.saturating_add(size.unwrap_or_else(|| cursor.rest().len()));
        if end > rest.len() {
            return None;
        }
        let data = rest.slice(start..end);
        *rest = rest.slice(end..);
        Some(Track { number, four_cc, data })
    }
}

/// The tracks of one message, lazily: as many as the bytes give.
#[derive(Debug)]
pub(super) struct Tracks {
    pub(super) header: EnhancedHeader,
    rest: Option<Bytes>,
}

impl Tracks {
    pub(super) fn new(header: EnhancedHeader, rest: Bytes) -> Self {
        Self { header, rest: Some(rest) }
    }

    /// The next track; an error where the message ends within one.
    pub(super) fn next(&mut self) -> Option<Result<Track, ()>> {
        let rest = self.rest.as_mut()?;
        let track = self.header.take(rest);
        if track.is_none() || rest.is_empty() {
            self.rest = None;
        }
        Some(track.ok_or(()))
    }
}
