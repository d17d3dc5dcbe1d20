//! (c) What the transcode worker costs, beside `ffmpeg` and `gst-launch-1.0` with the same settings of x264.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{process::Command, task::JoinSet, time::Instant};

use super::{
    proc,
    table::{Table, Target},
};
use crate::{
    program::Program,
    publisher::{Session, Source, flv},
    wait,
    world::{Plan, World},
};

const WARM_UP: Duration = Duration::from_secs(4);
const LASTS: Duration = Duration::from_secs(20);
/// Each is measured so often; the least counts, as the machine's speed changes.
const ROUNDS: usize = 2;
/// Where what is measured runs.
const CORE: usize = 0;
/// Of the better peer.
const TARGET: Target = Target::AtMost(1.05);

/// A rung: width, height, kbit/s.
pub(super) type Rung = (u32, u32, u32);

/// A source and the rungs that are made of it.
pub(super) struct Case {
    /// What it is.
    pub(super) name: &'static str,
    source: Source,
    pub(super) rungs: [Rung; 3],
}

/// What is measured.
pub(super) fn cases() -> [Case; 2] {
    let noisy = |width, height, kbps| Source::default().size(width, height).noisy().video_kbps(kbps);
    [
        Case {
            name: "640x360",
            source: noisy(640, 360, 1_500),
            rungs: [(480, 270, 600), (426, 240, 400), (284, 160, 200)],
        },
        Case {
            name: "1920x1080",
            source: noisy(1920, 1080, 6_000),
            rungs: [(1280, 720, 2_800), (854, 480, 1_200), (640, 360, 700)],
        },
    ]
}

impl Case {
    /// The ladder as the media server is told.
    fn settings(&self) -> String {
        let rungs = self.rungs.map(|(_, height, kbps)| {
            format!("{{ name = \"{height}p\", height = {height}, video_bitrate = \"{kbps}k\" }},\n")
        });
        format!("[profiles.default]\nrungs = [\n{}]\n", rungs.concat())
    }

    /// The source as a file of so many seconds.
    pub(super) async fn file(&self, folder: &Path, seconds: u32) -> Result<PathBuf> {
        let file = folder.join(format!("{}.flv", self.name));
        self.source.clone().seconds(seconds).write_flv(&file).await?;
        Ok(file)
    }

    /// The programs, publishing that file again and again.
    pub(super) async fn stage(&self, file: &Path) -> Result<Stage> {
        let tags = flv::read(file)?;
        let world = Plan::open()?.media(&self.settings()).start().await?;
        let mut session = Session::publish(&world.media.publish_url("ladder")).await?;
        let mut replay = JoinSet::new();
        let end = Instant::now() + Duration::from_mins(10);
        replay.spawn(async move { session.replay(&tags, end).await });
        let worker = wait::until("a transcode worker", Duration::from_secs(10), || async {
            world.media.worker("ladder").await
        })
        .await?;
        Ok(Stage { _replay: replay, world, worker })
    }
}

/// A stream on the air.
pub(super) struct Stage {
    _replay: JoinSet<Result<()>>,
    pub(super) world: World,
    worker: u32,
}

/// CPU seconds a second of media, and resident bytes at the end.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    memory: u64,
}

impl Cost {
    /// Of a running process, which works in real time, after a warm-up, on a core that is for it: where two threads of one
    /// process run at once, a second of the processor's is worth less, by as much as they share.
    async fn of(pid: u32) -> Result<Self> {
        proc::pin(pid, CORE).await?;
        tokio::time::sleep(WARM_UP).await;
        let (before, start) = (proc::cpu_seconds(pid)?, Instant::now());
        tokio::time::sleep(LASTS).await;
        let cpu = (proc::cpu_seconds(pid)? - before) / start.elapsed().as_secs_f64();
        Ok(Self { cpu, memory: proc::resident_bytes(pid)? })
    }

    fn least(self, other: Option<Self>) -> Self {
        other.filter(|other| other.cpu < self.cpu).unwrap_or(self)
    }

    fn cell(self) -> String {
        format!("{:.3} s, {} MB", self.cpu, self.memory / 1_000_000)
    }
}

