//! The handshake's body and its extensions (3.2.1).

use bytes::{BufMut, Bytes, BytesMut};
use core::net::IpAddr;

use crate::cursor::Cursor;

/// Told in the induction answer: this is SRT, not UDT (4.3.1.1).
pub(super) const MAGIC: u16 = 0x4a17;
/// SRT 1.5.3: what we say that we are.
pub(super) const VERSION: u32 = 0x01_05_03;
/// Handshakes of version 5.
pub(super) const V5: u32 = 5;

/// Kinds of handshakes.
pub(super) const INDUCTION: u32 = 1;
pub(super) const CONCLUSION: u32 = u32::MAX;
/// Added to the reason of a rejection.
const REJECTED: u32 = 1000;

/// Extension blocks.
const HSREQ: u16 = 1;
const HSRSP: u16 = 2;
const KMREQ: u16 = 3;
const KMRSP: u16 = 4;
const SID: u16 = 5;

/// Which extension blocks there are (table 2).
const HAS_HSREQ: u16 = 1;
const HAS_KMREQ: u16 = 2;
const HAS_CONFIG: u16 = 4;

/// Flags of the handshake extension (table 6).
pub(super) mod flag {
    pub(crate) const TSBPD_SENDER: u32 = 0x01;
    pub(crate) const TSBPD_RECEIVER: u32 = 0x02;
    pub(crate) const CRYPT: u32 = 0x04;
    pub(crate) const TOO_LATE_DROP: u32 = 0x08;
    pub(crate) const PERIODIC_NAK: u32 = 0x10;
    pub(crate) const RETRANSMIT: u32 = 0x20;
    pub(crate) const STREAM: u32 = 0x40;
    /// What we offer.
    pub(crate) const ALL: u32 = TSBPD_SENDER | TSBPD_RECEIVER | TOO_LATE_DROP | PERIODIC_NAK | RETRANSMIT;
}

/// Why a caller is turned away: what its library shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The listener has no room (SRT_REJ_RESOURCE).
    Resource,
    /// The handshake contradicts itself (SRT_REJ_ROGUE).
    Rogue,
    /// A handshake of before SRT 1.3 (SRT_REJ_VERSION).
    Version,
    /// The passphrase is another (SRT_REJ_BADSECRET).
    BadSecret,
    /// One side encrypts and the other does not (SRT_REJ_UNSECURE).
    Unsecure,
    /// Stream mode in place of messages (SRT_REJ_MESSAGEAPI).
    MessageApi,
    /// The stream id is none (SRT_REJX_BAD_REQUEST).
    BadRequest,
    /// The key is not known (SRT_REJX_UNAUTHORIZED).
    Unauthorized,
    /// Too much is going on (SRT_REJX_OVERLOAD).
    Overload,
    /// The key may not do this (SRT_REJX_FORBIDDEN).
    Forbidden,
    /// There is no such stream (SRT_REJX_NOTFOUND).
    NotFound,
    /// The mode is none that is offered (SRT_REJX_BAD_MODE).
    BadMode,
    /// Somebody publishes there already (SRT_REJX_CONFLICT).
    Conflict,
    /// The server cannot decide (SRT_REJX_GW: a part behind it failed).
    Gateway,
}

impl Reject {
    /// The reason's number, as libsrt names them.
    pub fn code(self) -> u32 {
        match self {
            Self::Resource => 3,
            Self::Rogue => 4,
            Self::Version => 8,
            Self::BadSecret => 10,
            Self::Unsecure => 11,
            Self::MessageApi => 12,
            Self::BadRequest => 1400,
            Self::Unauthorized => 1401,
            Self::Overload => 1402,
            Self::Forbidden => 1403,
            Self::NotFound => 1404,
            Self::BadMode => 1405,
            Self::Conflict => 1409,
            Self::Gateway => 1502,
        }
    }
}

/// A rejection's code in plain words, with what to do.
pub(super) fn refusal(code: u32) -> &'static str {
    match code {
        3 | 1402 => "it has no room; try again later",
        8 => "it does not take this version of SRT",
        10 => "its passphrase is another",
        11 => "one side encrypts and the other does not: set the passphrase on both, or on neither",
        12 => "it wants another transmission mode",
        1400 | 1405 => "it does not understand the stream id",
        1401 => "the key is not known there",
        1403 => "the key may not do this",
        1404 => "there is no such stream",
        1409 => "somebody publishes there already",
        1500.. => "it failed on its own side; try again later",
        _ => "it gave no reason that is known",
    }
}

