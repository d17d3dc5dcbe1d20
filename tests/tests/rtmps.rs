//! Publishing by TLS: RTMPS on a port of its own, with a certificate that is renewed while publishers stay.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use weir_tests::{
    certificate::{self, Trust},
    publisher::{Ffmpeg, Session, Source, flv},
    rtmp_url::RtmpUrl,
    wait,
    world::{Plan, World},
};

async fn world() -> Result<(World, Trust)> {
    let plan = Plan::open()?.pass_through();
    let client = certificate::make(plan.folder())?;
    let settings = certificate::settings(plan.folder(), "127.0.0.1:0");
    Ok((plan.media(&settings).start().await?, client))
}

async fn publish(world: &World, client: &Trust, key: &str) -> Result<Session> {
    let address = world.media.rtmps.clone().context("no RTMPS port")?;
    Session::publish_on(client.connect(&address).await?, &RtmpUrl::new(&address, "live", key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_by_rtmps() -> Result<()> {
    let (world, _) = world().await?;
    let url = RtmpUrl::tls(world.media.rtmps.as_deref().context("no RTMPS port")?, "live", "safe");
    let mut publisher = Ffmpeg::publish(&Source::default(), &url)?;
    world.media.playlist("safe", Duration::from_secs(15)).await?;
    publisher.program.must_run()?;
    let streams = world.media.streams().await?;
    assert_eq!(streams["items"][0]["publisher"]["protocol"], "rtmps", "{streams}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_publishers_stay() -> Result<()> {
    let (world, old) = world().await?;
    let file = world.folder().join("source.flv");
    Source::default().seconds(6).write_flv(&file).await?;
    let tags = flv::read(&file)?;
    let mut session = publish(&world, &old, "stays").await?;
    let mut sending = tokio::task::JoinSet::new();
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    sending.spawn(async move { session.replay(&tags, until).await });
    world.media.playlist("stays", Duration::from_secs(10)).await?;

    // A key that does not belong to the certificate: said, and the old pair stays.
    let key = world.folder().join("key.pem");
    std::fs::write(&key, rcgen::KeyPair::generate()?.serialize_pem())?;
    let mut world = world;
    world.media.program.line("the old one stays", Duration::from_secs(15)).await?;
    publish(&world, &old, "other").await.context("the old certificate is gone")?;

    let new = certificate::make(world.folder())?;
    wait::until("the new certificate", Duration::from_secs(15), || async {
        Ok(publish(&world, &new, "another").await.ok().map(drop))
    })
    .await?;
    assert!(publish(&world, &old, "late").await.is_err(), "the old certificate is still presented");
    assert!(sending.try_join_next().is_none(), "the publisher that was there is gone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_tls_is_let_go() -> Result<()> {
    let (world, _) = world().await?;
    let address = world.media.rtmps.clone().context("no RTMPS port")?;
    let plain = Session::publish(&RtmpUrl::new(&address, "live", "plain")).await;
    assert!(plain.is_err(), "RTMP without TLS was taken");
    let mut silent = TcpStream::connect(&address).await?;
    let read = tokio::time::timeout(Duration::from_secs(8), silent.read(&mut [0; 16])).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "a silent connection stays: {read:?}");
    wait::until("both counted", Duration::from_secs(5), || async {
        let metrics = world.media.metrics().await?;
        Ok((metrics.sum("weir_rtmp_closed_total", &["outcome=\"tls\""]) == Some(2.0)).then_some(()))
    })
    .await
}
