//! What takes long. `make soak` runs these; rows go into docs/benchmarks.md.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use weir_tests::{
    bench::{proc, table::Table},
    clock,
    llhls::{self, Report, init::Track},
    program::{self, Program},
    publisher::{Ffmpeg, Source},
    wait,
    world::Plan,
};

/// Sound against picture, seconds.
const APART: f64 = 0.040;
/// How long the stream lasts; `WEIR_SOAK_MINUTES` sets another length.
const MINUTES: u64 = 10;

/// The largest distance of sound and picture on any rung.
async fn apart(report: &Report) -> Result<f64> {
    let of = |track| {
        report
            .renditions
            .iter()
            .filter(move |r| r.media.as_ref().is_some_and(|media| media.init.track == Some(track)))
    };
    let audio = of(Track::Audio).next().context("no audio rendition")?;
    let mut worst: f64 = 0.0;
    for video in of(Track::Video) {
        let offsets = clock::offsets(video, audio).await?;
        anyhow::ensure!(!offsets.is_empty(), "{}: no beep was found", video.name);
        worst = offsets.iter().fold(worst, |worst, offset| worst.max(offset.abs()));
    }
    Ok(worst)
}

fn keep(table: &Table) -> Result<()> {
    println!("{}", table.markdown());
    std::env::var_os("WEIR_ROWS").map_or(Ok(()), |file| table.write(&PathBuf::from(file)))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: ten minutes of a stream"]
async fn a_long_stream_keeps_its_sound_its_rules_and_its_memory() -> Result<()> {
    let minutes = std::env::var("WEIR_SOAK_MINUTES").ok().and_then(|m| m.parse().ok()).unwrap_or(MINUTES);
    let world = Plan::open()?.small_ladder().start().await?;
    let mut publisher =
        Ffmpeg::publish(&Source::default().flash_and_beep(), &world.media.publish_url("long"))?;
    world.media.playlist("long", Duration::from_secs(15)).await?;
    let pid = world.media.program.pid().context("ended")?;
    let url = world.media.hls("long");

    let first = llhls::check(&url, Duration::from_secs(40)).await?;
    first.no_must_broken(&[])?;
    let (began, memory_then) = (apart(&first).await?, proc::resident_bytes(pid)?);
    tokio::time::sleep(Duration::from_mins(minutes).saturating_sub(Duration::from_secs(80))).await;
    let last = llhls::check(&url, Duration::from_secs(40)).await?;
    last.no_must_broken(&[])?;
    let (ended, memory_now) = (apart(&last).await?, proc::resident_bytes(pid)?);
    publisher.program.must_run()?;

    keep(&Table {
        name: "long-stream",
        title: format!(
            "A stream of {minutes} minutes, 640x360 with two encoded rungs, its sound against its picture on the \
             worst rung (a flash and a beep each second), and the media server's memory. {}.",
            proc::machine()
        ),
        columns: vec!["when", "sound against picture", "target", "resident"],
        rows: vec![
            vec![
                "start".into(),
                format!("{:.1} ms", began * 1e3),
                "≤ 40 ms".into(),
                format!("{} MB", memory_then >> 20),
            ],
            vec![
                "end".into(),
                format!("{:.1} ms", ended * 1e3),
                "≤ 40 ms".into(),
                format!("{} MB", memory_now >> 20),
            ],
        ],
    })?;
    assert!(began <= APART && ended <= APART, "{began:.3} s, {ended:.3} s");
    assert!(memory_now < memory_then * 5 / 4, "memory grew from {memory_then} to {memory_now} bytes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: builds a clean checkout; needs the default ports"]
async fn a_clean_checkout_runs_publishes_and_is_watched() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("weir-clean-").tempdir()?;
    let checkout = folder.path().join("weir");
    let cloned = tokio::process::Command::new("git")
        .args(["clone", "-q"])
        .arg(program::repository())
        .arg(&checkout)
        .status()
        .await?;
    anyhow::ensure!(cloned.success(), "git clone: {cloned}");
    let mut make = tokio::process::Command::new("make");
    make.arg("run")
        .current_dir(&checkout)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("WEIR_DATA")
        .stdin(Stdio::null());
    let mut run = Program::start("make run", make)?;
    run.line("Weir is running", Duration::from_mins(20)).await?;
    let mut make = tokio::process::Command::new("make");
    make.arg("demo").current_dir(&checkout).env("SIZE", "640x360").stdin(Stdio::null());
    let demo = Program::start("make demo", make)?;
    let client = weir_tests::http_client::HttpClient::new();
    let text = wait::until("the demo's playlist", Duration::from_secs(30), || async {
        let answer = client.get("http://127.0.0.1:8080/live/demo/index.m3u8").await;
        Ok(answer.ok().filter(|a| a.status.is_success()).map(|a| a.text()))
    })
    .await?;
    assert!(text.matches("#EXT-X-STREAM-INF").count() >= 3, "{text}");
    llhls::check("http://127.0.0.1:8080/live/demo/index.m3u8", Duration::from_secs(20))
        .await?
        .no_must_broken(&[])?;
    demo.signal(Signal::TERM)?;
    run.signal(Signal::TERM)?;
    run.ended(Duration::from_secs(30)).await?;
    Ok(())
}
