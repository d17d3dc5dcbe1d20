//! With `encode = "on-demand"` a rung is made while somebody watches it, and a stream that nobody watches costs no encoder.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use weir_tests::{
    beeps::Beeps,
    bench::proc,
    llhls,
    publisher::{
        Ffmpeg, Source,
        sounds::{self, Sent},
    },
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(15);
const ON_DEMAND: &str = "[transcode]\nencode = \"on-demand\"\npark_after_ms = 5000\n";

/// Asks for a rung's list as a player does, and answers how long that took.
async fn ask(world: &World, rung: &str) -> Result<Duration> {
    let began = Instant::now();
    let answer = world.client.get(&format!("{}/live/s/{rung}/index.m3u8", world.media.http)).await?;
    let log = || world.media.program.log_tail(20);
    anyhow::ensure!(answer.status.is_success(), "{rung}: {} {}\n{}", answer.status, answer.text(), log());
    anyhow::ensure!(answer.text().contains("#EXTINF"), "no whole segment: {}", answer.text());
    Ok(began.elapsed())
}

async fn parked(world: &World) -> Result<Option<f64>> {
    Ok(world.media.metrics().await?.sum("weir_rungs_parked", &[]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_is_made_while_somebody_watches_it() -> Result<()> {
    let world = Plan::open()?.small_ladder().media(ON_DEMAND).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("s"))?;
    let list = world.media.playlist("s", SOON).await?;
    // Both rungs are listed, though nobody has seen them yet, with what they will be.
    assert!(list.contains("240p/index.m3u8") && list.contains("160p/index.m3u8"), "{list}");
    assert!(list.contains("RESOLUTION=426x240") && list.contains("avc1.640015"), "{list}");
    let source = format!("{}/live/s/source/index.m3u8", world.media.http);
    wait::until("two segments of the source", SOON, || async {
        Ok((world.client.get(&source).await?.text().matches("#EXTINF").count() >= 2).then_some(()))
    })
    .await?;
    assert_eq!(world.media.worker("s").await?, None, "nobody watches a rung");
    assert_eq!(parked(&world).await?, Some(2.0));

    let first = ask(&world, "160p").await?;
    let worker = world.media.worker("s").await?.context("no worker")?;
    assert_eq!(parked(&world).await?, Some(1.0));
    let second = ask(&world, "240p").await?;
    println!("first list of the first rung after {first:?}, of another one beside it after {second:?}");
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert!(second < Duration::from_secs(5), "{second:?}");
    assert_eq!(world.media.worker("s").await?, Some(worker), "one worker makes both");
    let report = llhls::check(&world.media.hls("s"), Duration::from_secs(4)).await?;
    report.no_must_broken(&[])?;
    assert_eq!(report.renditions.len(), 4, "{}", report.multivariant.text);

    // Nobody asks any more.
    wait::until("the worker to go", Duration::from_secs(15), || async {
        Ok(world.media.worker("s").await?.is_none().then_some(()))
    })
    .await?;
    assert_eq!(parked(&world).await?, Some(2.0));
    println!("first list again after {:?}", ask(&world, "240p").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_of_sound_is_made_while_somebody_hears_it() -> Result<()> {
    let rungs = "{ name = \"opus\", codec = \"opus\", bitrate = \"64k\" }, { name = \"low\", bitrate = \"32k\", channels = 1 }";
    let profile = format!("[profiles.default]\nrungs = []\naudio = [{rungs}]\n");
    let world = Plan::open()?.media(&profile).media(ON_DEMAND).start().await?;
    let mut publisher = sounds::by_srt(&world.media.srt, &[Sent(500, "eng", &["aac", "-ac", "2"])], "s")?;
    world.media.playlist("s", SOON).await?;
    let daemon = world.media.program.pid().context("ended")?;
    let rest = || async {
        let none = proc::children(daemon)?.is_empty();
        Ok((none && parked(&world).await? == Some(2.0)).then_some(()))
    };
    wait::until("both to be parked", SOON, rest).await?;
    let list = world.media.playlist("s", SOON).await?;
    assert!(list.contains("GROUP-ID=\"opus\"") && list.contains("AUDIO=\"opus\""), "{list}");
    // What a rung begins with is kept from then on.
    let newest = || async {
        let list = world.client.get(&format!("{}/live/s/audio/index.m3u8", world.media.http)).await?.text();
        anyhow::Ok(list.matches("#EXTINF").count())
    };
    let now = newest().await?;
    wait::until("two more segments", SOON, || async { Ok((newest().await? >= now + 2).then_some(())) })
        .await?;

    let first = ask(&world, "audio_low").await?;
    println!("first list of a rung of sound after {first:?}");
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert_eq!(parked(&world).await?, Some(1.0));
    assert_eq!(proc::children(daemon)?.len(), 1);
    let report = llhls::check(&world.media.hls("s"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    for name in ["audio_low", "audio_opus"] {
        let followed = report.rendition(name)?;
        let (heard, own) = (Beeps::of(followed).await?, Beeps::of(report.rendition("audio")?).await?);
        let off = heard.off(&own).with_context(|| format!("{name}: {heard:?} {own:?}"))?;
        println!(
            "{name}: {:.1} ms off, {:.1} ms without a frame",
            off * 1000.0,
            followed.longest_hole() * 1000.0
        );
        assert!(off < 0.005 && followed.longest_hole() < 0.030, "{name}: {heard:?} {own:?}");
    }
    wait::until("both to be parked again", SOON, rest).await?;
    println!("first list again after {:?}", ask(&world, "audio_opus").await?);
    publisher.must_run()
}
