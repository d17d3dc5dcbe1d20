//! Tells when the configuration file was changed, however the editor does it: the folder is watched, since most
//! editors replace the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Edits come in bursts (truncate, write, rename): quiet for so long, then one signal.
const QUIET: Duration = Duration::from_millis(200);

/// Watches one file; dropping it ends the watch.
pub struct Watcher {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watcher {
    /// Resolves once the file has been changed and is quiet again. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
    }
}

/// Begins to watch `file`, which need not be there now.
pub fn watch(file: &Path) -> notify::Result<Watcher> {
    let file = std::path::absolute(file).map_err(notify::Error::io)?;
    let folder = file.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let (tell, changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let ours = event.is_ok_and(|e| !e.kind.is_access() && e.paths.iter().any(|p| p == &file));
        // A full channel means that a change is already waiting to be seen.
        if ours && let Err(mpsc::error::TrySendError::Closed(())) = tell.try_send(()) {
            tracing::debug!("configuration watch has ended");
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(Watcher { changes, _watcher: watcher })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sees_a_write_and_a_replacement_and_nothing_of_the_neighbours() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("weir.toml");
        std::fs::write(&file, "").expect("write");
        let mut watcher = watch(&file).expect("watch");
        std::fs::write(folder.path().join("other.toml"), "x").expect("write");
        assert!(tokio::time::timeout(Duration::from_millis(400), watcher.changed()).await.is_err());
        std::fs::write(&file, "a = 1").expect("write");
        tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.expect("a write is seen");
        std::fs::write(folder.path().join("new"), "b = 1").expect("write");
        std::fs::rename(folder.path().join("new"), &file).expect("rename");
        tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.expect("a replacement is seen");
    }
}
