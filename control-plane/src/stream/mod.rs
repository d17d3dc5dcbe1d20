//! Stream keys: the secrets that a broadcaster's encoder presents.

pub mod http;
mod publisher;
pub mod rotation;
pub mod rules;
pub mod store;
