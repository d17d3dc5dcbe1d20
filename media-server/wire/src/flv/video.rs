//! VIDEODATA (E.4.3.1) and ExVideoTagHeader.

use bytes::Bytes;

use super::enhanced::{self, EnhancedHeader, Media, Track, Tracks};
use super::{TruncatedTag, VideoCodec};
use crate::cursor::Cursor;

const AVC: u8 = 7;
const ENHANCED: u8 = 0x80;
const COMMAND_FRAME: u8 = 5;
const METADATA: u8 = 4;

/// What kind of picture the encoder says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// 1: decoding can start here.
    Key,
    /// 2: depends on others.
    Inter,
    /// 3: depends on others, nothing depends on it.
    Disposable,
    /// 4: a keyframe made by a server.
    GeneratedKey,
    /// 5: a command to the player, no picture.
    Command,
    /// Not in the specification.
    Other(u8),
}

impl FrameType {
    fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Key,
            2 => Self::Inter,
            3 => Self::Disposable,
            4 => Self::GeneratedKey,
            COMMAND_FRAME => Self::Command,
            other => Self::Other(other),
        }
    }

    /// Decoding can start here, if the encoder is to be believed.
    pub fn is_key(self) -> bool {
        matches!(self, Self::Key | Self::GeneratedKey)
    }
}

/// What a video tag's data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoPacket {
    /// The decoder configuration (AVCDecoderConfigurationRecord, HEVCDecoderConfigurationRecord,
    /// AV1CodecConfigurationRecord).
    SequenceHeader,
    /// Coded pictures (H.264, HEVC: length-prefixed NAL units; AV1: a temporal unit's OBUs).
    CodedFrames {
        /// Presentation minus decoding time, in milliseconds; 24 bits, signed.
        composition_time: i32,
    },
    /// The stream ends; no data.
    EndOfSequence,
    /// Enhanced RTMP metadata (AMF0, e.g. `colorInfo`).
    Metadata,
    /// A command to players: nothing to decode.
    Command,
    /// A packet type that is not known, or a codec whose packets have no header.
    Other(u8),
}

/// A video message, or one track's share of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTag {
    /// What the encoder says of the picture.
    pub frame_type: FrameType,
    /// Which of the message's tracks; 0 where tracks have no numbers.
    pub track: u8,
    /// How it is coded.
    pub codec: VideoCodec,
    /// What `data` are.
    pub packet: VideoPacket,
    /// Nanoseconds to add to the message's timestamp, below a millisecond (ModEx, TimestampOffsetNano).
    pub nano_offset: u32,
    /// The coded bytes, uncopied.
    pub data: Bytes,
}

impl VideoTag {
    /// Reads a message body; of several tracks the first one. Fails only where the body is too short.
    pub fn parse(body: &Bytes) -> Result<Self, TruncatedTag> {
        Self::all(body).next().unwrap_or(Err(TruncatedTag { length: body.len() }))
    }

    /// Reads a message body, track by track: one, but for Enhanced RTMP's multitrack messages. An error is the last
    /// item.
    pub fn all(body: &Bytes) -> VideoTags {
        let mut cursor = Cursor::new(body);
        let state = match head(&mut cursor) {
            None => State::Truncated,
            Some(Head::Plain(frame_type, codec, packet)) => {
                let data = body.slice(cursor.position()..);
                State::One(Self { frame_type, track: 0, codec, packet, nano_offset: 0, data })
            }
            Some(Head::Enhanced(frame_type, header)) => {
                State::Tracks(frame_type, Tracks::new(header, body.slice(cursor.position()..)))
            }
        };
        VideoTags { length: body.len(), state }
    }
}

/// The tracks of a video message.
#[derive(Debug)]
pub struct VideoTags {
    length: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Truncated,
    One(VideoTag),
    Tracks(FrameType, Tracks),
    Done,
}

impl Iterator for VideoTags {
    type Item = Result<VideoTag, TruncatedTag>;

    fn next(&mut self) -> Option<Self::Item> {
        let truncated = TruncatedTag { length: self.length };
        if let State::Tracks(frame_type, tracks) = &mut self.state {
            let track = tracks.next()?;
            let tag = track.ok().and_then(|track| enhanced_tag(*frame_type, &tracks.header, &track));
            if tag.is_none() {
                self.state = State::Done;
            }
            return Some(tag.ok_or(truncated));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Truncated => Some(Err(truncated)),
            State::One(tag) => Some(Ok(tag)),
            State::Tracks(..) | State::Done => None,
        }
    }
}

enum Head {
    Plain(FrameType, VideoCodec, VideoPacket),
    Enhanced(FrameType, EnhancedHeader),
}

fn head(cursor: &mut Cursor<'_>) -> Option<Head> {
    let first = cursor.u8()?;
    if first & ENHANCED != 0 {
        let frame_type = FrameType::from_bits(first >> 4 & 0x07);
        let packet_type = first & 0x0F;
        if frame_type == FrameType::Command && packet_type != METADATA {
            return Some(Head::Plain(frame_type, VideoCodec::Unnamed, VideoPacket::Command));
        }
        return Some(Head::Enhanced(frame_type, enhanced::read(cursor, packet_type, Media::Video)?));
    }
    let frame_type = FrameType::from_bits(first >> 4);
    let id = first & 0x0F;
    if id != AVC {
        return Some(Head::Plain(frame_type, VideoCodec::Legacy(id), VideoPacket::Other(0)));
    }
    if frame_type == FrameType::Command {
        return Some(Head::Plain(frame_type, VideoCodec::H264, VideoPacket::Command));
    }
    let packet_type = cursor.u8()?;
    let composition_time = cursor.i24()?;
    let packet = match packet_type {
        0 => VideoPacket::SequenceHeader,
        1 => VideoPacket::CodedFrames { composition_time },
        2 => VideoPacket::EndOfSequence,
        other => VideoPacket::Other(other),
    };
    Some(Head::Plain(frame_type, VideoCodec::H264, packet))
}

fn enhanced_tag(frame_type: FrameType, header: &EnhancedHeader, track: &Track) -> Option<VideoTag> {
    let codec = VideoCodec::from_four_cc(track.four_cc);
    let timed = matches!(codec, VideoCodec::H264 | VideoCodec::Hevc) || &track.four_cc == b"vvc1";
    let mut cursor = Cursor::new(&track.data);
    let packet = match header.packet_type {
        0 => VideoPacket::SequenceHeader,
        1 if timed => VideoPacket::CodedFrames { composition_time: cursor.i24()? },
        1 | 3 => VideoPacket::CodedFrames { composition_time: 0 },
        2 => VideoPacket::EndOfSequence,
        METADATA => VideoPacket::Metadata,
        other => VideoPacket::Other(other),
    };
    let data = track.data.slice(cursor.position()..);
    Some(VideoTag { frame_type, track: track.number, codec, packet, nano_offset: header.nano_offset, data })
}
