//! A machine that cannot encode all that it is asked for gives up rungs, one at a time, and takes them back when it can.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use weir_tests::{
    bench::{proc, table::Table},
    browser::Browser,
    publisher::{Session, Source, flv},
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(30);
const STREAMS: [&str; 3] = ["one", "two", "three"];
/// No stream may be further behind than this.
const MOST_BEHIND: u64 = 2000;

/// Three rungs with a preset that nobody should use live.
fn ladder(preset: &str) -> String {
    let rung = |height: u32, kbit: u32| {
        format!("{{ name = \"{height}p\", height = {height}, video_bitrate = \"{kbit}k\" }},\n")
    };
    format!(
        "[transcode]\npreset = \"{preset}\"\n[profiles.default]\nrungs = [\n{}{}{}]\n",
        rung(480, 1200),
        rung(360, 800),
        rung(240, 400)
    )
}

/// How a stream does: what is left out, and how far behind its encoder is.
async fn state(world: &World, stream: &str) -> Result<(Vec<String>, u64)> {
    let streams = world.media.streams().await?;
    let found = streams["items"].as_array().into_iter().flatten().find(|it| it["name"] == stream);
    let found = found.with_context(|| format!("no {stream} in {streams}"))?;
    let missing = found["missing"].as_array().into_iter().flatten();
    let missing = missing.filter_map(|it| it["rung"].as_str().map(str::to_owned)).collect();
    Ok((missing, found["worker"]["behind_ms"].as_u64().unwrap_or(0)))
}

/// Publishes a file in real time, again and again, without the cost of an encoder.
async fn publish(world: &World, stream: &str, tags: &[flv::Tag], publishers: &mut JoinSet<()>) -> Result<()> {
    let mut session = Session::publish(&world.media.publish_url(stream)).await?;
    let tags = tags.to_vec();
    publishers.spawn(async move {
        let until = tokio::time::Instant::now() + Duration::from_mins(10);
        // It ends with its world.
        session.replay(&tags, until).await.ok();
    });
    Ok(())
}

