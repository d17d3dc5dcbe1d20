//! The transcode worker dies: the stream goes on, and nobody else notices.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use weir_tests::{
    bench::proc,
    llhls,
    publisher::{Ffmpeg, Source},
    wait,
    world::Plan,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_within_a_second_and_playback_goes_on() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("w"))?;
    world.media.playlist("w", Duration::from_secs(15)).await?;
    let worker = world.media.worker("w").await?.context("no worker")?;

    kill_process(Pid::from_raw(i32::try_from(worker)?).context("a process id")?, Signal::KILL)?;
    let killed = Instant::now();
    let next = wait::until("another worker", Duration::from_secs(5), || async {
        Ok(world.media.worker("w").await?.filter(|pid| *pid != worker))
    })
    .await?;
    assert_ne!(next, worker);
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    // All rungs go on, and the clock with them.
    let report = llhls::check(&world.media.hls("w"), Duration::from_secs(12)).await?;
    report.no_must_broken(&[])?;
    assert_eq!(report.renditions.len(), 4, "three rungs and the sound:\n{}", report.multivariant.text);
    for rendition in &report.renditions {
        let segments = rendition.media.as_ref().map_or(0, |media| media.segments.len());
        assert!(segments >= 4, "{}: {segments} segments in 12 s", rendition.name);
    }
    publisher.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rung_to_encode_no_worker_starts() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("p"))?;
    world.media.playlist("p", Duration::from_secs(15)).await?;
    assert_eq!(world.media.worker("p").await?, None);
    // With a device that takes long to look at there is one that waits for a stream.
    let encoders = world.client.get(&format!("{}/api/v1/encoders", world.media.admin)).await?.json()?;
    let spares = usize::from(encoders["devices"].as_array().is_some_and(|devices| !devices.is_empty()));
    let daemon = world.media.program.pid().context("ended")?;
    assert!(proc::children(daemon)?.len() <= spares, "{encoders}");
    Ok(())
}
