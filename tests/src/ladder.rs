//! Encoding ladders for tests, small enough for two cores that carry encoder, browser and server, and what comes of them.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::llhls::follow::Followed;

/// Nothing is encoded.
pub const PASS_THROUGH: &str = "[profiles.default]\nrungs = []\n";

/// Two rungs below a 640x360 source, which stays on top as it is.
pub const SMALL: &str = "[profiles.default]\nrungs = [\n\
    { name = \"240p\", height = 240, fps = 30, video_bitrate = \"400k\", audio_bitrate = \"96k\", codec = \"h264\" },\n\
    { name = \"160p\", height = 160, fps = 30, video_bitrate = \"200k\", audio_bitrate = \"96k\", codec = \"h264\" },\n]\n";

/// A rung as a file.
fn file(rung: &Followed) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    file.write_all(&rung.init_bytes)?;
    for bytes in rung.segment_bytes.values() {
        file.write_all(bytes)?;
    }
    file.flush()?;
    Ok(file)
}

async fn output(mut command: Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Times of the keyframes of a rung as it decodes, in the order in which they are shown, in milliseconds.
pub async fn keyframes(rung: &Followed) -> Result<Vec<i64>> {
    let file = file(rung)?;
    let entries = "frame=pts_time,pict_type,key_frame,width,height,sample_aspect_ratio";
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-skip_frame", "nokey", "-select_streams", "v", "-show_entries", entries]);
    command.args(["-of", "compact=p=0:nk=0"]).arg(file.path());
    let text = output(command).await?;
    let mut times = Vec::new();
    for line in text.lines().filter(|line| line.contains("key_frame=1")) {
        let at = line.split('|').find_map(|field| field.strip_prefix("pts_time=")).context("no time")?;
        times.push((at.parse::<f64>()? * 1000.0).round() as i64);
    }
    Ok(times)
}

/// The pictures of a rung as it decodes, in the order in which they are shown: the letters I, P and B.
pub async fn pictures(rung: &Followed) -> Result<String> {
    let file = file(rung)?;
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v", "-show_entries", "frame=pict_type"]);
    command.args(["-of", "csv=p=0"]).arg(file.path());
    Ok(output(command).await?.chars().filter(char::is_ascii_alphabetic).collect())
}
