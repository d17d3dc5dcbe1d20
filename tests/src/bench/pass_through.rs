//! (a) What a stream costs that is only repackaged: 6 Mbit/s RTMP in, LL-HLS out, beside nginx-rtmp's HLS.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    feed::{self, Feed},
    nginx::Nginx,
    proc,
    table::{Table, Target},
};
use crate::{program::Program, publisher::flv::Tag, world::Plan};

/// How many streams at a time.
const STREAMS: [usize; 3] = [1, 10, 50];
/// Left out of the measurement: sessions open, first segments form.
const WARM_UP: Duration = Duration::from_secs(6);
/// Measured.
const LASTS: Duration = Duration::from_secs(40);

struct Cost {
    cpu_per_stream_minute: f64,
    resident_megabytes: f64,
}

async fn cost(program: &mut Program, server: &str, tags: &[Tag], streams: usize) -> Result<Cost> {
    let pid = program.pid().context("the server ended")?;
    let mut feed = Feed::start(tags, server, "bench", streams, WARM_UP + LASTS * 2).await?;
    tokio::time::sleep(WARM_UP).await;
    let (before, start) = (proc::cpu_seconds(pid)?, tokio::time::Instant::now());
    tokio::time::sleep(LASTS).await;
    let (used, minutes) = (proc::cpu_seconds(pid)? - before, start.elapsed().as_secs_f64() / 60.0);
    program.must_run()?;
    feed.must_run()?;
    let resident_megabytes = proc::resident_bytes(pid)? as f64 / 1e6;
    Ok(Cost { cpu_per_stream_minute: used / minutes / streams as f64, resident_megabytes })
}

/// What nginx-rtmp costs, and that it did the work.
async fn nginx_cost(tags: &[Tag], streams: usize) -> Result<Cost> {
    let folder = tempfile::Builder::new().prefix("weir-bench-nginx-").tempdir()?;
    let mut nginx = Nginx::rtmp(folder.path()).await?;
    let address = nginx.address.clone();
    let cost = cost(&mut nginx.program, &address, tags, streams).await?;
    let playlists = (0..streams)
        .filter(|n| has_segments(&folder.path().join(format!("hls/bench{n}/index.m3u8"))))
        .count();
    anyhow::ensure!(playlists == streams, "nginx-rtmp made {playlists} of {streams} playlists");
    Ok(cost)
}

fn has_segments(playlist: &Path) -> bool {
    std::fs::read_to_string(playlist).is_ok_and(|text| text.contains("#EXTINF"))
}

/// What ours costs, and that it did the work.
async fn our_cost(tags: &[Tag], streams: usize) -> Result<Cost> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let address = world.media.rtmp.clone();
    let cost = cost(&mut world.media.program, &address, tags, streams).await?;
    for n in 0..streams {
        world.media.playlist(&format!("bench{n}"), Duration::from_secs(1)).await?;
    }
    Ok(cost)
}

/// CPU seconds a stream-minute of `streams` streams, without a peer: for two builds beside each other.
pub async fn alone(folder: &Path, streams: usize) -> Result<f64> {
    let tags = feed::six_megabits(folder).await?;
    Ok(our_cost(&tags, streams).await?.cpu_per_stream_minute)
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let tags = feed::six_megabits(folder).await?;
    let mut rows = Vec::new();
    for streams in STREAMS {
        let theirs = nginx_cost(&tags, streams).await?;
        let ours = our_cost(&tags, streams).await?;
        let ratio = ours.cpu_per_stream_minute / theirs.cpu_per_stream_minute;
        rows.push(vec![
            streams.to_string(),
            format!("{:.3} s", ours.cpu_per_stream_minute),
            format!("{:.3} s", theirs.cpu_per_stream_minute),
            format!("{ratio:.2} x"),
            Target::AtMost(1.0).verdict(ratio),
            format!("{:.0} / {:.0} MB", ours.resident_megabytes, theirs.resident_megabytes),
        ]);
    }
    Ok(Table {
        name: "pass-through",
        title: format!(
            "CPU seconds a stream-minute of pass-through 6 Mbit/s RTMP → LL-HLS, beside nginx-rtmp (HLS on, 2 s \
             fragments) in the same run; {} s each after {} s. {}.",
            LASTS.as_secs(),
            WARM_UP.as_secs(),
            proc::machine()
        ),
        columns: vec!["streams", "Weir", "nginx-rtmp", "ratio", "target", "resident (Weir / nginx)"],
        rows,
    })
}
