//! Sources that are not what one would wish: each becomes a sensible stream or is refused in words.

use std::time::Duration;

use anyhow::Result;
use weir_tests::{
    llhls,
    publisher::{Ffmpeg, Source},
    world::Plan,
};

async fn plays(name: &str, source: Source, seconds: u64) -> Result<llhls::Report> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url(name))?;
    world.media.playlist(name, Duration::from_secs(30)).await?;
    let report = llhls::check(&world.media.hls(name), Duration::from_secs(seconds)).await?;
    report.no_must_broken(&[])?;
    Ok(report)
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_without_picture_plays() -> Result<()> {
    let report = plays("audio", Source::default().audio_only(), 8).await?;
    assert_eq!(report.renditions.len(), 1, "{}", report.multivariant.text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn picture_without_sound_plays() -> Result<()> {
    let report = plays("video", Source::default().video_only(), 8).await?;
    assert!(!report.multivariant.text.contains("mp4a"), "{}", report.multivariant.text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: twenty seconds without a keyframe, and what comes after"]
async fn twenty_seconds_without_a_keyframe_neither_end_the_stream_nor_the_others() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let slow = Source::default().keyframe_every(20);
    let mut rare = Ffmpeg::publish(&slow, &world.media.publish_url("rare"))?;
    let _other = Ffmpeg::publish(&Source::default(), &world.media.publish_url("other"))?;
    world.media.playlist("rare", Duration::from_secs(30)).await?;
    let report = llhls::check(&world.media.hls("other"), Duration::from_secs(24)).await?;
    report.no_must_broken(&[])?;
    rare.program.must_run()?;
    world.media.program.must_run()?;
    world.media.playlist("rare", Duration::from_secs(1)).await?;
    Ok(())
}
