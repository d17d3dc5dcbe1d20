//! A secret in a file that is made on first use.
//!
//! Two programs may make the same file at the same moment (the webhook secret is shared with the media server):
//! each writes its own temporary file and links it to the final name. A link never replaces a file, so one of
//! them wins whole, and both read back what won.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No secret file is longer than this, in bytes.
const LIMIT: u64 = 4096;

/// Why a secret file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read.
    #[error("{path}: cannot read the secret")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was not there and could not be made.
    #[error("{path}: cannot create the secret")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is there, but holds nothing or too much.
    #[error("{path}: a secret has 1 to {LIMIT} bytes")]
    Size {
        /// The file.
        path: PathBuf,
    },
}

/// The file's text without white space at its ends; made with mode 0600 from `make` where it is missing.
pub fn read_or_create(
    path: &Path,
    make: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, KeyFileError> {
    match read(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(path, &make()).map_err(|source| KeyFileError::Create { path: path.into(), source })?;
            read(path)
        }
        other => other,
    }
}

/// The file's text without white space at its ends.
pub fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "secret file is open to others; chmod 600 it");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() || text.len() as u64 > LIMIT {
        return Err(KeyFileError::Size { path: path.into() });
    }
    Ok(trimmed)
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = temporary_beside(path);
    write_private(&temporary, text)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
        // The name is in the folder, so the folder is what must reach the disk.
        Ok(()) => File::open(folder)?.sync_all(),
    }
}

/// Replaces a file by one of mode 0600 with this text, whole or not at all.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = temporary_beside(path);
    write_private(&temporary, text)?;
    fs::rename(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    File::open(folder)?.sync_all()
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::now_v7().simple()));
    path.with_file_name(name)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = writeln!(file, "{text}").and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_at_the_same_moment_agree_on_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/webhook.secret");
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || {
                        read_or_create(path, || Zeroizing::new(format!("secret-{n}"))).unwrap()
                    })
                })
                .collect();
            makers.into_iter().map(|m| m.join().unwrap().to_string()).collect()
        });
        assert!(secrets.iter().all(|s| s == &secrets[0]), "{secrets:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "temporary files are gone");
    }

    #[test]
    fn an_empty_or_oversized_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in [String::new(), " \n".into(), "x".repeat(5000)] {
            let path = folder.path().join("secret");
            fs::write(&path, &text).unwrap();
            let error = read_or_create(&path, || Zeroizing::new("new".into())).unwrap_err();
            assert!(matches!(error, KeyFileError::Size { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
