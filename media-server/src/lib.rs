//! Weir's media server: the shell around the pure crates `media` and `wire`.

pub mod transcode;
