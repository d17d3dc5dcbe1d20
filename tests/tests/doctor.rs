//! A publisher with wrong settings is told in plain words what to change, where an operator looks.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_tests::{
    publisher::{Ffmpeg, Source},
    wait,
    world::{Plan, World},
};

/// Noise far above full scale, cut off there.
const OVER_DRIVEN: &str = "aeval=clip(8*(random(0)-0.5)\\,-1\\,1):c=same";

/// The findings of a stream's publisher by their code.
async fn findings(world: &World, name: &str) -> Result<BTreeMap<String, Value>> {
    let url = format!("{}/api/v1/streams/{name}", world.media.admin);
    let stream = world.client.get(&url).await?.json()?;
    let list = stream["publisher"]["findings"].as_array().with_context(|| format!("{stream}"))?;
    let code = |finding: &Value| finding["code"].as_str().map(str::to_owned);
    Ok(list.iter().filter_map(|finding| Some((code(finding)?, finding.clone()))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_gops_and_over_driven_sound_are_found_and_the_remedy_is_told() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let source = Source::default().keyframe_every(8).sound_filter(OVER_DRIVEN);
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("ill"))?;
    world.media.playlist("ill", Duration::from_secs(15)).await?;
    let found = wait::until("both findings", Duration::from_mins(1), || async {
        let found = findings(&world, "ill").await?;
        let both = ["keyframe-interval-long", "audio-clipping"].iter().all(|code| found.contains_key(*code));
        Ok(both.then_some(found))
    })
    .await?;
    let gop = found.get("keyframe-interval-long").context("none")?;
    println!("{gop}\n{:?}", found.get("audio-clipping"));
    let said = |name: &str| gop[name].as_str().unwrap_or_default().to_owned();
    assert!(said("text").to_lowercase().contains("keyframe"), "{gop}");
    assert!(said("remedy").contains("-g"), "the option of ffmpeg: {gop}");
    assert!(gop["value"].as_f64().context("no value")? > 4.0, "seconds: {gop}");
    world.media.program.line("keyframe-interval-long", Duration::from_secs(1)).await?;
    let metrics = world.media.metrics().await?;
    let labels = ["code=\"keyframe-interval-long\""];
    assert_eq!(metrics.sum("weir_publisher_findings", &labels), Some(1.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_in_a_stream_as_it_should_be() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("well"))?;
    world.media.playlist("well", Duration::from_secs(15)).await?;
    tokio::time::sleep(Duration::from_secs(25)).await;
    let found = findings(&world, "well").await?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}
