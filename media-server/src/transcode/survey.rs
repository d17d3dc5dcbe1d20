//! Which encoders this machine has, and what its devices decode and scale, measured: each is tried in a process of its own, within a deadline. A driver that
//! crashes or hangs costs a line of the table, and nothing else.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::backend::{BACKENDS, Backend, Coding, Family};
use super::plan::{DECODERS, SCALERS};
use super::process;

/// Sizes that are tried, the largest first.
pub(super) const SIZES: [(u32, u32); 2] = [(1920, 1080), (1280, 720)];
/// How long one encoder may take for all of its trials.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long a plugin may take to be loaded: a driver is started by it.
const LOADING: Duration = Duration::from_secs(15);
/// Encoders that are opened at a time to see how many a device takes; one that takes so many has no bound that matters.
pub(super) const MOST_SESSIONS: u32 = 16;
/// Most of an answer that is read, in bytes.
const ANSWER: usize = 64 << 10;

/// Seen of GStreamer 1.22 with CUDA 13: it asks its compiler for code of a chip that this one knows no more.
const NO_COMPILER: &str = "no CUDA compiler that GStreamer can use: install libnvrtc (GStreamer 1.22 needs that of CUDA 11 or 12), and \
                           name its file in GST_CUDA_NVRTC_LIBNAME where it is not called libnvrtc.so";

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

/// An element of a device that decodes or scales, or one that a device could have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// GStreamer's element.
    pub element: String,
    /// Where it works.
    pub family: Family,
    /// What it decodes (`H.264`, `HEVC`, `AV1`); None of one that scales.
    pub decodes: Option<String>,
    /// Of several devices which, where the element says so.
    pub device: Option<String>,
    /// The plugin's version.
    pub version: Option<String>,
    /// Every picture came out of it, in its turn, scaled down and brought back.
    pub works: bool,
    /// Why not.
    pub why: Option<String>,
    /// How fast that is, by the source's size.
    pub runs: Vec<Run>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// What the machine was like: with another driver or plugin it is made anew.
    pub fingerprint: String,
    /// Of one coding those that are preferred stand first.
    pub encoders: Vec<Row>,
    /// What stands in front of encoders on devices.
    pub parts: Vec<Part>,
}

/// What was seen of one element.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It encodes.
    Encoder(&'a Row),
    /// It decodes or scales.
    Part(&'a Part),
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
                && row.family != Family::Cpu
                && row.runs.first().is_some_and(|run| run.frames_per_second >= 2.0 * fps)
        };
        self.encoders.iter().find(fit).or_else(|| self.of_processor(coding))
    }

    /// The first of the processor's encoders that works.
    pub fn of_processor(&self, coding: Coding) -> Option<&Row> {
        self.encoders.iter().find(|row| row.coding == coding && row.works && row.family == Family::Cpu)
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

/// The processor's first encoder of a coding, where it is installed: nothing says yet that it works.
pub fn installed(coding: Coding) -> Option<&'static str> {
    let first = BACKENDS.iter().find(|it| it.coding == coding && it.family == Family::Cpu)?;
    let dirs = process::plugin_dirs();
    dirs.iter().any(|dir| dir.join(first.file).is_file()).then_some(first.element)
}

/// Tries them all. `seen` is told of each as it is done.
pub async fn survey(program: &Path, mut seen: impl FnMut(Seen<'_>)) -> Survey {
    let mut survey = Survey { fingerprint: fingerprint(), encoders: Vec::new(), parts: Vec::new() };
    let mut trials = Trials { program, plugins: Vec::new() };
    for backend in &BACKENDS {
        let Backend { element, family, coding, file, package, .. } = *backend;
        let kind = Kind { element, family, file, package, is: &|element| backend.is(element) };
        for Tried { element, version, trial } in trials.of(&kind).await {
            let Trial { works, why, device, runs, sessions } = trial;
            let row = Row { element, family, coding, device, version, works, why, runs, sessions };
            seen(Seen::Encoder(&row));
            survey.encoders.push(row);
        }
    }
    let decoders = DECODERS.iter().map(|it| (it.element, it.family, Some(it.codec.name())));
    let scalers = SCALERS.iter().map(|it| (it.element, it.family, None));
    for (element, family, decodes) in decoders.chain(scalers) {
        // Elements of a device come together in one file.
        let Some(Backend { file, package, .. }) = BACKENDS.iter().find(|it| it.family == family) else {
            continue;
        };
        let is = |name: &str| {
            DECODERS.iter().any(|it| it.element == element && it.is(name))
                || SCALERS.iter().any(|it| it.element == element && it.is(name))
        };
        let kind = Kind { element, family, file, package, is: &is };
        for Tried { element, version, trial } in trials.of(&kind).await {
            let Trial { works, why, device, runs, sessions: _ } = trial;
            let decodes = decodes.map(str::to_owned);
            let part = Part { element, family, decodes, device, version, works, why, runs };
            seen(Seen::Part(&part));
            survey.parts.push(part);
        }
    }
    survey
}

/// A kind of element on trial.
struct Kind<'a> {
    element: &'static str,
    family: Family,
    file: &'static str,
    package: &'static str,
    is: &'a (dyn Fn(&str) -> bool + Sync),
}

