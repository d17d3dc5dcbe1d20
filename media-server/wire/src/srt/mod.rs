//! SRT (draft-sharabayko-srt-01) as pure machines: datagrams and the time in, datagrams and payloads out.
//!
//! A [`Listener`] answers the first handshake without keeping anything; the second one becomes a [`Request`], which is
//! accepted into a [`Connection`] or rejected. A [`Dialer`] calls another listener, and becomes a [`Connection`] too. Every time is a `Duration` since some moment that the caller chose and
//! keeps to.

#[cfg(test)]
mod both_sides;
mod clock;
mod connection;
mod crypto;
mod dialer;
mod estimate;
mod handshake;
mod listener;
mod packet;
mod receiver;
mod sender;
mod sending;
mod sequence;
mod stream_id;
#[cfg(test)]
mod tests;
mod url;

pub use connection::{Closed, Connection, Delivery, Stats};
pub use dialer::{Call, CallError, Dialer};
pub use handshake::Reject;
pub use listener::{Accept, Greeting, Listener, Passphrase, Request};
pub use stream_id::{Mode, StreamId, StreamIdError};
pub use url::{SrtUrl, SrtUrlError};

/// Bytes of a datagram at most: an Ethernet frame's worth (4.3: the MTU that is agreed on is no larger).
pub const LARGEST: usize = 1500;
/// Bytes of a payload that we send at most: seven packets of a transport stream.
pub const PAYLOAD: usize = 1316;
