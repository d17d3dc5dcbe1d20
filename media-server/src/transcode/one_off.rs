//! Jobs that a worker does once, and is gone: what can go wrong, and how its answers are read.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::OwnedReadHalf;

use super::protocol::{self, FromWorker, ProtocolError};
use super::spec::InvalidSpec;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OneOffError {
    /// It asks for a size or rate that cannot be encoded.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
    /// The worker could not be started, or died.
    #[error("the worker: {0}")]
    Worker(#[from] io::Error),
    /// It said something that this side does not understand.
    #[error("the worker does not keep to the protocol: {0}")]
    Protocol(String),
    /// It said why.
    #[error("{0}")]
    Said(String),
    /// It ended before it was done.
    #[error("the worker ended before it was done")]
    Ended,
    /// What comes of it needs more bytes than this.
    #[error("what is made of it takes more than {} MiB: take a shorter or simpler one", .0 >> 20)]
    TooLarge(usize),
    /// It took longer than this.
    #[error("it took longer than {0:?}: take a shorter or simpler one")]
    Slow(Duration),
}

impl From<ProtocolError> for OneOffError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// What a worker says.
pub(super) struct Answers {
    socket: OwnedReadHalf,
    read: BytesMut,
}

impl Answers {
    pub(super) fn new(socket: OwnedReadHalf) -> Self {
        Self { socket, read: BytesMut::new() }
    }

    /// The next message; its own complaint is an error.
    pub(super) async fn next(&mut self) -> Result<FromWorker, OneOffError> {
        loop {
            if let Some((kind, body)) = protocol::split(&mut self.read)? {
                return match FromWorker::decode(kind, body)? {
                    FromWorker::Error { text, .. } => Err(OneOffError::Said(text)),
                    message => Ok(message),
                };
            }
            protocol::make_room(&mut self.read);
            match self.socket.read_buf(&mut self.read).await {
                Ok(0) => return Err(OneOffError::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(OneOffError::Ended);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
