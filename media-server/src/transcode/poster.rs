//! A picture of a stream: a worker of its own is given one keyframe, answers with a JPEG, and is gone. What a keyframe does to its
//! decoder costs that picture.

use std::time::Duration;

use bytes::Bytes;
use media::AccessUnit;
use tokio::io::AsyncWriteExt as _;

use super::attempt::write;
use super::one_off::{Answers, OneOffError};
use super::process;
use super::protocol::{FromWorker, ToWorker};
use super::spec::PosterSpec;
use super::workers::Workers;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest picture, in bytes.
const MOST: usize = 4 << 20;

/// The JPEG of a keyframe.
pub async fn make_poster(
    workers: &Workers,
    spec: PosterSpec,
    keyframe: AccessUnit,
) -> Result<Bytes, OneOffError> {
    spec.validate()?;
    let made = tokio::time::timeout(PATIENCE, make(workers, spec, keyframe)).await;
    made.unwrap_or(Err(OneOffError::Slow(PATIENCE)))
}

async fn make(workers: &Workers, spec: PosterSpec, unit: AccessUnit) -> Result<Bytes, OneOffError> {
    let process::Worker { mut child, socket, stderr } = process::spawn(workers.program(), false, &[])?;
    let (read, mut write_half) = socket.into_split();
    let feed = async {
        write(&mut write_half, ToWorker::Poster(Box::new(spec)).encode()).await?;
        write(&mut write_half, ToWorker::Source { unit, edge: true }.encode()).await?;
        write_half.shutdown().await
    };
    let answer = async {
        let mut answers = Answers::new(read);
        loop {
            match answers.next().await? {
                FromWorker::Unit { unit, .. } if unit.payload.len() > MOST => {
                    return Err(OneOffError::TooLarge(MOST));
                }
                // A copy: it is kept for long, and must not keep the read buffer.
                FromWorker::Unit { unit, .. } => return Ok(Bytes::copy_from_slice(&unit.payload)),
                _ => {}
            }
        }
    };
    let (_fed, made, ()) = tokio::join!(feed, answer, process::log(stderr, "thumbnail"));
    drop(child.kill().await);
    made
}