/// The same work by hand: the file in real time, decoded once, each rung scaled and encoded, thrown away.
fn gst_launch(file: &Path, rungs: &[Rung]) -> Result<Program> {
    let source = format!(
        "filesrc location={} ! flvdemux name=d d.video ! queue ! h264parse ! avdec_h264 max-threads=1 ! clocksync \
         ! tee name=t d.audio ! queue ! aacparse ! fakesink sync=false",
        file.display()
    );
    let rungs: Vec<String> = rungs
        .iter()
        .map(|(width, height, kbps)| {
            format!(
                "t. ! queue max-size-buffers=4 ! videoscale add-borders=false ! video/x-raw,width={width},height={height} \
                 ! x264enc speed-preset=veryfast tune=zerolatency pass=cbr bitrate={kbps} vbv-buf-capacity=1000 bframes=0 \
                 key-int-max=60 option-string=scenecut=0 threads=1 aud=false \
                 ! video/x-h264,stream-format=avc,alignment=au,profile=high ! fakesink sync=false"
            )
        })
        .collect();
    let mut command = Command::new("gst-launch-1.0");
    command.arg("-q").args(format!("{source} {}", rungs.join(" ")).split_whitespace());
    Program::start("gst-launch-1.0", command)
}

/// ffmpeg's options for a rung of x264 as the worker has it.
pub(super) fn x264(kbps: u32) -> String {
    format!(
        "-c:v libx264 -preset veryfast -tune zerolatency -profile:v high -threads 1 -b:v {kbps}k -maxrate {kbps}k -bufsize {kbps}k \
         -bf 0 -g 60 -sc_threshold 0"
    )
}

fn ffmpeg(file: &Path, rungs: &[Rung]) -> Result<Program> {
    let all = || rungs.iter().enumerate();
    let heads: Vec<String> = all().map(|(index, _)| format!("[s{index}]")).collect();
    let scaled: Vec<String> = all()
        .map(|(index, (width, height, _))| format!("[s{index}]scale={width}:{height}[r{index}]"))
        .collect();
    let graph = format!("[0:v]split={}{};{}", rungs.len(), heads.concat(), scaled.join(";"));
    let outputs: Vec<String> =
        all().map(|(index, (.., kbps))| format!("-map [r{index}] {} -f null -", x264(*kbps))).collect();
    let mut command = Command::new("ffmpeg");
    command
        .args("-hide_banner -loglevel error -nostdin -re -threads 1 -filter_complex_threads 1 -i".split(' '));
    command.arg(file).arg("-filter_complex").arg(graph).args(outputs.join(" ").split_whitespace());
    Program::start("ffmpeg", command)
}

/// Costs of the worker, of ffmpeg and of gst-launch-1.0.
async fn costs(case: &Case, folder: &Path) -> Result<[Cost; 3]> {
    let seconds = (WARM_UP + LASTS).as_secs() as u32 + 10;
    let file = case.file(folder, seconds).await?;
    let mut least: [Option<Cost>; 3] = [None; 3];
    for _ in 0..ROUNDS {
        let stage = case.stage(&file).await?;
        let ours = Cost::of(stage.worker).await?;
        anyhow::ensure!(stage.world.media.worker("ladder").await? == Some(stage.worker), "another worker");
        drop(stage);
        let peer = ffmpeg(&file, &case.rungs)?;
        let theirs = Cost::of(peer.pid().context("ffmpeg ended")?).await?;
        drop(peer);
        let peer = gst_launch(&file, &case.rungs)?;
        let others = Cost::of(peer.pid().context("gst-launch-1.0 ended")?).await?;
        drop(peer);
        for (least, cost) in least.iter_mut().zip([ours, theirs, others]) {
            *least = Some(cost.least(*least));
        }
    }
    let [Some(ours), Some(ffmpeg), Some(gst)] = least else { anyhow::bail!("no round") };
    Ok([ours, ffmpeg, gst])
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let mut rows = Vec::new();
    for case in cases() {
        let [ours, ffmpeg, gst] = costs(&case, folder).await?;
        let ratio = ours.cpu / ffmpeg.cpu.min(gst.cpu);
        let rungs = case.rungs.map(|(_, height, kbps)| format!("{height}p at {kbps}"));
        rows.push(vec![
            format!("{} → {}", case.name, rungs.join(", ")),
            ours.cell(),
            ffmpeg.cell(),
            gst.cell(),
            format!("{ratio:.2} x"),
            TARGET.verdict(ratio),
        ]);
    }
    Ok(Table {
        name: "ladder",
        title: format!(
            "CPU seconds a second of media and resident memory of the transcode worker, 30 frames a second, kbit/s as named, beside \
             `ffmpeg` and `gst-launch-1.0` that do the same in real time with the same settings of x264 (`{}`), one thread to decode \
             and one to encode each, on one core; the least of {ROUNDS} runs of {} s. {}.",
            x264(600),
            LASTS.as_secs(),
            proc::machine()
        ),
        columns: vec!["source and rungs", "worker", "ffmpeg", "gst-launch-1.0", "to the better", "target"],
        rows,
    })
}
