//! The flight recorder: what a publisher sent last is in a file when it is asked for, or when much of it had to be
//! repaired; `media-server replay` comes to the same result as the live stream did.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;
use weir_tests::{
    bench::nginx::Nginx,
    program::Program,
    publisher::{Ffmpeg, Session, Source, Whip, whip::Wish},
    rtmp_url::RtmpUrl,
    wait,
    world::{Plan, World},
};

const KEY: &str = "hush-7f3a9c5e";
/// Keys that are not the streams' names.
const KEYED: &str =
    "[admission]\nmode = \"static\"\nkeys = [{ key = \"hush-7f3a9c5e\", stream = \"ada\" }]\n";

/// `media-server replay --json FILE`.
async fn replay(world: &World, file: &Path) -> Result<Value> {
    let file = file.to_str().context("no UTF-8")?;
    let mut program = Program::ours("media-server", ["replay", "--json", file], world.folder())?;
    let status = program.ended(Duration::from_secs(20)).await?;
    anyhow::ensure!(status.success(), "{status}: {}", program.log());
    Ok(serde_json::from_str(&program.log())?)
}

/// `POST …/recorder`.
async fn save(world: &World, stream: &str) -> Result<Value> {
    let url = format!("{}/api/v1/streams/{stream}/recorder", world.media.admin);
    let answer = world.client.call(Method::POST, &url, None).await?;
    anyhow::ensure!(answer.status == StatusCode::CREATED, "{}: {}", answer.status, answer.text());
    answer.json()
}

/// What is recorded of `ada` after some seconds, and what a replay says of it.
async fn recorded(world: &World) -> Result<(PathBuf, Value)> {
    tokio::time::sleep(Duration::from_secs(7)).await;
    let saved = save(world, "ada").await?;
    let file = PathBuf::from(saved["file"].as_str().context("no file")?);
    let report = replay(world, &file).await?;
    println!("{saved}\n{report}");
    let seconds = report["seconds"].as_f64().context("no seconds")?;
    assert!((3.5..6.0).contains(&seconds), "{seconds}");
    Ok((file, report))
}

fn counts(value: &Value) -> BTreeMap<String, u64> {
    let object = value.as_object().into_iter().flatten();
    object.filter_map(|(kind, n)| Some((kind.clone(), n.as_u64()?))).collect()
}

