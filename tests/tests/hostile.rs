//! What a stranger may send to the RTMP port: each connection ends, the daemon and every other stream go on.

use std::time::Duration;

use anyhow::Result;
use bytes::{BufMut as _, BytesMut};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use weir_tests::{
    llhls,
    publisher::{
        Ffmpeg, Session, Source, chunks,
        flv::{self, Tag},
        session::{open, read_to_close},
    },
    world::{Plan, World},
};

/// Connections that neither publish nor say anything are closed after that long.
const SILENCE: Duration = Duration::from_secs(10);

/// A world with a good stream in it, which must not notice.
async fn beside_a_good_stream() -> Result<(World, Ffmpeg)> {
    let world = Plan::open()?.pass_through().start().await?;
    let good = Ffmpeg::publish(&Source::default(), &world.media.publish_url("good"))?;
    world.media.playlist("good", Duration::from_secs(15)).await?;
    Ok((world, good))
}

async fn goes_on(mut world: World, mut good: Ffmpeg) -> Result<()> {
    world.media.program.must_run()?;
    good.program.must_run()?;
    llhls::check(&world.media.hls("good"), Duration::from_secs(4)).await?.no_must_broken(&[])
}

/// Numbers without a pattern, the same at each run.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_closed_after_ten_seconds() -> Result<()> {
    let (world, good) = beside_a_good_stream().await?;
    let mut silent = TcpStream::connect(&world.media.rtmp).await?;
    let mut shaken = open(&world.media.rtmp).await?.socket;
    let within = SILENCE + Duration::from_secs(3);
    let (first, second) = tokio::join!(
        read_to_close(&mut silent, 1 << 20, within),
        read_to_close(&mut shaken, 1 << 20, within)
    );
    first?;
    second?;
    goes_on(world, good).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_chunks_of_garbage_end_one_connection_only() -> Result<()> {
    let (world, good) = beside_a_good_stream().await?;
    for seed in 1..=10_u64 {
        let mut socket = open(&world.media.rtmp).await?.socket;
        for chunk in noise(1000 * 128, seed).chunks(128) {
            if socket.write_all(chunk).await.is_err() {
                break; // closed on us: as it should be
            }
        }
        read_to_close(&mut socket, 1 << 20, SILENCE + Duration::from_secs(3)).await?;
    }
    // Well-formed chunks of messages that mean nothing.
    let mut socket = open(&world.media.rtmp).await?.socket;
    let mut out = BytesMut::new();
    for index in 0..10_000_u32 {
        chunks::message(
            &mut out,
            3 + (index % 40) as u8,
            (index % 256) as u8,
            index,
            index,
            &noise(40, 7),
            128,
        );
    }
    if socket.write_all(&out).await.is_ok() {
        read_to_close(&mut socket, 1 << 20, SILENCE + Duration::from_secs(3)).await?;
    }
    goes_on(world, good).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_16_megabytes_is_refused_without_being_kept() -> Result<()> {
    let (world, good) = beside_a_good_stream().await?;
    let pid = world.media.program.pid().unwrap_or_default();
    let before = weir_tests::bench::proc::resident_bytes(pid)?;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = open(&world.media.rtmp).await?.socket;
        let mut out = BytesMut::new();
        out.put_slice(&[6, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0]);
        out.put_slice(&[0; 128]);
        if socket.write_all(&out).await.is_ok() {
            let refill = [&[0xc6][..], &[0; 128]].concat().repeat(40_000);
            // It may close at any point of this.
            let _closed_early = socket.write_all(&refill).await.is_err();
        }
        sockets.push(socket);
    }
    let grown = weir_tests::bench::proc::resident_bytes(pid)?.saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {grown} bytes");
    goes_on(world, good).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deeply_nested_command_does_not_end_the_daemon() -> Result<()> {
    let (world, good) = beside_a_good_stream().await?;
    let mut socket = open(&world.media.rtmp).await?.socket;
    let mut body = BytesMut::new();
    body.put_slice(b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0");
    for _ in 0..5000 {
        body.put_slice(b"\x03\x00\x01a");
    }
    let mut out = BytesMut::new();
    chunks::message(&mut out, 3, 20, 0, 0, &body, 128);
    socket.write_all(&out).await?;
    read_to_close(&mut socket, 1 << 20, SILENCE + Duration::from_secs(3)).await?;
    goes_on(world, good).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_without_parameter_sets_are_no_stream_and_no_harm() -> Result<()> {
    let (world, good) = beside_a_good_stream().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.flv");
    Source::default().seconds(4).write_flv(&file).await?;
    let tags: Vec<Tag> = flv::read(&file)?
        .into_iter()
        .filter(|tag| !(tag.kind == flv::VIDEO && tag.is_configuration()))
        .collect();
    let mut session = Session::publish(&world.media.publish_url("bare")).await?;
    for tag in tags.iter().filter(|tag| tag.kind == flv::VIDEO) {
        if session.send(tag, tag.timestamp).await.is_err() {
            break; // refused: sensible too
        }
    }
    let answer = world.client.get(&world.media.hls("bare")).await?;
    assert!(!answer.status.is_server_error() || answer.status == 503, "{}", answer.status);
    goes_on(world, good).await
}
