//! AUDIODATA (E.4.2.1) and ExAudioTagHeader.

use bytes::Bytes;

use super::enhanced::{self, EnhancedHeader, Media, Track, Tracks};
use super::{AudioCodec, TruncatedTag};
use crate::cursor::Cursor;

const ENHANCED: u8 = 9;

/// What an audio tag's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioPacket {
    /// The decoder configuration (AAC: AudioSpecificConfig; Opus: the identification header of RFC 7845 5.1).
    SequenceHeader,
    /// Coded sound (AAC: one raw frame without ADTS; Opus: one packet).
    Raw,
    /// The stream ends; no data.
    EndOfSequence,
    /// Which loudspeaker each channel is for.
    ChannelLayout,
    /// A packet type that is not known.
    Other(u8),
}

/// An audio message, or one track's share of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTag {
    /// Which of the message's tracks; 0 where tracks have no numbers.
    pub track: u8,
    /// How it is coded.
    pub codec: AudioCodec,
    /// What `data` are.
    pub packet: AudioPacket,
    /// Nanoseconds to add to the message's timestamp, below a millisecond (ModEx, TimestampOffsetNano).
    pub nano_offset: u32,
    /// The coded bytes, uncopied.
    pub data: Bytes,
}

impl AudioTag {
    /// Reads a message body; of several tracks the first one. Fails only where the body is too short.
    pub fn parse(body: &Bytes) -> Result<Self, TruncatedTag> {
        Self::all(body).next().unwrap_or(Err(TruncatedTag { length: body.len() }))
    }

    /// Reads a message body, track by track: one, but for Enhanced RTMP's multitrack messages. An error is the last
    /// item.
    pub fn all(body: &Bytes) -> AudioTags {
        let mut cursor = Cursor::new(body);
        let state = match head(&mut cursor) {
            None => State::Truncated,
            Some(Head::Plain(codec, packet)) => {
                let data = body.slice(cursor.position()..);
                State::One(Self { track: 0, codec, packet, nano_offset: 0, data })
            }
            Some(Head::Enhanced(header)) => {
                State::Tracks(Tracks::new(header, body.slice(cursor.position()..)))
            }
        };
        AudioTags { length: body.len(), state }
    }
}

/// The tracks of an audio message.
#[derive(Debug)]
pub struct AudioTags {
    length: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Truncated,
    One(AudioTag),
    Tracks(Tracks),
    Done,
}

impl Iterator for AudioTags {
    type Item = Result<AudioTag, TruncatedTag>;

    fn next(&mut self) -> Option<Self::Item> {
        let truncated = TruncatedTag { length: self.length };
        if let State::Tracks(tracks) = &mut self.state {
            let track = tracks.next()?;
            return Some(track.map(|track| enhanced_tag(&tracks.header, track)).map_err(|()| truncated));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Truncated => Some(Err(truncated)),
            State::One(tag) => Some(Ok(tag)),
            State::Tracks(_) | State::Done => None,
        }
    }
}

enum Head {
    Plain(AudioCodec, AudioPacket),
    Enhanced(EnhancedHeader),
}

fn head(cursor: &mut Cursor<'_>) -> Option<Head> {
    let first = cursor.u8()?;
    let format = first >> 4;
    if format == ENHANCED {
        return Some(Head::Enhanced(enhanced::read(cursor, first & 0x0F, Media::Audio)?));
    }
    let codec = AudioCodec::from_legacy(format);
    if codec != AudioCodec::Aac {
        return Some(Head::Plain(codec, AudioPacket::Raw));
    }
    let packet = match cursor.u8()? {
        0 => AudioPacket::SequenceHeader,
        1 => AudioPacket::Raw,
        other => AudioPacket::Other(other),
    };
    Some(Head::Plain(codec, packet))
}

fn enhanced_tag(header: &EnhancedHeader, track: Track) -> AudioTag {
    let packet = match header.packet_type {
        0 => AudioPacket::SequenceHeader,
        1 => AudioPacket::Raw,
        2 => AudioPacket::EndOfSequence,
        4 => AudioPacket::ChannelLayout,
        other => AudioPacket::Other(other),
    };
    let codec = AudioCodec::from_four_cc(track.four_cc);
    AudioTag { track: track.number, codec, packet, nano_offset: header.nano_offset, data: track.data }
}
