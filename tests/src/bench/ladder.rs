//! (c) What the transcode worker costs, beside `gst-launch-1.0` with the same decoder, scaler and encoders.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::{
    proc,
    table::{Table, Target},
};
use crate::{
    program::Program,
    publisher::{Session, Source, flv},
    wait,
    world::Plan,
};

/// The rungs of `ladder::SMALL`: height, width, kbit/s.
const RUNGS: [(u32, u32, u32); 2] = [(240, 426, 400), (160, 284, 200)];
const WARM_UP: Duration = Duration::from_secs(5);
const LASTS: Duration = Duration::from_secs(40);

/// CPU seconds a minute of a running process, measured after a warm-up.
async fn cost(program_pid: u32) -> Result<f64> {
    tokio::time::sleep(WARM_UP).await;
    let (before, start) = (proc::cpu_seconds(program_pid)?, tokio::time::Instant::now());
    tokio::time::sleep(LASTS).await;
    Ok((proc::cpu_seconds(program_pid)? - before) / start.elapsed().as_secs_f64() * 60.0)
}

/// The same work by hand: the FLV file in real time, decoded once, each rung scaled and encoded, thrown away.
pub fn gst_launch(file: &Path, encoder: &str) -> Result<Program> {
    let source = format!(
        "filesrc location={} ! flvdemux name=d d.video ! queue ! h264parse ! avdec_h264 ! clocksync ! tee name=t \
         d.audio ! queue ! aacparse ! fakesink sync=false",
        file.display()
    );
    let rungs = RUNGS.map(|(height, width, kbps)| {
        format!(
            "t. ! queue ! videoscale ! video/x-raw,width={width},height={height} ! {encoder} bitrate={kbps} \
             ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! fakesink sync=false"
        )
    });
    let pipeline = format!("{source} {}", rungs.join(" "));
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(pipeline.split_whitespace());
    Program::start("gst-launch-1.0", command)
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let file = folder.join("ladder.flv");
    let source = Source::default().video_kbps(1500).seconds((WARM_UP + LASTS).as_secs() as u32 + 30);
    source.write_flv(&file).await?;
    let tags = flv::read(&file)?;

    let world = Plan::open()?.small_ladder().start().await?;
    let mut session = Session::publish(&world.media.publish_url("ladder")).await?;
    let daemon = world.media.program.pid().context("the server ended")?;
    let mut replay = tokio::task::JoinSet::new();
    replay.spawn(async move { session.replay(&tags, tokio::time::Instant::now() + LASTS * 2).await });
    let worker = wait::until("a transcode worker", Duration::from_secs(10), || async {
        Ok(proc::children(daemon)?.first().copied())
    })
    .await?;
    let ours = cost(worker).await?;
    drop((replay, world));

    let encoder = "x264enc speed-preset=veryfast tune=zerolatency key-int-max=60";
    let peer = gst_launch(&file, encoder)?;
    let theirs = cost(peer.pid().context("gst-launch-1.0 ended")?).await?;
    let ratio = ours / theirs;
    let rungs: Vec<String> =
        RUNGS.iter().map(|(height, _, kbps)| format!("{height}p at {kbps} kbit/s")).collect();
    Ok(Table {
        name: "ladder",
        title: format!(
            "CPU seconds a minute of the transcode worker, 640x360 at 30 frames a second → {}, beside `gst-launch-1.0` \
             with the same elements (`{encoder}`). {}.",
            rungs.join(" and "),
            proc::machine()
        ),
        columns: vec!["worker", "gst-launch-1.0", "ratio", "target"],
        rows: vec![vec![
            format!("{ours:.2} s"),
            format!("{theirs:.2} s"),
            format!("{ratio:.2} x"),
            Target::AtMost(1.1).verdict(ratio),
        ]],
    })
}
