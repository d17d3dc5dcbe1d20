//! A stream outlives its publisher: what viewers are given while one goes, returns, is replaced or fails.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use weir_tests::{
    llhls,
    publisher::{Ffmpeg, Session, Source, flv, session::sending},
    vigil::Vigil,
    wait,
    world::{MediaServer, Plan},
};

/// A part is 0.5 s or less; a list that pauses for longer than this has missed one.
const EDGE: Duration = Duration::from_millis(1500);

async fn tags(source: Source) -> Result<Vec<flv::Tag>> {
    source.seconds(8).tags().await
}

/// Sends in real time for that long, then leaves without a word.
async fn send(server: &MediaServer, key: &str, tags: &[flv::Tag], lasts: Duration) -> Result<()> {
    let mut session = Session::publish(&server.publish_url(key)).await?;
    session.replay(tags, tokio::time::Instant::now() + lasts).await
}

async fn stream(server: &MediaServer, name: &str) -> Result<Value> {
    let all = server.streams().await?;
    let found = all["items"].as_array().into_iter().flatten().find(|stream| stream["name"] == name);
    found.cloned().with_context(|| format!("no {name} in {all}"))
}

fn source_list(server: &MediaServer, name: &str) -> String {
    format!("{}/live/{name}/source/index.m3u8", server.http)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_returns_with_the_same_encoder_leaves_no_trace() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let tags = tags(Source::default()).await?;
    let mut first = sending(world.media.publish_url("back"), &tags, Duration::from_secs(5));
    world.media.playlist("back", Duration::from_secs(10)).await?;
    let vigil = Vigil::begin(&source_list(&world.media, "back"))?;
    let sound = Vigil::begin(&format!("{}/live/back/audio/index.m3u8", world.media.http))?;
    let url = world.media.hls("back");
    let mut check = JoinSet::new();
    check.spawn(async move { llhls::check(&url, Duration::from_secs(12)).await });
    first.join_next().await.context("gone")???;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stream(&world.media, "back").await?["state"], "waiting");
    send(&world.media, "back", &tags, Duration::from_secs(6)).await?;
    let seen = vigil.end().await?;
    println!("3 s away: longest pause of the list {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    // Half a frame of sound, where silence ends and the source's own begins.
    sound.end().await?.dates_are_whole_to(Duration::from_millis(12))?;
    assert!(seen.discontinuities.is_empty() && seen.inits.len() == 1, "{}", seen.last.text);
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    assert_eq!(seen.unanswered, 0);
    check.join_next().await.context("no report")???.no_must_broken(&[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_returns_with_another_picture_size_leaves_one_discontinuity() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let (wide, small) = (tags(Source::default()).await?, tags(Source::default().size(426, 240)).await?);
    let mut first = sending(world.media.publish_url("size"), &wide, Duration::from_secs(5));
    world.media.playlist("size", Duration::from_secs(10)).await?;
    let vigil = Vigil::begin(&source_list(&world.media, "size"))?;
    first.join_next().await.context("gone")???;
    tokio::time::sleep(Duration::from_secs(2)).await;
    send(&world.media, "size", &small, Duration::from_secs(6)).await?;
    let seen = vigil.end().await?;
    seen.dates_are_whole()?;
    assert_eq!((seen.discontinuities.len(), seen.inits.len()), (1, 2), "{}", seen.last.text);
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    let list = world.media.playlist("size", Duration::from_secs(1)).await?;
    assert!(list.contains("RESOLUTION=426x240"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_over_where_the_policy_says_so() -> Result<()> {
    let plan = Plan::open()?.pass_through().media("[publish]\npolicy = \"takeover\"\n");
    let world = plan.start().await?;
    let tags = tags(Source::default()).await?;
    let mut first = sending(world.media.publish_url("mine"), &tags, Duration::from_mins(1));
    world.media.playlist("mine", Duration::from_secs(10)).await?;
    let vigil = Vigil::begin(&source_list(&world.media, "mine"))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = stream(&world.media, "mine").await?;
    let mut second = sending(world.media.publish_url("mine"), &tags, Duration::from_secs(6));
    let ended = tokio::time::timeout(Duration::from_secs(3), first.join_next()).await?;
    assert!(ended.context("no first")??.is_err(), "the first goes on");
    second.join_next().await.context("no second")???;
    assert_ne!(stream(&world.media, "mine").await?["publisher"]["session"], before["publisher"]["session"]);
    let seen = vigil.end().await?;
    println!("takeover: longest pause of the list {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    assert!(seen.discontinuities.is_empty() && seen.inits.len() == 1, "{}", seen.last.text);
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_newcomers_at_once_exactly_one_publishes() -> Result<()> {
    for policy in ["takeover", "reject"] {
        let plan = Plan::open()?.pass_through().media(&format!("[publish]\npolicy = \"{policy}\"\n"));
        let world = plan.start().await?;
        let tags = tags(Source::default()).await?;
        let mut all = JoinSet::new();
        for _ in 0..20 {
            let (url, tags) = (world.media.publish_url("rush"), tags.clone());
            all.spawn(async move {
                let mut session = Session::publish(&url).await?;
                session.replay(&tags, tokio::time::Instant::now() + Duration::from_secs(8)).await
            });
        }
        let mut ended = 0;
        let mut whole = 0;
        while let Some(done) = all.join_next().await {
            match done? {
                Ok(()) => whole += 1,
                Err(_) => ended += 1,
            }
        }
        assert_eq!((whole, ended), (1, 19), "{policy}");
        let list = world.client.get(&source_list(&world.media, "rush")).await?.text();
        assert!(!list.contains("DISCONTINUITY\n"), "{policy}: {list}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_gone_silent_gives_way_at_once() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let tags = tags(Source::default()).await?;
    let mut silent = Session::publish(&world.media.publish_url("mute")).await?;
    silent.replay(&tags, tokio::time::Instant::now() + Duration::from_secs(3)).await?;
    let vigil = Vigil::begin(&source_list(&world.media, "mute"))?;
    // Its connection stays, nothing comes: a phone that changed its network.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let mut second = sending(world.media.publish_url("mute"), &tags, Duration::from_secs(5));
    silent.closed(Duration::from_secs(2)).await?;
    println!("a silent publisher gave way after {:?}", start.elapsed());
    second.join_next().await.context("no second")???;
    let seen = vigil.end().await?;
    seen.dates_are_whole()?;
    assert!(seen.discontinuities.is_empty(), "{}", seen.last.text);
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_on_air_within_a_second_and_gives_back() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let source = Source::default().keyframe_every(1);
    let primary = Ffmpeg::publish(&source, &world.media.publish_url("two"))?;
    world.media.playlist("two", Duration::from_secs(10)).await?;
    let _backup = Ffmpeg::publish(&source, &world.media.publish_url("two?role=backup"))?;
    let on_air = async |wanted: &str| {
        wait::until(&format!("{wanted} on air"), Duration::from_secs(20), || async {
            Ok((stream(&world.media, "two").await?["on_air"] == wanted).then(Instant::now))
        })
        .await
    };
    wait::until("a warm backup", Duration::from_secs(10), || async {
        Ok((!stream(&world.media, "two").await?["backup"].is_null()).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let vigil = Vigil::begin(&source_list(&world.media, "two"))?;
    let killed = Instant::now();
    primary.program.signal(rustix::process::Signal::KILL)?;
    let took = on_air("backup").await? - killed;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _again = Ffmpeg::publish(&source, &world.media.publish_url("two"))?;
    let back = Instant::now();
    let gave_back = on_air("primary").await? - back;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = vigil.end().await?;
    println!(
        "backup on air after {took:?}, given back {gave_back:?} after the return, longest pause {:?}",
        seen.longest_pause()
    );
    assert!(took <= Duration::from_secs(1), "{took:?}");
    assert!(gave_back >= Duration::from_secs(5) && gave_back < Duration::from_secs(9), "{gave_back:?}");
    seen.dates_are_whole()?;
    assert!(seen.discontinuities.is_empty() && seen.inits.len() == 1, "{}", seen.last.text);
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn media_sequence_and_date_go_on_over_a_restart_of_the_daemon() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let tags = tags(Source::default()).await?;
    send(&world.media, "again", &tags, Duration::from_secs(5)).await?;
    let list = source_list(&world.media, "again");
    let base = url::Url::parse(&list)?;
    let read = async || {
        let text = world.client.get(&list).await?.text();
        anyhow::Ok(llhls::media_playlist::MediaPlaylist::parse(&text, &base))
    };
    let before = read().await?;
    world.media.restart().await?;
    send(&world.media, "again", &tags, Duration::from_secs(5)).await?;
    let text = world.client.get(&list).await?.text();
    let after = llhls::media_playlist::MediaPlaylist::parse(&text, &base);
    let (old, new) = (before.last(), after.first_msn());
    assert!(new > old.msn, "{new} after {}", old.msn);
    let date = |list: &llhls::media_playlist::MediaPlaylist| list.segments.first().and_then(|s| s.date_time);
    let apart = date(&after).context("no date")? - date(&before).context("no date")?;
    assert!(apart > 4.0 && apart < 30.0, "{apart} s apart");
    Ok(())
}
