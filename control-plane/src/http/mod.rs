//! The HTTP side that all rooms share: errors, headers, counting, serving.

pub mod address;
pub mod body;
pub mod metrics;
pub mod ops;
pub mod pages;
pub mod problem;
pub mod routes;
pub mod server;
