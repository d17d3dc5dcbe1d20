//! What both HTTP services, the public one and the operators', are made of: bodies, answers, the accept loops.

pub mod body;
pub mod certificate;
pub mod listener;
pub mod pending;
pub mod quic;
pub mod respond;
pub mod self_signed;
