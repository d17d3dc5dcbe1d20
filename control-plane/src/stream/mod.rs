//! Stream keys: the secrets that a broadcaster's encoder presents.

pub mod http;
pub mod rotation;
pub mod rules;
pub mod store;
