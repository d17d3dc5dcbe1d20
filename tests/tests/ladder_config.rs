//! What an operator writes about rungs is what viewers get.

use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_tests::{
    ladder::pictures,
    llhls::{self, Report, follow::Followed},
    publisher::{Ffmpeg, Source},
    world::Plan,
};

const SOON: Duration = Duration::from_secs(30);

fn rung<'a>(report: &'a Report, name: &str) -> Result<&'a Followed> {
    report.renditions.iter().find(|it| it.name.starts_with(name)).with_context(|| format!("no {name}"))
}

/// The tag of a variant.
fn variant<'a>(report: &'a Report, name: &str) -> Result<&'a str> {
    let mut lines = report.multivariant.text.lines().rev().skip_while(|line| !line.starts_with(name));
    lines.nth(1).with_context(|| format!("no {name} in {}", report.multivariant.text))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_is_made_by_quality_and_for_the_sources_it_is_meant_for() -> Result<()> {
    let rungs = "[profiles.default]\nrungs = [\n\
        { name = \"by-rate\", height = 240, video_bitrate = \"600k\" },\n\
        { name = \"by-quality\", height = 180, video_bitrate = \"600k\", crf = 35, preset = \"ultrafast\" },\n\
        { name = \"of-large\", height = 120, video_bitrate = \"600k\", when = { min_height = 720 } },\n]\n";
    let world = Plan::open()?.media(rungs).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default().noisy(), &world.media.publish_url("desk"))?;
    world.media.playlist("desk", SOON).await?;
    let report = llhls::check(&world.media.hls("desk"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    let streams = world.media.streams().await?;
    let stream = &streams["items"][0];
    let rate = |name: &str| {
        let all = stream["renditions"].as_array().into_iter().flatten();
        all.into_iter().find(|it| it["name"] == name).and_then(|it| it["average_bps"].as_u64())
    };
    println!("{stream}");
    let (by_rate, by_quality) = (rate("by-rate").context("no rung")?, rate("by-quality").context("no rung")?);
    assert!((450_000..750_000).contains(&by_rate) && by_quality < 400_000, "{by_rate} {by_quality}");
    assert_eq!(rate("of-large"), None, "the source has 360 lines");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_of_hevc_and_with_b_frames_are_cut_where_the_source_is_and_decode() -> Result<()> {
    let rungs = "[profiles.default]\nrungs = [\n\
        { name = \"hevc\", size = \"320x240\", codec = \"hevc\", video_bitrate = \"300k\", preset = \"ultrafast\" },\n\
        { name = \"reorders\", height = 160, fps = \"1/2\", video_bitrate = \"200k\", max_bitrate = \"400k\", crf = 28,\n\
          buffer_ms = 1500, profile = \"main\", preset = \"ultrafast\", b_frames = 2, lookahead = 10 },\n\
        { name = \"av1\", height = 120, codec = \"av1\", video_bitrate = \"200k\" },\n]\n";
    let world = Plan::open()?.media(rungs).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("desk"))?;
    world.media.playlist("desk", SOON).await?;
    let report = llhls::check(&world.media.hls("desk"), Duration::from_secs(7)).await?;
    report.no_must_broken(&[])?;
    println!("{}", report.multivariant.text);

    let hevc = variant(&report, "hevc/")?;
    anyhow::ensure!(hevc.contains("CODECS=\"hvc1.1.6.L") && hevc.contains("RESOLUTION=320x180"), "{hevc}");
    let reorders = variant(&report, "reorders/")?;
    anyhow::ensure!(
        reorders.contains("CODECS=\"avc1.4d") && reorders.contains("FRAME-RATE=15."),
        "{reorders}"
    );
    let (hevc, reorders) = (rung(&report, "hevc")?, rung(&report, "reorders")?);
    anyhow::ensure!(!pictures(hevc).await?.contains('B'), "a rung has B-frames where none were wished for");
    let pictures = pictures(reorders).await?;
    anyhow::ensure!(pictures.contains('B'), "{pictures}");
    let source = rung(&report, "source")?.keyframes();
    for rung in [hevc, reorders] {
        let theirs = rung.keyframes();
        let paired = theirs.iter().filter(|at| source.iter().any(|it| (*at - it).abs() <= 1)).count();
        println!("{}: {theirs:?}, the source's {source:?}", rung.name);
        // At the end one of them may be further than the other.
        anyhow::ensure!(paired >= 2 && paired + 1 >= theirs.len(), "{}: {theirs:?}, {source:?}", rung.name);
    }
    // No encoder of this machine makes live AV1: seen where one is, it would be there.
    let streams = world.media.streams().await?;
    let missing = streams["items"][0]["missing"].to_string();
    let offered = report.multivariant.text.contains("av1/");
    anyhow::ensure!(offered || missing.contains("av1") && missing.contains("encoders"), "{missing}");
    Ok(())
}
