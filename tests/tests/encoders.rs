//! Encoders: which there are is measured, and what is chosen encodes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;
use weir_tests::{
    llhls, program,
    publisher::{Ffmpeg, Source},
    wait,
    world::Plan,
};

const SOON: Duration = Duration::from_secs(20);

async fn encoders(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program::binary("media-server")?);
    let output =
        command.arg("encoders").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_measured_kept_and_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("media-server.toml");
    std::fs::write(&config, format!("data_dir = {:?}\n", folder.path().join("data")))?;
    let config = config.to_str().context("a path")?;
    let json: Value = serde_json::from_str(&encoders(&["--json", "--config", config]).await?)?;
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.path().join("data/encoders.json"))?)?;
    assert_eq!(kept, json);
    let rows = |it: &Value| it["encoders"].as_array().cloned().unwrap_or_default();
    let row = |it: &Value, element: &str| rows(it).into_iter().find(|row| row["element"] == element);
    let x264 = row(&json, "x264enc").context("no x264enc")?;
    println!("{x264}");
    assert_eq!((&x264["works"], x264["runs"].as_array().map(Vec::len)), (&true.into(), Some(2)), "{x264}");
    for element in ["nvcudah264enc", "vah264enc", "qsvh264enc", "v4l2h264enc", "svtav1enc"] {
        assert!(row(&json, element).is_some(), "{element} is tried, too");
    }

    let parts = json["parts"].as_array().context("no parts")?;
    for element in ["nvh264dec", "vah265dec", "qsvh264dec", "v4l2h264dec", "cudaconvertscale", "vapostproc"] {
        assert!(parts.iter().any(|part| part["element"] == element), "{element} is tried, too");
    }

    let plan = Plan::open()?.pass_through();
    std::fs::copy(folder.path().join("data/encoders.json"), plan.folder().join("encoders.json"))?;
    let world = plan.start().await?;
    let shown = world.client.get(&format!("{}/api/v1/encoders", world.media.admin)).await?.text();
    let shown: Value = serde_json::from_str(&shown)?;
    assert_eq!((&shown["measured"], row(&shown, "x264enc")), (&true.into(), Some(x264)));
    assert!(shown["chosen"].as_str().is_some_and(|it| it.ends_with("enc")), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_encoder_makes_rungs_that_break_no_rule() -> Result<()> {
    let world = Plan::open()?.small_ladder().media("[transcode]\nencoder = \"openh264enc\"").start().await?;
    let _publisher = Ffmpeg::publish(&Source::default().b_frames(2), &world.media.publish_url("desk"))?;
    let playlist = world.media.playlist("desk", SOON).await?;
    assert_eq!(playlist.matches("RESOLUTION=").count(), 3, "{playlist}");
    llhls::check(&world.media.hls("desk"), Duration::from_secs(8)).await?.no_must_broken(&[])?;
    let shown = world.client.get(&format!("{}/api/v1/encoders", world.media.admin)).await?.text();
    assert!(shown.contains(r#""chosen":"openh264enc""#), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_encoder_cannot_begin_the_processor_encodes() -> Result<()> {
    let settings = "[transcode]\nencoder = \"nvcudah264enc\"";
    let world = Plan::open()?.small_ladder().media(settings).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("desk"))?;
    let playlist = world.media.playlist("desk", SOON).await?;
    assert_eq!(playlist.matches("RESOLUTION=").count(), 3, "in the first one already: {playlist}");
    llhls::check(&world.media.hls("desk"), Duration::from_secs(6)).await?.no_must_broken(&[])?;
    let log = world.media.program.log();
    assert!(log.contains("nvcudah264enc is not installed"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn or_the_source_goes_out_alone_and_it_is_said_why() -> Result<()> {
    let settings = "[transcode]\nencoder = \"nvcudah264enc\"\nshortage = \"passthrough\"";
    let world = Plan::open()?.small_ladder().media(settings).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("desk"))?;
    let playlist = world.media.playlist("desk", SOON).await?;
    assert_eq!(playlist.matches("RESOLUTION=").count(), 1, "{playlist}");
    let streams = world.media.streams().await?;
    let missing = &streams["items"][0]["missing"];
    assert!(missing.to_string().contains("nvcudah264enc is not installed"), "{missing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn or_its_publisher_is_ended() -> Result<()> {
    let settings = "[transcode]\nencoder = \"nvcudah264enc\"\nshortage = \"fail\"";
    let world = Plan::open()?.small_ladder().media(settings).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("desk"))?;
    let log = wait::until("the publisher is ended", SOON, async || {
        let log = world.media.program.log();
        Ok(Some(log).filter(|log| log.contains("publisher ended: its rungs cannot be made")))
    })
    .await?;
    assert!(log.contains("nvcudah264enc is not installed"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn or_its_largest_rungs_are_left_out_one_after_the_other() -> Result<()> {
    let settings = "[transcode]\nencoder = \"nvcudah264enc\"\nshortage = \"shed\"";
    let world = Plan::open()?.small_ladder().media(settings).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("desk"))?;
    let playlist = world.media.playlist("desk", SOON).await?;
    assert_eq!(playlist.matches("RESOLUTION=").count(), 1, "the source goes on: {playlist}");
    let missing = wait::until("both rungs are missing", SOON, async || {
        let streams = world.media.streams().await?;
        let missing = streams["items"][0]["missing"].as_array().cloned().unwrap_or_default();
        Ok(Some(missing).filter(|missing| missing.len() == 2))
    })
    .await?;
    assert!(
        missing.iter().all(|rung| rung.to_string().contains("nvcudah264enc is not installed")),
        "{missing:?}"
    );
    // Room that is not used is free again.
    let shown = world.client.get(&format!("{}/api/v1/encoders", world.media.admin)).await?.text();
    let shown: Value = serde_json::from_str(&shown)?;
    assert_eq!(
        (&shown["devices"][0]["device"], &shown["devices"][0]["given_sessions"]),
        (&"cuda 0".into(), &0.into())
    );
    Ok(())
}
