//! A viewer in a real browser keeps the page open while the publisher goes, is replaced or fails.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use weir_tests::{
    browser::Browser,
    publisher::{Session, Source, ffmpeg::run, flv},
    rtmp_url::RtmpUrl,
    wait,
    world::{Plan, World},
};

/// Between two looks at the player.
const LOOK: Duration = Duration::from_millis(200);

/// Longer than anything here takes.
const MINUTE: Duration = Duration::from_mins(1);

/// Seconds of media; nothing before there is a player.
const PLACE: &str = "window.__weir?.stats()?.currentTime ?? 0";

/// Counts what hls.js takes out of the buffer by itself. It forgets the part that is on its way then, and may ask for
/// no sound again.
const COUNT_TAKEN: &str =
    "window.__taken = 0, !!window.__weir.hls.on('hlsBufferFlushing', () => { window.__taken += 1; })";

/// What a viewer saw over some time.
#[derive(Debug)]
struct Viewing {
    stalls: f64,
    /// Seconds of media that were played.
    played: f64,
    /// The longest time in which the picture did not move on.
    standstill: Duration,
}

struct Stage {
    world: World,
    browser: Browser,
    tags: Vec<flv::Tag>,
    key: String,
}

impl Stage {
    /// A stream on air, and a page on which it plays.
    async fn set() -> Result<(Self, JoinSet<Result<()>>)> {
        Self::set_with(Plan::admitted()?).await
    }

    async fn set_with(plan: Plan) -> Result<(Self, JoinSet<Result<()>>)> {
        let world = plan.small_ladder().media("[publish]\npolicy = \"takeover\"\n").start().await?;
        let demo = world.demo().await?;
        let text = |name: &str| demo[name].as_str().map(str::to_owned).with_context(|| name.to_owned());
        let file = world.folder().join("source.flv");
        Source::default().keyframe_every(1).seconds(8).write_flv(&file).await?;
        let stage =
            Self { tags: flv::read(&file)?, key: text("key")?, browser: Browser::start().await?, world };
        let watch = format!("{}/watch/{}", stage.world.control()?.http, text("channel")?);
        let first = stage.publish("", MINUTE);
        stage.world.media.playlist(&text("stream")?, Duration::from_secs(15)).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        stage.browser.open(&watch).await?;
        stage.browser.value("window.__page = 'the same'").await?;
        stage.moves(Duration::from_secs(20)).await?;
        stage.browser.value(COUNT_TAKEN).await?;
        Ok((stage, first))
    }

    fn url(&self, query: &str) -> RtmpUrl {
        RtmpUrl::new(&self.world.media.rtmp, "live", &format!("{}{query}", self.key))
    }

