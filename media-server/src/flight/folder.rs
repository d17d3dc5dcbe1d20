//! Where recordings are written: a folder that keeps the newest few.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::recorder::Excerpt;
use super::recording::{Header, preamble};

const EXTENSION: &str = "weirflt";
/// While it is written.
const PART: &str = "part";

/// The folder of the recordings. Its functions block: they are for a thread that may.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    keep: usize,
}

/// A recording that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// How much time it holds.
    pub seconds: f64,
}

impl Folder {
    /// `path` is made with the first recording; more than `keep` files do not stay in it.
    pub fn new(path: PathBuf, keep: usize) -> Self {
        Self { path, keep }
    }

    /// Writes a recording, readable by this user alone. It appears whole or not at all, and the oldest ones go.
    pub fn save(&self, header: &Header, excerpt: &Excerpt) -> io::Result<Saved> {
        fs::create_dir_all(&self.path)?;
        let plain = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
                .take(64)
                .collect()
        };
        let now = OffsetDateTime::now_utc();
        let when = now.format(&Rfc3339).unwrap_or_default();
        // The time leads, so that the oldest name is the oldest file.
        let stamp: String = when.chars().filter(|c| c.is_ascii_digit() || *c == 'T').take(24).collect();
        let file = self.path.join(format!("{stamp}-{}.{EXTENSION}", plain(&header.stream)));
        let part = file.with_extension(PART);
        let header = Header { saved: when, ..header.clone() };
        let bytes = write(&part, &image(&header, excerpt)).inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &file)?;
        // The file is there, whatever becomes of the old ones.
        if let Err(error) = self.forget_old() {
            tracing::warn!(folder = %self.path.display(), %error, "old recordings could not be removed");
        }
        Ok(Saved { file, bytes, seconds: excerpt.span.as_secs_f64() })
    }

    fn forget_old(&self) -> io::Result<()> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.path)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            // What a killed process left half written counts, and goes, like the others.
            .filter(|path| path.extension().is_some_and(|e| e == EXTENSION || e == PART))
            .collect();
        files.sort();
        let over = files.len().saturating_sub(self.keep.max(1));
        files.iter().take(over).try_for_each(fs::remove_file)
    }
}

/// The file's bytes, in pieces.
pub fn image(header: &Header, excerpt: &Excerpt) -> Vec<bytes::Bytes> {
    let first = preamble(header, &excerpt.checkpoint).into();
    std::iter::once(first).chain(excerpt.reads()).collect()
}

fn write(path: &Path, pieces: &[bytes::Bytes]) -> io::Result<u64> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::super::recording::Recording;
    use super::*;

    #[test]
    fn the_newest_are_kept_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let flights = Folder::new(folder.path().join("flight"), 2);
        let excerpt = Excerpt { checkpoint: "state".into(), ..Excerpt::default() };
        let header = |n: usize| Header { stream: format!("../{n}"), ..Header::default() };
        let saved: Vec<_> = (0..4).map(|n| flights.save(&header(n), &excerpt).unwrap()).collect();
        let there: Vec<bool> = saved.iter().map(|saved| saved.file.exists()).collect();
        assert_eq!(there, [false, false, true, true]);
        let bytes = fs::read(&saved[3].file).unwrap();
        assert_eq!(bytes.len() as u64, saved[3].bytes);
        assert_eq!(Recording::parse(bytes.into()).unwrap().header.stream, "../3");
        assert_eq!(fs::read_dir(folder.path().join("flight")).unwrap().count(), 2, "no part is left");
    }
}
