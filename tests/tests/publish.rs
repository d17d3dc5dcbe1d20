//! A broadcaster goes live: how soon there is something to watch, who gets in, and how a session ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use weir_tests::{
    http_client::HttpClient,
    llhls::{self, media_playlist::unix_seconds},
    publisher::{Ffmpeg, Session, Source, flv},
    wait,
    world::Plan,
};

/// From the publisher's first keyframe to the first playlist with media in it.
const FIRST_PLAYLIST: Duration = Duration::from_millis(800);

/// A stream made beforehand, to be sent at a pace of the test's own.
async fn tags(seconds: u32) -> Result<Vec<flv::Tag>> {
    Source::default().seconds(seconds).tags().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_playlist_comes_soon_after_the_first_keyframe() -> Result<()> {
    first_playlist(Plan::open()?.pass_through(), 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_playlist_of_a_ladder_comes_as_soon_with_every_rung_in_it() -> Result<()> {
    first_playlist(Plan::open()?.small_ladder(), 3).await
}

async fn first_playlist(plan: Plan, rungs: usize) -> Result<()> {
    let world = plan.start().await?;
    let tags = tags(6).await?;
    let mut session = Session::publish(&world.media.publish_url("soon")).await?;
    let url = world.media.hls("soon");
    let mut publisher = tokio::task::JoinSet::new();
    let start = Instant::now();
    publisher.spawn(async move {
        session.replay(&tags, tokio::time::Instant::now() + Duration::from_secs(20)).await
    });
    let client = HttpClient::new();
    let first = wait::until("media in a playlist", Duration::from_secs(10), || async {
        let answer = client.get(&url).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        let master = url::Url::parse(&url)?;
        let list = llhls::multivariant::Multivariant::parse(&answer.text(), &master);
        anyhow::ensure!(list.variants.len() == rungs, "{} rungs: {}", list.variants.len(), answer.text());
        let variant = list.variants.first().context("no variant")?;
        let text = client.get(variant.uri.as_str()).await?.text();
        Ok((text.contains("#EXT-X-PART:") || text.contains("#EXTINF")).then(Instant::now))
    })
    .await?;
    let took = first - start;
    println!("{rungs} rungs: first playlist with media after {took:?}");
    assert!(took <= FIRST_PLAYLIST, "{took:?}, {FIRST_PLAYLIST:?} is promised");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_on_a_live_key_is_refused_and_the_first_goes_on() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let mut first = Ffmpeg::publish(&Source::default(), &world.media.publish_url("one"))?;
    world.media.playlist("one", Duration::from_secs(10)).await?;
    let mut second = Ffmpeg::publish(&Source::default().seconds(5), &world.media.publish_url("one"))?;
    let status = second.program.ended(Duration::from_secs(10)).await?;
    assert!(!status.success(), "two publishers on one key:\n{}", second.program.log());
    first.program.must_run()?;
    let streams = world.media.streams().await?;
    assert!(streams.to_string().contains("one"), "{streams}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drops_a_publisher_within_a_second() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let tags = tags(6).await?;
    let mut session = Session::publish(&world.media.publish_url("gone")).await?;
    // The whole of it at once; it is the connection that matters here.
    for tag in &tags {
        session.send(tag, tag.timestamp).await?;
    }
    world.media.playlist("gone", Duration::from_secs(10)).await?;
    let start = Instant::now();
    let status = world.media.drop_stream("gone").await?;
    assert!(status.is_success(), "DELETE: {status}");
    session.closed(Duration::from_secs(1)).await?;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(world.media.drop_stream("nobody").await?, http::StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_codec_is_refused_with_its_name() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let source = Source::default().video_codec(&["-c:v", "flv", "-b:v", "500k"]).seconds(20);
    let mut publisher = Ffmpeg::publish(&source, &world.media.publish_url("old"))?;
    let status = publisher.program.ended(Duration::from_secs(10)).await?;
    assert!(!status.success(), "Sorenson H.263 was taken:\n{}", publisher.program.log());
    let mut world = world;
    world.media.program.line("H.263", Duration::from_secs(2)).await?;
    Ok(())
}

/// `onTextData` with an object of one text, as AMF0.
fn text_data(text: &str) -> flv::Tag {
    let string = |text: &str| {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let body =
        [&[2][..], &string("onTextData"), &[3], &string("text"), &[2], &string(text), &[0, 0, 9]].concat();
    flv::Tag { kind: flv::SCRIPT, timestamp: 0, body: body.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_encoder_says_beside_its_media_is_in_the_playlists() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let tags = tags(9).await?;
    let mut session = Session::publish(&world.media.publish_url("said")).await?;
    let start = tokio::time::Instant::now();
    let mut said = false;
    let mut check = tokio::task::JoinSet::new();
    for tag in &tags {
        tokio::time::sleep_until(start + Duration::from_millis(u64::from(tag.timestamp))).await;
        session.send(tag, tag.timestamp).await?;
        if tag.timestamp > 2000 && check.is_empty() {
            let url = world.media.hls("said");
            check.spawn(async move { llhls::check(&url, Duration::from_secs(6)).await });
        }
        if tag.timestamp >= 5000 && !said {
            said = true;
            session.send(&text_data("goal for \"Ada\""), 5000).await?;
        }
    }
    for rendition in ["source", "audio"] {
        let url = format!("{}/live/said/{rendition}/index.m3u8", world.media.http);
        let list = world.client.get(&url).await?.text();
        let ranges: Vec<&str> = list.lines().filter(|line| line.starts_with("#EXT-X-DATERANGE:")).collect();
        println!("{rendition}: {ranges:#?}");
        assert_eq!(ranges.len(), 2, "{list}");
        let metadata = ranges[0];
        assert!(
            metadata.contains("CLASS=\"urn:weir:rtmp:onMetaData\"") && metadata.contains(",END-ON-NEXT=YES")
        );
        assert!(metadata.contains(",X-WIDTH=640,X-HEIGHT=360,"), "{metadata}");
        assert!(ranges[1].contains("CLASS=\"urn:weir:rtmp:onTextData\"") && ranges[1].contains("DURATION=0"));
        assert!(ranges[1].ends_with(",X-TEXT=\"goal for Ada\""), "{}", ranges[1]);
        let date = |line: &str, name: &str| {
            let text = line.split_once(name)?.1.trim_start_matches('"').split('"').next()?;
            unix_seconds(text)
        };
        let begun =
            list.lines().find_map(|line| date(line, "#EXT-X-PROGRAM-DATE-TIME:")).context("no date")?;
        let at = date(ranges[1], "START-DATE=").context("no date")?;
        assert!((at - begun - 5.0).abs() < 0.05, "5 s into the stream: {}", at - begun);
    }
    check.join_next().await.context("no report")???.no_must_broken(&[])
}
