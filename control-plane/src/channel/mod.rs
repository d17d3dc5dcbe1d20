//! Channels: the public face of an account, and whether it is live.

pub mod http;
pub mod rules;
pub mod store;
