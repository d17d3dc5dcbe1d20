//! One of the real programs as a child process: its log, its end, nobody else's.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

/// How long a program has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// A running child process whose output is kept, line by line.
pub struct Program {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    _readers: JoinSet<()>,
}

/// Where Cargo put the programs: beside the test program (`target/PROFILE/deps/..`), or `$WEIR_BIN`.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = if let Some(folder) = std::env::var_os("WEIR_BIN") {
        PathBuf::from(folder)
    } else {
        let exe = std::env::current_exe()?;
        let folder = exe.parent().context("a test program in no folder")?;
        if folder.ends_with("deps") { folder.join("..") } else { folder.to_owned() }
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built; build the workspace in the same profile first (make test does)",
            path.display()
        );
    }
    Ok(path.canonicalize()?)
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

impl Program {
    /// Starts `command` with its output captured.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (said, count) = watch::channel(0);
        let said = Arc::new(said);
        let mut readers = JoinSet::new();
        let outputs: [Option<Box<dyn AsyncRead + Send + Unpin>>; 2] =
            [child.stdout.take().map(|o| Box::new(o) as _), child.stderr.take().map(|o| Box::new(o) as _)];
        for output in outputs.into_iter().flatten() {
            readers.spawn(read_lines(output, Arc::clone(&lines), Arc::clone(&said)));
        }
        Ok(Self { name: name.to_owned(), child, lines, count, _readers: readers })
    }

    /// Starts one of our programs with these arguments.
    pub fn ours<S: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = S>,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = Command::new(binary(name)?);
        command.args(arguments).current_dir(folder).env("WEIR_DATA", folder).env("NO_COLOR", "1");
        Self::start(name, command)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything that it printed.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The last lines that it printed.
    pub fn log_tail(&self, lines: usize) -> String {
        let all = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits for a line that contains `text`, also one that was printed already.
    pub async fn line(&mut self, text: &str, within: Duration) -> Result<String> {
        let found = async {
            let mut from = 0;
            loop {
                {
                    let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(line) = lines[from..].iter().find(|line| line.contains(text)) {
                        return Ok(line.clone());
                    }
                    from = lines.len();
                }
                if self.count.changed().await.is_err() {
                    bail!("{} ended without saying {text:?}:\n{}", self.name, self.log_tail(30));
                }
            }
        };
        match tokio::time::timeout(within, found).await {
            Ok(line) => line,
            Err(_) => bail!("{} did not say {text:?} within {within:?}:\n{}", self.name, self.log_tail(30)),
        }
    }

    /// Whether it is still there; an error with the end of its log if not.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail(30)),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} runs no more", self.name))?;
        kill_process(pid, signal).with_context(|| format!("signal to {}", self.name))
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} still runs after {within:?}:\n{}", self.name, self.log_tail(30)),
        }
    }

    /// SIGTERM, and its exit status.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.ended(GRACE).await
    }
}

impl Drop for Program {
    /// Ends what was started here and nothing else: SIGTERM first, so that it can end its own children.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) || self.signal(Signal::TERM).is_err() {
            return;
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            #[allow(clippy::disallowed_methods, reason = "a destructor cannot await the child's end")]
            std::thread::sleep(Duration::from_millis(20));
        }
        if std::thread::panicking() {
            eprintln!("--- the end of {}'s log:\n{}", self.name, self.log_tail(40));
        }
    }
}

async fn read_lines(
    output: Box<dyn AsyncRead + Send + Unpin>,
    kept: Arc<Mutex<Vec<String>>>,
    said: Arc<watch::Sender<usize>>,
) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        said.send_modify(|count| *count += 1);
    }
}
