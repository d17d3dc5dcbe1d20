//! R51: an independent decoder plays what was collected, without one complaint.

use std::{io::Write as _, ops::Range, process::Stdio};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{findings::Findings, follow::Followed};

/// Runs ffmpeg over each init segment and the segments that it holds for.
pub(super) async fn judge(followed: &Followed, findings: &mut Findings) -> Result<()> {
    let (mut from, mut init) = (0, &followed.init_bytes);
    for (next, (_, later)) in &followed.later_inits {
        run(followed, init, from..*next, findings).await?;
        (from, init) = (*next, later);
    }
    run(followed, init, from..u64::MAX, findings).await
}

/// A file of the segments in that range; None where there are none.
fn file(followed: &Followed, init: &[u8], range: Range<u64>) -> Result<Option<NamedTempFile>> {
    let mut segments = followed.segment_bytes.range(range).peekable();
    if segments.peek().is_none() {
        return Ok(None);
    }
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    file.write_all(init)?;
    for (_, bytes) in segments {
        file.write_all(bytes)?;
    }
    file.flush()?;
    Ok(Some(file))
}

async fn run(followed: &Followed, init: &[u8], range: Range<u64>, findings: &mut Findings) -> Result<()> {
    let Some(file) = file(followed, init, range)? else { return Ok(()) };
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file.path())
        // Pictures of a variable rate are not counted as if they had a constant one.
        .args(["-enc_time_base", "1/90000", "-f", "null", "-"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("ffmpeg")?;
    let complaints = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let sound = output.status.success() && complaints.is_empty();
    findings.hold(51, sound, || {
        format!("{}: {}", followed.name, complaints.lines().take(3).collect::<Vec<_>>().join(" | "))
    });
    Ok(())
}
