//! Benchmark (c): the transcode worker's CPU beside `gst-launch-1.0` with the same ladder.
//!
//! `worker_cpu PROGRAM [SECONDS] [paced]`: PROGRAM is the media-server executable. Transcodes SECONDS (20) of
//! 640x360 at 30 fps to 426x240 and 320x180, at full speed or, with `paced`, in real time, and prints user plus
//! system seconds of both and their ratio. Three rounds each, alternating; the best of each counts.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use media_server::transcode::{Limits, RungEvent, RungSpec, TranscodeSpec, start};
use tokio_util::sync::CancellationToken;

#[path = "../tests/transcode_source/mod.rs"]
mod transcode_source;
use transcode_source::{Source, Wish, annex_b, source};

const ROUNDS: usize = 3;
const RUNGS: [(u32, u32, u32); 2] = [(426, 240, 400_000), (320, 180, 250_000)];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let program = PathBuf::from(arguments.next().context("usage: worker_cpu PROGRAM [SECONDS] [paced]")?);
    let seconds = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let paced = arguments.next().as_deref() == Some("paced");
    let source = source(Wish { seconds, ..Wish::default() });
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.h264");
    std::fs::write(&file, annex_b(&source.format, &source.units))?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        ours = ours.min(cost(|| runtime.block_on(worker(&source, &program, paced)))?);
        theirs = theirs.min(cost(|| gst_launch(&file, paced))?);
    }
    let mode = if paced { "in real time" } else { "at full speed" };
    println!("{seconds} s of 640x360p30 to 426x240 and 320x180, {mode}");
    println!("worker      {ours:.2} CPU s");
    println!("gst-launch  {theirs:.2} CPU s");
    println!("ratio       {:.3}", ours / theirs);
    Ok(())
}

/// User and system seconds of all children that ended while `run` ran (proc(5), fields 16 and 17).
fn cost(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = children()?;
    run()?;
    Ok(children()? - before)
}

fn children() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("proc(5) stat")?;
    let ticks: u64 = fields.split(' ').skip(13).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    // USER_HZ is 100 on every Linux that Rust runs on.
    Ok(ticks as f64 / 100.0)
}

async fn worker(source: &Source, program: &Path, paced: bool) -> Result<()> {
    let spec = TranscodeSpec {
        stream: "bench".to_owned(),
        video: source.format.clone(),
        rungs: RUNGS
            .map(|(width, height, video_bitrate)| {
                RungSpec::new(&format!("{height}p"), (width, height), video_bitrate)
            })
            .to_vec(),
        preset: "veryfast".to_owned(),
        encoder: media_server::transcode::X264.into(),
        decoder: None,
        scaler: None,
        limits: Limits { queue_span: Duration::from_hours(1), queue_bytes: 1 << 30, ..Limits::default() },
    };
    let (transcoder, mut events, driver) = start(spec, program.to_owned(), CancellationToken::new());
    let push = async move {
        let begin = Instant::now();
        for (index, unit) in source.units.iter().enumerate() {
            if paced {
                let at = begin + Duration::from_secs(1) / 30 * u32::try_from(index)?;
                tokio::time::sleep_until(at.into()).await;
            }
            transcoder.push(unit.clone(), index % 60 == 0)?;
        }
        anyhow::Ok(())
    };
    let read = async {
        let mut units = 0;
        while let Some(event) = events.recv().await {
            units += usize::from(matches!(event, RungEvent::Unit { .. }));
        }
        units
    };
    let ((), units, pushed) = tokio::join!(driver, read, push);
    pushed?;
    ensure!(units == source.units.len() * RUNGS.len(), "{units} units");
    Ok(())
}

fn gst_launch(file: &Path, paced: bool) -> Result<()> {
    let mut line = format!(
        "filesrc location={} ! h264parse ! avdec_h264 max-threads=1 ! videoconvert ! video/x-raw,format=I420 ! tee name=t",
        file.display()
    );
    for (width, height, bitrate) in RUNGS {
        write!(
            line,
            " t. ! queue ! videoscale add-borders=false \
             ! video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 \
             ! x264enc speed-preset=veryfast tune=zerolatency bitrate={} vbv-buf-capacity=1000 key-int-max=60 \
               option-string=scenecut=0 threads=1 aud=false \
             ! video/x-h264,stream-format=avc,profile=high ! fakesink sync={paced}",
            bitrate / 1000
        )?;
    }
    let status = Command::new("gst-launch-1.0").arg("-q").args(line.split_whitespace()).status()?;
    ensure!(status.success(), "gst-launch-1.0: {status}");
    Ok(())
}
