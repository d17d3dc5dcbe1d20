//! A picture of a stream: a worker of its own is given one keyframe, answers with a JPEG, and is gone. What a keyframe does to its
//! decoder costs that picture. With it comes the newest sheet of the stream's storyboard, made of the tiles that are known and a new one.

use std::time::Duration;

use bytes::Bytes;
use media::AccessUnit;
use media::storyboard::tile_bytes;
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

/// What came of a keyframe.
#[derive(Clone, Debug)]
pub struct Made {
    /// The picture.
    pub jpeg: Bytes,
    /// Where a sheet was asked for: the new tile as it is given back for the next one (I420 without padding), and the sheet as a JPEG.
    pub sheet: Option<(Bytes, Bytes)>,
}

/// The JPEG of a keyframe, and the sheet where it asks for one: `known` are its tiles so far.
pub async fn make_poster(
    workers: &Workers,
    spec: PosterSpec,
    keyframe: AccessUnit,
    known: &[Bytes],
) -> Result<Made, OneOffError> {
    spec.validate()?;
    let made = tokio::time::timeout(PATIENCE, make(workers, spec, keyframe, known)).await;
    made.unwrap_or(Err(OneOffError::Slow(PATIENCE)))
}

async fn make(
    workers: &Workers,
    spec: PosterSpec,
    unit: AccessUnit,
    known: &[Bytes],
) -> Result<Made, OneOffError> {
    let process::Worker { mut child, socket, stderr } = process::spawn(workers.program(), false, &[])?;
    let (read, mut write_half) = socket.into_split();
    let tile = spec.sheet.map(|sheet| tile_bytes(sheet.tile));
    let feed = async {
        write(&mut write_half, ToWorker::Poster(Box::new(spec)).encode()).await?;
        write(&mut write_half, ToWorker::Source { unit, edge: true }.encode()).await?;
        for tile in known {
            write(&mut write_half, ToWorker::File(tile.clone()).encode()).await?;
        }
        write_half.shutdown().await
    };
    let answer = async {
        let mut answers = Answers::new(read);
        let jpeg = picture(&mut answers).await?;
        let Some(bytes) = tile else { return Ok(Made { jpeg, sheet: None }) };
        let tile = picture(&mut answers).await?;
        if tile.len() != bytes {
            return Err(OneOffError::Protocol(format!("a tile of {} bytes, not {bytes}", tile.len())));
        }
        Ok(Made { jpeg, sheet: Some((tile, picture(&mut answers).await?)) })
    };
    let (_fed, made, ()) = tokio::join!(feed, answer, process::log(stderr, "thumbnail"));
    drop(child.kill().await);
    made
}

/// The next one.
async fn picture(answers: &mut Answers) -> Result<Bytes, OneOffError> {
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
}
