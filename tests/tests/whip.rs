//! Publishing by WebRTC: a browser's picture and sound, played by LL-HLS.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_tests::{
    clock, llhls,
    lossy_path::{LossyPath, Path},
    publisher::{Whip, whip::Wish},
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(20);
/// How far sound and picture may be apart, seconds.
const APART: f64 = 0.040;

async fn stream(world: &World) -> Result<Value> {
    Ok(world.media.streams().await?["items"][0].clone())
}

async fn in_state(world: &World, state: &str) -> Result<()> {
    wait::until(state, SOON, || async { Ok((stream(world).await?["state"] == state).then_some(())) }).await
}

/// Follows a stream; an error if a rule is broken, or sound and picture are too far apart.
async fn sound(world: &World, name: &str, how_long: Duration, lossy: bool) -> Result<llhls::Report> {
    wait::until("sound", SOON, || async {
        Ok(world.client.get(&world.media.hls(name)).await?.text().contains("TYPE=AUDIO").then_some(()))
    })
    .await?;
    let report = llhls::check(&world.media.hls(name), how_long).await?;
    report.no_must_broken(&[])?;
    let of = |name: &str| {
        let ending = format!("/{name}/index.m3u8");
        report
            .renditions
            .iter()
            .find(|it| it.url.path().ends_with(&ending))
            .with_context(|| format!("no {name}"))
    };
    let offsets = clock::offsets(of("source")?, of("audio")?).await?;
    println!("sound after picture, seconds: {offsets:?}");
    // Where packets are lost, one may be that with which a tone begins: its first 20 ms are made up of silence.
    let apart = offsets.iter().filter(|it| it.abs() > APART).count();
    anyhow::ensure!(apart <= usize::from(lossy), "{offsets:?}");
    Ok(report)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_publishes_is_played_until_it_says_goodbye() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    sound(&world, "cam", Duration::from_secs(10), false).await?;
    let now = stream(&world).await?;
    println!("{now}");
    assert_eq!(now["publisher"]["protocol"], "whip");
    assert_eq!(now["publisher"]["findings"], serde_json::json!([]), "the doctor has nothing to say");
    assert_eq!(now["counters"]["dropped"], 0);
    assert_eq!(now["audio"]["codec"], "mp4a.40.2");
    publisher.browser.run("fetch(window.__whip.session, { method: 'DELETE' })", Vec::new()).await?;
    in_state(&world, "waiting").await?;
    let gone = world.client.call(http::Method::DELETE, &publisher.session().await?, None).await?;
    assert_eq!(gone.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn av1_passes_through_and_what_cannot_be_carried_is_refused() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let wish = Wish { codec: "video/VP8", ..Wish::default() };
    let refused = Whip::publish(&world.media.http, "cam", &wish).await.err().context("VP8 was taken")?;
    assert!(format!("{refused:#}").contains("offer H.264, or AV1"), "{refused:#}");
    let wish = Wish { codec: "video/AV1", ..Wish::default() };
    let _publisher = Whip::publish(&world.media.http, "cam", &wish).await?;
    world.media.playlist("cam", SOON).await?;
    sound(&world, "cam", Duration::from_secs(8), false).await?;
    let now = stream(&world).await?;
    assert!(now["video"]["codec"].as_str().is_some_and(|codec| codec.starts_with("av01")), "{now}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_datagram_passes_it_goes_by_tcp() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let wish = Wish { tcp: true, ..Wish::default() };
    let publisher = Whip::publish(&world.media.http, "cam", &wish).await?;
    world.media.playlist("cam", SOON).await?;
    sound(&world, "cam", Duration::from_secs(6), false).await?;
    let pairs = publisher.stats("local-candidate").await?;
    println!("{pairs}");
    // The connection ends with the page, without a word of HTTP.
    publisher.browser.run("window.__whip.connection.close()", Vec::new()).await?;
    in_state(&world, "waiting").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_line_loses_comes_again() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let path =
        Path { lost_in_thousand: 20, round_trip: Duration::from_millis(50), seed: 5, ..Path::default() };
    let path = LossyPath::to(world.media.webrtc.parse()?, path).await?;
    let wish = Wish { path: Some(path.address), ..Wish::default() };
    let _publisher = Whip::publish(&world.media.http, "cam", &wish).await?;
    world.media.playlist("cam", SOON).await?;
    let report = sound(&world, "cam", Duration::from_secs(10), true).await;
    let now = stream(&world).await?;
    println!("{now}");
    report?;
    let link = &now["publisher"]["link"];
    assert!(link["missing"].as_u64().is_some_and(|asked| asked > 0), "{link}");
    assert!(link["round_trip_ms"].as_f64().is_some_and(|ms| (45.0..80.0).contains(&ms)), "{link}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_ice_and_a_new_size_of_the_picture_are_the_same_stream() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    let session = stream(&world).await?["publisher"]["session"].clone();
    let before = publisher.browser.value("window.__whip.tag").await?;
    publisher.run("restart()").await?;
    assert_ne!(publisher.browser.value("window.__whip.tag").await?, before);
    let units = || async {
        stream(&world).await?["counters"]["video_units"].as_u64().context("no count of pictures")
    };
    let then = units().await?;
    wait::until("pictures after the restart", SOON, || async {
        Ok((units().await? > then + 60).then_some(()))
    })
    .await?;
    assert_eq!(stream(&world).await?["publisher"]["session"], session);
    publisher
        .browser
        .run("Object.assign(window.__whip.canvas, { width: 480, height: 270 })", Vec::new())
        .await?;
    wait::until("the new size", SOON, || async {
        Ok((stream(&world).await?["video"]["width"] == 480).then_some(()))
    })
    .await?;
    let list = format!("{}/live/cam/source/index.m3u8", world.media.http);
    wait::until("a discontinuity", SOON, || async {
        Ok(world.client.get(&list).await?.text().contains("#EXT-X-DISCONTINUITY\n").then_some(()))
    })
    .await?;
    assert_eq!(stream(&world).await?["publisher"]["session"], session);
    let closed = world.client.get(&format!("{}/metrics", world.media.admin)).await?.text();
    assert!(!closed.contains("webrtc_closed_total{"), "a session has ended");
    Ok(())
}
