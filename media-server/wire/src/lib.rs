//! Wire protocols as pure machines: bytes in, events out.
//!
//! Nothing here opens a socket, reads a clock or makes a random number: time and entropy are arguments, and the
//! shell moves the bytes. Every machine bounds what it keeps, and answers bad input with a typed error (before a
//! peer is admitted) or by repairing and counting (afterwards). No input makes it panic.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

pub mod amf0;
pub mod flv;
pub mod reach;
pub mod rtmp;
pub mod rtp;
pub mod sdp;
pub mod srt;
pub mod stun;
pub mod ts;

mod address;
mod cursor;
mod pull;
mod push;
mod trace;

pub use pull::{PullUrl, PullUrlError, UdpUrl};
pub use push::{PushTarget, PushTargetError};
pub use trace::Traced;
