//! What the enhanced video and audio headers share (Enhanced RTMP v2, "ModEx" and "Multitrack").

use crate::cursor::Cursor;

const MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;
const MOD_EX: u8 = 7;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// The packet type behind the modifiers, and whose packet it is.
pub(super) struct EnhancedHeader {
    /// VideoPacketType or AudioPacketType.
    pub(super) packet_type: u8,
    /// None where each track has its own.
    pub(super) four_cc: Option<[u8; 4]>,
    /// Several tracks, or one with a number: not one plain elementary stream.
    pub(super) multitrack: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Video,
    Audio,
}

/// Reads from behind the first byte, whose low nibble is `packet_type`, to the coded data.
pub(super) fn read(cursor: &mut Cursor<'_>, mut packet_type: u8, media: Media) -> Option<EnhancedHeader> {
    // Each modifier takes at least three bytes, so the data bound the loop.
    while packet_type == MOD_EX {
        let mut size = usize::from(cursor.u8()?).saturating_add(1);
        if size == 256 {
            size = usize::from(cursor.u16()?).saturating_add(1);
        }
        cursor.take(size)?;
        packet_type = cursor.u8()? & 0x0F;
    }
    let marker = if media == Media::Video { MULTITRACK } else { AUDIO_MULTITRACK };
    let mut own_codecs = false;
    let multitrack = packet_type == marker;
    if multitrack {
        let byte = cursor.u8()?;
        own_codecs = byte >> 4 == MANY_TRACKS_MANY_CODECS;
        packet_type = byte & 0x0F;
    }
    let four_cc = if own_codecs { None } else { Some(cursor.four_cc()?) };
    Some(EnhancedHeader { packet_type, four_cc, multitrack })
}
