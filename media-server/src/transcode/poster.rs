//! A picture of a stream: a worker of its own is given one keyframe, answers with a JPEG, and is gone. What a keyframe does to its
//! decoder costs that picture.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media::AccessUnit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::attempt::write;
use super::process;
use super::protocol::{self, FromWorker, ProtocolError, ToWorker};
use super::spec::{InvalidSpec, PosterSpec};
use super::workers::Workers;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest picture, in bytes.
const MOST: usize = 4 << 20;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PosterError {
    /// The size is none that can be encoded.
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
    /// What came is larger than a picture may be.
    #[error("a picture of {0} bytes")]
    TooLarge(usize),
    /// It took too long.
    #[error("it took longer than {PATIENCE:?}")]
    Slow,
}

impl From<ProtocolError> for PosterError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// The JPEG of a keyframe.
pub async fn make_poster(
    workers: &Workers,
    spec: PosterSpec,
    keyframe: AccessUnit,
) -> Result<Bytes, PosterError> {
    spec.validate()?;
    tokio::time::timeout(PATIENCE, make(workers, spec, keyframe)).await.unwrap_or(Err(PosterError::Slow))
}

async fn make(workers: &Workers, spec: PosterSpec, unit: AccessUnit) -> Result<Bytes, PosterError> {
    let process::Worker { mut child, socket, stderr } = process::spawn(workers.program(), false)?;
    let (mut read_half, mut write_half) = socket.into_split();
    let feed = async {
        write(&mut write_half, ToWorker::Poster(Box::new(spec)).encode()).await?;
        write(&mut write_half, ToWorker::Source { unit, edge: true }.encode()).await?;
        write_half.shutdown().await
    };
    let answer = async {
        let mut read = BytesMut::new();
        loop {
            while let Some((kind, body)) = protocol::split(&mut read)? {
                match FromWorker::decode(kind, body)? {
                    FromWorker::Unit { unit, .. } if unit.payload.len() > MOST => {
                        return Err(PosterError::TooLarge(unit.payload.len()));
                    }
                    // A copy: it is kept for long, and must not keep the read buffer.
                    FromWorker::Unit { unit, .. } => return Ok(Bytes::copy_from_slice(&unit.payload)),
                    FromWorker::Error { text, .. } => return Err(PosterError::Said(text)),
                    _ => {}
                }
            }
            protocol::make_room(&mut read);
            match read_half.read_buf(&mut read).await {
                Ok(0) => return Err(PosterError::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(PosterError::Ended);
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let (_fed, made, ()) = tokio::join!(feed, answer, process::log(stderr, "thumbnail"));
    drop(child.kill().await);
    made
}
