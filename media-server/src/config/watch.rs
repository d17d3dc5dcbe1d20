//! Tells when the configuration file was changed, however the editor does it: the folder is watched, since most
//! editors replace the file.

use std::os::unix::fs::MetadataExt as _;
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

/// What tells one state of a file from another without reading it. Follows links; `None` where there is no file.
fn state(file: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// Begins to watch `file`, which need not be there now. A link is followed, also one that is replaced (as in a mounted
/// Kubernetes ConfigMap, where a link to the folder is).
pub fn watch(file: &Path) -> notify::Result<Watcher> {
    let file = std::path::absolute(file).map_err(notify::Error::io)?;
    let folder = file.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf);
    let real = std::fs::canonicalize(&file).ok().and_then(|real| real.parent().map(Path::to_path_buf));
    let (tell, changes) = mpsc::channel(1);
    let mut known = state(&file);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        let now = state(&file);
        // Two edits of one moment and one length look the same, so an event that names the file counts too.
        let ours = now != known || event.paths.contains(&file);
        known = now;
        // A full channel means that a change is already waiting to be seen.
        if ours && let Err(mpsc::error::TrySendError::Closed(())) = tell.try_send(()) {
            tracing::debug!("configuration watch has ended");
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    if let Some(real) = real.filter(|real| *real != folder) {
        watcher.watch(&real, RecursiveMode::NonRecursive)?;
    }
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

    #[tokio::test]
    async fn sees_what_a_link_leads_to_and_a_link_that_leads_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            std::fs::create_dir(at(version)).expect("a folder");
            std::fs::write(at(version).join("weir.toml"), version).expect("write");
        }
        // As a mounted ConfigMap is laid out: weir.toml -> ..data/weir.toml, ..data -> v1.
        std::os::unix::fs::symlink("v1", at("..data")).expect("link");
        std::os::unix::fs::symlink("..data/weir.toml", at("weir.toml")).expect("link");
        let mut watcher = watch(&at("weir.toml")).expect("watch");
        std::fs::write(at("v1").join("weir.toml"), "edited").expect("write");
        tokio::time::timeout(Duration::from_secs(5), watcher.changed())
            .await
            .expect("an edit behind the link");
        std::os::unix::fs::symlink("v2", at("..data_tmp")).expect("link");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("rename");
        tokio::time::timeout(Duration::from_secs(5), watcher.changed()).await.expect("another link");
    }
}
