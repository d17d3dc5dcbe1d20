//! Sounds of a transport stream: several languages, and codecs that players do not decode.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Command, task::JoinSet};
use weir_tests::{
    beeps::Beeps,
    bench::proc,
    browser::Browser,
    llhls,
    publisher::{
        run,
        sounds::{self, Sent},
    },
    wait,
    world::Plan,
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_language_is_a_rendition_whatever_its_codec_and_all_are_heard_at_one_time() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let sounds = [
        Sent(400, "eng", &["aac", "-ac", "2"]),
        Sent(800, "spa", &["mp2", "-ac", "2"]),
        Sent(1200, "ger", &["ac3", "-ac", "6"]),
        Sent(1600, "haw", &["eac3", "-ac", "2"]),
        Sent(2000, "und", &["libopus", "-ac", "2"]),
        // What is seen, told to who does not see it.
        Sent(2400, "eng", &["aac", "-ac", "1"]),
    ];
    let mut publisher = sounds::by_srt(&world.media.srt, &sounds, "babel")?;
    world.media.playlist("babel", SOON).await?;
    let report = llhls::check(&world.media.hls("babel"), Duration::from_secs(12)).await?;
    publisher.must_run()?;
    report.no_must_broken(&[])?;
    let text = &report.multivariant.text;
    for (language, name) in [("en", "English"), ("es", "Spanish"), ("de", "German"), ("haw", "Hawaiian")] {
        let named = format!("LANGUAGE=\"{language}\"");
        let line = text.lines().find(|line| line.contains(&named)).with_context(|| text.clone())?;
        assert!(line.contains(&format!("NAME=\"{name}\"")), "{line}");
        assert_eq!(line.contains("DEFAULT=YES"), language == "en", "{line}");
    }
    assert!(text.contains("NAME=\"English 2\",LANGUAGE=\"en\",DEFAULT=NO"), "{text}");
    let names = ["audio", "audio-es", "audio-de", "audio-haw", "audio-5", "audio-en"];
    let first = Beeps::of(report.rendition("audio")?).await?;
    for (name, Sent(pitch, ..)) in names.iter().zip(&sounds) {
        let heard = Beeps::of(report.rendition(name)?).await?;
        let off = heard.off(&first).with_context(|| format!("{name}: {heard:?}"))?;
        println!("{name}: {:.0} Hz, {:.1} ms off the first", heard.pitch, off * 1000.0);
        assert!((heard.pitch - f64::from(*pitch)).abs() < 40.0, "{name}: {heard:?}");
        assert!(off < 0.010, "{name}: {:.1} ms off", off * 1000.0);
    }
    // A player by SRT is sent all of them.
    let file = world.folder().join("babel.ts");
    let from = format!("srt://{}?streamid=play/babel", world.media.srt);
    run(["-i", &from, "-t", "2", "-map", "0", "-c", "copy", "-f", "mpegts"], &file).await?;
    let entries = ["-show_entries", "stream=codec_name:stream_tags=language", "-of", "compact=p=0"];
    let probe = Command::new("ffprobe").args(["-v", "error"]).args(entries).arg(&file).output().await?;
    let probed = String::from_utf8_lossy(&probe.stdout).into_owned();
    for line in
        ["codec_name=h264", "aac|tag:language=eng", "aac|tag:language=deu", "aac|tag:language=haw", "opus"]
    {
        assert!(probed.contains(line), "{line}:\n{probed}");
    }
    let api = world.media.streams().await?["items"][0]["renditions"].clone();
    assert!(api.as_array().is_some_and(|all| all.iter().any(|it| it["language"] == "de")), "{api}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sound_worker_is_replaced_without_a_hole() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let mut publisher = sounds::by_srt(&world.media.srt, &[Sent(500, "eng", &["mp2", "-ac", "2"])], "radio")?;
    world.media.playlist("radio", SOON).await?;
    let daemon = world.media.program.pid().context("ended")?;
    let workers = proc::children(daemon)?;
    let [worker] = workers[..] else { anyhow::bail!("workers: {workers:?}") };
    let url = world.media.hls("radio");
    let mut checking = JoinSet::new();
    checking.spawn(async move { llhls::check(&url, Duration::from_secs(12)).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{} MB resident in the worker", proc::resident_bytes(worker)? >> 20);
    kill_process(Pid::from_raw(i32::try_from(worker)?).context("a process id")?, Signal::KILL)?;
    wait::until("another worker", SOON, || async {
        Ok(proc::children(daemon)?.into_iter().any(|pid| pid != worker).then_some(()))
    })
    .await?;
    let report = checking.join_next().await.context("no report")???;
    publisher.must_run()?;
    report.no_must_broken(&[])?;
    let heard = Beeps::of(report.rendition("audio")?).await?;
    println!("{heard:?}");
    let apart: Vec<_> = heard.begin.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() >= 9 && apart.iter().all(|apart| (apart - 1.0).abs() < 0.01), "{apart:?}");
    // With the publisher its worker goes.
    drop(publisher);
    wait::until("no worker", SOON, || async { Ok(proc::children(daemon)?.is_empty().then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_a_language_gives_its_first_sound_for_it() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let aac: &[&str] = &["aac", "-ac", "2"];
    let primary = sounds::by_srt(&world.media.srt, &[Sent(400, "eng", aac), Sent(800, "spa", aac)], "two")?;
    world.media.playlist("two", SOON).await?;
    // Its languages stand the other way round, and it has no Spanish.
    let _backup = sounds::by_srt(
        &world.media.srt,
        &[Sent(1600, "fra", aac), Sent(1200, "eng", aac)],
        "two?role=backup",
    )?;
    wait::until("a backup", SOON, || async {
        Ok(world.media.streams().await?["items"][0]["backup"].is_object().then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(primary);
    wait::until("the backup on air", SOON, || async {
        Ok((world.media.streams().await?["items"][0]["on_air"] == "backup").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let report = llhls::check(&world.media.hls("two"), Duration::from_secs(8)).await?;
    // 51: pictures that are only decoded stand a tenth of a millisecond apart, and ffmpeg counts in milliseconds.
    report.no_must_broken(&[51])?;
    // What was shown before is listed still: the last of it is heard.
    for (name, pitch) in [("audio", 1200.0), ("audio-es", 1600.0), ("audio-fr", 1600.0)] {
        let heard = Beeps::of_newest(report.rendition(name)?, 4).await?;
        println!("{name}: {heard:?}");
        assert!((heard.pitch - pitch).abs() < 40.0, "{name}: {heard:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_the_watch_page_chooses_a_language() -> Result<()> {
    let world = Plan::admitted()?.pass_through().start().await?;
    let demo = world.demo().await?;
    let fact = |name: &str| demo[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    let aac: &[&str] = &["aac", "-ac", "2"];
    let sounds = [Sent(400, "eng", aac), Sent(800, "spa", &["mp2", "-ac", "2"])];
    let mut publisher = sounds::by_srt(&world.media.srt, &sounds, &fact("key")?)?;
    world.media.playlist(&fact("stream")?, SOON).await?;
    let browser = Browser::start().await?;
    browser.open(&format!("{}/watch/{}", world.control()?.http, fact("channel")?)).await?;
    browser.until("window.__weir?.stats()?.firstFrameMs !== null", SOON * 2).await?;
    let options = "[...document.querySelectorAll('option')].map((it) => it.textContent)";
    browser.until(&format!("{options}.includes('Spanish')"), SOON).await?;
    let chosen = "(() => { const it = [...document.querySelectorAll('select')].pop(); it.value = 1; \
                  it.dispatchEvent(new Event('change', { bubbles: true })); return true; })()";
    browser.until(chosen, SOON).await?;
    browser.until("window.__weir.hls.audioTracks[window.__weir.hls.audioTrack].lang === 'es'", SOON).await?;
    let before = browser.stats().await?["currentTime"].as_f64().context("no time")?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let stats = browser.stats().await?;
    println!("{stats}");
    let played = stats["currentTime"].as_f64().context("no time")? - before;
    assert!(played > 5.0, "{played} s played: {stats}");
    // What is loaded is the chosen one.
    let loaded =
        "performance.getEntriesByType('resource').slice(-8).some((it) => it.name.includes('/audio-es/'))";
    browser.until(loaded, SOON).await?;
    publisher.must_run()?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restream_by_srt_takes_every_language_along() -> Result<()> {
    let own = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let settings = format!(
        "[srt]\nlisten = \"{own}\"\n[restream]\ntargets = [\
         {{ stream = \"first\", url = \"srt://{own}?streamid=publish/second\" }}]\n"
    );
    let world = Plan::open()?.pass_through().media(&settings).start().await?;
    let sounds = [Sent(500, "eng", &["aac", "-ac", "2"]), Sent(1000, "spa", &["mp2", "-ac", "2"])];
    let mut publisher = sounds::by_srt(&world.media.srt, &sounds, "first")?;
    world.media.playlist("second", SOON * 2).await?;
    let report = llhls::check(&world.media.hls("second"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    for (name, pitch) in [("audio", 500.0), ("audio-es", 1000.0)] {
        let heard = Beeps::of(report.rendition(name)?).await?;
        assert!((heard.pitch - pitch).abs() < 40.0, "{name}: {heard:?}");
    }
    publisher.must_run()
}
