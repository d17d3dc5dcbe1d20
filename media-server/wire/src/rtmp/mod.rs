//! RTMP, both sides of publishing (Adobe, "Real Time Messaging Protocol" 1.0, 2012), as encoders speak it.
//!
//! [`Session`] is the whole of it: bytes from the socket go into [`Session::feed`], what happened comes out of
//! [`Session::next`], and bytes for the socket out of [`Session::output`]. [`Client`] is the client's side, for pushes
//! to other servers.

mod address;
mod aggregate;
mod answer;
mod checkpoint;
mod chunk;
mod client;
mod command;
mod control;
mod error;
mod event;
mod handshake;
mod header;
mod held;
mod limits;
mod message;
mod session;
mod stats;
mod stream;
mod target;
mod writer;

pub use checkpoint::CheckpointError;
pub use client::{Client, ClientError, Media};
pub use error::SessionError;
pub use event::Event;
pub use limits::Limits;
pub use session::Session;
pub use stats::{Repairs, Stats};
pub use target::{PushUrl, PushUrlError};
