//! R51: an independent decoder plays what was collected, without one complaint.

use std::{io::Write as _, process::Stdio};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use super::{findings::Findings, follow::Followed};

/// Runs ffmpeg over the init segment and all segments of a rendition.
pub(super) async fn judge(followed: &Followed, findings: &mut Findings) -> Result<()> {
    if followed.segment_bytes.is_empty() {
        return Ok(());
    }
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
    file.write_all(&followed.init_bytes)?;
    for bytes in followed.segment_bytes.values() {
        file.write_all(bytes)?;
    }
    file.flush()?;
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
