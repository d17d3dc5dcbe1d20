//! RTMP, the server's side of publishing (Adobe, "Real Time Messaging Protocol" 1.0, 2012), as encoders speak it.
//!
//! [`Session`] is the whole of it: bytes from the socket go into [`Session::feed`], what happened comes out of
//! [`Session::next`], and bytes for the socket out of [`Session::output`].

mod address;
mod aggregate;
mod answer;
mod chunk;
mod command;
mod control;
mod error;
mod event;
mod handshake;
mod header;
mod limits;
mod message;
mod session;
mod stats;
mod stream;
mod writer;

pub use error::SessionError;
pub use event::Event;
pub use limits::Limits;
pub use session::Session;
pub use stats::{Repairs, Stats};