    /// A publisher for that long.
    fn publish(&self, query: &str, lasts: Duration) -> JoinSet<Result<()>> {
        let (url, tags) = (self.url(query), self.tags.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut session = Session::publish(&url).await?;
            session.replay(&tags, tokio::time::Instant::now() + lasts).await
        });
        task
    }

    async fn stats(&self) -> Result<Value> {
        let page = self.browser.value("window.__page").await?;
        anyhow::ensure!(page == "the same", "the page was loaded anew: {page}");
        self.browser.stats().await
    }

    /// Waits until the picture moves.
    async fn moves(&self, within: Duration) -> Result<()> {
        let moved = wait::until("a picture that moves", within, || async {
            let place = async || anyhow::Ok(self.browser.value(PLACE).await?.as_f64().unwrap_or(0.0));
            let before = place().await?;
            tokio::time::sleep(LOOK).await;
            Ok((before > 0.0 && place().await? > before).then_some(()))
        })
        .await;
        if moved.is_err() {
            println!("{}\n{}", self.browser.stats().await?, self.browser.visible_text().await?);
        }
        moved
    }

    /// Watches for that long.
    async fn watch(&self, lasts: Duration) -> Result<Viewing> {
        let number = |stats: &Value, name: &str| stats[name].as_f64().with_context(|| format!("{stats}"));
        let first = self.stats().await?;
        let (start, mut moved) = (Instant::now(), Instant::now());
        let (mut last, mut standstill) = (first.clone(), Duration::ZERO);
        while start.elapsed() < lasts {
            tokio::time::sleep(LOOK).await;
            let now = self.stats().await?;
            if number(&now, "currentTime")? > number(&last, "currentTime")? {
                moved = Instant::now();
            }
            standstill = standstill.max(moved.elapsed());
            last = now;
        }
        let more = |name: &str| anyhow::Ok(number(&last, name)? - number(&first, name)?);
        Ok(Viewing { stalls: more("stalls")?, played: more("currentTime")?, standstill })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_a_broken_line_a_takeover_and_a_dead_primary_through() -> Result<()> {
    let (stage, mut first) = Stage::set().await?;
    stage.watch(Duration::from_secs(4)).await?;
    for seconds in [3, 15] {
        drop(first);
        let away = stage.watch(Duration::from_secs(seconds)).await?;
        first = stage.publish("", MINUTE);
        let back = stage.watch(Duration::from_secs(6)).await?;
        println!("away for {seconds} s: {away:?}, then {back:?}");
        assert!(away.stalls + back.stalls < 0.5, "{seconds} s away: {away:?}, {back:?}");
        assert!(away.played + back.played > seconds as f64 + 5.0, "{seconds} s away: {away:?}, {back:?}");
    }

    // The same broadcaster from another network, while the first connection still sends.
    let (url, tags) = (stage.url(""), stage.tags.clone());
    let mut second = JoinSet::new();
    second.spawn(async move {
        let mut session = Session::publish_from(Ipv4Addr::new(127, 0, 0, 2).into(), &url).await?;
        session.replay(&tags, tokio::time::Instant::now() + MINUTE).await
    });
    let taken = stage.watch(Duration::from_secs(6)).await?;
    println!("takeover from another address: {taken:?}");
    drop(first);
    assert!(taken.stalls < 0.5 && taken.played > 5.0, "{taken:?}");

    // The primary dies, a backup is there.
    let _backup = stage.publish("?role=backup", MINUTE);
    stage.watch(Duration::from_secs(3)).await?;
    drop(second);
    let switched = stage.watch(Duration::from_secs(6)).await?;
    println!("primary killed, backup there: {switched:?}");
    assert!(switched.standstill <= Duration::from_secs(1), "{switched:?}");
    assert!(switched.stalls < 0.5 && switched.played > 5.0, "{switched:?}");
    let taken = stage.browser.value("window.__taken").await?;
    assert_eq!(taken, 0, "taken out of the buffer while it played");
    stage.browser.close().await
}

/// The colour in the middle of the picture, as the page shows it.
const COLOUR: &str = "(() => { const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1; \
     const brush = canvas.getContext('2d'); brush.drawImage(document.querySelector('video'), 0, 0, 1, 1); \
     return Array.from(brush.getImageData(0, 0, 1, 1).data); })()";

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_the_slate_and_then_the_publisher_again() -> Result<()> {
    let plan = Plan::admitted()?;
    let picture = plan.folder().join("slate.png");
    run(["-f", "lavfi", "-i", "color=red:s=1280x720", "-frames:v", "1"], &picture).await?;
    let (stage, first) =
        Stage::set_with(plan.media(&format!("[slate]\nfile = \"{}\"\n", picture.display()))).await?;
    stage.watch(Duration::from_secs(4)).await?;
    drop(first);
    let away = stage.watch(Duration::from_secs(10)).await?;
    let shown = stage.browser.value(COLOUR).await?;
    let _second = stage.publish("", MINUTE);
    let back = stage.watch(Duration::from_secs(10)).await?;
    let after = stage.browser.value(COLOUR).await?;
    println!("slate: {away:?}, {shown}; then {back:?}, {after}");
    let level = |pixel: &Value, n: usize| pixel[n].as_u64().unwrap_or_default();
    let is_red = |pixel: &Value| level(pixel, 0) > 150 && level(pixel, 1) < 80 && level(pixel, 2) < 80;
    assert!(is_red(&shown) && !is_red(&after), "{shown}, then {after}");
    assert!(away.stalls + back.stalls < 0.5, "{away:?}, {back:?}");
    assert!(away.played > 8.5 && back.played > 8.5, "{away:?}, {back:?}");
    stage.browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_plays_on_after_a_restart_of_the_daemon() -> Result<()> {
    let (mut stage, first) = Stage::set().await?;
    stage.watch(Duration::from_secs(4)).await?;
    stage.world.media.restart().await?;
    drop(first);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let _second = stage.publish("", MINUTE);
    stage.watch(Duration::from_secs(1)).await?;
    stage.moves(Duration::from_secs(20)).await?;
    println!("plays {:?} after the publisher is back", start.elapsed());
    let after = stage.watch(Duration::from_secs(8)).await?;
    println!("after the restart: {after:?}");
    assert!(after.played > 6.0, "{after:?}");
    stage.browser.close().await
}