/// A recording of 4 s that begins in the middle of a stream of 30 pictures a second, with nothing to repair; its seconds.
fn whole_from_the_middle(report: &Value) -> Result<f64> {
    let seconds = report["seconds"].as_f64().context("no seconds")?;
    assert!((3.5..6.0).contains(&seconds), "began in the middle of the stream, 4 s back: {seconds}");
    let pictures = report["video_units"].as_f64().context("no pictures")?;
    assert!((pictures / seconds - 30.0).abs() < 2.0, "{pictures} in {seconds} s");
    assert_eq!(counts(&report["repairs"]), BTreeMap::new());
    Ok(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_seconds_of_a_publisher_are_replayed_from_a_file_without_its_key() -> Result<()> {
    let plan = Plan::open()?.pass_through().media(KEYED).media("[recorder]\nseconds = 4\n");
    let world = plan.start().await?;
    let mut publisher = Ffmpeg::publish(&Source::default().seconds(12), &world.media.publish_url(KEY))?;
    world.media.playlist("ada", Duration::from_secs(15)).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let saved = save(&world, "ada").await?;
    let file = Path::new(saved["file"].as_str().context("no file")?);
    let report = replay(&world, file).await?;
    println!("{saved}\n{report}");
    let seconds = whole_from_the_middle(&report)?;
    assert_eq!(report["dropped"], 0);
    let codecs: Vec<_> = report["tracks"].as_array().context("none")?.iter().map(|t| &t["codec"]).collect();
    assert_eq!(codecs.len(), 2, "{codecs:?}");
    assert!(report["took_s"].as_f64().context("no time")? < seconds, "as fast as it can");

    // Its end names the key once more.
    wait::until("its end", Duration::from_secs(20), || async {
        let streams = world.media.streams().await?;
        Ok((streams["items"][0]["state"] != "live").then_some(()))
    })
    .await?;
    publisher.program.ended(Duration::from_secs(10)).await?;
    let url = format!("{}/api/v1/streams/ada/recorder", world.media.admin);
    let late = world.client.get(&url).await?;
    assert_eq!(late.status, StatusCode::OK, "what it sent last can be had after it has gone");
    for bytes in [&std::fs::read(file)?[..], &late.body] {
        assert!(bytes.starts_with(b"WEIRFLT1"));
        assert!(!bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "the key is in the recording");
    }
    let cut = world.folder().join("cut.weirflt");
    std::fs::write(&cut, &late.body[..late.body.len() - 100])?;
    assert_eq!(replay(&world, &cut).await?["cut"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_sent_is_replayed_too() -> Result<()> {
    let world = Plan::open()?.pass_through().media(KEYED).media("[recorder]\nseconds = 4\n").start().await?;
    let _publisher = Whip::publish(&world.media.http, KEY, &Wish::default()).await?;
    world.media.playlist("ada", Duration::from_secs(15)).await?;
    let (file, report) = recorded(&world).await?;
    assert_eq!((&report["recording"]["protocol"], &report["error"]), (&"whip".into(), &Value::Null));
    let pictures = report["video_units"].as_f64().context("no pictures")?;
    // Up to the first keyframe there is nothing that can be shown.
    assert!(
        pictures >= 30.0 && report["audio_units"].as_f64().is_some_and(|frames| frames > 100.0),
        "{report}"
    );
    let key = KEY.as_bytes();
    assert!(
        !std::fs::read(file)?.windows(key.len()).any(|bytes| bytes == key),
        "the key is in the recording"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_srt_caller_sent_is_replayed_too() -> Result<()> {
    let plan = Plan::open()?.pass_through().media(KEYED).media("[srt]\npassphrase = \"correct horse\"\n");
    let world = plan.media("[recorder]\nseconds = 4\n").start().await?;
    let id = format!("publish/{KEY}");
    let options = ["-srt_streamid", &id, "-passphrase", "correct horse", "-pbkeylen", "16"];
    let _publisher = Ffmpeg::publish_srt(&Source::default(), &world.media.srt, &options)?;
    world.media.playlist("ada", Duration::from_secs(15)).await?;
    let (file, report) = recorded(&world).await?;
    let seconds = report["seconds"].as_f64().context("no seconds")?;
    assert_eq!(report["recording"]["protocol"], "srt");
    let pictures = report["video_units"].as_f64().context("no pictures")?;
    // Up to the first keyframe there is nothing that can be shown.
    assert!(
        (seconds - 2.5) * 30.0 < pictures && pictures < seconds * 30.0 + 2.0,
        "{pictures} in {seconds} s"
    );
    assert_eq!(report["tracks"].as_array().map(Vec::len), Some(2));
    assert!(report["took_s"].as_f64().context("no time")? < seconds, "as fast as it can");
    let bytes = std::fs::read(file)?;
    assert!(!bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "the key is in the recording");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_sent_by_rtmp_is_replayed_too() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let nginx = Nginx::rtmp(plan.folder()).await?;
    let sources = format!(
        "[pull]\nsources = [{{ stream = \"ada\", url = \"rtmp://{}/live/{KEY}\" }}]\n",
        nginx.address
    );
    let world = plan.media(&sources).media("[recorder]\nseconds = 4\n").start().await?;
    let source = Source::default().keyframe_every(1);
    let _publisher = Ffmpeg::publish(&source, &RtmpUrl::new(&nginx.address, "live", KEY))?;
    world.media.playlist("ada", Duration::from_secs(15)).await?;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let saved = save(&world, "ada").await?;
    let file = Path::new(saved["file"].as_str().context("no file")?);
    let report = replay(&world, file).await?;
    println!("{saved}\n{report}");
    whole_from_the_middle(&report)?;
    assert_eq!(report["tracks"].as_array().map(Vec::len), Some(2));
    let bytes = std::fs::read(file)?;
    assert!(!bytes.windows(KEY.len()).any(|w| w == KEY.as_bytes()), "the key is in the recording");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repairs_is_saved_and_its_replay_repairs_the_same() -> Result<()> {
    let mut world = Plan::open()?.pass_through().media("[recorder]\nstorm = 60\n").start().await?;
    let tags = Source::default().seconds(10).tags().await?;
    let mut session = Session::publish(&world.media.publish_url("sick")).await?;
    let start = Instant::now();
    let mut pictures = 0_u32;
    for tag in &tags {
        tokio::time::sleep_until(start + Duration::from_millis(u64::from(tag.timestamp))).await;
        // From the third second on every second picture says that it was there half a second ago.
        pictures += u32::from(tag.is_picture());
        let back = tag.is_picture() && tag.timestamp > 3000 && pictures.is_multiple_of(2);
        session.send(tag, if back { tag.timestamp - 500 } else { tag.timestamp }).await?;
    }
    let line = world.media.program.line("what it sent is saved", Duration::from_secs(5)).await?;
    println!("{line}");
    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_flight_recordings_total", &["cause=\"storm\""]), Some(1.0));
    let flights = world.folder().join("flight");
    assert_eq!(std::fs::read_dir(&flights)?.count(), 1, "one storm, one file");

    // The whole session is younger than 30 s: its replay makes exactly the live repairs.
    let live = wait::until("the last judgement", Duration::from_secs(5), || async {
        let url = format!("{}/api/v1/streams/sick", world.media.admin);
        let stream = world.client.get(&url).await?.json()?;
        let counted: u64 = counts(&stream["publisher"]["repairs"]).values().sum();
        Ok((Some(counted) == stream["counters"]["repairs"].as_u64()).then_some(stream))
    })
    .await?;
    let saved = save(&world, "sick").await?;
    let report = replay(&world, Path::new(saved["file"].as_str().context("no file")?)).await?;
    println!("{report}");
    assert!(counts(&live["publisher"]["repairs"]).contains_key("jump"), "{live}");
    assert_eq!(counts(&report["repairs"]), counts(&live["publisher"]["repairs"]));
    assert_eq!(report["video_units"], live["counters"]["video_units"]);
    assert_eq!(report["audio_units"], live["counters"]["audio_units"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_saved_and_a_file_that_is_no_recording_is_named_so() -> Result<()> {
    let world = Plan::open()?.pass_through().media("[recorder]\nseconds = 0\n").start().await?;
    let url = |stream: &str| format!("{}/api/v1/streams/{stream}/recorder", world.media.admin);
    let gone = world.client.call(Method::POST, &url("nobody"), None).await?;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("off"))?;
    world.media.playlist("off", Duration::from_secs(15)).await?;
    let off = world.client.call(Method::POST, &url("off"), None).await?;
    assert_eq!(off.status, StatusCode::CONFLICT);
    assert!(off.text().contains("[recorder] seconds"), "{}", off.text());

    let file = world.media.config.to_str().context("no UTF-8")?;
    let mut program = Program::ours("media-server", ["replay", file], world.folder())?;
    assert_eq!(program.ended(Duration::from_secs(5)).await?.code(), Some(65));
    program.line("not a recording", Duration::from_secs(1)).await?;
    Ok(())
}
