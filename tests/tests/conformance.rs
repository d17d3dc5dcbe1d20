//! The outgoing LL-HLS keeps the rules on every rung, and sound and picture stay together.

use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_tests::{
    clock,
    llhls::{self, init::Track},
    publisher::{Ffmpeg, Source},
    world::Plan,
};

/// Rules that may wait: trick play (R67).
const WAIVED: [u16; 1] = [67];
/// Sound against picture, seconds.
const APART: f64 = 0.040;

#[tokio::test(flavor = "multi_thread")]
async fn every_rung_keeps_the_rules_for_30_seconds() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("rules"))?;
    world.media.playlist("rules", Duration::from_secs(15)).await?;
    let report = llhls::check(&world.media.hls("rules"), Duration::from_secs(30)).await?;
    println!("{}", report.findings);
    report.no_must_broken(&[])?;
    report.no_should_broken(&WAIVED)?;
    assert_eq!(
        report.multivariant.variants.len(),
        3,
        "two encoded rungs and the source:\n{}",
        report.multivariant.text
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_frames_keep_the_rules_too() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default().b_frames(2), &world.media.publish_url("b"))?;
    world.media.playlist("b", Duration::from_secs(15)).await?;
    let report = llhls::check(&world.media.hls("b"), Duration::from_secs(12)).await?;
    report.no_must_broken(&[])
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_leave_together() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let source = Source::default().flash_and_beep();
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("clock"))?;
    world.media.playlist("clock", Duration::from_secs(15)).await?;
    let report = llhls::check(&world.media.hls("clock"), Duration::from_secs(12)).await?;
    let of = |track| {
        report
            .renditions
            .iter()
            .filter(move |r| r.media.as_ref().is_some_and(|media| media.init.track == Some(track)))
    };
    let audio = of(Track::Audio).next().context("no audio rendition")?;
    for video in of(Track::Video) {
        let offsets = clock::offsets(video, audio).await?;
        println!("{}: {offsets:.3?}", video.name);
        assert!(offsets.iter().all(|offset| offset.abs() <= APART), "{}: {offsets:.3?}", video.name);
    }
    Ok(())
}
