//! Starting a worker process, and reading what it says on stderr.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::UnixStream,
    process::{Child, ChildStderr, Command},
};

use super::worker::{PLUGIN_DIRS, SYSTEM_DIRS};

/// Variables that a worker may see: nothing of the daemon's secrets is among them.
const PASSED_ON: [&str; 8] = [
    "GST_DEBUG",
    "GST_DEBUG_NO_COLOR",
    "LANG",
    "LD_LIBRARY_PATH",
    "PATH",
    "RUST_BACKTRACE",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
];
/// The same, where they decide which devices there are and what their drivers load.
pub(super) const OF_DRIVERS: [&str; 6] = [
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GST_CUDA_NVRTC_LIBNAME",
    "LIBVA_DRIVERS_PATH",
    "LIBVA_DRIVER_NAME",
    "ONEVPL_SEARCH_PATH",
];
/// Where an operator's own plugins lie, most wanted first.
const OPERATORS_PLUGINS: [&str; 4] =
    ["GST_PLUGIN_PATH_1_0", "GST_PLUGIN_PATH", "GST_PLUGIN_SYSTEM_PATH_1_0", "GST_PLUGIN_SYSTEM_PATH"];

/// Longest stderr line that is logged, in bytes, and most lines of one worker.
const LINE: u64 = 1024;
const LINES: usize = 100;

/// A worker that was just started. Dropping it kills it.
pub(super) struct Worker {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
    pub(super) stderr: Option<ChildStderr>,
}

impl Worker {
    /// For a worker that was not given a job: its end of the socket is open, and it has not complained.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.socket.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Where the operator's plugins lie, and then the distribution's.
pub(super) fn plugin_dirs() -> Vec<PathBuf> {
    let operators: Vec<_> = OPERATORS_PLUGINS.iter().filter_map(std::env::var_os).collect();
    let operators = operators.iter().flat_map(std::env::split_paths);
    operators.chain(SYSTEM_DIRS.iter().map(PathBuf::from)).collect()
}

/// A child of this program that is given nothing of the daemon's secrets.
pub(super) fn confined(program: &Path) -> Command {
    let dirs: Vec<OsString> = OPERATORS_PLUGINS.iter().filter_map(std::env::var_os).collect();
    let mut command = Command::new(program);
    command
        // What is sent to the daemon's group (Ctrl-C at a terminal) is the daemon's to answer.
        .process_group(0)
        .env_clear()
        .envs(PASSED_ON.iter().chain(&OF_DRIVERS).filter_map(|name| Some((name, std::env::var_os(name)?))))
        // The worker loads the five plugins it needs by name. Reading the whole registry, or worse rescanning it
        // in a forked scanner, would cost 50 ms to seconds of a stream's start and a writable cache.
        .env(PLUGIN_DIRS, dirs.join(&OsString::from(":")))
        .env("GST_PLUGIN_PATH_1_0", "")
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", "")
        .env("GST_REGISTRY_DISABLE", "yes")
        .env("GST_REGISTRY_FORK", "no")
        .env("GST_REGISTRY_UPDATE", "no");
    command
}

/// Starts `program transcode-worker` with one end of a socket pair as its stdin. Needs a tokio runtime.
/// `devices`: it may use those that encode. `plugins`: files that it loads before it has a job.
pub(super) fn spawn(program: &Path, devices: bool, plugins: &[&str]) -> io::Result<Worker> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let socket = UnixStream::from_std(ours)?;
    let mut child = confined(program)
        .arg("transcode-worker")
        .args(devices.then_some("--devices"))
        .args(plugins.iter().flat_map(|file| ["--load", file]))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stderr = child.stderr.take();
    Ok(Worker { child, socket, stderr })
}

/// Logs what a worker says on stderr until it closes it. Bounded: the rest is read and thrown away.
pub(super) async fn log(stderr: Option<ChildStderr>, stream: &str) {
    let Some(stderr) = stderr else { return };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut lines = 0;
    loop {
        line.clear();
        match (&mut reader).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => lines += 1,
        }
        if lines <= LINES {
            let text = String::from_utf8_lossy(&line);
            tracing::warn!(stream, text = text.trim_end(), "transcode worker says");
        }
    }
}

/// How a process ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the worker was ended by signal {signal}"),
        (None, Some(code)) => format!("the worker exited with code {code}"),
        (None, None) => "the worker ended".to_owned(),
    }
}
