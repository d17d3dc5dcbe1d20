//! What the end-to-end tests and the benchmarks are made of: worlds, publishers, viewers, and an LL-HLS checker.
//!
//! A test file in `tests/` holds one promise. It builds a [`world::World`] of the real programs on free ports with
//! their own data, drives it with real clients, and waits for events, never for the clock.

pub mod beeps;
pub mod bench;
pub mod browser;
pub mod certificate;
pub mod clock;
pub mod http3;
pub mod http_client;
pub mod ladder;
pub mod llhls;
pub mod lossy_path;
pub mod metrics;
pub mod player;
pub mod program;
pub mod publisher;
pub mod rtmp_url;
pub mod settings;
pub mod sources;
pub mod transport_stream;
pub mod vigil;
pub mod wait;
pub mod whep;
pub mod world;
