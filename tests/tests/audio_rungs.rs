//! Rungs of sound: each of a stream's sounds in other codecs and with fewer bits, at the same moments as the sound itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::{
    beeps::Beeps,
    bench::proc,
    llhls,
    player::Player,
    publisher::{
        Ffmpeg, Session, Source, enhanced, flv,
        sounds::{self, Sent},
    },
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(15);
/// How far a rung's sound may be from the sound that it is made of, seconds.
const OFF: f64 = 0.005;
/// The same where an encoder begins anew in between: it has heard little of what was before.
const AGAIN: f64 = 0.030;
/// Sound without a frame for longer is a hole.
const HOLE: f64 = 0.030;

const OPUS: &str = "{ name = \"opus\", codec = \"opus\", bitrate = \"64k\" }";
const LOW: &str = "{ name = \"low\", bitrate = \"32k\", channels = 1 }";

fn plan(rungs: &str, audio: &[&str]) -> Result<Plan> {
    let profile = format!("[profiles.default]\nrungs = [{rungs}]\naudio = [{}]\n", audio.join(", "));
    Ok(Plan::open()?.media(&profile))
}

async fn stream(world: &World) -> Result<Value> {
    Ok(world.media.streams().await?["items"][0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sound_has_its_rungs_beside_every_picture_and_all_are_heard_at_one_time() -> Result<()> {
    let he = "{ name = \"he\", codec = \"he-aac\", bitrate = \"48k\" }";
    let rung = "{ name = \"90p\", height = 90, video_bitrate = \"100k\" }";
    let world = plan(rung, &[OPUS, LOW, he])?.start().await?;
    // The second is not AAC: what it is made into has rungs, too.
    let sent = [Sent(400, "eng", &["aac", "-ac", "2"]), Sent(800, "spa", &["mp2", "-ac", "2"])];
    let mut publisher = sounds::by_srt(&world.media.srt, &sent, "babel")?;
    world.media.playlist("babel", SOON).await?;
    let report = llhls::check(&world.media.hls("babel"), Duration::from_secs(12)).await?;
    publisher.must_run()?;
    let text = &report.multivariant.text;
    println!("{text}");
    report.no_must_broken(&[])?;

    // In each group each language.
    for group in ["audio", "opus", "low"] {
        for (language, default) in [("en", "YES"), ("es", "NO")] {
            let head = format!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",");
            let mut lines = text.lines().filter(|line| line.starts_with(&head));
            let named = format!("LANGUAGE=\"{language}\"");
            let line = lines.find(|it| it.contains(&named)).with_context(|| format!("{group} {language}"))?;
            assert!(line.contains(&format!("DEFAULT={default}")), "{line}");
            assert!(
                line.contains(if group == "low" { "CHANNELS=\"1\"" } else { "CHANNELS=\"2\"" }),
                "{line}"
            );
        }
    }
    // With each picture one of each codec, and the small one with the small.
    let pairs: Vec<_> = text.lines().zip(text.lines().skip(1)).collect();
    for (picture, group, coded) in [
        ("source/", "audio", ",mp4a.40.2\""),
        ("source/", "opus", ",opus\""),
        ("90p/", "low", ",mp4a.40.2\""),
        ("90p/", "opus", ",opus\""),
    ] {
        let with = format!("AUDIO=\"{group}\"");
        let found = pairs.iter().find(|(tag, uri)| tag.contains(&with) && uri.starts_with(picture));
        let (tag, _) = found.with_context(|| format!("no {picture} with {group}"))?;
        assert!(tag.contains(coded), "{tag}");
    }
    let made = [
        ("audio_opus", "audio", 400.0),
        ("audio_low", "audio", 400.0),
        ("audio_he", "audio", 400.0),
        ("audio-es_opus", "audio-es", 800.0),
        ("audio-es_low", "audio-es", 800.0),
        ("audio-es_he", "audio-es", 800.0),
    ];
    let has_he = text.contains("AUDIO=\"he\"");
    for (name, base, pitch) in made.into_iter().filter(|it| has_he || !it.0.ends_with("_he")) {
        let followed = report.rendition(name)?;
        let (heard, own) = (Beeps::of(followed).await?, Beeps::of(report.rendition(base)?).await?);
        let off = heard.off(&own).with_context(|| format!("{name}: {heard:?}"))?;
        println!("{name}: {:.0} Hz, {:.1} ms off {base}", heard.pitch, off * 1000.0);
        assert!((heard.pitch - pitch).abs() < 40.0 && off < OFF, "{name}: {heard:?} {own:?}");
        assert!(followed.longest_hole() < HOLE, "{name}: {}", followed.longest_hole());
        // Each begins where its sound does.
        let begins = |name: &str| -> Result<Option<u64>> {
            let media = report.rendition(name)?.media.as_ref();
            Ok(media.and_then(|media| media.segments.keys().next().copied()))
        };
        assert_eq!(begins(name)?, begins(base)?, "{name}");
    }
    let now = stream(&world).await?;
    let all = now["renditions"].as_array().context("none")?;
    let rate =
        |name: &str| all.iter().find(|it| it["name"] == name).and_then(|it| it["average_bps"].as_u64());
    let (low, opus) = (rate("audio_low").context("no rate")?, rate("audio_opus").context("no rate")?);
    assert!(low < 60_000 && opus < 100_000, "{low} {opus}");
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), if has_he { 6 } else { 4 }, "{text}");
    // Where no encoder makes HE-AAC it is missing, and why is said.
    let missing = now["missing"].as_array().into_iter().flatten().find(|it| it["rung"] == "he");
    match missing {
        Some(missing) => {
            assert!(missing["reason"].as_str().is_some_and(|it| it.contains("fdkaacenc")), "{now}");
        }
        None => assert!(has_he && text.contains("mp4a.40.5"), "{text}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_sound_alone_has_its_rungs_as_variants() -> Result<()> {
    let world = plan("", &[OPUS, LOW])?.start().await?;
    let source = Source::default().audio_only();
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("talk"))?;
    world.media.playlist("talk", SOON).await?;
    let report = llhls::check(&world.media.hls("talk"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    let text = &report.multivariant.text;
    let variants: Vec<_> = text.lines().filter(|line| line.ends_with("/index.m3u8")).collect();
    assert_eq!(variants, ["audio/index.m3u8", "audio_opus/index.m3u8", "audio_low/index.m3u8"], "{text}");
    assert!(!text.contains("EXT-X-MEDIA:") && text.contains("CODECS=\"opus\""), "{text}");
    for name in ["audio", "audio_opus", "audio_low"] {
        let followed = report.rendition(name)?;
        assert!(followed.longest_hole() < HOLE, "{name}: {}", followed.longest_hole());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_rungs_that_are_killed_are_replaced_without_a_hole() -> Result<()> {
    let plan = plan("", &[OPUS, LOW])?.media("[hls]\nreconnect_window_ms = 1000\n");
    let world = plan.start().await?;
    let mut publisher = sounds::by_srt(&world.media.srt, &[Sent(500, "eng", &["aac", "-ac", "2"])], "radio")?;
    world.media.playlist("radio", SOON).await?;
    let daemon = world.media.program.pid().context("ended")?;
    let workers = proc::children(daemon)?;
    anyhow::ensure!(workers.len() == 2, "workers: {workers:?}");
    let url = world.media.hls("radio");
    let mut checking = JoinSet::new();
    checking.spawn(async move { llhls::check(&url, Duration::from_secs(12)).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    for worker in &workers {
        kill_process(Pid::from_raw(i32::try_from(*worker)?).context("a process id")?, Signal::KILL)?;
    }
    wait::until("other workers", SOON, || async {
        let now = proc::children(daemon)?;
        Ok((now.len() == 2 && now.iter().all(|pid| !workers.contains(pid))).then_some(()))
    })
    .await?;
    let report = checking.join_next().await.context("no report")???;
    publisher.must_run()?;
    report.no_must_broken(&[])?;
    for name in ["audio_opus", "audio_low"] {
        let followed = report.rendition(name)?;
        let heard = Beeps::of(followed).await?;
        let apart: Vec<_> = heard.begin.windows(2).map(|pair| pair[1] - pair[0]).collect();
        println!("{name}: {apart:?}, {:.1} ms without a frame", followed.longest_hole() * 1000.0);
        assert!(
            apart.len() >= 9 && apart.iter().all(|apart| (apart - 1.0).abs() < AGAIN),
            "{name}: {apart:?}"
        );
        assert!(followed.longest_hole() < HOLE, "{name}");
    }
    drop(publisher);
    wait::until("no worker", SOON, || async { Ok(proc::children(daemon)?.is_empty().then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_that_becomes_another_breaks_its_rungs_at_the_same_segment() -> Result<()> {
    let world = plan("", &[OPUS, LOW])?.start().await?;
    let (at, all) = (5_500, 14_000);
    let before = Source::default().seconds(all / 1000).tags().await?;
    let cd =
        Source::default().audio_only().sound_filter("aresample=44100").seconds(all / 1000).tags().await?;
    let (sound, picture): (Vec<_>, Vec<_>) = before.into_iter().partition(|tag| tag.kind == flv::AUDIO);
    let tags = enhanced::together([picture, flv::until(&sound, at), flv::from(&cd, at)]);
    let url = world.media.publish_url("change");
    let mut publishing = JoinSet::new();
    publishing.spawn(async move { Session::publish(&url).await?.play(&tags).await });
    world.media.playlist("change", SOON).await?;
    let report = llhls::check(&world.media.hls("change"), Duration::from_secs(10)).await?;
    report.no_must_broken(&[])?;
    let mut breaks = Vec::new();
    for name in ["source", "audio", "audio_opus", "audio_low"] {
        let followed = report.rendition(name)?;
        println!("{name}: {:.1} ms without a frame", followed.longest_hole() * 1000.0);
        assert!(followed.longest_hole() < 0.100, "{name}: {}", followed.longest_hole());
        breaks.push((name, followed.history.discontinuities.clone()));
    }
    println!("{breaks:?}");
    assert!(breaks.iter().all(|(_, at)| at.len() == 1 && *at == breaks[0].1), "{breaks:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_by_hls_js_plays_on_from_one_rung_of_the_sound_to_another() -> Result<()> {
    let low = "{ name = \"low\", bitrate = \"32k\" }";
    let rung = "{ name = \"90p\", height = 90, video_bitrate = \"100k\" }";
    let world = plan(rung, &[OPUS, low])?.start().await?;
    let mut publisher = sounds::by_srt(&world.media.srt, &[Sent(500, "eng", &["aac", "-ac", "2"])], "two")?;
    world.media.playlist("two", SOON).await?;
    let player = Player::open(&world.media.http, "two", json!({})).await?;
    let group = "(() => { const track = window.__hls.audioTracks[window.__hls.audioTrack]; return track?.groupId; })()";
    println!("it began with {}", player.browser.value(group).await?);
    for wanted in ["low", "audio", "opus"] {
        player.begin().await?;
        let find = format!("window.__hls.levels.findIndex((it) => it.audioGroups?.includes({wanted:?}))");
        let level = player.browser.value(&find).await?;
        let level = level.as_u64().with_context(|| format!("no level with {wanted}: {level}"))?;
        player.load(level).await?;
        let goes = format!("{group} === {wanted:?}");
        player.browser.until(&goes, SOON).await.with_context(|| wanted.to_owned())?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let seen = player.seen().await?;
        println!("to {wanted}: {seen:?}");
        assert!(seen.errors.iter().all(|error| !error.starts_with("fatal")), "{wanted}: {seen:?}");
        assert!(seen.played > 1.0, "{wanted}: {seen:?}");
    }
    publisher.must_run()
}

/// hls.js goes to another sound of the same codec; one of another codec it takes at a start alone, which is what our pages then do.
#[tokio::test(flavor = "multi_thread")]
async fn rungs_whose_workers_always_die_are_given_up_and_their_listeners_go_on() -> Result<()> {
    let low = "{ name = \"low\", bitrate = \"32k\" }";
    let rung = "{ name = \"90p\", height = 90, video_bitrate = \"100k\" }";
    let world = plan(rung, &[OPUS, low])?.start().await?;
    let mut publisher =
        sounds::by_srt(&world.media.srt, &[Sent(500, "eng", &["aac", "-ac", "2"])], "doomed")?;
    world.media.playlist("doomed", SOON).await?;
    let player = Player::open(&world.media.http, "doomed", json!({})).await?;
    let level = "window.__hls.levels.findIndex((it) => it.audioGroups?.includes('low'))";
    let level = player.browser.value(level).await?;
    player.load(level.as_u64().with_context(|| format!("no level with the low one: {level}"))?).await?;
    let group = "window.__hls.audioTracks[window.__hls.audioTrack]?.groupId";
    player.browser.until(&format!("{group} === 'low'"), SOON).await?;
    player.browser.run("window.__player.rung = null;", Vec::new()).await?;
    let (daemon, pictures) =
        (world.media.program.pid().context("ended")?, world.media.worker("doomed").await?.context("none")?);
    let of_sound = || -> Result<Vec<u32>> {
        Ok(proc::children(daemon)?.into_iter().filter(|pid| *pid != pictures && proc::runs(*pid)).collect())
    };
    let began = Instant::now();
    let missing = wait::until("both to be given up", 2 * SOON, || async {
        for worker in of_sound()? {
            // It may be gone by itself.
            kill_process(Pid::from_raw(i32::try_from(worker)?).context("a process id")?, Signal::KILL).ok();
        }
        let missing = stream(&world).await?["missing"].clone();
        Ok((missing.as_array().is_some_and(|it| it.len() == 2)).then_some(missing))
    })
    .await?;
    println!("given up after {:?}: {missing}", began.elapsed());
    wait::until("no other to be tried", SOON, || async { Ok(of_sound()?.is_empty().then_some(())) }).await?;
    let list = world.client.get(&world.media.hls("doomed")).await?.text();
    assert!(!list.contains("opus") && !list.contains("audio_low"), "{list}");
    player.browser.until(&format!("{group} === 'audio'"), SOON).await?;
    player.plays(SOON).await?;
    player.begin().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = player.seen().await?;
    println!("{seen:?}");
    assert!(seen.errors.iter().all(|error| !error.starts_with("fatal")) && seen.played > 4.0, "{seen:?}");
    publisher.must_run()
}
