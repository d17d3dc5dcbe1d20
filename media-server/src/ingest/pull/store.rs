//! Sources that the API has added, in a file: whole, or as it was.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::live::SourceWish;

/// The file. It holds secrets: readable by this user alone.
#[derive(Debug)]
pub(super) struct Store {
    file: PathBuf,
}

impl Store {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// What was written last. A file that cannot be read is an error, not an empty list: nothing is written over it.
    pub(super) fn read(&self) -> io::Result<Vec<SourceWish>> {
        let unread = |error: &dyn std::fmt::Display| {
            io::Error::other(format!(
                "{} cannot be read: {error}; mend it or move it away",
                self.file.display()
            ))
        };
        match fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unread(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(unread(&error)),
        }
    }

    pub(super) fn write(&self, wishes: &[SourceWish]) -> io::Result<()> {
        let part = self.file.with_extension("part");
        let bytes = serde_json::to_vec_pretty(wishes).map_err(io::Error::other)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&part, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::SourceStart;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_survived() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("sources.json"));
        assert!(store.read().unwrap().is_empty());
        let wish = SourceWish {
            stream: "ada".into(),
            url: "srt://a:1".into(),
            profile: "default".into(),
            start: SourceStart::OnDemand,
        };
        store.write(std::slice::from_ref(&wish)).unwrap();
        assert!(store.read().unwrap() == [wish]);
        fs::write(folder.path().join("sources.json"), "[{").unwrap();
        assert!(store.read().err().unwrap().to_string().contains("sources.json cannot be read"));
    }
}
