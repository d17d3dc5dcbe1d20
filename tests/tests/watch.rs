//! A viewer opens the watch page in a real browser.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use weir_tests::{
    browser::Browser,
    publisher::{Ffmpeg, Source},
    rtmp_url::RtmpUrl,
    wait,
    world::Plan,
};

/// Behind the live edge, seconds.
const LATENCY: f64 = 2.5;
/// From opening the page to the first picture, milliseconds: the figure in docs/benchmarks.md is 2000, this is what a
/// machine that does other things besides must keep.
const FIRST_FRAME: f64 = 5000.0;
/// How long is watched after the encoder was killed.
const AFTER_THE_KILL: Duration = Duration::from_secs(6);
/// How long is watched.
const WATCHED: Duration = Duration::from_secs(20);

fn number(stats: &Value, name: &str) -> Result<f64> {
    stats[name].as_f64().with_context(|| format!("no {name} in {stats}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_channel_plays_at_the_edge_without_a_stall() -> Result<()> {
    let world = Plan::admitted()?.small_ladder().start().await?;
    let demo = world.demo().await?;
    let key = demo["key"].as_str().context("no key")?;
    let watch =
        format!("{}/watch/{}", world.control()?.http, demo["channel"].as_str().context("no channel")?);
    let browser = Browser::start().await?;
    browser.open(&watch).await?;
    browser
        .until("document.body.innerText.toLowerCase().includes('offline')", Duration::from_secs(10))
        .await?;

    let source = Source::default();
    let _publisher = Ffmpeg::publish(&source, &RtmpUrl::new(&world.media.rtmp, "live", key))?;
    let stream = demo["stream"].as_str().context("no stream")?;
    world.media.playlist(stream, Duration::from_secs(15)).await?;
    // hls.js takes a list without any complete segment for an error, so the stream is opened with its second one.
    let list = format!("{}/live/{stream}/source/index.m3u8", world.media.http);
    wait::until("a complete segment", Duration::from_secs(10), || async {
        Ok(world.client.get(&list).await?.text().contains("#EXTINF").then_some(()))
    })
    .await?;
    browser.open(&watch).await?;
    browser
        .until(
            "window.__weir?.stats()?.firstFrameMs !== null && window.__weir?.stats()",
            Duration::from_secs(20),
        )
        .await?;
    let first = number(&browser.stats().await?, "firstFrameMs")?;
    let start = Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < WATCHED {
        let stats = browser.stats().await?;
        latencies.push(number(&stats, "edgeLatency")?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let stats = browser.stats().await?;
    println!("first frame {first:.0} ms, latency {latencies:.2?}, {stats}");
    assert!(stats["levels"].as_array().is_some_and(|levels| levels.len() >= 3), "{stats}");
    assert!(stats["levels"].to_string().contains("mp4a"), "no sound: {stats}");
    assert!(number(&stats, "stalls")?.abs() < 0.5, "{stats}");
    assert!(number(&stats, "currentTime")? >= WATCHED.as_secs_f64() - 1.0, "{stats}");
    let last = latencies.last().copied().context("no latency")?;
    assert!(last <= LATENCY, "{last:.2} s behind the edge: {latencies:.2?}");
    assert!(first <= FIRST_FRAME, "{first:.0} ms to the first picture");

    // The encoder dies under the viewer, who does not notice.
    let worker = world.media.worker(stream).await?.context("no worker")?;
    kill_process(Pid::from_raw(i32::try_from(worker)?).context("a process id")?, Signal::KILL)?;
    tokio::time::sleep(AFTER_THE_KILL).await;
    let after = browser.stats().await?;
    println!("after the worker's death: {after}");
    assert_ne!(world.media.worker(stream).await?, Some(worker));
    assert!(number(&after, "stalls")?.abs() < 0.5, "{after}");
    let played = number(&after, "currentTime")? - number(&stats, "currentTime")?;
    assert!(played >= AFTER_THE_KILL.as_secs_f64() - 1.0, "{played:.1} s played: {after}");
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_media_servers_own_page_plays() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("own"))?;
    world.media.playlist("own", Duration::from_secs(15)).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("{}/live/own/", world.media.http)).await?;
    let plays = "document.getElementById('video').currentTime > 3";
    browser.until(plays, Duration::from_secs(20)).await?;
    browser.until("document.getElementById('state').textContent === 'live'", Duration::from_secs(5)).await?;
    browser.close().await
}
