//! A stream outlives the browser that publishes it: it returns, is replaced, or has a backup.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_tests::{
    lossy_path::{LossyPath, Path},
    publisher::{Whip, whip::Wish},
    vigil::{Seen, Vigil},
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(20);
/// A part is 0.5 s or less; a list that pauses for longer than this has missed one.
const EDGE: Duration = Duration::from_millis(1500);

async fn stream(world: &World) -> Result<Value> {
    Ok(world.media.streams().await?["items"][0].clone())
}

/// Waits until something of the stream is so; when that was.
async fn until(world: &World, what: &str, so: impl Fn(&Value) -> bool) -> Result<Instant> {
    wait::until(what, SOON, || async { Ok(so(&stream(world).await?).then(Instant::now)) }).await
}

fn vigil(world: &World) -> Result<Vigil> {
    Vigil::begin(&format!("{}/live/cam/source/index.m3u8", world.media.http))
}

/// Nobody who watches can tell.
fn left_no_trace(seen: &Seen) -> Result<()> {
    println!("longest pause of the list {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    anyhow::ensure!(seen.discontinuities.is_empty() && seen.inits.len() == 1, "{}", seen.last.text);
    anyhow::ensure!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_returns_leaves_no_trace() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    let vigil = vigil(&world)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    publisher.browser.run("window.__whip.connection.close()", Vec::new()).await?;
    until(&world, "waiting", |it| it["state"] == "waiting").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publisher.begin(&world.media.http, "cam", &Wish::default()).await?;
    until(&world, "live", |it| it["state"] == "live").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    left_no_trace(&vigil.end().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_over_and_the_first_is_told() -> Result<()> {
    let plan = Plan::open()?.pass_through().media("[publish]\npolicy = \"takeover\"\n");
    let world = plan.start().await?;
    let publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    let before = stream(&world).await?["publisher"]["session"].clone();
    let old = publisher.session().await?;
    publisher.browser.run("window.__first = window.__whip.connection", Vec::new()).await?;
    let vigil = vigil(&world)?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publisher.begin(&world.media.http, "cam", &Wish::default()).await?;
    until(&world, "the second", |it| it["publisher"]["session"] != before).await?;
    publisher.browser.until("window.__first.connectionState !== 'connected'", SOON).await?;
    assert_eq!(
        world.client.call(http::Method::DELETE, &old, None).await?.status,
        404,
        "its session is no more"
    );
    tokio::time::sleep(Duration::from_secs(4)).await;
    left_no_trace(&vigil.end().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_on_air_when_the_line_goes_dead_and_gives_back() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let path = LossyPath::to(world.media.webrtc.parse()?, Path::default()).await?;
    let wish = Wish { path: Some(path.address), ..Wish::default() };
    let publisher = Whip::publish(&world.media.http, "cam", &wish).await?;
    world.media.playlist("cam", SOON).await?;
    publisher.begin(&world.media.http, "cam", &Wish { backup: true, ..Wish::default() }).await?;
    until(&world, "a warm backup", |it| !it["backup"].is_null()).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let vigil = vigil(&world)?;
    // Not a word any more, as of a phone in a tunnel.
    drop(path);
    let cut = Instant::now();
    let took = until(&world, "the backup", |it| it["on_air"] == "backup").await? - cut;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publisher.begin(&world.media.http, "cam", &Wish::default()).await?;
    let back = Instant::now();
    let gave_back = until(&world, "the primary", |it| it["on_air"] == "primary").await? - back;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = vigil.end().await.context("the list")?;
    println!("backup on air after {took:?}, given back {gave_back:?} after the return");
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(gave_back >= Duration::from_secs(4) && gave_back < Duration::from_secs(10), "{gave_back:?}");
    left_no_trace(&seen)
}
