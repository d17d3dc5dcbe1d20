//! `media-server replay FILE`: what a recording does to this version, without ports and without an encoder.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::Format;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{complain, settings};
use crate::config::Config;
use crate::flight::{Header, Recording};
use crate::ingest::{Replayed, replay};
use crate::live::{
    Directory, Makers, Phase, Rendition, RungFactory, RungSink, Rungs, Settings, SlateCell, WorkerStatus,
};
use crate::metrics::Metrics;

/// `EX_DATAERR` of sysexits.h: the file is not what it should be.
const EX_DATAERR: u8 = 65;
/// `EX_NOINPUT`: it cannot be read.
const EX_NOINPUT: u8 = 66;
/// Longest file that is taken: far more than a recorder may keep.
const MOST: u64 = 2 << 30;

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    recording: &'a Header,
    seconds: f64,
    bytes: usize,
    reads: usize,
    /// The file was cut off; what is whole of it was replayed.
    cut: bool,
    tracks: Vec<Track>,
    #[serde(flatten)]
    replayed: Replayed,
    took_s: f64,
}

/// A track, and the segments that it became.
#[derive(Serialize)]
struct Track {
    name: String,
    codec: String,
    format: String,
    segments: usize,
    shortest_s: f64,
    longest_s: f64,
    gaps: usize,
}

/// `media-server replay`. Exit code 1 where the session ended with an error.
pub fn replay_file(path: &Path, json: bool) -> ExitCode {
    let shown = path.display();
    let file = match std::fs::metadata(path).and_then(|meta| {
        if meta.len() > MOST {
            return Err(std::io::Error::other("longer than any recording"));
        }
        std::fs::read(path)
    }) {
        Ok(file) => file,
        Err(error) => return complain(&format!("cannot read {shown}: {error}"), EX_NOINPUT),
    };
    let recording = match Recording::parse(file.into()) {
        Ok(recording) => recording,
        Err(error) => return complain(&format!("{shown}: {error}"), EX_DATAERR),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    let report = match runtime.block_on(run(&recording)) {
        Ok(report) => report,
        Err(error) => return complain(&format!("{shown}: {error}"), EX_DATAERR),
    };
    let text = if json { serde_json::to_string(&report).unwrap_or_default() + "\n" } else { report.text() };
    let code = if report.replayed.error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    // A closed standard output changes nothing of the verdict.
    std::io::stdout().write_all(text.as_bytes()).map_or(code, |()| code)
}

async fn run(recording: &Recording) -> anyhow::Result<Report<'_>> {
    let began = Instant::now();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let directory = Directory::new(
        tasks.clone(),
        stop.clone(),
        Makers {
            rungs: no_encoder(),
            sound_rungs: Arc::new(|_, _| mpsc::channel(1).0),
            slates: Arc::new(|_| SlateCell::default()),
            ladders: None,
        },
        Metrics::new(),
    );
    let name = "replay";
    let replayed = Box::pin(replay(recording, name, &directory, settings_for(recording))).await?;
    let took_s = began.elapsed().as_secs_f64();
    let mut tracks = Vec::new();
    if let Some(handle) = directory.get(name) {
        // It leaves behind the last of what it sent; until then that is still being taken in.
        handle.watch().wait_for(|stream| stream.phase != Phase::Live).await?;
        handle.drop_publisher().await;
        tracks = handle.snapshot().renditions().map(track).collect();
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(Report {
        recording: &recording.header,
        seconds: recording.span().as_secs_f64(),
        bytes: recording.bytes(),
        reads: recording.reads.len(),
        cut: recording.cut,
        tracks,
        replayed,
        took_s,
    })
}

/// The defaults, with a window that nothing falls out of, and no hurry.
fn settings_for(recording: &Recording) -> Settings {
    let mut settings = settings::rules(&Config::default()).settings;
    settings.targets.window =
        usize::try_from(recording.span().as_secs()).unwrap_or(usize::MAX).clamp(60, 5000);
    settings.reconnect_window = Duration::from_mins(1);
    settings
}

/// A recording's ladder has no rungs, so nobody asks for one.
fn no_encoder() -> RungFactory {
    struct Nothing;
    impl RungSink for Nothing {
        fn push(&self, _unit: media::AccessUnit, _edge: bool) {}
        fn choose(&self, _wanted: &[bool]) {}
        fn is_short(&self) {}
        fn has_room(&self) -> bool {
            false
        }
        fn status(&self) -> WorkerStatus {
            WorkerStatus::default()
        }
    }
    Arc::new(|_| Rungs { sink: Arc::new(Nothing), events: mpsc::channel(1).1, patience: Duration::ZERO })
}

fn track(rendition: &Rendition) -> Track {
    let view = rendition.view();
    let lengths = || view.playlist.segments().iter().map(|segment| segment.duration().seconds());
    Track {
        name: rendition.name.to_string(),
        codec: rendition.format.codec().to_owned(),
        format: match &rendition.format {
            Format::Video(video) => {
                let rate = video.frame_rate.map_or(String::new(), |(n, d)| {
                    format!(", {:.3} frames/s announced", f64::from(n) / f64::from(d.max(1)))
                });
                format!("{}x{}{rate}", video.width, video.height)
            }
            Format::Audio(audio) => format!("{} Hz, {} channels", audio.sample_rate, audio.channels),
        },
        segments: view.playlist.segments().len(),
        shortest_s: lengths().reduce(f64::min).unwrap_or_default(),
        longest_s: lengths().reduce(f64::max).unwrap_or_default(),
        gaps: view.playlist.segments().iter().filter(|segment| segment.is_gap()).count(),
    }
}

impl Report<'_> {
    /// For people.
    fn text(&self) -> String {
        let Self { recording, replayed, .. } = self;
        let mut lines = vec![
            format!(
                "stream     {} by {}, {}",
                recording.stream,
                recording.protocol,
                if recording.agent.is_empty() { "unnamed software" } else { &recording.agent }
            ),
            format!(
                "recording  {:.1} s, {:.1} MB in {} reads, saved {} ({}) by version {}{}",
                self.seconds,
                self.bytes as f64 / 1e6,
                self.reads,
                recording.saved,
                recording.cause,
                recording.program,
                if self.cut { "; the file is cut off" } else { "" }
            ),
        ];
        for track in &self.tracks {
            lines.push(format!(
                "{:<10} {} ({}): {} segments of {:.3} to {:.3} s{}",
                track.name,
                track.codec,
                track.format,
                track.segments,
                track.shortest_s,
                track.longest_s,
                if track.gaps > 0 { format!(", {} of them gaps", track.gaps) } else { String::new() }
            ));
        }
        lines.push(format!(
            "units      {} video, {} audio, {} dropped",
            replayed.video_units, replayed.audio_units, replayed.dropped
        ));
        let kinds: Vec<_> = replayed.repairs.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        lines.push(format!("repairs    {kinds}"));
        for found in &replayed.findings {
            let f = &found.finding;
            lines.push(format!(
                "finding    after {:.1} s: {} ({}): {}",
                found.at_s, f.code, f.severity, f.text
            ));
            lines.push(format!("           remedy: {}", f.remedy));
        }
        if let Some(error) = &replayed.error {
            lines.push(format!("error      {error}"));
        }
        lines.push(format!(
            "replayed in {:.3} s, {:.0} times as fast",
            self.took_s,
            self.seconds / self.took_s
        ));
        lines.join("\n") + "\n"
    }
}
