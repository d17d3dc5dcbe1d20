//! SRT in: real callers publish, and what is wrong with them is told.

use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_tests::{
    llhls,
    lossy_path::{LossyPath, Path},
    publisher::{Ffmpeg, Source},
    vigil::Vigil,
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(10);

fn caller(world: &World, options: &[&str]) -> Result<Ffmpeg> {
    Ffmpeg::publish_srt(&Source::default(), &world.media.srt, options)
}

/// The multivariant playlist of what ffmpeg publishes with these options.
async fn published(world: &World, stream: &str, options: &[&str]) -> Result<(Ffmpeg, String)> {
    let mut ffmpeg = caller(world, options)?;
    let playlist = match world.media.playlist(stream, SOON).await {
        Ok(playlist) => playlist,
        Err(error) => anyhow::bail!(
            "{options:?}: {error}\n{}\n{}",
            ffmpeg.program.log_tail(20),
            world.media.program.log_tail(20)
        ),
    };
    ffmpeg.program.must_run()?;
    Ok((ffmpeg, playlist))
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_publishes_by_srt_and_no_rule_is_broken() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let (ffmpeg, playlist) = published(&world, "srt", &["-srt_streamid", "publish/srt"]).await?;
    assert!(playlist.contains("avc1.") && playlist.contains("mp4a.40.2"), "{playlist}");
    llhls::check(&world.media.hls("srt"), Duration::from_secs(12)).await?.no_must_broken(&[])?;
    let streams = world.media.streams().await?;
    let publisher = &streams["items"][0]["publisher"];
    assert_eq!(publisher["protocol"], "srt", "{streams}");
    let link = &publisher["link"];
    assert_eq!((&link["latency_ms"], &link["key_bits"]), (&120.into(), &0.into()), "{link}");
    assert!(link["packets"].as_u64() > Some(100) && link["bitrate_bps"].as_u64() > Some(100_000), "{link}");
    let of = [&format!("session=\"{}\"", publisher["session"].as_str().context("no session")?)[..]];
    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_srt_link_latency_seconds", &of), Some(0.12));
    drop(ffmpeg);
    wait::until("its metrics gone", SOON, || async {
        Ok(world.media.metrics().await?.sum("weir_srt_link_latency_seconds", &of).is_none().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_opus_and_latm_come_by_srt() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let hevc = ["-c:v", "libx265", "-x265-params", "log-level=error:keyint=30", "-preset", "ultrafast"];
    let cases: [(&str, &[&str], [&str; 2]); 3] = [
        ("hevc", &hevc, ["hvc1.", "mp4a.40.2"]),
        ("opus", &["-c:a", "libopus", "-ar", "48000", "-ac", "2"], ["avc1.", "opus"]),
        ("latm", &["-mpegts_flags", "latm"], ["avc1.", "mp4a.40.2"]),
    ];
    for (stream, options, codecs) in cases {
        let id = format!("publish/{stream}");
        let options = [options, &["-srt_streamid", &id]].concat();
        let (_ffmpeg, playlist) = published(&world, stream, &options).await?;
        assert!(codecs.iter().all(|codec| playlist.contains(codec)), "{stream}: {playlist}");
        llhls::check(&world.media.hls(stream), Duration::from_secs(5)).await?.no_must_broken(&[])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_grammars_of_stream_ids_are_taken() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let (_slash, _) = published(&world, "one", &["-srt_streamid", "publish/one"]).await?;
    let (_colon, _) = published(&world, "two", &["-srt_streamid", "publish:two:user:pass"]).await?;
    let (_form, _) = published(&world, "three", &["-srt_streamid", "#!::r=three,m=publish"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_are_not_let_in_are_told_and_the_others_go_on() -> Result<()> {
    let keys = "[admission]\nmode = \"static\"\nkeys = [{ key = \"good\", stream = \"show\", profile = \"source\" }]\n";
    let world = Plan::open()?.pass_through().media(keys).start().await?;
    let (mut first, _) = published(&world, "show", &["-srt_streamid", "publish/good"]).await?;
    for id in ["publish/wrong", "publish/good", "nonsense", "play/show"] {
        let mut refused = caller(&world, &["-srt_streamid", id])?;
        let status = refused.program.ended(SOON).await.with_context(|| id.to_owned())?;
        assert!(!status.success(), "{id}");
    }
    first.program.must_run()?;
    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_srt_closed_total", &["outcome=\"refused\""]), Some(3.0));
    assert_eq!(metrics.sum("weir_srt_closed_total", &["outcome=\"sends\""]), Some(1.0), "it asked to play");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_length_open_and_a_wrong_passphrase_does_not() -> Result<()> {
    let world = Plan::open()?.pass_through().media("[srt]\npassphrase = \"correct horse\"\n").start().await?;
    for bits in [128, 192, 256] {
        let stream = format!("aes{bits}");
        let (id, length) = (format!("publish/{stream}"), (bits / 8).to_string());
        let options = ["-srt_streamid", &id, "-passphrase", "correct horse", "-pbkeylen", &length];
        published(&world, &stream, &options).await?;
    }
    let wrong = ["-srt_streamid", "publish/no", "-passphrase", "battery staple", "-pbkeylen", "16"];
    for options in [&wrong[..], &wrong[..2]] {
        let mut refused = caller(&world, options)?;
        assert!(!refused.program.ended(SOON).await.context("no end")?.success(), "{options:?}");
    }

    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_have_a_passphrase_of_its_own() -> Result<()> {
    let keys = "[admission]\nmode = \"static\"\nkeys = [\
        { key = \"one\", stream = \"one\", profile = \"source\", passphrase = \"correct horse\" },\
        { key = \"two\", stream = \"two\", profile = \"source\" }]\n";
    let world = Plan::open()?.pass_through().media(keys).start().await?;
    let secret = |id: &'static str, phrase: &'static str| ["-srt_streamid", id, "-passphrase", phrase];
    published(&world, "one", &secret("publish/one", "correct horse")).await?;
    published(&world, "two", &["-srt_streamid", "publish/two"]).await?;
    let wrong = [
        // Another's, none, and one where none is asked for.
        &secret("publish/one", "battery staple")[..],
        &["-srt_streamid", "publish/one"],
        &secret("publish/two", "correct horse"),
    ];
    for options in wrong {
        let mut refused = caller(&world, options)?;
        assert!(!refused.program.ended(SOON).await.context("no end")?.success(), "{options:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_returns_goes_on_in_the_same_playlist() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let (first, _) = published(&world, "back", &["-srt_streamid", "publish/back"]).await?;
    drop(first);
    wait::until("the stream waits", SOON, || async {
        Ok((world.media.streams().await?["items"][0]["state"] == "waiting").then_some(()))
    })
    .await?;
    let mut second = caller(&world, &["-srt_streamid", "publish/back"])?;
    wait::until("the stream is live", SOON, || async {
        Ok((world.media.streams().await?["items"][0]["state"] == "live").then_some(()))
    })
    .await?;
    llhls::check(&world.media.hls("back"), Duration::from_secs(8)).await?.no_must_broken(&[])?;
    let list = world.client.get(&format!("{}/live/back/source/index.m3u8", world.media.http)).await?.text();
    assert!(!list.contains("DISCONTINUITY\n"), "{list}");
    second.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_by_srt_stands_in_for_a_primary_by_rtmp() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let source = Source::default().keyframe_every(1);
    let primary = Ffmpeg::publish(&source, &world.media.publish_url("both"))?;
    world.media.playlist("both", SOON).await?;
    let options = ["-srt_streamid", "publish/both?role=backup"];
    let mut backup = Ffmpeg::publish_srt(&source, &world.media.srt, &options)?;
    let stream = async || anyhow::Ok(world.media.streams().await?["items"][0].clone());
    wait::until("a backup", SOON, || async { Ok(stream().await?["backup"].is_object().then_some(())) })
        .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let vigil = Vigil::begin(&format!("{}/live/both/source/index.m3u8", world.media.http))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(primary);
    wait::until("the backup on air", SOON, || async {
        Ok((stream().await?["on_air"] == "backup").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let seen = vigil.end().await?;
    println!("longest pause {:?}", seen.longest_pause());
    assert!(seen.longest_pause() < Duration::from_millis(1500), "{:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    backup.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_by_srt_takes_over_where_the_policy_says_so() -> Result<()> {
    let world = Plan::open()?.pass_through().media("[publish]\npolicy = \"takeover\"\n").start().await?;
    let source = Source::default().keyframe_every(1);
    let mut first = Ffmpeg::publish(&source, &world.media.publish_url("mine"))?;
    world.media.playlist("mine", SOON).await?;
    let vigil = Vigil::begin(&format!("{}/live/mine/source/index.m3u8", world.media.http))?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut second = Ffmpeg::publish_srt(&source, &world.media.srt, &["-srt_streamid", "publish/mine"])?;
    first.program.ended(SOON).await.context("the first goes on")?;
    wait::until("the stream by SRT", SOON, || async {
        Ok((world.media.streams().await?["items"][0]["publisher"]["protocol"] == "srt").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let seen = vigil.end().await?;
    println!("takeover: longest pause of the list {:?}", seen.longest_pause());
    seen.dates_are_whole().with_context(|| seen.last.text.clone() + &world.media.program.log_tail(30))?;
    assert!(seen.longest_pause() < Duration::from_millis(1500), "{:?}", seen.longest_pause());
    second.program.must_run()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_wrong_with_a_line_and_what_to_set() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    // More is lost than a latency of two round trips can bring again.
    let path =
        Path { lost_in_thousand: 120, round_trip: Duration::from_millis(60), seed: 7, ..Path::default() };
    let path = LossyPath::to(world.media.srt.parse()?, path).await?;
    let options = ["-srt_streamid", "publish/far"];
    let _caller = Ffmpeg::publish_srt(&Source::default(), &path.address.to_string(), &options)?;
    let found = wait::until("the findings", Duration::from_secs(40), || async {
        let streams = world.media.streams().await?;
        let findings = streams["items"][0]["publisher"]["findings"].as_array().cloned().unwrap_or_default();
        let has = |code: &str| findings.iter().any(|finding| finding["code"] == code);
        Ok((has("packets-missing") && has("latency-short")).then_some(findings))
    })
    .await?;
    let short = found.iter().find(|finding| finding["code"] == "latency-short").context("none")?;
    println!("{short}");
    let remedy = short["remedy"].as_str().unwrap_or_default();
    assert!(remedy.contains("latency") && short["target"].as_f64() >= Some(200.0), "{short}");
    let streams = world.media.streams().await?;
    let link = &streams["items"][0]["publisher"]["link"];
    assert!(link["missing"].as_u64() > Some(0) && link["recovered"].as_u64() > Some(0), "{link}");
    assert!((40.0..120.0).contains(&link["round_trip_ms"].as_f64().unwrap_or(0.0)), "{link}");
    Ok(())
}
