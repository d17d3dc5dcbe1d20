//! What a process costs, as the kernel counts it (proc_pid_stat(5)).

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::process::Command;

/// Kernel clock ticks a second; Linux has used 100 on every architecture since 2.6 (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system, that a process with all its threads has used so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in parentheses may hold anything; numbers come after the last one.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("short stat line");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The children of a process, whichever of its threads started them.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let folder = format!("/proc/{pid}/task");
    let mut children = Vec::new();
    for thread in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
        // A thread may end while it is looked at; its children pass to another.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("children")) else { continue };
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// The children of a process, and theirs, as far as they can be seen at this moment.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid).unwrap_or_default();
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let born = children(*parent).unwrap_or_default();
        found.extend(born);
        next += 1;
    }
    found
}

/// Whether a process is there and has not ended; one that nobody waited for yet has.
pub fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Pins every thread of a running process to one core.
pub async fn pin(pid: u32, core: usize) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &pid.to_string()])
        .stdout(Stdio::null())
        .status()
        .await?;
    anyhow::ensure!(status.success(), "taskset");
    Ok(())
}

/// Resident memory, bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).context("no number")? * 1024)
}

/// What the machine is, for the head of a table.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {}", model.unwrap_or("an unnamed processor").trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_knows_its_own_cost() {
        let me = std::process::id();
        assert!(super::runs(me));
        assert!(super::cpu_seconds(me).unwrap() >= 0.0);
        assert!(super::resident_bytes(me).unwrap() > 100_000);
    }
}
