//! The benchmarks. Each runs a peer or a floor beside ours, in the same run, and gives a table with the ratio.

pub mod delivery;
pub mod feed;
pub mod ladder;
pub mod ladder_quality;
pub mod nginx;
pub mod part_latency;
pub mod pass_through;
pub mod proc;
pub mod srt_loss;
pub mod table;
pub mod viewers;
pub mod webrtc_floor;
pub mod worker_latency;
