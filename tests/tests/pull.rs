//! Streams that are fetched from elsewhere.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::{
    bench::nginx::Nginx,
    llhls,
    publisher::{Ffmpeg, Source, run},
    rtmp_url::RtmpUrl,
    transport_stream::{splice_section, with_late_picture, with_metadata},
    vigil::Vigil,
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(15);

fn free_udp() -> Result<String> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn source(world: &World, stream: &str) -> Result<Value> {
    world.client.get(&format!("{}/api/v1/sources/{stream}", world.media.admin)).await?.json()
}

async fn becomes(world: &World, stream: &str, state: &str) -> Result<Value> {
    let found = wait::until(state, Duration::from_secs(25), || async {
        let now = source(world, stream).await?;
        Ok((now["state"] == state).then_some(now))
    });
    found.await.with_context(|| world.media.program.log_tail(12))
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_by_unicast_and_by_multicast_is_fetched() -> Result<()> {
    let (unicast, group) =
        (free_udp()?, format!("239.255.42.42:{}", free_udp()?.rsplit(':').next().unwrap_or("1")));
    let sources = format!(
        "[pull]\nsources = [\n{{ stream = \"one\", url = \"udp://{unicast}\" }},\n\
         {{ stream = \"many\", url = \"udp://{group}?interface=127.0.0.1\" }}]\n"
    );
    let world = Plan::open()?.pass_through().media(&sources).start().await?;
    assert_eq!(source(&world, "one").await?["state"], "connecting");
    let small = Source::default().keyframe_every(1);
    let mut senders = [
        Ffmpeg::send_ts(&small, &format!("udp://{unicast}?pkt_size=1316"))?,
        Ffmpeg::send_ts(&small, &format!("udp://{group}?pkt_size=1316&localaddr=127.0.0.1&ttl=0"))?,
    ];
    for stream in ["one", "many"] {
        let list = world.media.playlist(stream, SOON).await?;
        assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
        let state = becomes(&world, stream, "live").await?;
        assert_eq!((&state["configured"], &state["start"]), (&json!(true), &json!("always")), "{state}");
    }
    llhls::check(&world.media.hls("one"), Duration::from_secs(6)).await?.no_must_broken(&[])?;
    for sender in &mut senders {
        sender.program.must_run()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_called_by_srt_only_while_somebody_wants_to_see_it() -> Result<()> {
    let own = free_udp()?;
    let sources = format!(
        "[srt]\nlisten = \"{own}\"\n[pull]\nidle_ms = 2000\nsources = [{{ stream = \"copy\", start = \"on-demand\", \
         url = \"srt://{own}?streamid=play/first&latency=150\" }}]\n"
    );
    let world = Plan::open()?.pass_through().media(&sources).start().await?;
    let mut publisher =
        Ffmpeg::publish(&Source::default().keyframe_every(1), &world.media.publish_url("first"))?;
    world.media.playlist("first", SOON).await?;
    assert_eq!(source(&world, "copy").await?["state"], "idle");
    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_srt_players", &[]), Some(0.0), "nobody wants to see it");

    // The first request brings it.
    let list = world.media.playlist("copy", SOON).await?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    let streams = world.media.streams().await?;
    let copy = streams["items"].as_array().context("none")?.iter().find(|stream| stream["name"] == "copy");
    let publisher_of = &copy.context("no copy")?["publisher"];
    assert_eq!(
        (&publisher_of["protocol"], &publisher_of["link"]["latency_ms"]),
        (&json!("srt"), &json!(150))
    );
    llhls::check(&world.media.hls("copy"), Duration::from_secs(6)).await?.no_must_broken(&[])?;
    assert_eq!(source(&world, "copy").await?["state"], "live");

    // Nobody asks any more.
    becomes(&world, "copy", "idle").await?;
    wait::until("the call ended", SOON, || async {
        Ok((world.media.metrics().await?.sum("weir_srt_players", &[]) == Some(0.0)).then_some(()))
    })
    .await?;
    publisher.program.must_run()
}

/// Sends a transport stream that lasts so long by UDP.
async fn send(stream: &[u8], lasts: Duration, address: &str) -> Result<()> {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let mut pace = tokio::time::interval(lasts / (stream.len() / 1316 + 1) as u32);
    for datagram in stream.chunks(1316) {
        pace.tick().await;
        // Before the source listens, nobody takes it.
        let _taken = socket.send_to(datagram, address).await.is_ok();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_is_named_a_moment_after_its_sound_is_waited_for() -> Result<()> {
    let address = free_udp()?;
    let sources = format!("[pull]\nsources = [{{ stream = \"late\", url = \"udp://{address}\" }}]\n");
    let world = Plan::open()?.pass_through().media(&sources).start().await?;
    let file = world.folder().join("plain.ts");
    Source::default().keyframe_every(1).seconds(6).write_ts(&file).await?;
    let stream = std::fs::read(&file)?;
    // Half a second.
    let stream = with_late_picture(&stream, stream.len() / 188 / 12);
    let mut sending = JoinSet::new();
    sending.spawn(async move { send(&stream, Duration::from_secs(6), &address).await });
    let list = world.media.playlist("late", SOON).await?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    sending.join_next().await.context("not sent")??
}

#[tokio::test(flavor = "multi_thread")]
async fn splices_and_tags_of_a_transport_stream_stand_in_the_playlists() -> Result<()> {
    let address = free_udp()?;
    let sources = format!("[pull]\nsources = [{{ stream = \"marked\", url = \"udp://{address}\" }}]\n");
    let world = Plan::open()?.pass_through().media(&sources).start().await?;
    let file = world.folder().join("plain.ts");
    Source::default().keyframe_every(1).seconds(8).write_ts(&file).await?;
    let stream = with_metadata(&std::fs::read(&file)?);
    send(&stream, Duration::from_secs(8), &address).await?;
    let list = world.client.get(&format!("{}/live/marked/source/index.m3u8", world.media.http)).await?.text();
    let octets = splice_section().iter().fold("SCTE35-OUT=0x".to_owned(), |mut text, octet| {
        let _infallible = write!(text, "{octet:02X}");
        text
    });
    assert!(list.contains(&octets), "{list}");
    assert!(list.contains("CLASS=\"urn:weir:ts:id3\"") && list.contains("X-ID3=0x494433"), "{list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_nginx_is_played_by_rtmp() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let nginx = Nginx::rtmp(plan.folder()).await?;
    let from = format!("rtmp://{}/live/origin", nginx.address);
    let sources = format!("[pull]\nsources = [{{ stream = \"relayed\", url = \"{from}\" }}]\n");
    let world = plan.media(&sources).start().await?;
    let url = RtmpUrl::new(&nginx.address, "live", "origin");
    let mut publisher = Ffmpeg::publish(&Source::default().keyframe_every(1), &url)?;
    let list =
        world.media.playlist("relayed", SOON).await.with_context(|| world.media.program.log_tail(20))?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    becomes(&world, "relayed", "live").await?;
    llhls::check(&world.media.hls("relayed"), Duration::from_secs(6)).await?.no_must_broken(&[])?;
    publisher.program.must_run()?;
    // Its publisher goes and comes back: so does the stream, on the same playlist.
    drop(publisher);
    becomes(&world, "relayed", "waiting").await?;
    let _again = Ffmpeg::publish(&Source::default().keyframe_every(1), &url)?;
    becomes(&world, "relayed", "live").await?;
    wait::until("the stream live again", SOON, || async {
        let streams = world.media.streams().await?;
        Ok((streams["items"][0]["state"] == "live" && streams["items"][0]["holding"] == false).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_played_again_and_again() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let film = plan.folder().join("film.mp4");
    let short =
        ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine", "-t", "3"];
    let coded = ["-c:v", "libx264", "-g", "30", "-preset", "ultrafast", "-c:a", "aac", "-ar", "48000"];
    run(short.into_iter().chain(coded), &film).await?;
    let sources =
        format!("[pull]\nsources = [{{ stream = \"film\", url = \"file://{}\" }}]\n", film.display());
    let world = plan.media(&sources).start().await?;
    let list = world.media.playlist("film", SOON).await?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    let vigil = Vigil::begin(&format!("{}/live/film/source/index.m3u8", world.media.http))?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seen = vigil.end().await?;
    println!("three turns: longest pause {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    assert!(seen.longest_pause() < Duration::from_millis(1500), "{:?}", seen.longest_pause());
    let state = becomes(&world, "film", "live").await?;
    assert_eq!(state["attempts"], 1, "the same reader all the time: {state}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_files_sounds_are_fetched_with_their_languages() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let film = plan.folder().join("film.mkv");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"];
    let sounds = ["-f", "lavfi", "-i", "sine=frequency=400", "-f", "lavfi", "-i", "sine=frequency=800"];
    let mapped = ["-t", "6", "-map", "0:v", "-map", "1:a", "-map", "2:a", "-ar", "48000", "-ac", "2"];
    let coded = ["-c:v", "libx264", "-g", "30", "-preset", "ultrafast", "-c:a:0", "mp2", "-c:a:1", "ac3"];
    let slow = ["-b:v", "150k", "-maxrate", "150k", "-bufsize", "150k"];
    let named = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fre"];
    run(picture.into_iter().chain(sounds).chain(mapped).chain(coded).chain(slow).chain(named), &film).await?;
    let sources =
        format!("[pull]\nsources = [{{ stream = \"film\", url = \"file://{}\" }}]\n", film.display());
    let world = plan.media(&sources).start().await?;
    let list = world.media.playlist("film", SOON).await.with_context(|| world.media.program.log_tail(20))?;
    let lines: Vec<_> = list.lines().filter(|line| line.contains("TYPE=AUDIO")).collect();
    let has = |named: &str| lines.iter().any(|line| line.contains(named));
    assert!(has("LANGUAGE=\"en\"") && has("LANGUAGE=\"fr\"") && lines.len() == 2, "{list}");
    assert!(list.contains("mp4a.40.2"), "{list}");
    llhls::check(&world.media.hls("film"), Duration::from_secs(8)).await?.no_must_broken(&[])
}

#[tokio::test(flavor = "multi_thread")]
async fn hls_of_another_server_is_fetched_and_one_that_is_not_there_is_said() -> Result<()> {
    let mut world = Plan::open()?.pass_through().start().await?;
    let mut publisher =
        Ffmpeg::publish(&Source::default().keyframe_every(1), &world.media.publish_url("first"))?;
    world.media.playlist("first", SOON).await?;
    for (stream, path) in [("again", "/live/first/index.m3u8"), ("none", "/live/nothing/index.m3u8")] {
        let url = format!("{}/api/v1/sources/{stream}", world.media.admin);
        let wish = json!({ "url": format!("{}{path}", world.media.http) });
        let put = world.client.call(Method::PUT, &url, Some(&wish)).await?;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    }
    let list = world.media.playlist("again", Duration::from_secs(40)).await;
    let list = list.with_context(|| world.media.program.log_tail(20))?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    llhls::check(&world.media.hls("again"), Duration::from_secs(8)).await?.no_must_broken(&[])?;
    let none = becomes(&world, "none", "waiting").await?;
    assert!(none["error"].as_str().is_some_and(|error| error.contains("cannot be read")), "{none}");
    publisher.program.must_run()?;
    world.media.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_adds_sources_that_stay_over_a_restart() -> Result<()> {
    let address = free_udp()?;
    let mut world = Plan::open()?.pass_through().start().await?;
    let url = format!("{}/api/v1/sources/late", world.media.admin);
    let put = async |body: Value| world.client.call(Method::PUT, &url, Some(&body)).await;
    for wrong in [
        json!({ "url": "gopher://x" }),
        json!({ "url": "udp://0.0.0.0:1", "profile": "none" }),
        json!({ "url": "udp://0.0.0.0:1", "start": "never" }),
        json!({}),
    ] {
        let refused = put(wrong.clone()).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {}", refused.text());
    }
    let wish = json!({ "url": format!("udp://{address}"), "profile": "default" });
    assert_eq!(put(wish.clone()).await?.status, StatusCode::CREATED);
    assert_eq!(put(wish).await?.status, StatusCode::OK, "the same once more");
    let _sender =
        Ffmpeg::send_ts(&Source::default().keyframe_every(1), &format!("udp://{address}?pkt_size=1316"))?;
    world.media.playlist("late", SOON).await?;
    world.media.restart().await?;
    let list = world.media.playlist("late", SOON).await?;
    assert!(list.contains("avc1."), "{list}");
    let url = format!("{}/api/v1/sources/late", world.media.admin);
    let gone = world.client.call(Method::DELETE, &url, None).await?;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    assert_eq!(world.client.get(&url).await?.status, StatusCode::NOT_FOUND);
    wait::until("no publisher", SOON, || async {
        let streams = world.media.streams().await?;
        Ok((streams["items"][0]["state"] != "live").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_there_is_tried_again_and_said() -> Result<()> {
    let (nobody, own) = (free_udp()?, free_udp()?);
    let sources = format!(
        "[srt]\nlisten = \"{own}\"\n[pull]\nsources = [\n\
         {{ stream = \"silent\", url = \"udp://{nobody}\" }},\n\
         {{ stream = \"refused\", url = \"srt://{own}?streamid=play/nothing\" }}]\n"
    );
    let world = Plan::open()?.pass_through().media(&sources).start().await?;
    let refused = becomes(&world, "refused", "waiting").await?;
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("no such stream")), "{refused}");
    let silent = becomes(&world, "silent", "waiting").await?;
    assert!(silent["error"].as_str().is_some_and(|error| error.contains("nobody has sent")), "{silent}");
    wait::until("another try", SOON, || async {
        Ok((source(&world, "refused").await?["attempts"].as_u64() > Some(2)).then_some(()))
    })
    .await
}
