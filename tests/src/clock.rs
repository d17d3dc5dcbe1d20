//! How far sound and picture are apart, measured by content: a flash and a beep that left the source together, or
//! pictures that say when they were drawn and beeps at whole seconds of a clock that is known.

use std::{io::Write as _, path::Path, process::Stdio};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::llhls::follow::Followed;

/// Luma (0 to 255) above which a picture counts as white.
const WHITE: f64 = 120.0;
/// Amplitude above which a sample counts as sound.
const LOUD: f32 = 0.2;
/// Samples a second of the decoded sound.
const SAMPLE_RATE: u32 = 48_000;
/// Bars that say a time in milliseconds, the lowest bit first.
const BARS: usize = 48;
/// Luma that is neither a white bar nor a black one.
const UNCLEAR: std::ops::Range<u8> = 90..160;
/// A beep is silent for at least this long before it sounds, seconds.
const SILENCE: f64 = 0.5;

/// Seconds by which each beep comes after its flash, in what was followed; negative where the sound is early.
pub async fn offsets(video: &Followed, audio: &Followed) -> Result<Vec<f64>> {
    between(file(video)?.path(), file(audio)?.path()).await
}

/// The same of what a browser publishes (`publisher/whip.js`): each beep and the pictures that say when they were drawn. The
/// sound's clock began at `began`, milliseconds since the epoch. A picture
/// that the browser leaves out, as it may where there is little time, changes nothing of that; the first one of a flash would.
pub async fn offsets_by_bars(video: &Followed, audio: &Followed, began: f64) -> Result<Vec<f64>> {
    let (video, audio) = (file(video)?, file(audio)?);
    let mut drawn: Vec<f64> = drawn(video.path()).await?.iter().map(|(at, when)| when - at).collect();
    drawn.sort_by(f64::total_cmp);
    let zero = *drawn.get(drawn.len() / 2).context("no picture says when it was drawn")?;
    let beeps = beeps(audio.path()).await?;
    anyhow::ensure!(!beeps.is_empty(), "no beep beside {} pictures", drawn.len());
    let offsets = beeps.iter().map(|beep| {
        let since = zero + beep - began / 1000.0;
        since - since.round()
    });
    Ok(offsets.collect())
}

/// When each picture is shown, seconds of its own timeline, and when its bars say that it was drawn, seconds since the epoch.
async fn drawn(file: &Path) -> Result<Vec<(f64, f64)>> {
    let arguments =
        ["-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", "FILE"];
    let times = String::from_utf8(output("ffprobe", &arguments, file).await?)?;
    let times = times.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    // A bar is a pixel then, and the first line is of nothing else.
    let small = format!("scale={BARS}:8:flags=area,format=gray");
    let arguments = [
        "-v",
        "error",
        "-nostdin",
        "-i",
        "FILE",
        "-fps_mode",
        "passthrough",
        "-vf",
        &small,
        "-f",
        "rawvideo",
        "-",
    ];
    let pixels = output("ffmpeg", &arguments, file).await?;
    let read = |picture: &[u8]| {
        let bits = picture[..BARS].iter().enumerate();
        bits.map(
            |(bit, level)| if UNCLEAR.contains(level) { None } else { Some(u64::from(*level >= 160) << bit) },
        )
        .sum::<Option<u64>>()
    };
    let seen = times.zip(pixels.chunks_exact(BARS * 8));
    Ok(seen.filter_map(|(at, picture)| Some((at, read(picture)? as f64 / 1000.0))).collect())
}

/// The same in two files.
pub async fn between(video: &Path, audio: &Path) -> Result<Vec<f64>> {
    let (flashes, beeps) = (flashes(video).await?, beeps(audio).await?);
    // What is cut off at the ends of either has no partner within half a second.
    let pairs = flashes.iter().filter_map(|flash| {
        let nearest = beeps.iter().min_by(|a, b| (*a - flash).abs().total_cmp(&(*b - flash).abs()))?;
        Some(nearest - flash).filter(|apart| apart.abs() < 0.5)
    });
    let offsets: Vec<f64> = pairs.collect();
    anyhow::ensure!(!offsets.is_empty(), "no pair in {} flashes and {} beeps", flashes.len(), beeps.len());
    Ok(offsets)
}

fn file(followed: &Followed) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    file.write_all(&followed.init_bytes)?;
    for bytes in followed.segment_bytes.values() {
        file.write_all(bytes)?;
    }
    file.flush()?;
    Ok(file)
}

