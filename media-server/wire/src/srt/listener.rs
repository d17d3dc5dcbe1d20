//! The way in (4.3.1): nothing is kept of a caller before it has shown that it is where it says.

use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::connection::{Agreed, Connection};
pub use super::crypto::Passphrase;
use super::crypto::{KeyError, Keys};
use super::handshake::{CONCLUSION, Handshake, Hello, INDUCTION, MAGIC, Reject, V5, VERSION, address, flag};
use super::packet::{Control, Kind, Packet, destination};
use super::receiver::WINDOW;
use super::sequence::Sequence;
use super::stream_id::{StreamId, StreamIdError};

/// A cookie holds for the minute that it was made in, and the next.
const MINUTE: Duration = Duration::from_mins(1);
/// What we may be sent at most in one datagram.
const MTU: u32 = super::LARGEST as u32;

/// Answers first handshakes and reads second ones.
#[derive(Clone)]
pub struct Listener {
    secret: [u8; 32],
}

impl core::fmt::Debug for Listener {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Listener")
    }
}

/// What a datagram for the listener (socket id 0) leads to.
#[derive(Debug)]
pub enum Greeting {
    /// Send this back, keep nothing.
    Answer(Bytes),
    /// A caller that has shown that it is where it says.
    Request(Box<Request>),
    /// It is no handshake, its cookie is wrong, or it is not worth an answer.
    Ignored,
}

/// A caller that wants to be let in.
#[derive(Debug)]
pub struct Request {
    from: SocketAddr,
    handshake: Handshake,
    hello: Hello,
    timestamp: u32,
    at: Duration,
}

/// On which terms a caller is let in.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Our socket id for it: not 0.
    pub socket: u32,
    /// What is held back at least; the caller may ask for more.
    pub latency: Duration,
    /// What the caller is to hold back at least of what it is sent.
    pub peer_latency: Duration,
    /// The passphrase that it must have. None: it must not encrypt.
    pub passphrase: Option<Passphrase>,
    /// 32 random bytes that nobody else has: keys that follow on the caller's come of them.
    pub entropy: [u8; 32],
}

impl Listener {
    /// `secret`: 32 random bytes that nobody else has.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// For whom a datagram is: a connection's socket id, 0 for the listener. None: it is no SRT.
    pub fn destination(datagram: &[u8]) -> Option<u32> {
        destination(datagram)
    }

    /// Takes a datagram that is for the listener.
    pub fn greet(&self, now: Duration, from: SocketAddr, datagram: &Bytes) -> Greeting {
        let Some(Packet::Control(Control { kind: Kind::Handshake, timestamp, body, .. })) =
            Packet::parse(datagram)
        else {
            return Greeting::Ignored;
        };
        let Some(handshake) = Handshake::parse(&body) else { return Greeting::Ignored };
        match handshake.kind {
            INDUCTION => Greeting::Answer(self.induction(now, from, &handshake)),
            CONCLUSION if self.knows(now, from, handshake.cookie) => {
                conclusion(now, from, handshake, timestamp)
            }
            _ => Greeting::Ignored,
        }
    }

    /// No longer than what was asked: of no use for reflection.
    fn induction(&self, now: Duration, from: SocketAddr, asked: &Handshake) -> Bytes {
        let answer = Handshake {
            version: V5,
            encryption: 0,
            extension: MAGIC,
            kind: INDUCTION,
            cookie: self.cookie(minute(now), from),
            address: address(from.ip()),
            hello: None,
            keys: None,
            stream_id: None,
            ..asked.clone()
        };
        wrap(answer.socket, &answer.write(true))
    }

    fn knows(&self, now: Duration, from: SocketAddr, cookie: u32) -> bool {
        let minute = minute(now);
        [minute, minute.saturating_sub(1)].into_iter().any(|minute| self.cookie(minute, from) == cookie)
    }

    fn cookie(&self, minute: u64, from: SocketAddr) -> u32 {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return 0 };
        mac.update(&minute.to_be_bytes());
        mac.update(&address(from.ip()));
        mac.update(&from.port().to_be_bytes());
        let tag = mac.finalize().into_bytes();
        tag.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
    }
}

