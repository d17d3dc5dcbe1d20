//! (c) How long a frame is in the transcode worker, and how long after its start the first one comes out.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;

use super::{proc, table::Table};
use crate::program::binary;

/// From a worker's start to its first coded frame of the slowest rung, milliseconds.
const FIRST: f64 = 300.0;
/// Longer than the measuring takes.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs it.
pub async fn run() -> Result<Table> {
    let mut rows = Vec::new();
    for (size, made) in [("640x360", "240p and 180p"), ("1920x1080", "720p, 480p and 360p")] {
        let mut command = Command::new(binary("examples/worker_latency")?);
        command.arg(binary("media-server")?).arg(size).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await??;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let facts: Value = serde_json::from_str(text.lines().last().context("it says nothing")?)?;
        let ms = |name: &str| facts[name].as_f64().with_context(|| format!("no {name} in {facts}"));
        let (cold, warm) = (ms("cold_ms")?, ms("warm_ms")?);
        let met = |first| if first <= FIRST { "met" } else { "**missed**" };
        rows.push(vec![
            format!("{size} → {made}"),
            format!("{:.1} / {:.1} ms", ms("p50_ms")?, ms("p99_ms")?),
            format!("{cold:.0} ms"),
            format!("{warm:.0} ms"),
            format!("≤ {FIRST:.0} ms: cold {}, warm {}", met(cold), met(warm)),
            format!("{:.0} ms", ms("replaced_ms")?),
        ]);
    }
    Ok(Table {
        name: "worker-latency",
        title: format!(
            "From a frame pushed to its coded frame of each rung; from a worker's start to the first coded frame of its slowest rung, \
             without and with a spare worker that waits; from SIGKILL to the next coded frame. 30 frames a second in real time, the \
             slowest of three warm rounds. {}.",
            proc::machine()
        ),
        columns: vec![
            "source and rungs",
            "frame, p50 / p99",
            "first, cold",
            "first, warm",
            "target",
            "killed",
        ],
        rows,
    })
}
