//! What both HTTP services, the public one and the operators', are made of: bodies, answers, the accept loop.

pub mod body;
pub mod certificate;
pub mod listener;
pub mod pending;
pub mod respond;
