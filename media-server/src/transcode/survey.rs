//! Which encoders this machine has, measured: each is tried in a process of its own, within a deadline. A driver that
//! crashes or hangs costs a line of the table, and nothing else.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::backend::{BACKENDS, Backend, Coding, Family};
use super::process;

/// Sizes that are tried, the largest first.
pub(super) const SIZES: [(u32, u32); 2] = [(1920, 1080), (1280, 720)];
/// How long one encoder may take for all of its trials.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long a plugin may take to be loaded: a driver is started by it.
const LOADING: Duration = Duration::from_secs(15);
/// Most of an answer that is read, in bytes.
const ANSWER: usize = 64 << 10;

/// What a plugin's file has in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plugin {
    pub(super) version: String,
    pub(super) elements: Vec<String>,
}

/// One size that an encoder was tried with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second, once it runs.
    pub frames_per_second: f64,
    /// From the first picture in to the first one out, its start included, in milliseconds.
    pub first_ms: u64,
}

/// What a trial said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) works: bool,
    pub(super) why: Option<String>,
    pub(super) device: Option<String>,
    pub(super) runs: Vec<Run>,
    pub(super) sessions: Option<u32>,
}

/// One encoder of this machine, or one that it could have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// GStreamer's element.
    pub element: String,
    /// Where it encodes.
    pub family: Family,
    /// What it makes.
    pub coding: Coding,
    /// Of several devices which, where the element says so.
    pub device: Option<String>,
    /// The plugin's version.
    pub version: Option<String>,
    /// It does what a live rung needs: every picture in its turn, keyframes where they were asked for and nowhere else.
    pub works: bool,
    /// Why not.
    pub why: Option<String>,
    /// How fast it is, by size.
    pub runs: Vec<Run>,
    /// Encoders that a device takes at a time, up to 16; None of the processor.
    pub sessions: Option<u32>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// What the machine was like: with another driver or plugin it is made anew.
    pub fingerprint: String,
    /// Of one coding those that are preferred stand first.
    pub encoders: Vec<Row>,
}

impl Survey {
    /// Reads one that was kept, where it is of this machine as it is now.
    pub fn read(path: &Path) -> Option<Self> {
        let survey: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (survey.fingerprint == fingerprint()).then_some(survey)
    }

    /// Keeps it, whole or not at all.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        std::fs::write(&part, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&part, path)
    }

    /// The element that encodes a live rung best: the first that works and keeps the pace of `fps` at the largest size,
    /// twice over.
    pub fn best(&self, coding: Coding, fps: f64) -> Option<&Row> {
        let fit = |row: &&Row| {
            row.coding == coding
                && row.works
                && row.runs.first().is_some_and(|run| run.frames_per_second >= 2.0 * fps)
        };
        let of = |family: fn(Family) -> bool| self.encoders.iter().filter(fit).find(|row| family(row.family));
        of(|family| family != Family::Cpu).or_else(|| {
            self.encoders.iter().find(|row| row.coding == coding && row.works && row.family == Family::Cpu)
        })
    }
}

/// Whether there is a device at all that could encode: without one nothing but the processor has to be tried.
pub fn has_devices() -> bool {
    let named = |folder: &str, begins: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(begins))
    };
    named("/dev", "nvidia0") || named("/dev/dri", "renderD") || named("/dev", "video")
}

/// Tries them all. `seen` is told of each as it is done.
pub async fn survey(program: &Path, mut seen: impl FnMut(&Row)) -> Survey {
    let fingerprint = fingerprint();
    let mut encoders = Vec::new();
    let mut plugins: Vec<(&str, Result<Plugin, String>)> = Vec::new();
    for backend in &BACKENDS {
        if !plugins.iter().any(|(file, _)| *file == backend.file) {
            plugins.push((backend.file, load(program, backend.file).await));
        }
        let Some((_, plugin)) = plugins.iter().find(|(file, _)| *file == backend.file) else { continue };
        for row in tried(program, backend, plugin).await {
            seen(&row);
            encoders.push(row);
        }
    }
    Survey { fingerprint, encoders }
}

async fn load(program: &Path, file: &str) -> Result<Plugin, String> {
    ask::<Option<Plugin>>(program, &["--plugin", file], LOADING).await?.ok_or_else(String::new)
}

async fn tried(program: &Path, backend: &Backend, plugin: &Result<Plugin, String>) -> Vec<Row> {
    let row = |element: &str, version: Option<String>, trial: Trial| Row {
        element: element.to_owned(),
        family: backend.family,
        coding: backend.coding,
        device: trial.device,
        version,
        works: trial.works,
        why: trial.why,
        runs: trial.runs,
        sessions: trial.sessions,
    };
    let not = |why: String| Trial { why: Some(why), ..Trial::default() };
    let plugin = match plugin {
        Ok(plugin) => plugin,
        Err(why) if why.is_empty() => {
            let why = format!("not installed (on Debian and Ubuntu: {})", backend.package);
            return vec![row(backend.element, None, not(why))];
        }
        Err(why) => return vec![row(backend.element, None, not(why.clone()))],
    };
    let version = Some(plugin.version.clone());
    let elements: Vec<_> = plugin.elements.iter().filter(|element| backend.is(element)).collect();
    if elements.is_empty() {
        let why = match backend.family {
            Family::Cpu => "this version of the plugin has no such element",
            _ => "no device that does this",
        };
        return vec![row(backend.element, version, not(why.to_owned()))];
    }
    let mut rows = Vec::new();
    for element in elements {
        let trial = ask::<Trial>(program, &[element], DEADLINE).await.unwrap_or_else(not);
        rows.push(row(element, version.clone(), trial));
    }
    rows
}

