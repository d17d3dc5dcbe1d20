//! Enhanced RTMP: HEVC, AV1 and Opus pass through into CMAF and can be encoded from; further video tracks of the
//! publisher are renditions that nobody encodes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use weir_tests::{
    llhls,
    publisher::{
        Session, Source,
        enhanced::{self, Codec},
        flv::{self, Tag},
    },
    wait,
    world::{MediaServer, Plan},
};

const RUNG: &str = "[profiles.default]\nrungs = [{ name = \"low\", height = 240, fps = 30, video_bitrate = \"400k\", \
    audio_bitrate = \"96k\", codec = \"h264\" }]\n";

/// Rules that may wait: trick play (R67).
const WAIVED: [u16; 1] = [67];

async fn legacy(source: Source, seconds: u32) -> Result<Vec<Tag>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.flv");
    source.seconds(seconds).write_flv(&file).await?;
    flv::read(&file)
}

/// Sends in real time, once.
fn send(server: &MediaServer, key: &str, tags: Vec<Tag>) -> JoinSet<Result<()>> {
    let url = server.publish_url(key);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut session = Session::publish(&url).await?;
        session.play(&tags).await?;
        // The connection stays: what comes now is silence.
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(())
    });
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_passes_through_and_a_rung_is_encoded_of_it() -> Result<()> {
    let world = Plan::open()?.media(RUNG).start().await?;
    let sound =
        legacy(Source::default(), 20).await?.into_iter().filter(|tag| tag.kind != flv::VIDEO).collect();
    let tags = enhanced::together([sound, enhanced::tags(Codec::Hevc, 20).await?]);
    let _publisher = send(&world.media, "hevc", tags);
    let list = wait::until("both variants", Duration::from_secs(15), || async {
        let list = world.client.get(&world.media.hls("hevc")).await?.text();
        Ok((list.matches("#EXT-X-STREAM-INF").count() == 2).then_some(list))
    })
    .await?;
    assert!(list.contains("hvc1.1.") && list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    let report = llhls::check(&world.media.hls("hevc"), Duration::from_secs(8)).await?;
    println!("{}", report.findings);
    report.no_must_broken(&[])?;
    report.no_should_broken(&WAIVED)
}

#[tokio::test(flavor = "multi_thread")]
async fn av1_and_opus_pass_through() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let said =
        legacy(Source::default(), 1).await?.into_iter().filter(|tag| tag.kind == flv::SCRIPT).collect();
    let tags = [said, enhanced::tags(Codec::Av1, 16).await?, enhanced::tags(Codec::Opus, 16).await?];
    let tags = enhanced::together(tags);
    let _publisher = send(&world.media, "av1", tags);
    let list = world.media.playlist("av1", Duration::from_secs(15)).await?;
    assert!(list.contains("av01.0.") && list.contains("opus"), "{list}");
    let report = llhls::check(&world.media.hls("av1"), Duration::from_secs(8)).await?;
    println!("{}", report.findings);
    report.no_must_broken(&[])?;
    report.no_should_broken(&WAIVED)
}

#[tokio::test(flavor = "multi_thread")]
async fn av1_is_decoded_for_a_rung() -> Result<()> {
    let world = Plan::open()?.media(RUNG).start().await?;
    let tags = enhanced::tags(Codec::Av1, 20).await?;
    let _publisher = send(&world.media, "av1", tags);
    wait::until("a rung of it", Duration::from_secs(15), || async {
        let url = format!("{}/live/av1/low/index.m3u8", world.media.http);
        Ok(world.client.get(&url).await?.text().contains("#EXTINF").then_some(()))
    })
    .await
}

/// A source of 640x360 with sound, and beside it a track of 426x240 that is so many milliseconds late.
async fn two_tracks(late: u32) -> Result<Vec<Tag>> {
    let large = legacy(Source::default(), 20).await?;
    let small = legacy(Source::default().video_only().size(426, 240).video_kbps(300), 20).await?;
    // Without sound ffmpeg begins at zero; an encoder gives both tracks one clock.
    let first = |tags: &[Tag]| tags.iter().find(|tag| tag.is_picture()).map_or(0, |tag| tag.timestamp);
    let later = first(&large) - first(&small) + late;
    let moved = small.iter().map(|tag| Tag { timestamp: tag.timestamp + later, ..tag.clone() });
    let small = moved.filter_map(|tag| enhanced::on_track(&tag, 1)).collect();
    Ok(enhanced::together([large, small]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_video_track_whose_keyframes_lie_elsewhere_is_named_as_missing() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = send(&world.media, "apart", two_tracks(900).await?);
    let missing = wait::until("the missing rung", Duration::from_secs(25), || async {
        let streams = world.media.streams().await?;
        let missing = streams["items"][0]["missing"].clone();
        Ok(missing.as_array().is_some_and(|list| !list.is_empty()).then_some(missing))
    })
    .await?;
    println!("{missing}");
    assert_eq!(missing[0]["rung"], "240p");
    assert!(missing[0]["reason"].as_str().context("no reason")?.contains("keyframe interval"), "{missing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_video_track_is_a_rung_that_nobody_encodes() -> Result<()> {
    let world = Plan::open()?.media(RUNG).start().await?;
    // The ladder is planned at the first keyframe, and again at the second, when both tracks are known.
    let _publisher = send(&world.media, "two", two_tracks(0).await?);
    let list = wait::until("both variants", Duration::from_secs(15), || async {
        let list = world.client.get(&world.media.hls("two")).await?.text();
        let both = list.matches("#EXT-X-STREAM-INF").count() == 2 && list.contains("CODECS=\"avc1.42c015");
        Ok((both && world.media.worker("two").await?.is_none()).then_some(list))
    })
    .await?;
    assert!(list.contains("RESOLUTION=640x360") && list.contains("RESOLUTION=426x240"), "{list}");
    let report = llhls::check(&world.media.hls("two"), Duration::from_secs(8)).await?;
    println!("{}", report.findings);
    report.no_must_broken(&[])?;
    assert_eq!(world.media.worker("two").await?, None, "a worker encodes what is sent");
    let stream = world.media.streams().await?;
    let renditions = stream["items"][0]["renditions"].as_array().context("no renditions")?;
    assert!(renditions.iter().all(|r| r["passthrough"] == true || r["name"] == "audio"), "{stream}");
    Ok(())
}