async fn output(program: &str, arguments: &[&str], file: &Path) -> Result<Vec<u8>> {
    let file = file.to_str().context("a path that is no UTF-8")?;
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("FILE", file)).collect();
    let output = Command::new(program)
        .args(&arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| program.to_owned())?;
    anyhow::ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// When the picture turns white, seconds of its own timeline.
async fn flashes(file: &Path) -> Result<Vec<f64>> {
    let arguments = [
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "movie=FILE,signalstats",
        "-show_entries",
        "frame=pts_time:frame_tags=lavfi.signalstats.YAVG",
        "-of",
        "csv=p=0",
    ];
    let text = String::from_utf8(output("ffprobe", &arguments, file).await?)?;
    let pictures = text.lines().filter_map(|line| {
        let mut fields = line.split(',');
        Some((fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?))
    });
    Ok(rises(pictures.map(|(at, luma)| (at, luma > WHITE)), 0.0))
}

/// When a beep begins, seconds of its own timeline.
async fn beeps(file: &Path) -> Result<Vec<f64>> {
    let start = [
        "-v",
        "error",
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
        "-read_intervals",
        "%+#1",
        "FILE",
    ];
    let start = String::from_utf8(output("ffprobe", &start, file).await?)?;
    let start: f64 =
        start.lines().next().and_then(|line| line.trim_end_matches(',').parse().ok()).context("no start")?;
    let rate = SAMPLE_RATE.to_string();
    let arguments = ["-v", "error", "-nostdin", "-i", "FILE", "-ac", "1", "-ar", &rate, "-f", "f32le", "-"];
    let bytes = output("ffmpeg", &arguments, file).await?;
    let samples = bytes.as_chunks::<4>().0.iter().map(|sample| f32::from_le_bytes(*sample).abs() > LOUD);
    let timed =
        samples.enumerate().map(|(index, loud)| (start + index as f64 / f64::from(SAMPLE_RATE), loud));
    Ok(rises(timed, SILENCE))
}

/// Times at which `true` begins after it was `false` for at least `quiet` seconds.
fn rises(signal: impl Iterator<Item = (f64, bool)>, quiet: f64) -> Vec<f64> {
    let mut found = Vec::new();
    // A signal that is high from the start has no edge that could be trusted.
    let mut last_high: Option<f64> = None;
    let mut begun = None;
    for (at, high) in signal {
        let begin = *begun.get_or_insert(at);
        if high {
            let since = last_high.unwrap_or(begin);
            let edge = last_high.is_none_or(|last| at - last > quiet.max(1.5 / 30.0));
            if edge && at > begin && at - since > quiet {
                found.push(at);
            }
            last_high = Some(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_found_and_the_first_half_one_is_not() {
        let signal = (0..100).map(|n| (f64::from(n) * 0.1, n % 10 == 0 || n % 10 == 1));
        let found = rises(signal, 0.5);
        assert_eq!(found.len(), 9, "{found:?}");
        assert!((found[0] - 1.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_delay_of_the_sound_is_measured() {
        use crate::publisher::Source;
        let folder = tempfile::tempdir().unwrap();
        let flv = folder.path().join("source.flv");
        Source::default().flash_and_beep().seconds(6).write_flv(&flv).await.unwrap();
        let video = folder.path().join("v.mp4");
        let audio = |delay: u32| folder.path().join(format!("a{delay}.mp4"));
        for (file, track) in [
            (video.clone(), "-map 0:v -c copy".to_owned()),
            (audio(0), "-map 0:a -af anull -c:a aac".to_owned()),
            (audio(150), "-map 0:a -af adelay=150:all=1 -c:a aac".to_owned()),
        ] {
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(&flv).args(track.split(' '));
            command.args(["-movflags", "frag_keyframe+empty_moov"]).arg(file);
            assert!(command.status().await.unwrap().success());
        }
        let together = between(&video, &audio(0)).await.unwrap();
        let apart = between(&video, &audio(150)).await.unwrap();
        assert!(together.len() >= 4 && apart.len() >= 4, "{together:?} {apart:?}");
        // Each AAC encoder adds its priming, 1024 samples; no more than two of them are in here.
        assert!(together.iter().all(|offset| (-0.005..0.05).contains(offset)), "{together:?}");
        assert!((apart[1] - together[1] - 0.15).abs() < 0.002, "{together:?} {apart:?}");
    }
}