async fn file(seconds: u32) -> Result<Vec<flv::Tag>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("source.flv");
    Source::default().noisy().size(1280, 720).video_kbps(3000).seconds(seconds).write_flv(&file).await?;
    flv::read(&file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_that_the_machine_has_no_time_for_is_left_out_and_its_viewers_play_on() -> Result<()> {
    let tags = file(40).await?;
    let world = Plan::open()?.media(&ladder("veryslow")).start().await?;
    let mut publishers = JoinSet::new();
    publish(&world, "one", &tags, &mut publishers).await?;
    let list = format!("{}/live/one/480p/index.m3u8", world.media.http);
    // It may be left out before it was ever seen.
    let mut before = None;
    let began = Instant::now();
    let shed = loop {
        let answer = world.client.get(&list).await?;
        before = answer.status.is_success().then(|| answer.text()).or(before);
        let (shed, _) = state(&world, "one").await.unwrap_or_default();
        if !shed.is_empty() {
            break shed;
        }
        anyhow::ensure!(began.elapsed() < SOON, "no rung was left out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // What costs most goes first, unless somebody watches it: as this test does, where its list was there in time.
    let gone = if before.is_some() { "360p" } else { "480p" };
    assert_eq!(shed[0], gone);
    let multivariant = world.media.playlist("one", SOON).await?;
    assert!(!multivariant.contains(&format!("{gone}/")), "{multivariant}");
    let answer = world.client.get(&format!("{}/live/one/{gone}/index.m3u8", world.media.http)).await?;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(answer.text().contains("in time"), "{}", answer.text());
    // What was listed can still be fetched, whether it is left out by now or not.
    let part = |list: &str| {
        let line = list.lines().find(|line| line.starts_with("#EXT-X-PART:"))?;
        line.split('"').nth(1).map(str::to_owned)
    };
    if let Some(part) = before.as_deref().and_then(part) {
        let part = format!("{}/live/one/480p/{part}", world.media.http);
        assert!(world.client.get(&part).await?.status.is_success());
    }
    let health = wait::until("the finding", SOON, || async {
        let streams = world.media.streams().await?;
        let findings = streams["items"][0]["publisher"]["findings"].as_array().cloned().unwrap_or_default();
        Ok(findings.into_iter().find(|it| it["code"] == "server-overloaded"))
    })
    .await?;
    assert!(health["text"].as_str().is_some_and(|text| text.contains(gone)), "{health}");
    let metrics = world.media.metrics().await?;
    assert!(metrics.sum("weir_rungs_shed", &[]) >= Some(1.0));
    assert!(metrics.sum("weir_rung_changes_total", &["kind=\"shed\""]) >= Some(1.0));
    Ok(())
}

/// A page that plays a stream by hls.js as it comes, and counts when it stands still.
async fn viewer(world: &World, stream: &str) -> Result<Browser> {
    let browser = Browser::start().await?;
    browser.open(&format!("{}/live/{stream}/", world.media.http)).await?;
    browser.until("document.querySelector('video')?.currentTime > 1", SOON).await?;
    browser
        .run(
            "window.waited = 0; window.video = document.querySelector('video');
             window.video.addEventListener('waiting', () => { window.waited += 1; });",
            Vec::new(),
        )
        .await?;
    Ok(browser)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: three ladders that two cores cannot carry, two minutes"]
async fn three_ladders_on_too_few_cores_shed_stay_at_the_edge_and_recover() -> Result<()> {
    let tags = file(200).await?;
    let mut world = Plan::open()?.media(&ladder("medium")).start().await?;
    let mut publishers: Vec<JoinSet<()>> = STREAMS.iter().map(|_| JoinSet::new()).collect();
    for (stream, publisher) in STREAMS.iter().zip(&mut publishers) {
        publish(&world, stream, &tags, publisher).await?;
    }
    let began = Instant::now();
    let (mut worst, mut first, mut most) = (0, None, 0);
    while began.elapsed() < Duration::from_mins(1) {
        let mut shed = 0;
        for stream in STREAMS {
            let (missing, behind) = state(&world, stream).await?;
            worst = worst.max(behind);
            shed += missing.len();
        }
        if shed > 0 {
            first.get_or_insert(began.elapsed());
        }
        most = most.max(shed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let first = first.context("three ladders were no overload: use a slower preset")?;
    println!("first rung shed after {first:?}, {most} of 9 at most; furthest behind {worst} ms");
    for stream in STREAMS {
        let report = weir_tests::llhls::check(&world.media.hls(stream), Duration::from_secs(6)).await?;
        report.no_must_broken(&[])?;
    }
    // A viewer of what is left.
    let browser = viewer(&world, STREAMS[0]).await?;
    // Two of the three streams end: there is time again.
    for publisher in publishers.iter_mut().skip(1) {
        publisher.abort_all();
    }
    for stream in &STREAMS[1..] {
        world.media.drop_stream(stream).await?;
    }
    let freed = Instant::now();
    let all = wait::until("all rungs of the stream that is left", Duration::from_secs(90), || async {
        Ok(state(&world, STREAMS[0]).await?.0.is_empty().then_some(()))
    });
    let all = all.await;
    let back = freed.elapsed();
    let waited = browser.value("window.waited").await?;
    browser.close().await?;
    println!("all rungs back after {back:?}; the viewer waited {waited} times");
    for line in world.media.program.log().lines() {
        if ["in time", "time for it again", "replaced"].iter().any(|it| line.contains(it)) {
            println!("{line}");
        }
    }
    all?;
    assert!(worst <= MOST_BEHIND, "{worst} ms behind");
    assert_eq!(waited, Value::from(0));
    let table = Table {
        name: "overload",
        title: format!(
            "Three streams of 1280x720 with three rungs each at x264's `medium`, which these cores cannot carry. {}.",
            proc::machine()
        ),
        columns: vec![
            "first rung left out after",
            "rungs left out at most",
            "furthest behind (target 2 s)",
            "all back, of the one stream that is left, after",
            "stalls of its viewer",
        ],
        rows: vec![vec![
            format!("{:.1} s", first.as_secs_f64()),
            format!("{most} of 9"),
            format!("{worst} ms"),
            format!("{:.0} s", back.as_secs_f64()),
            waited.to_string(),
        ]],
    };
    println!("{}", table.markdown());
    if let Some(rows) = std::env::var_os("WEIR_ROWS") {
        table.write(std::path::Path::new(&rows))?;
    }
    world.media.program.must_run()
}
