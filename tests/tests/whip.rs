//! Publishing by WebRTC: a browser's picture and sound, played by LL-HLS.

use std::time::Duration;

use anyhow::Result;
use weir_tests::{
    llhls,
    publisher::{Whip, whip::Wish},
    world::Plan,
};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_publishes_is_played() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{}", world.media.streams().await?["items"][0]);
    let report = llhls::check(&world.media.hls("cam"), Duration::from_secs(8)).await?;
    println!("{}", publisher.stats("outbound-rtp").await?);
    report.no_must_broken(&[])
}
