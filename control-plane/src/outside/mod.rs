//! The programs outside this one.

pub mod media_server;
