//! A slate is made: a worker of its own gets a file's bytes, encodes them once, and is gone.

use std::time::Duration;

use bytes::Bytes;
use media::time::FLICKS_PER_SECOND;
use media::{AccessUnit, Span, Timestamp, VideoFormat, aac};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::OwnedReadHalf;

use super::attempt::{codec, write};
use super::backend::Coding;
use super::one_off::{Answers, OneOffError};
use super::process;
use super::protocol::{FromWorker, ToWorker};
use super::spec::SlateSpec;
use super::workers::Workers;
use crate::live::Slate;

/// How long it may take, for a minute of 1080p on a slow machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// What a turn may have, in bytes: a minute at 8 Mbit/s.
const MOST: usize = 64 << 20;
/// Size of the parts in which the file travels.
const PART: usize = 1 << 20;

/// Encodes `file` as `spec` says.
pub async fn make_slate(workers: &Workers, mut spec: SlateSpec, file: Bytes) -> Result<Slate, OneOffError> {
    spec.validate()?;
    spec.file_bytes = file.len();
    tokio::time::timeout(PATIENCE, make(workers, spec, file))
        .await
        .unwrap_or(Err(OneOffError::Slow(PATIENCE)))
}

async fn make(workers: &Workers, spec: SlateSpec, file: Bytes) -> Result<Slate, OneOffError> {
    let process::Worker { mut child, socket, stderr } = process::spawn(workers.program(), false, &[])?;
    let (read, mut write_half) = socket.into_split();
    let (numerator, denominator) = spec.frame_rate;
    let interval =
        Span::from_flicks(FLICKS_PER_SECOND * i64::from(denominator) / i64::from(numerator.max(1)));
    let feed = async {
        write(&mut write_half, ToWorker::Slate(Box::new(spec)).encode()).await?;
        let mut rest = file;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART));
            write(&mut write_half, ToWorker::File(part).encode()).await?;
        }
        write_half.shutdown().await
    };
    let log = process::log(stderr, "slate");
    // What the worker says of a broken file counts for more than that it took no more of it.
    let (_fed, made, ()) = tokio::join!(feed, collect(read, interval), log);
    drop(child.kill().await);
    made
}

/// `interval`: pictures stand so far apart, whatever times a worker gives them; it parses a stranger's file.
async fn collect(socket: OwnedReadHalf, interval: Span) -> Result<Slate, OneOffError> {
    let mut made =
        Slate { video: none(), pictures: Vec::new(), sound_config: Bytes::new(), sound: Vec::new() };
    let mut bytes = 0_usize;
    let mut answers = Answers::new(socket);
    loop {
        match answers.next().await? {
            FromWorker::Format { width, height, frame_rate, config, .. } => {
                made.video =
                    VideoFormat { codec: codec(Coding::H264, &config), width, height, frame_rate, config };
            }
            FromWorker::Sound { config } => made.sound_config = aac::canonical(&config),
            FromWorker::Unit { rung, unit } => {
                bytes = bytes.saturating_add(unit.payload.len()).saturating_add(size_of::<AccessUnit>());
                if bytes > MOST {
                    return Err(OneOffError::TooLarge(MOST));
                }
                // A copy: it is kept for long, and must not keep the read buffers.
                let payload = Bytes::copy_from_slice(&unit.payload);
                if rung == 0 {
                    let at = Timestamp::ZERO + interval.times(made.pictures.len() as i64);
                    let keyframe = unit.keyframe;
                    made.pictures.push(AccessUnit {
                        dts: at,
                        pts: at,
                        duration: interval,
                        keyframe,
                        payload,
                    });
                } else {
                    made.sound.push(payload);
                }
            }
            FromWorker::Progress { consumed } => {
                let all = made.pictures.len().saturating_add(made.sound.len());
                return if consumed == all as u64 { Ok(made) } else { Err(OneOffError::Ended) };
            }
            FromWorker::Ready | FromWorker::Error { .. } => {}
        }
    }
}

fn none() -> VideoFormat {
    VideoFormat { codec: String::new(), width: 0, height: 0, frame_rate: None, config: Bytes::new() }
}
