//! AUDIODATA (E.4.2.1) and ExAudioTagHeader.

use bytes::Bytes;

use super::enhanced::{self, Media};
use super::{AudioCodec, TruncatedTag};
use crate::cursor::Cursor;

const ENHANCED: u8 = 9;

/// What an audio tag's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioPacket {
    /// The decoder configuration (for AAC: AudioSpecificConfig).
    SequenceHeader,
    /// Coded sound (for AAC: one raw frame without ADTS).
    Raw,
    /// The stream ends; no data.
    EndOfSequence,
    /// Several tracks in one message.
    Multitrack,
    /// A packet type that carries no sound (e.g. a channel layout), or is not known.
    Other(u8),
}

/// An audio message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTag {
    /// How it is coded.
    pub codec: AudioCodec,
    /// What `data` are.
    pub packet: AudioPacket,
    /// The rest of the message, uncopied.
    pub data: Bytes,
}

impl AudioTag {
    /// Reads the header of a message body. Fails only where the body is too short for it.
    pub fn parse(body: &Bytes) -> Result<Self, TruncatedTag> {
        let truncated = TruncatedTag { length: body.len() };
        let mut cursor = Cursor::new(body);
        let (codec, packet) = header(&mut cursor).ok_or(truncated)?;
        let at = cursor.position();
        Ok(Self { codec, packet, data: body.slice(at..) })
    }
}

fn header(cursor: &mut Cursor<'_>) -> Option<(AudioCodec, AudioPacket)> {
    let first = cursor.u8()?;
    let format = first >> 4;
    if format == ENHANCED {
        let head = enhanced::read(cursor, first & 0x0F, Media::Audio)?;
        let codec = head.four_cc.map_or(AudioCodec::Unnamed, AudioCodec::from_four_cc);
        let packet = match head.packet_type {
            _ if head.multitrack => AudioPacket::Multitrack,
            0 => AudioPacket::SequenceHeader,
            1 => AudioPacket::Raw,
            2 => AudioPacket::EndOfSequence,
            other => AudioPacket::Other(other),
        };
        return Some((codec, packet));
    }
    let codec = AudioCodec::from_legacy(format);
    if codec != AudioCodec::Aac {
        return Some((codec, AudioPacket::Raw));
    }
    let packet = match cursor.u8()? {
        0 => AudioPacket::SequenceHeader,
        1 => AudioPacket::Raw,
        other => AudioPacket::Other(other),
    };
    Some((codec, packet))
}