/// Runs `program encoder-trial ARGUMENTS` and reads its answer.
async fn ask<T: DeserializeOwned>(
    program: &Path,
    arguments: &[&str],
    deadline: Duration,
) -> Result<T, String> {
    let mut command = process::confined(program);
    command.arg("encoder-trial").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let ran = async {
        let output = command.spawn()?.wait_with_output().await?;
        Ok::<_, io::Error>(output)
    };
    let output = tokio::time::timeout(deadline, ran).await;
    let output = output.map_err(|_| format!("it did not answer within {deadline:?}"))?;
    let output = output.map_err(|error| error.to_string())?;
    // Libraries write to standard output too: the answer is the last line.
    let text = String::from_utf8_lossy(&output.stdout[output.stdout.len().saturating_sub(ANSWER)..]);
    let answer = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    answer.ok_or_else(|| process::describe(output.status).replacen("the worker", "its trial", 1))
}

/// What the plugins, the driver and the kernel are, shortened.
fn fingerprint() -> String {
    let mut hash = Sha256::new();
    for path in plugin_files() {
        let Ok(known) = path.metadata() else { continue };
        let changed = known.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let nanos = changed.map_or(0, |since| since.as_nanos());
        hash.update(format!("{} {} {nanos}\n", path.display(), known.len()));
    }
    for file in ["/proc/driver/nvidia/version", "/proc/sys/kernel/osrelease"] {
        hash.update(std::fs::read(file).unwrap_or_default());
    }
    for folder in ["/dev", "/dev/dri"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).collect();
        names.retain(|name| {
            let name = name.to_string_lossy();
            ["nvidia", "renderD", "video"].iter().any(|begins| name.starts_with(begins))
        });
        names.sort();
        hash.update(format!("{names:?}"));
    }
    hash.update(env!("CARGO_PKG_VERSION"));
    let sum = hash.finalize();
    let (head, _) = sum.split_first_chunk::<8>().map_or(([0; 8], &[][..]), |(head, rest)| (*head, rest));
    format!("{:016x}", u64::from_be_bytes(head))
}

fn plugin_files() -> Vec<PathBuf> {
    let mut files: Vec<&str> = BACKENDS.iter().map(|backend| backend.file).collect();
    files.dedup();
    let dirs = process::plugin_dirs();
    files
        .iter()
        .filter_map(|file| dirs.iter().map(|dir| dir.join(file)).find(|path| path.is_file()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(element: &str, works: bool, fps: f64) -> Row {
        let backend = Backend::of(element).unwrap();
        Row {
            element: element.to_owned(),
            family: backend.family,
            coding: backend.coding,
            device: None,
            version: None,
            works,
            why: None,
            runs: vec![Run { width: 1920, height: 1080, frames_per_second: fps, first_ms: 5 }],
            sessions: None,
        }
    }

    fn best(encoders: Vec<Row>) -> Option<String> {
        let survey = Survey { fingerprint: String::new(), encoders };
        survey.best(Coding::H264, 30.0).map(|row| row.element.clone())
    }

    #[test]
    fn a_device_is_taken_where_it_is_able_and_the_processor_otherwise() {
        let cpu = || row("x264enc", true, 40.0);
        assert_eq!(best(vec![row("nvcudah264enc", true, 400.0), cpu()]).as_deref(), Some("nvcudah264enc"));
        assert_eq!(best(vec![row("nvcudah264enc", false, 0.0), cpu()]).as_deref(), Some("x264enc"));
        let slow = vec![row("v4l2h264enc", true, 35.0), cpu(), row("openh264enc", true, 90.0)];
        assert_eq!(best(slow).as_deref(), Some("x264enc"), "a slow device is no gain");
        assert_eq!(best(vec![row("x265enc", true, 90.0)]), None, "another coding");
    }

    #[tokio::test]
    async fn a_trial_that_crashes_hangs_or_talks_nonsense_is_a_line_of_the_table() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let script = "#!/bin/sh\ncase $2 in crash) kill -ABRT $$;; hang) sleep 60;; quit) exit 3;; chat) echo hello;;\n\
            *) echo noise; echo '{\"works\":true,\"why\":null,\"device\":null,\"runs\":[],\"sessions\":2}';; esac\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let tried = async |element: &str, deadline| ask::<Trial>(&program, &[element], deadline).await;
        let soon = Duration::from_secs(30);
        assert_eq!(tried("crash", soon).await.unwrap_err(), "its trial was ended by signal 6");
        assert_eq!(tried("quit", soon).await.unwrap_err(), "its trial exited with code 3");
        assert_eq!(tried("chat", soon).await.unwrap_err(), "its trial exited with code 0");
        let late = tried("hang", Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(late, "it did not answer within 200ms");
        assert_eq!(tried("fine", soon).await.unwrap().sessions, Some(2));
    }

    #[test]
    fn what_was_kept_counts_as_long_as_the_machine_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("encoders.json");
        let survey = Survey { fingerprint: fingerprint(), encoders: vec![row("x264enc", true, 40.5)] };
        survey.write(&path).unwrap();
        assert_eq!(Survey::read(&path), Some(survey.clone()));
        Survey { fingerprint: "another".into(), ..survey }.write(&path).unwrap();
        assert_eq!(Survey::read(&path), None);
        std::fs::write(&path, b"{").unwrap();
        assert_eq!(Survey::read(&path), None);
    }
}
