//! Access: who may publish. The media server asks, and tells afterwards what came of it.

pub mod event;
pub mod http;
pub mod message;
pub mod profile;
pub mod rules;
pub mod signature;
pub mod store;
