//! Weir's media server: takes live video in, makes an adaptive ladder of it, gives Low-Latency HLS out.
//!
//! Rooms, from the ground up; none imports one above it or beside it (`docs/architecture.md`):
//! `config`, `flight` (the recorder), `metrics` and `web` (what HTTP services are made of); `live` (streams) and `admission` (who may publish);
//! `ingest`, `transcode`, `serve`, `restream` (sending streams on) and `admin`; and `daemon`, which wires them and owns every task.

pub mod backoff;
pub mod config;
pub mod flight;
pub mod metrics;
pub mod transport;
pub mod web;

pub mod admission;
pub mod live;
pub mod signalling;

pub mod admin;
pub mod ingest;
pub mod restream;
pub mod serve;
pub mod transcode;

pub mod daemon;
