//! Ladders of the sources that people publish: no rule is broken, and every rung has its keyframes where the others have them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_tests::{
    ladder::keyframes,
    llhls,
    publisher::Ffmpeg,
    sources::{self, Kind},
    world::Plan,
};

const SOON: Duration = Duration::from_secs(30);

/// Publishes it and compares the rungs.
async fn is_even(kind: &Kind) -> Result<()> {
    let name = kind.name;
    let world = Plan::open()?.small_ladder().start().await?;
    let id = format!("publish/{name}");
    let options = [kind.options, &["-srt_streamid", &id]].concat();
    let _publisher = Ffmpeg::publish_srt(&kind.source, &world.media.srt, &options)?;
    world.media.playlist(name, SOON).await?;
    let report = llhls::check(&world.media.hls(name), Duration::from_secs(kind.seconds)).await?;
    report.no_must_broken(&[]).with_context(|| format!("{name}: {}", report.multivariant.text))?;
    for size in kind.sizes {
        let text = &report.multivariant.text;
        anyhow::ensure!(text.contains(&format!("RESOLUTION={size}")), "{name}: no {size} in {text}");
    }
    let mut known: Vec<(String, Vec<i64>)> = Vec::new();
    for rung in report.renditions.iter().filter(|it| !it.name.starts_with("audio")) {
        known.push((rung.name.clone(), keyframes(rung).await?));
    }
    println!("{name}: {known:?}");
    let encoded: Vec<_> = known.iter().filter(|(name, _)| !name.starts_with("source")).collect();
    anyhow::ensure!(encoded.len() == kind.sizes.len(), "{name}: {} rungs", encoded.len());
    // A source that cannot be cut with the others (an open GOP has no IDR but its first) is no longer offered, and said to be
    // missing.
    let streams = world.media.streams().await?;
    let missing = streams["items"][0]["missing"].to_string().contains("source");
    println!("{name}: the source is {}", if missing { "not offered" } else { "offered" });
    anyhow::ensure!(missing != kind.offered, "{name}: {streams}");
    for (rung, times) in known.iter().filter(|(rung, _)| !(missing && rung.starts_with("source"))) {
        // What only one of them was seen to have, at the ends, has no counterpart.
        for (other, theirs) in &encoded {
            let (Some(first), Some(last)) =
                (theirs.first().max(times.first()), theirs.last().min(times.last()))
            else {
                anyhow::bail!("{name}: {rung} or {other} has no keyframe");
            };
            let within = |all: &[i64]| -> Vec<i64> {
                all.iter().copied().filter(|at| first - 2 <= *at && *at <= last + 2).collect()
            };
            let (ours, theirs) = (within(times), within(theirs));
            let paired = theirs.iter().all(|at| ours.iter().any(|it| (it - at).abs() <= 1));
            anyhow::ensure!(paired && !theirs.is_empty(), "{name}: {rung} has {ours:?}, {other} {theirs:?}");
        }
    }
    if kind.sizes.is_empty() {
        anyhow::ensure!(world.media.worker(name).await?.is_none(), "{name}: a worker encodes nothing");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: sources of many kinds, one after the other"]
async fn rungs_of_every_source_have_their_keyframes_together() -> Result<()> {
    for kind in sources::all() {
        is_even(&kind).await?;
    }
    Ok(())
}