fn minute(now: Duration) -> u64 {
    now.as_secs().checked_div(MINUTE.as_secs()).unwrap_or_default()
}

fn conclusion(now: Duration, from: SocketAddr, handshake: Handshake, timestamp: u32) -> Greeting {
    let refuse = |reason: Reject| Greeting::Answer(rejection(&handshake, reason));
    if handshake.version < V5 {
        return refuse(Reject::Version);
    }
    let Some(hello) = handshake.hello else { return refuse(Reject::Version) };
    if handshake.socket == 0 {
        return refuse(Reject::Rogue);
    }
    if hello.flags & flag::STREAM != 0 {
        return refuse(Reject::MessageApi);
    }
    Greeting::Request(Box::new(Request { from, handshake, hello, timestamp, at: now }))
}

fn rejection(handshake: &Handshake, reason: Reject) -> Bytes {
    wrap(handshake.socket, &handshake.rejection(reason).write(true))
}

fn wrap(socket: u32, body: &[u8]) -> Bytes {
    Control::write(Kind::Handshake, 0, 0, socket, body)
}

impl Request {
    /// Where it is.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// Its own socket id: with its address, what tells one caller from another.
    pub fn peer(&self) -> u32 {
        self.handshake.socket
    }

    /// What it asks for.
    pub fn stream_id(&self) -> Result<StreamId, StreamIdError> {
        StreamId::parse(self.handshake.stream_id.as_deref().unwrap_or_default())
    }

    /// The version of its library: 0x010503 is 1.5.3.
    pub fn version(&self) -> u32 {
        self.hello.version
    }

    /// It encrypts what it sends.
    pub fn is_encrypted(&self) -> bool {
        self.handshake.keys.is_some()
    }

    /// Turns it away. Nothing need be kept.
    pub fn reject(&self, reason: Reject) -> Bytes {
        rejection(&self.handshake, reason)
    }

    /// Lets it in at `now`; what is to be sent to it is in the connection. An error is to be given to [`Self::reject`].
    pub fn accept(&self, now: Duration, accept: &Accept) -> Result<Connection, Reject> {
        let keys = match (&accept.passphrase, &self.handshake.keys) {
            (None, None) => None,
            (Some(passphrase), Some(material)) => {
                Some(Keys::unwrap(passphrase, material, accept.entropy).map_err(|error| match error {
                    KeyError::BadSecret => Reject::BadSecret,
                    KeyError::Malformed => Reject::Rogue,
                })?)
            }
            (Some(_), None) | (None, Some(_)) => return Err(Reject::Unsecure),
        };
        let asked = Duration::from_millis(u64::from(self.hello.sender_delay));
        let latency = accept.latency.max(asked);
        let millis = u16::try_from(latency.as_millis()).unwrap_or(u16::MAX);
        let peer_millis =
            self.hello.receiver_delay.max(u16::try_from(accept.peer_latency.as_millis()).unwrap_or(u16::MAX));
        let crypt = if keys.is_some() { flag::CRYPT } else { 0 };
        let hello = Hello {
            version: VERSION,
            flags: flag::ALL | crypt,
            receiver_delay: millis,
            sender_delay: peer_millis,
        };
        let answer = Handshake {
            version: V5,
            encryption: 0,
            extension: 0,
            sequence: self.handshake.sequence,
            mtu: self.handshake.mtu.min(MTU),
            window: WINDOW as u32,
            kind: CONCLUSION,
            socket: accept.socket,
            cookie: self.handshake.cookie,
            address: address(self.from.ip()),
            hello: Some(hello),
            keys: keys.as_ref().and_then(|_| self.handshake.keys.clone()),
            stream_id: None,
        };
        let agreed = Agreed {
            peer: self.handshake.socket,
            began: now,
            first: Sequence::new(self.handshake.sequence),
            // As libsrt: both sides count from the same number.
            sends_from: Sequence::new(self.handshake.sequence),
            latency: Duration::from_millis(u64::from(millis)),
            peer_latency: Duration::from_millis(u64::from(peer_millis)),
            keys,
            timestamp: self.timestamp,
            answer: Some(answer.write(true)),
        };
        Ok(Connection::new(self.at, agreed))
    }
}
