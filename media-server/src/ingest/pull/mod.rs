//! Streams that are fetched from elsewhere: from the configuration, or as the admin API wishes. Each source is a task,
//! which connects, publishes what it is sent as any publisher would, and after a failure waits and tries again.

mod child;
mod receive;
mod rtmp;
mod source;
mod store;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{PullUrl, PullUrlError};

use super::Desk;
use crate::admission::is_stream_name;
use crate::live::{SourceState, SourceWish};
use source::Source;
use store::Store;

/// Sources at a time.
const MOST: usize = 1000;

/// Why a source is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its stream cannot be called so.
    #[error("stream is 1 to 64 of A-Z a-z 0-9 - _")]
    Stream,
    /// Its address is none.
    #[error("url is no address to fetch from: {0}")]
    Url(#[from] PullUrlError),
    /// Its profile is not there.
    #[error("profile {0:?} is not in [profiles]")]
    Profile(String),
    /// The configuration has it, and wins.
    #[error("the configuration file has a source of this stream: change it there")]
    Configured,
    /// There is no such source.
    #[error("there is no source of this stream")]
    Missing,
    /// Enough is enough.
    #[error("there are {MOST} sources, and there may be no more")]
    TooMany,
    /// It could not be written down.
    #[error("the list of sources in the data folder: {0}")]
    Store(#[from] std::io::Error),
}

struct Running {
    wish: SourceWish,
    state: Arc<SourceState>,
    stop: CancellationToken,
}

/// Every source of this daemon. Clones share them.
#[derive(Clone)]
pub struct Pulls {
    desk: Desk,
    running: Arc<Mutex<HashMap<String, Running>>>,
    /// What the API has added: kept over a restart.
    store: Arc<Store>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Pulls {
    /// None yet; `file` keeps those that the API adds. Their tasks live in `tasks` and end with `stop`.
    pub fn new(desk: Desk, file: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { desk, running: Arc::default(), store: Arc::new(Store::new(file)), tasks, stop }
    }

    /// These are the configuration's from here on, beside those that the API has added. One that stays as it was goes
    /// on. What is wrong with one was told with the file.
    pub fn configure(&self, wishes: &[SourceWish]) {
        let mut running = self.running();
        let added = self.store.read().unwrap_or_else(|error| {
            tracing::error!(%error, "sources that the admin API added: those that run go on");
            let added = running.values().filter(|source| !source.state.configured);
            added.map(|source| source.wish.clone()).collect()
        });
        running.retain(|stream, source| {
            let wished = if source.state.configured { wishes } else { &added };
            let stays = wished.iter().any(|wish| wish == &source.wish)
                && (source.state.configured || !wishes.iter().any(|wish| wish.stream == *stream));
            if !stays {
                self.end(source);
            }
            stays
        });
        for (wish, configured) in wishes.iter().map(|w| (w, true)).chain(added.iter().map(|w| (w, false))) {
            if running.contains_key(&wish.stream) {
                continue;
            }
            match self.start(wish, configured) {
                Ok(source) => _ = running.insert(wish.stream.clone(), source),
                Err(error) => tracing::warn!(stream = %wish.stream, %error, "source not started"),
            }
        }
    }

    /// Every source, by the stream's name.
    pub fn list(&self) -> Vec<Arc<SourceState>> {
        let mut all: Vec<_> = self.running().values().map(|source| Arc::clone(&source.state)).collect();
        all.sort_by(|a, b| a.stream.cmp(&b.stream));
        all
    }

    /// Adds a source, or puts it in the place of the one of its stream. True: it is a new one. Blocks for the disk.
    pub fn put(&self, wish: SourceWish) -> Result<bool, SourceError> {
        self.check(&wish)?;
        let mut running = self.running();
        let known = running.get(&wish.stream);
        if known.is_some_and(|known| known.state.configured) {
            return Err(SourceError::Configured);
        }
        if known.is_some_and(|known| known.wish == wish) {
            return Ok(false);
        }
        if running.len() >= MOST {
            return Err(SourceError::TooMany);
        }
        let mut kept = self.store.read()?;
        kept.retain(|kept| kept.stream != wish.stream);
        kept.push(wish.clone());
        self.store.write(&kept)?;
        let before = running.remove(&wish.stream);
        if let Some(before) = &before {
            self.end(before);
        }
        let source = self.start(&wish, false)?;
        running.insert(wish.stream, source);
        Ok(before.is_none())
    }

    /// Takes a source away. Blocks for the disk.
    pub fn remove(&self, stream: &str) -> Result<(), SourceError> {
        let mut running = self.running();
        let source = running.get(stream).ok_or(SourceError::Missing)?;
        if source.state.configured {
            return Err(SourceError::Configured);
        }
        let mut kept = self.store.read()?;
        kept.retain(|kept| kept.stream != stream);
        self.store.write(&kept)?;
        if let Some(source) = running.remove(stream) {
            self.end(&source);
        }
        Ok(())
    }

    fn check(&self, wish: &SourceWish) -> Result<PullUrl, SourceError> {
        if !is_stream_name(&wish.stream) {
            return Err(SourceError::Stream);
        }
        if !self.desk.rules.load().profiles.contains_key(&wish.profile) {
            return Err(SourceError::Profile(wish.profile.clone()));
        }
        Ok(PullUrl::parse(&wish.url)?)
    }

    fn start(&self, wish: &SourceWish, configured: bool) -> Result<Running, SourceError> {
        let url = self.check(wish)?;
        let state = Arc::new(SourceState::new(wish, url.to_string(), configured));
        let stop = self.stop.child_token();
        let source = Source::new(self.desk.clone(), url, Arc::clone(&state));
        self.tasks.spawn(source.run(stop.clone()));
        Ok(Running { wish: wish.clone(), state, stop })
    }

    fn end(&self, source: &Running) {
        source.stop.cancel();
        self.desk.directory.wants().withdraw(&source.wish.stream);
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
