//! The way out (4.3.1): a caller's handshake, up to the connection.

use bytes::Bytes;
use core::net::IpAddr;
use core::time::Duration;

use super::connection::{Agreed, Connection};
use super::crypto::{Keys, Passphrase};
use super::handshake::{CONCLUSION, Handshake, Hello, INDUCTION, MAGIC, V5, VERSION, address, flag, refusal};
use super::packet::{Control, Kind, Packet};
use super::receiver::WINDOW;
use super::sequence::Sequence;

/// Between two tries of a handshake.
const AGAIN: Duration = Duration::from_millis(250);
/// Version 4 handshakes say that datagrams are wanted here (table 1).
const DATAGRAMS: u16 = 2;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub struct Call {
    /// `publish/KEY`, `play/STREAM`, or what the other server wants to hear.
    pub stream_id: String,
    /// What both sides hold back at least.
    pub latency: Duration,
    /// Encrypt with this, by keys of so many bits: 128, 192 or 256.
    pub secret: Option<(Passphrase, usize)>,
    /// Where the other side is.
    pub to: IpAddr,
    /// 32 random bytes that nobody else has: socket id, first number and keys come of them.
    pub entropy: [u8; 32],
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The other side said no, with its code.
    #[error("the server refused the call: {} (code {code})", refusal(*.code))]
    Rejected {
        /// As libsrt numbers them.
        code: u32,
    },
    /// The other side does not speak SRT 1.3 or later.
    #[error("the server speaks no SRT of version 1.3 or later")]
    Version,
    /// It has another passphrase, or none.
    #[error("the server has another passphrase, or none")]
    Secret,
    /// A key length that is none.
    #[error("keys have 128, 192 or 256 bits")]
    KeyLength,
}

/// A call on its way.
#[derive(Debug)]
pub struct Dialer {
    call: Call,
    began: Duration,
    socket: u32,
    sequence: u32,
    keys: Option<(Keys, Bytes)>,
    /// The listener's cookie, once it is known.
    cookie: Option<u32>,
    next: Duration,
}

impl Dialer {
    /// A call that begins at `now`.
    pub fn new(now: Duration, call: Call) -> Result<Self, CallError> {
        let (socket, number, seed) = split(&call.entropy);
        let keys = match &call.secret {
            Some((passphrase, bits)) => {
                Some(Keys::make(passphrase, *bits, seed).ok_or(CallError::KeyLength)?)
            }
            None => None,
        };
        let sequence = Sequence::new(number).number();
        Ok(Self { call, began: now, socket: socket.max(1), sequence, keys, cookie: None, next: now })
    }

    /// When [`Self::transmit`] has something at the latest.
    pub fn timeout(&self) -> Duration {
        self.next
    }

    /// The next datagram for the other side.
    pub fn transmit(&mut self, now: Duration) -> Option<Bytes> {
        if now < self.next {
            return None;
        }
        self.next = now.saturating_add(AGAIN);
        let timestamp = now.saturating_sub(self.began).as_micros() as u32;
        let handshake = self.handshake();
        Some(Control::write(Kind::Handshake, 0, timestamp, 0, &handshake.write(false)))
    }

    fn handshake(&self) -> Handshake {
        let common = Handshake {
            sequence: self.sequence,
            mtu: super::LARGEST as u32,
            window: WINDOW as u32,
            socket: self.socket,
            address: address(self.call.to),
            ..Handshake::default()
        };
        let Some(cookie) = self.cookie else {
            return Handshake { version: 4, extension: DATAGRAMS, kind: INDUCTION, ..common };
        };
        let millis = u16::try_from(self.call.latency.as_millis()).unwrap_or(u16::MAX);
        let crypt = if self.keys.is_some() { flag::CRYPT } else { 0 };
        Handshake {
            version: V5,
            encryption: self.keys.as_ref().map_or(0, |(keys, _)| (keys.bits() / 64) as u16),
            kind: CONCLUSION,
            cookie,
            hello: Some(Hello {
                version: VERSION,
                flags: flag::ALL | crypt,
                receiver_delay: millis,
                sender_delay: millis,
            }),
            keys: self.keys.as_ref().map(|(_, material)| material.clone()),
            stream_id: Some(self.call.stream_id.clone()).filter(|id| !id.is_empty()),
            ..common
        }
    }

    /// Takes a datagram in. Some: the call is over, one way or the other.
    pub fn receive(&mut self, now: Duration, datagram: &Bytes) -> Option<Result<Connection, CallError>> {
        let Packet::Control(Control { kind: Kind::Handshake, timestamp, socket, body, .. }) =
            Packet::parse(datagram)?
        else {
            return None;
        };
        // Only from a listener that has seen our own call.
        if socket != self.socket {
            return None;
        }
        let answer = Handshake::parse(&body)?;
        match answer.kind {
            INDUCTION if self.cookie.is_none() => {
                if answer.version < V5 || answer.extension != MAGIC {
                    return Some(Err(CallError::Version));
                }
                self.cookie = Some(answer.cookie);
                self.next = now;
                None
            }
            CONCLUSION if self.cookie.is_some() => Some(self.concluded(now, timestamp, &answer)),
            kind if (1000..CONCLUSION).contains(&kind) => {
                Some(Err(CallError::Rejected { code: kind.saturating_sub(1000) }))
            }
            _ => None,
        }
    }

    fn concluded(
        &mut self,
        now: Duration,
        timestamp: u32,
        answer: &Handshake,
    ) -> Result<Connection, CallError> {
        let Some(hello) = answer.hello else { return Err(CallError::Version) };
        // A refusal of the keys is one word in place of them (3.2.2).
        if self.keys.is_some() && answer.keys.as_ref().is_none_or(|keys| keys.len() <= 4) {
            return Err(CallError::Secret);
        }
        let delay = |millis: u16| Duration::from_millis(u64::from(millis));
        Ok(Connection::new(
            now,
            Agreed {
                peer: answer.socket,
                began: self.began,
                first: Sequence::new(answer.sequence),
                sends_from: Sequence::new(self.sequence),
                latency: self.call.latency.max(delay(hello.sender_delay)),
                peer_latency: self.call.latency.max(delay(hello.receiver_delay)),
                keys: self.keys.take().map(|(keys, _)| keys),
                timestamp,
                answer: None,
            },
        ))
    }
}

/// Socket id, first number and the seed of keys.
fn split(entropy: &[u8; 32]) -> (u32, u32, [u8; 32]) {
    use sha2::{Digest as _, Sha256};
    let derived = |purpose: &[u8]| -> [u8; 32] {
        Sha256::new().chain_update(purpose).chain_update(entropy).finalize().into()
    };
    let numbers = derived(b"numbers");
    let word = |at: usize| {
        let four = numbers.get(at..).and_then(|rest| rest.first_chunk::<4>());
        four.map_or(0, |four| u32::from_be_bytes(*four))
    };
    (word(0) & 0x3fff_ffff, word(4), derived(b"keys"))
}
