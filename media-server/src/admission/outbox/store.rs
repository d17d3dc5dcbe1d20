//! The outbox's folder: one file an event, and one a session that is on.
//!
//! ```text
//! ORDER-evt_ID.json      an event, exactly as it is sent
//! on-SESSION.json        a session whose end was not told yet
//! .new-…                 a file that is being written; what a crash leaves of it is removed
//! ```
//!
//! A file gets its name only once it is whole and on the disk, so that a crash at any moment leaves whole events.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::queue::Entry;
use crate::admission::event::{HEALTH, THUMBNAIL};

/// No event comes near this, in bytes.
const LONGEST_EVENT: u64 = 64 * 1024;
/// What a file is called while it is being written.
const UNFINISHED: &str = ".new-";
/// What a session's file is called.
const ON: &str = "on-";

/// A session that is on, as the next start has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The stream's name.
    pub(super) stream: String,
    /// Its own name.
    #[serde(rename = "session")]
    pub(super) id: String,
    /// The number of its newest event.
    pub(super) seq: u64,
}

/// What a folder holds at the start.
#[derive(Default)]
pub(super) struct Found {
    /// Events with their stream, the oldest first.
    pub(super) events: Vec<(String, Entry)>,
    /// Sessions that were on when the process ended.
    pub(super) sessions: Vec<Session>,
    /// Files that are no events, which stay where they are.
    pub(super) foreign: Vec<PathBuf>,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Store {
    folder: PathBuf,
}

/// As much of an event as the queue has to know.
#[derive(Deserialize)]
struct Head {
    r#type: String,
    stream: String,
}

impl Store {
    /// Makes the folder where it is missing, removes unfinished files and reads the rest.
    pub(super) fn open(folder: PathBuf) -> io::Result<(Self, Found)> {
        fs::create_dir_all(&folder)?;
        let store = Self { folder };
        let mut found = Found::default();
        let mut events = BTreeMap::new();
        for file in fs::read_dir(&store.folder)? {
            let path = file?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with(UNFINISHED) {
                fs::remove_file(&path)?;
            } else if name.starts_with(ON) {
                match read(&path).ok().and_then(|body| serde_json::from_slice(&body).ok()) {
                    Some(session) => found.sessions.push(session),
                    None => found.foreign.push(path),
                }
            } else {
                match event(&path, name) {
                    Some((stream, entry)) => {
                        events.insert((entry.order, entry.id.clone()), (stream, entry));
                    }
                    None => found.foreign.push(path),
                }
            }
        }
        found.events = events.into_values().collect();
        Ok((store, found))
    }

    /// Keeps an event. When this returns it is on the disk.
    pub(super) fn keep(&self, order: u64, id: &str, health: bool, body: &[u8]) -> io::Result<Entry> {
        let name = format!("{order:020}-{id}.json");
        let path = self.write(&name, body, true)?;
        Ok(Entry { order, id: id.to_owned(), path, health })
    }

    /// An event's bytes.
    pub(super) fn load(entry: &Entry) -> io::Result<Vec<u8>> {
        read(&entry.path)
    }

    /// Forgets an event. One that is gone already is forgotten.
    pub(super) fn forget(entry: &Entry) -> io::Result<()> {
        remove(&entry.path)
    }

    /// Remembers that a session is on, and where its numbers are.
    pub(super) fn on(&self, session: &Session, durable: bool) -> io::Result<()> {
        let body = serde_json::to_vec(session)?;
        self.write(&on_name(&session.id), &body, durable).map(drop)
    }

    /// The session's end has been kept.
    pub(super) fn off(&self, session: &str) -> io::Result<()> {
        remove(&self.folder.join(on_name(session)))
    }

    fn write(&self, name: &str, body: &[u8], durable: bool) -> io::Result<PathBuf> {
        let unfinished = self.folder.join(format!("{UNFINISHED}{name}"));
        let path = self.folder.join(name);
        let written = File::create(&unfinished)
            .and_then(|mut file| {
                file.write_all(body).and_then(|()| if durable { file.sync_all() } else { Ok(()) })
            })
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // A full disk: what is left of the file goes, and the first error is the one to tell.
            drop(fs::remove_file(&unfinished));
        }
        written?;
        if durable {
            // The name is in the folder, so the folder has to reach the disk too.
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(path)
    }
}

/// A file name from a session's name, whatever that is made of.
fn on_name(session: &str) -> String {
    let plain: String = session
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(80)
        .collect();
    format!("{ON}{plain}.json")
}

fn event(path: &Path, name: &str) -> Option<(String, Entry)> {
    let (order, id) = name.strip_suffix(".json")?.split_once('-')?;
    let order = order.parse().ok()?;
    let head: Head = serde_json::from_slice(&read(path).ok()?).ok()?;
    let health = [HEALTH, THUMBNAIL].contains(&head.r#type.as_str());
    let entry = Entry { order, id: id.to_owned(), path: path.to_owned(), health };
    Some((head.stream, entry))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    File::open(path)?.take(LONGEST_EVENT).read_to_end(&mut body)?;
    Ok(body)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"type":"publish.started","stream":"ada"}"#;

    #[test]
    fn what_was_kept_is_found_in_order_and_what_was_not_finished_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path().join("outbox")).unwrap();
        store.keep(12, "evt_b", false, BODY).unwrap();
        store.keep(7, "evt_a", true, br#"{"type":"stream.health","stream":"ada"}"#).unwrap();
        let session = Session { stream: "ada".into(), id: "ses_1".into(), seq: 3 };
        store.on(&session, true).unwrap();
        fs::write(folder.path().join("outbox/.new-00000000000000000013-evt_c.json"), "{\"ty").unwrap();
        fs::write(folder.path().join("outbox/notes.txt"), "by hand").unwrap();
        let (_, found) = Store::open(folder.path().join("outbox")).unwrap();
        let events: Vec<_> =
            found.events.iter().map(|(s, e)| (s.as_str(), e.order, e.id.as_str(), e.health)).collect();
        assert_eq!(events, [("ada", 7, "evt_a", true), ("ada", 12, "evt_b", false)]);
        assert_eq!(found.sessions, [session]);
        assert_eq!(found.foreign.len(), 1);
        assert!(!folder.path().join("outbox/.new-00000000000000000013-evt_c.json").exists());
        assert_eq!(Store::load(&found.events[1].1).unwrap(), BODY);
    }

    #[test]
    fn forgetting_twice_is_forgetting() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path().to_owned()).unwrap();
        let entry = store.keep(1, "evt_a", false, BODY).unwrap();
        Store::forget(&entry).unwrap();
        Store::forget(&entry).unwrap();
        store.off("ses/../x").unwrap();
    }
}