struct Tried {
    element: String,
    version: Option<String>,
    trial: Trial,
}

struct Trials<'a> {
    program: &'a Path,
    /// Files that were looked into.
    plugins: Vec<(&'static str, Result<Plugin, String>)>,
}

impl Trials<'_> {
    /// Those of a kind that are there, or why there is none.
    async fn of(&mut self, kind: &Kind<'_>) -> Vec<Tried> {
        let not = |why: String| Trial { why: Some(why), ..Trial::default() };
        let none = |version, why| vec![Tried { element: kind.element.to_owned(), version, trial: not(why) }];
        let plugin = match self.load(kind.file).await {
            Ok(plugin) => plugin,
            Err(why) if why.is_empty() => {
                return none(None, format!("not installed (on Debian and Ubuntu: {})", kind.package));
            }
            Err(why) => return none(None, why),
        };
        let version = Some(plugin.version);
        let elements: Vec<_> = plugin.elements.iter().filter(|element| (kind.is)(element)).collect();
        if elements.is_empty() {
            let why = match kind.family {
                Family::Nvidia if kind.element == "cudaconvertscale" && !plugin.elements.is_empty() => {
                    NO_COMPILER
                }
                Family::Cpu => "this version of the plugin has no such element",
                _ => "no device that does this",
            };
            return none(version, why.to_owned());
        }
        let mut tried = Vec::new();
        for element in elements {
            let trial = ask::<Trial>(self.program, &[element], DEADLINE).await.unwrap_or_else(not);
            tried.push(Tried { element: element.clone(), version: version.clone(), trial });
        }
        tried
    }

    async fn load(&mut self, file: &'static str) -> Result<Plugin, String> {
        if let Some((_, known)) = self.plugins.iter().find(|(known, _)| *known == file) {
            return known.clone();
        }
        let found = ask::<Option<Plugin>>(self.program, &["--plugin", file], LOADING).await;
        let found = found.and_then(|plugin| plugin.ok_or_else(String::new));
        self.plugins.push((file, found.clone()));
        found
    }
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
    for name in process::OF_DRIVERS {
        hash.update(format!("{name}={:?}\n", std::env::var_os(name)));
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
impl Row {
    /// One that works, on no device in particular.
    pub(super) fn of(element: &str, fps: f64) -> Self {
        let backend = Backend::of(element).unwrap();
        Self {
            element: element.to_owned(),
            family: backend.family,
            coding: backend.coding,
            device: None,
            version: None,
            works: true,
            why: None,
            runs: vec![Run { width: 1920, height: 1080, frames_per_second: fps, first_ms: 5 }],
            sessions: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(element: &str, works: bool, fps: f64) -> Row {
        Row { works, ..Row::of(element, fps) }
    }

    fn best(encoders: Vec<Row>) -> Option<String> {
        let survey = Survey { fingerprint: String::new(), encoders, parts: Vec::new() };
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

    #[test]
    fn the_processors_first_encoder_that_works_is_its_own() {
        let of = |encoders| {
            let survey = Survey { fingerprint: String::new(), encoders, parts: Vec::new() };
            survey.of_processor(Coding::H264).map(|row| row.element.clone())
        };
        let device = || row("vah264enc", true, 400.0);
        let both = vec![device(), row("x264enc", false, 0.0), row("openh264enc", true, 90.0)];
        assert_eq!(of(both).as_deref(), Some("openh264enc"));
        assert_eq!(of(vec![device(), row("x265enc", true, 90.0)]), None, "another coding");
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
        let survey = Survey {
            fingerprint: fingerprint(),
            encoders: vec![row("x264enc", true, 40.5)],
            parts: Vec::new(),
        };
        survey.write(&path).unwrap();
        assert_eq!(Survey::read(&path), Some(survey.clone()));
        Survey { fingerprint: "another".into(), ..survey }.write(&path).unwrap();
        assert_eq!(Survey::read(&path), None);
        std::fs::write(&path, b"{").unwrap();
        assert_eq!(Survey::read(&path), None);
    }
}
