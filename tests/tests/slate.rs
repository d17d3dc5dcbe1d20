//! While a stream waits for its publisher it shows the operator's picture or loop, in every rendition, and the list goes
//! on; the publisher takes it back by sending.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use weir_tests::{
    publisher::{Source, ffmpeg::run, flv, session::sending},
    vigil::Vigil,
    wait,
    world::{MediaServer, Plan},
};

/// Half a frame of sound and a rounding: where one source's frames end and another's begin.
const SEAM: Duration = Duration::from_millis(12);
/// A list that pauses for longer than this has missed some parts.
const EDGE: Duration = Duration::from_millis(1500);

/// The mean colour of the picture that a list ends with: red, green, blue.
async fn colour(list: &str) -> Result<[u8; 3]> {
    let arguments = ["-live_start_index", "-1", "-i", list, "-frames:v", "20", "-vf", "scale=1:1:flags=area"];
    let format = ["-an", "-f", "rawvideo", "-pix_fmt", "rgb24"];
    let pixels = run(&[&arguments[..], &format[..]].concat(), Path::new("-")).await?;
    pixels.last_chunk::<3>().copied().context("no picture")
}

/// How loud the sound is that a list ends with: the root mean square of 16-bit samples.
async fn loudness(list: &str) -> Result<f64> {
    let arguments = ["-live_start_index", "-1", "-i", list, "-t", "1", "-vn", "-f", "s16le", "-ac", "1"];
    let samples = run(&arguments, Path::new("-")).await?;
    let samples: Vec<f64> =
        samples.as_chunks::<2>().0.iter().map(|b| f64::from(i16::from_le_bytes(*b))).collect();
    anyhow::ensure!(!samples.is_empty(), "no sound");
    Ok((samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64).sqrt())
}

async fn tags() -> Result<Vec<flv::Tag>> {
    Source::default().seconds(8).tags().await
}

async fn on_air(server: &MediaServer, what: &str, within: Duration) -> Result<()> {
    wait::until(&format!("{what} on air"), within, || async {
        let streams = server.streams().await?;
        Ok((streams["items"][0]["on_air"] == what).then_some(()))
    })
    .await
}

fn is_red([red, green, blue]: [u8; 3]) -> bool {
    red > 150 && green < 80 && blue < 80
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_shown_in_every_rendition_and_given_up_for_the_publisher() -> Result<()> {
    let plan = Plan::open()?.small_ladder();
    let picture = plan.folder().join("back-soon.png");
    run(&["-f", "lavfi", "-i", "color=red:s=800x600", "-frames:v", "1"], &picture).await?;
    let mut world = plan.media(&format!("[slate]\nfile = \"{}\"\n", picture.display())).start().await?;
    let tags = tags().await?;
    let mut first = sending(world.media.publish_url("ada"), &tags, Duration::from_secs(7));
    let list = world.media.playlist("ada", Duration::from_secs(10)).await?;
    world.media.program.line("slate made", Duration::from_secs(10)).await?;
    let renditions: Vec<String> =
        list.lines().filter(|l| l.ends_with("index.m3u8")).map(str::to_owned).collect();
    assert!(renditions.len() > 1, "{list}");
    let url = |rendition: &str| format!("{}/live/ada/{rendition}", world.media.http);
    let vigils = renditions.iter().map(|r| Vigil::begin(&url(r))).collect::<Result<Vec<_>>>()?;
    let sound = Vigil::begin(&url("audio/index.m3u8"))?;
    first.join_next().await.context("gone")???;
    on_air(&world.media, "slate", Duration::from_secs(4)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for rendition in &renditions {
        let seen = colour(&url(rendition)).await?;
        println!("{rendition}: {seen:?} with the slate on air");
        assert!(is_red(seen), "{rendition} shows {seen:?}");
    }
    let mut second = sending(world.media.publish_url("ada"), &tags, Duration::from_secs(9));
    on_air(&world.media, "primary", Duration::from_secs(4)).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    for rendition in &renditions {
        let seen = colour(&url(rendition)).await?;
        assert!(!is_red(seen), "{rendition} still shows {seen:?}");
    }
    second.join_next().await.context("gone")???;
    for vigil in vigils {
        let seen = vigil.end().await?;
        println!(
            "longest pause of the list {:?}, {} discontinuities",
            seen.longest_pause(),
            seen.discontinuities.len()
        );
        seen.dates_are_whole()?;
        assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
        assert_eq!((seen.discontinuities.len(), seen.unanswered), (2, 0), "to the slate and back");
    }
    let sound = sound.end().await?;
    sound.dates_are_whole_to(SEAM)?;
    assert_eq!(sound.inits.len(), 1, "silence decodes as the source's sound did");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_shown_with_its_sound_again_and_again() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    // Three seconds, so that it comes round; of another size, rate and sampling rate than the source.
    let video = plan.folder().join("loop.mp4");
    let made =
        ["-f", "lavfi", "-i", "color=red:s=320x240:r=25", "-f", "lavfi", "-i", "sine=440:r=44100", "-t", "3"];
    run(&[&made[..], &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac"]].concat(), &video).await?;
    let mut world = plan.media(&format!("[slate]\nfile = \"{}\"\n", video.display())).start().await?;
    let tags = tags().await?;
    let mut first = sending(world.media.publish_url("ada"), &tags, Duration::from_secs(6));
    world.media.playlist("ada", Duration::from_secs(10)).await?;
    let line = world.media.program.line("slate made", Duration::from_secs(20)).await?;
    assert!(line.contains("sound=true"), "{line}");
    let url = |rendition: &str| format!("{}/live/ada/{rendition}/index.m3u8", world.media.http);
    let (source, audio) = (Vigil::begin(&url("source"))?, Vigil::begin(&url("audio"))?);
    first.join_next().await.context("gone")???;
    on_air(&world.media, "slate", Duration::from_secs(4)).await?;
    for turn in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (seen, heard) = (colour(&url("source")).await?, loudness(&url("audio")).await?);
        println!("turn {turn}: {seen:?}, loudness {heard:.0}");
        assert!(is_red(seen), "{seen:?}");
        assert!(heard > 500.0, "{heard}");
    }
    for vigil in [source, audio] {
        let seen = vigil.end().await?;
        seen.dates_are_whole_to(SEAM)?;
        assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
        assert_eq!(seen.discontinuities.len(), 1, "to the slate, and none at its turns");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_picture_is_named_and_the_edge_is_held() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let file = plan.folder().join("notes.txt");
    std::fs::write(&file, "not a picture at all\n".repeat(100))?;
    let mut world = plan.media(&format!("[slate]\nfile = \"{}\"\n", file.display())).start().await?;
    let mut first = sending(world.media.publish_url("ada"), &tags().await?, Duration::from_secs(5));
    world.media.playlist("ada", Duration::from_secs(10)).await?;
    let line = world.media.program.line("the slate cannot be shown", Duration::from_secs(45)).await?;
    println!("{line}");
    assert!(line.contains("notes.txt"), "{line}");
    let vigil = Vigil::begin(&format!("{}/live/ada/source/index.m3u8", world.media.http))?;
    first.join_next().await.context("gone")???;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.media.streams().await?["items"][0]["holding"], true);
    let seen = vigil.end().await?;
    assert!(seen.longest_pause() < EDGE && seen.discontinuities.is_empty(), "{:?}", seen.longest_pause());
    Ok(())
}
