//! A source that another process of ours reads and gives as a transport stream: HLS and files.

use std::path::PathBuf;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// What one read may bring.
const READ: usize = 64 * 1024;
/// What is kept of its last words.
const LAST_WORDS: u64 = 4096;

/// The running child. It ends with this.
pub(super) struct Remuxer {
    child: Child,
    out: BufReader<ChildStdout>,
    words: ChildStderr,
    room: BytesMut,
}

impl Remuxer {
    /// Starts `program remux URI`. `repeat`: from the beginning again at the end.
    pub(super) fn start(program: &PathBuf, uri: &str, repeat: bool) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("remux").args(repeat.then_some("--repeat")).arg("--").arg(uri);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("a child without its pipes");
        let out = child.stdout.take().ok_or_else(missing)?;
        let words = child.stderr.take().ok_or_else(missing)?;
        Ok(Self { child, out: BufReader::with_capacity(READ, out), words, room: BytesMut::new() })
    }

    /// Waits for packets. Cancel safe.
    pub(super) async fn turn(&mut self) -> Result<(), String> {
        if !self.room.is_empty() {
            return Ok(());
        }
        self.room.reserve(READ);
        match self.out.read_buf(&mut self.room).await {
            Ok(0) => Err(self.last_words().await),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What has come.
    pub(super) fn deliver(&mut self) -> Option<Bytes> {
        (!self.room.is_empty()).then(|| self.room.split().freeze())
    }

    /// Why it ended.
    async fn last_words(&mut self) -> String {
        let mut text = String::new();
        let mut words = (&mut self.words).take(LAST_WORDS);
        // What cannot be read says nothing.
        let _length = words.read_to_string(&mut text).await.unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        match self.child.wait().await {
            Ok(status) if status.success() => "the source has ended".into(),
            _ if !last.is_empty() => format!("it cannot be read: {}", last.trim()),
            Ok(status) => format!("its reader ended: {status}"),
            Err(error) => error.to_string(),
        }
    }
}
