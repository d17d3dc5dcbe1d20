//! Ladders of the sources that people publish: no rule is broken, and every rung has its keyframes where the others have them.

use std::{io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use tokio::process::Command;
use weir_tests::{
    llhls::{self, follow::Followed},
    publisher::{Ffmpeg, Source},
    world::Plan,
};

const SOON: Duration = Duration::from_secs(30);

/// Times of the keyframes of a rung as it decodes, in the order in which they are shown, in milliseconds.
async fn keyframes(rung: &Followed) -> Result<Vec<i64>> {
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    file.write_all(&rung.init_bytes)?;
    for bytes in rung.segment_bytes.values() {
        file.write_all(bytes)?;
    }
    file.flush()?;
    let entries = "frame=pts_time,pict_type,key_frame,width,height,sample_aspect_ratio";
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-skip_frame", "nokey", "-select_streams", "v", "-show_entries", entries]);
    command.args(["-of", "compact=p=0:nk=0"]).arg(file.path());
    let output = command.kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let mut times = Vec::new();
    for line in text.lines().filter(|line| line.contains("key_frame=1")) {
        let at = line.split('|').find_map(|field| field.strip_prefix("pts_time=")).context("no time")?;
        times.push((at.parse::<f64>()? * 1000.0).round() as i64);
    }
    Ok(times)
}

/// Publishes with ffmpeg's own options, and compares the rungs. `sizes`: of the encoded rungs.
async fn is_even(name: &str, source: &Source, options: &[&str], sizes: &[&str], seconds: u64) -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let id = format!("publish/{name}");
    let options = [options, &["-srt_streamid", &id]].concat();
    let _publisher = Ffmpeg::publish_srt(source, &world.media.srt, &options)?;
    world.media.playlist(name, SOON).await?;
    let report = llhls::check(&world.media.hls(name), Duration::from_secs(seconds)).await?;
    report.no_must_broken(&[]).with_context(|| format!("{name}: {}", report.multivariant.text))?;
    for size in sizes {
        let text = &report.multivariant.text;
        anyhow::ensure!(text.contains(&format!("RESOLUTION={size}")), "{name}: no {size} in {text}");
    }
    let mut known: Vec<(String, Vec<i64>)> = Vec::new();
    for rung in report.renditions.iter().filter(|it| !it.name.starts_with("audio")) {
        known.push((rung.name.clone(), keyframes(rung).await?));
    }
    println!("{name}: {known:?}");
    let encoded: Vec<_> = known.iter().filter(|(name, _)| !name.starts_with("source")).collect();
    anyhow::ensure!(encoded.len() == 2, "{name}: {} rungs", encoded.len());
    // A source that cannot be cut with the others (an open GOP has no IDR but its first) is no longer offered, and said to be
    // missing.
    let streams = world.media.streams().await?;
    let missing = streams["items"][0]["missing"].to_string().contains("source");
    println!("{name}: the source is {}", if missing { "not offered" } else { "offered" });
    anyhow::ensure!(missing == matches!(name, "rare" | "open"), "{name}: {streams}");
    for (rung, times) in known.iter().filter(|(rung, _)| !(missing && rung.starts_with("source"))) {
        // What only one of them was seen to have, at the ends, has no counterpart.
        for (other, theirs) in &encoded {
            let (Some(first), Some(last)) =
                (theirs.first().max(times.first()), theirs.last().min(times.last()))
            else {
                anyhow::bail!("{name}: {rung} or {other} has no keyframe");
            };
            let within = |all: &[i64]| -> Vec<i64> {
                all.iter().copied().filter(|at| first - 2 <= *at && *at <= last + 2).collect()
            };
            let (ours, theirs) = (within(times), within(theirs));
            let paired = theirs.iter().all(|at| ours.iter().any(|it| (it - at).abs() <= 1));
            anyhow::ensure!(paired && !theirs.is_empty(), "{name}: {rung} has {ours:?}, {other} {theirs:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: sources of many kinds, one after the other"]
async fn rungs_of_every_source_have_their_keyframes_together() -> Result<()> {
    let x264 = |options: &[&'static str]| -> Vec<&'static str> {
        let usual = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"];
        let rate = ["-b:v", "800k", "-maxrate", "800k", "-bufsize", "400k"];
        [&usual[..], &rate, options].concat()
    };
    let size = |width, height| Source::default().size(width, height);
    let wide: &[&str] = &["426x240", "284x160"];
    is_even("full", &size(1920, 1080).video_kbps(3000), &[], wide, 8).await?;
    is_even("fast", &size(1280, 720).rate(60), &["-g", "120"], wide, 8).await?;
    let drops = "select=lt(mod(t\\,4)\\,2)+not(mod(n\\,3))";
    let varies = x264(&["-force_key_frames", "expr:gte(t,n_forced*2)", "-vf", drops, "-vsync", "vfr"]);
    is_even("varies", &Source::default().video_codec(&varies), &[], wide, 10).await?;
    is_even("portrait", &size(1080, 1920).video_kbps(3000), &[], &["240x426", "160x284"], 8).await?;
    let anamorphic = x264(&["-g", "60", "-vf", "setsar=16/15"]);
    is_even("anamorphic", &size(720, 576).video_codec(&anamorphic), &[], &["320x240", "214x160"], 8).await?;
    is_even("rare", &Source::default().keyframe_every(10), &[], wide, 24).await?;
    let open = x264(&["-x264-params", "open-gop=1:bframes=3:b-adapt=0:keyint=60:min-keyint=60"]);
    is_even("open", &Source::default().video_codec(&open), &[], wide, 10).await?;
    is_even("mono", &Source::default(), &["-ar", "44100", "-ac", "1"], wide, 8).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_is_made_by_quality_and_for_the_sources_it_is_meant_for() -> Result<()> {
    let rungs = "[profiles.default]\nrungs = [\n\
        { name = \"by-rate\", height = 240, video_bitrate = \"600k\" },\n\
        { name = \"by-quality\", height = 180, video_bitrate = \"600k\", crf = 35, preset = \"ultrafast\" },\n\
        { name = \"of-large\", height = 120, video_bitrate = \"600k\", when = { min_height = 720 } },\n]\n";
    let world = Plan::open()?.media(rungs).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default().noisy(), &world.media.publish_url("desk"))?;
    world.media.playlist("desk", SOON).await?;
    let report = llhls::check(&world.media.hls("desk"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    let streams = world.media.streams().await?;
    let stream = &streams["items"][0];
    let rate = |name: &str| {
        let all = stream["renditions"].as_array().into_iter().flatten();
        all.into_iter().find(|it| it["name"] == name).and_then(|it| it["average_bps"].as_u64())
    };
    println!("{stream}");
    let (by_rate, by_quality) = (rate("by-rate").context("no rung")?, rate("by-quality").context("no rung")?);
    assert!((450_000..750_000).contains(&by_rate) && by_quality < 400_000, "{by_rate} {by_quality}");
    assert_eq!(rate("of-large"), None, "the source has 360 lines");
    Ok(())
}
