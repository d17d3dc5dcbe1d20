//! VIDEODATA (E.4.3.1) and ExVideoTagHeader.

use bytes::Bytes;

use super::enhanced::{self, Media};
use super::{TruncatedTag, VideoCodec};
use crate::cursor::Cursor;

const AVC: u8 = 7;
const ENHANCED: u8 = 0x80;
const COMMAND_FRAME: u8 = 5;

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
    /// The decoder configuration (for H.264: AVCDecoderConfigurationRecord).
    SequenceHeader,
    /// Coded pictures (for H.264: length-prefixed NAL units).
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
    /// Several tracks in one message.
    Multitrack,
    /// A packet type that is not known, or a codec whose packets have no header.
    Other(u8),
}

/// A video message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTag {
    /// What the encoder says of the picture.
    pub frame_type: FrameType,
    /// How it is coded.
    pub codec: VideoCodec,
    /// What `data` are.
    pub packet: VideoPacket,
    /// The rest of the message, uncopied.
    pub data: Bytes,
}

impl VideoTag {
    /// Reads the header of a message body. Fails only where the body is too short for it.
    pub fn parse(body: &Bytes) -> Result<Self, TruncatedTag> {
        let truncated = TruncatedTag { length: body.len() };
        let mut cursor = Cursor::new(body);
        let (frame_type, codec, packet) = header(&mut cursor).ok_or(truncated)?;
        let at = cursor.position();
        Ok(Self { frame_type, codec, packet, data: body.slice(at..) })
    }
}

fn header(cursor: &mut Cursor<'_>) -> Option<(FrameType, VideoCodec, VideoPacket)> {
    let first = cursor.u8()?;
    if first & ENHANCED != 0 {
        return enhanced_header(cursor, first);
    }
    let frame_type = FrameType::from_bits(first >> 4);
    let id = first & 0x0F;
    if id != AVC {
        return Some((frame_type, VideoCodec::Legacy(id), VideoPacket::Other(0)));
    }
    if frame_type == FrameType::Command {
        return Some((frame_type, VideoCodec::H264, VideoPacket::Command));
    }
    let packet_type = cursor.u8()?;
    let composition_time = cursor.i24()?;
    let packet = match packet_type {
        0 => VideoPacket::SequenceHeader,
        1 => VideoPacket::CodedFrames { composition_time },
        2 => VideoPacket::EndOfSequence,
        other => VideoPacket::Other(other),
    };
    Some((frame_type, VideoCodec::H264, packet))
}

fn enhanced_header(cursor: &mut Cursor<'_>, first: u8) -> Option<(FrameType, VideoCodec, VideoPacket)> {
    const METADATA: u8 = 4;
    let frame_type = FrameType::from_bits(first >> 4 & 0x07);
    let packet_type = first & 0x0F;
    if frame_type == FrameType::Command && packet_type != METADATA {
        return Some((frame_type, VideoCodec::Unnamed, VideoPacket::Command));
    }
    let head = enhanced::read(cursor, packet_type, Media::Video)?;
    let codec = head.four_cc.map_or(VideoCodec::Unnamed, VideoCodec::from_four_cc);
    if head.multitrack {
        return Some((frame_type, codec, VideoPacket::Multitrack));
    }
    let timed =
        codec == VideoCodec::H264 || matches!(head.four_cc.as_ref(), Some(b"hvc1" | b"hev1" | b"vvc1"));
    let packet = match head.packet_type {
        0 | 5 => VideoPacket::SequenceHeader,
        1 if timed => VideoPacket::CodedFrames { composition_time: cursor.i24()? },
        1 | 3 => VideoPacket::CodedFrames { composition_time: 0 },
        2 => VideoPacket::EndOfSequence,
        METADATA => VideoPacket::Metadata,
        other => VideoPacket::Other(other),
    };
    Some((frame_type, codec, packet))
}
