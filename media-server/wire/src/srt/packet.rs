//! Packets on the wire (3).

use bytes::{BufMut, Bytes, BytesMut};

use super::sequence::Sequence;
use crate::cursor::Cursor;

/// Bytes before the payload.
pub(super) const HEADER: usize = 16;

/// Which key a payload is encrypted with (KK, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Even,
    Odd,
}

/// A data packet (3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) sequence: Sequence,
    /// None: it is not encrypted.
    pub(super) key: Option<Key>,
    pub(super) retransmitted: bool,
    /// Microseconds since the sender began.
    pub(super) timestamp: u32,
    /// For whom it is.
    pub(super) socket: u32,
    pub(super) payload: Bytes,
}

/// Kinds of control packets (3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    KeepAlive,
    Ack,
    Nak,
    CongestionWarning,
    Shutdown,
    AckAck,
    DropRequest,
    PeerError,
    /// Key material asked for (3) or answered (4) in mid-stream, and what is not known.
    User(u16),
    Other(u16),
}

impl Kind {
    fn of(kind: u16, subtype: u16) -> Self {
        match kind {
            0 => Self::Handshake,
            1 => Self::KeepAlive,
            2 => Self::Ack,
            3 => Self::Nak,
            4 => Self::CongestionWarning,
            5 => Self::Shutdown,
            6 => Self::AckAck,
            7 => Self::DropRequest,
            8 => Self::PeerError,
            0x7fff => Self::User(subtype),
            other => Self::Other(other),
        }
    }

    fn word(self) -> u32 {
        let (kind, subtype) = match self {
            Self::Handshake => (0, 0),
            Self::KeepAlive => (1, 0),
            Self::Ack => (2, 0),
            Self::Nak => (3, 0),
            Self::CongestionWarning => (4, 0),
            Self::Shutdown => (5, 0),
            Self::AckAck => (6, 0),
            Self::DropRequest => (7, 0),
            Self::PeerError => (8, 0),
            Self::User(subtype) => (0x7fff, subtype),
            Self::Other(kind) => (kind, 0),
        };
        0x8000_0000 | (u32::from(kind) << 16) | u32::from(subtype)
    }
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) kind: Kind,
    /// Type-specific information.
    pub(super) info: u32,
    pub(super) timestamp: u32,
    pub(super) socket: u32,
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Data(Data),
    Control(Control),
}

impl Packet {
    /// None: too short to be one.
    pub(super) fn parse(datagram: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(datagram);
        let (first, second) = (cursor.u32()?, cursor.u32()?);
        let (timestamp, socket) = (cursor.u32()?, cursor.u32()?);
        let rest = datagram.slice(HEADER..);
        if first & 0x8000_0000 == 0 {
            let key = match (second >> 27) & 3 {
                0 => None,
                1 => Some(Key::Even),
                2 => Some(Key::Odd),
                // Both: only in key material.
                _ => return None,
            };
            return Some(Self::Data(Data {
                sequence: Sequence::new(first),
                key,
                retransmitted: second & 0x0400_0000 != 0,
                timestamp,
                socket,
                payload: rest,
            }));
        }
        let kind = Kind::of(((first >> 16) & 0x7fff) as u16, first as u16);
        Some(Self::Control(Control { kind, info: second, timestamp, socket, body: rest }))
    }
}

impl Control {
    pub(super) fn write(kind: Kind, info: u32, timestamp: u32, socket: u32, body: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER.saturating_add(body.len()));
        out.put_u32(kind.word());
        out.put_u32(info);
        out.put_u32(timestamp);
        out.put_u32(socket);
        out.put_slice(body);
        out.freeze()
    }
}

/// For whom a datagram is: its socket id, 0 for the listener.
pub(super) fn destination(datagram: &[u8]) -> Option<u32> {
    datagram.get(12..HEADER)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}
