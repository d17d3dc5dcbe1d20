//! SRT out: players are sent a rung as an MPEG transport stream.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;
use weir_tests::{
    program::Program,
    publisher::{Ffmpeg, Source, run},
    transport_stream::Seen,
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(10);

fn address(world: &World, id: &str, more: &str) -> String {
    format!("srt://{}?streamid={id}{more}", world.media.srt)
}

/// Some seconds of what ffmpeg is sent, as it came.
async fn played(address: &str, seconds: &str, file: &Path) -> Result<()> {
    run(["-i", address, "-t", seconds, "-map", "0", "-c", "copy", "-f", "mpegts"], file).await?;
    Ok(())
}

/// The streams of a file, as ffprobe has them.
async fn probed(file: &Path) -> Result<Value> {
    let arguments = ["-v", "error", "-count_packets", "-show_streams", "-show_entries"];
    let output = Command::new("ffprobe")
        .args(arguments)
        .args(["stream=codec_name,codec_type,width,height,nb_read_packets,start_pts", "-of", "json"])
        .arg(file)
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice::<Value>(&output.stdout)?["streams"].take())
}

fn of(streams: &Value, kind: &str) -> Result<Value> {
    let all = streams.as_array().context("no streams")?;
    all.iter()
        .find(|stream| stream["codec_type"] == kind)
        .cloned()
        .with_context(|| format!("no {kind}: {streams}"))
}

fn packets(stream: &Value) -> u64 {
    stream["nb_read_packets"].as_str().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_rung_is_played_by_srt() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default().keyframe_every(1), &world.media.publish_url("show"))?;
    world.media.playlist("show", Duration::from_secs(20)).await?;
    let renditions = world.media.streams().await?["items"][0]["renditions"].clone();
    let names: Vec<_> =
        renditions.as_array().context("none")?.iter().filter_map(|r| r["name"].as_str()).collect();
    let rung = names.iter().find(|name| !["source", "audio"].contains(name)).context("no encoded rung")?;
    for id in ["play/show".to_owned(), format!("play/show?rung={rung}"), "#!::r=show,m=request".to_owned()] {
        let file = world.folder().join("played.ts");
        played(&address(&world, &id, ""), "4", &file).await.context(id.clone())?;
        let streams = probed(&file).await?;
        let (video, audio) = (of(&streams, "video")?, of(&streams, "audio")?);
        println!("{id}: {video} {audio}");
        assert_eq!((&video["codec_name"], &audio["codec_name"]), (&"h264".into(), &"aac".into()), "{id}");
        assert!((90..=135).contains(&packets(&video)), "{id}: {video}");
        assert!((150..=210).contains(&packets(&audio)), "{id}: {audio}");
    }
    for id in ["play/nobody", "play/show?rung=none", "play/show?latency=soon"] {
        let file = world.folder().join("nothing.ts");
        assert!(played(&address(&world, id, ""), "1", &file).await.is_err(), "{id}");
    }
    wait::until("the players gone", SOON, || async {
        Ok((world.media.metrics().await?.sum("weir_srt_players", &[]) == Some(0.0)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_stream_keeps_its_rules_and_is_encrypted_where_it_is_to_be() -> Result<()> {
    let settings = "[srt]\npassphrase = \"correct horse\"\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    let _publisher =
        Ffmpeg::publish(&Source::default().keyframe_every(1), &world.media.publish_url("rules"))?;
    world.media.playlist("rules", SOON).await?;
    let file = world.folder().join("rules.ts");
    let secret = "passphrase=correct horse&pbkeylen=24&latency=200";
    let from = format!("srt://{}?streamid=play/rules&{secret}", world.media.srt);
    // Media goes to standard output, what it says elsewhere.
    let mut command = Command::new("sh");
    command.args(["-c", "exec srt-live-transmit -q \"$1\" file://con >\"$2\"", "sh", &from]).arg(&file);
    let mut program = Program::start("srt-live-transmit", command)?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    program.must_run()?;
    program.stop().await?;
    let seen = Seen::of(&std::fs::read(&file)?)?;
    println!("{seen:?}");
    assert!(seen.seconds > 3.0, "{seen:?}");
    assert_eq!(seen.holes, 0);
    assert!(seen.tables_apart <= 0.5 && seen.clock_apart <= 0.1, "{seen:?}");
    assert!(seen.clock_before_units, "every unit is decoded after the clock at which it came: {seen:?}");
    let unencrypted = address(&world, "play/rules", "");
    assert!(played(&unencrypted, "1", &world.folder().join("no.ts")).await.is_err());
    Ok(())
}