/// The body of a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) version: u32,
    /// Key length in units of 8 bytes; 0: none is said.
    pub(super) encryption: u16,
    pub(super) extension: u16,
    pub(super) sequence: u32,
    pub(super) mtu: u32,
    pub(super) window: u32,
    pub(super) kind: u32,
    pub(super) socket: u32,
    pub(super) cookie: u32,
    pub(super) address: [u8; 16],
    pub(super) hello: Option<Hello>,
    /// Key material, as it came.
    pub(super) keys: Option<Bytes>,
    pub(super) stream_id: Option<String>,
}

/// The handshake extension (3.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u32,
    pub(super) flags: u32,
    /// Milliseconds that the one who says it wants to hold back what it receives.
    pub(super) receiver_delay: u16,
    /// Milliseconds that it wants its peer to hold back what it sends.
    pub(super) sender_delay: u16,
}

impl Handshake {
    /// None: cut short, or its extensions are.
    pub(super) fn parse(body: &Bytes) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let mut out = Self {
            version: cursor.u32()?,
            encryption: cursor.u16()?,
            extension: cursor.u16()?,
            sequence: cursor.u32()?,
            mtu: cursor.u32()?,
            window: cursor.u32()?,
            kind: cursor.u32()?,
            socket: cursor.u32()?,
            cookie: cursor.u32()?,
            ..Self::default()
        };
        out.address = *cursor.take(16)?.first_chunk()?;
        if out.kind != CONCLUSION || out.version < V5 {
            return Some(out);
        }
        while !cursor.is_empty() {
            let (kind, words) = (cursor.u16()?, cursor.u16()?);
            let length = usize::from(words).saturating_mul(4);
            let from = cursor.position();
            let content = cursor.take(length)?;
            match kind {
                HSREQ | HSRSP => out.hello = Some(Hello::parse(content)?),
                KMREQ | KMRSP => out.keys = Some(body.slice(from..from.saturating_add(length))),
                SID => out.stream_id = Some(text(content)?),
                _ => {}
            }
        }
        Some(out)
    }

    /// `answer`: the extensions are those of the one who answers.
    pub(super) fn write(&self, answer: bool) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u32(self.version);
        out.put_u16(self.encryption);
        let blocks = [
            (HAS_HSREQ, self.hello.is_some()),
            (HAS_KMREQ, self.keys.is_some()),
            (HAS_CONFIG, self.stream_id.is_some()),
        ];
        let blocks =
            blocks.into_iter().filter(|(_, there)| *there).fold(self.extension, |all, (bit, _)| all | bit);
        out.put_u16(blocks);
        for word in [self.sequence, self.mtu, self.window, self.kind, self.socket, self.cookie] {
            out.put_u32(word);
        }
        out.put_slice(&self.address);
        if let Some(hello) = &self.hello {
            out.put_u16(if answer { HSRSP } else { HSREQ });
            out.put_u16(3);
            out.put_u32(hello.version);
            out.put_u32(hello.flags);
            out.put_u16(hello.receiver_delay);
            out.put_u16(hello.sender_delay);
        }
        if let Some(keys) = &self.keys {
            out.put_u16(if answer { KMRSP } else { KMREQ });
            out.put_u16(u16::try_from(keys.len() / 4).unwrap_or_default());
            out.put_slice(keys);
        }
        if let Some(id) = &self.stream_id {
            let words = id.as_bytes().chunks(4);
            out.put_u16(SID);
            out.put_u16(u16::try_from(words.len()).unwrap_or_default());
            for word in words {
                (0..4).rev().for_each(|at| out.put_u8(word.get(at).copied().unwrap_or_default()));
            }
        }
        out.freeze()
    }

    /// The same handshake as a rejection.
    pub(super) fn rejection(&self, reason: Reject) -> Self {
        Self {
            kind: REJECTED.saturating_add(reason.code()),
            extension: 0,
            hello: None,
            keys: None,
            stream_id: None,
            ..self.clone()
        }
    }
}

impl Hello {
    fn parse(content: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(content);
        Some(Self {
            version: cursor.u32()?,
            flags: cursor.u32()?,
            receiver_delay: cursor.u16()?,
            sender_delay: cursor.u16()?,
        })
    }
}

/// Text of an extension: each word has its bytes the other way around, zeros fill the last (3.2.1.3).
fn text(content: &[u8]) -> Option<String> {
    let words = content.as_chunks::<4>().0;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.iter().rev().copied()).collect();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    bytes.truncate(end);
    String::from_utf8(bytes).ok()
}

/// An address as handshakes carry it: IPv4 in the first word, the other way around.
pub(super) fn address(ip: IpAddr) -> [u8; 16] {
    let mut out = [0; 16];
    match ip {
        IpAddr::V4(ip) => {
            for (to, from) in out.iter_mut().zip(ip.octets().iter().rev()) {
                *to = *from;
            }
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let words = octets.as_chunks::<4>().0.iter().flat_map(|word| word.iter().rev());
            out.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
        }
    }
    out
}
