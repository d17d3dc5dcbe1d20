//! The control plane decides who publishes, and its word counts at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_tests::{
    publisher::{Ffmpeg, Session, Source},
    rtmp_url::RtmpUrl,
    wait,
    world::{Plan, World},
};

async fn demo_url(world: &World) -> Result<(RtmpUrl, String)> {
    let demo = world.demo().await?;
    let text =
        |name: &str| demo[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {demo}"));
    Ok((RtmpUrl::new(&world.media.rtmp, "live", &text("key")?), text("stream")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_key_is_admitted_and_another_is_not() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    let (url, stream) = demo_url(&world).await?;
    let wrong = RtmpUrl::new(&url.address, "live", "sk_wrong");
    assert!(Session::publish(&wrong).await.is_err(), "a made-up key was admitted");
    let _publisher = Ffmpeg::publish(&Source::default(), &url)?;
    let playlist = world.media.playlist(&stream, Duration::from_secs(15)).await?;
    assert!(!playlist.contains(&url.key), "the secret key is in a playlist");
    assert!(!world.media.program.log().contains(&url.key), "the secret key is in the media server's log");
    assert!(
        !world.control()?.program.log().contains(&url.key),
        "the secret key is in the control plane's log"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_ends_its_session_and_is_refused_from_then_on() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    let (url, stream) = demo_url(&world).await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &url)?;
    world.media.playlist(&stream, Duration::from_secs(15)).await?;
    world.control()?.admin(&["rotate-key", &stream]).await?;
    publisher.program.ended(Duration::from_secs(5)).await?;
    assert!(Session::publish(&url).await.is_err(), "the old key still works");
    let (fresh, _) = demo_url(&world).await?;
    assert_ne!(fresh.key, url.key);
    Session::publish(&fresh).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_control_plane_publishers_are_denied_and_the_log_says_why() -> Result<()> {
    let mut world = Plan::admitted()?.pass_through().start().await?;
    let (url, _) = demo_url(&world).await?;
    let mut control = world.control.take().context("no control plane")?;
    control.program.stop().await?;
    assert!(Session::publish(&url).await.is_err(), "admitted by nobody");
    world.media.program.line("control plane", Duration::from_secs(5)).await?;
    world.media.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_is_live_while_it_publishes() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    let (url, stream) = demo_url(&world).await?;
    let channel = format!("{}/api/v1/channels/{stream}", world.control()?.http);
    let is = |live: bool| {
        let (client, channel) = (&world.client, &channel);
        wait::until(if live { "live" } else { "offline" }, Duration::from_secs(40), move || async move {
            Ok((client.get(channel).await?.json()?["live"] == live).then_some(()))
        })
    };
    is(false).await?;
    let mut publisher = Ffmpeg::publish(&Source::default(), &url)?;
    is(true).await?;
    publisher.program.stop().await?;
    is(false).await
}
