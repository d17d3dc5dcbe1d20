//! Stream name → handle. Reading never waits for a writer.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Makers;
use super::publisher::{PublishSpec, Publisher};
use super::push_state::PushState;
use super::snapshot::Snapshot;
use super::stream::{Command, Stream};
use super::tap::{Tap, Tapped};
use super::wants::Wants;
use crate::metrics::Metrics;

/// Why a publisher was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Someone else publishes this stream and is not silent.
    #[error("stream {0} is already live")]
    AlreadyLive(String),
    /// As many streams as the configuration allows are there.
    #[error("the limit of {0} streams is reached")]
    TooMany(usize),
    /// The daemon is going down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// What a request to drop a stream found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropOutcome {
    /// A publisher was connected and is being disconnected.
    Dropped,
    /// Nobody was publishing; the stream is over now.
    Idle,
}

/// A stream as the rest of the house holds it.
#[derive(Clone)]
pub struct StreamHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(super) tap: Tap,
    pub(super) pushes: Arc<ArcSwap<Vec<Arc<PushState>>>>,
}

impl StreamHandle {
    /// The state of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// To wait for later states.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// What goes on the air from now on. Who is slow loses units, and learns how many.
    pub fn tap(&self) -> broadcast::Receiver<Tapped> {
        self.tap.listen()
    }

    /// Has the publisher asked for a keyframe, where it can be asked: a viewer has lost too much to go on.
    pub fn want_keyframe(&self) {
        self.tap.wish().store(true, Ordering::Relaxed);
    }

    /// What its publisher gives beside its renditions: sound as it was sent, where that is encoded anew for players.
    pub fn beside(&self) -> broadcast::Receiver<Tapped> {
        self.tap.listen_beside()
    }

    /// Where it is sent on to.
    pub fn pushes(&self) -> Arc<Vec<Arc<PushState>>> {
        self.pushes.load_full()
    }

    /// Shows where it is sent on to.
    pub fn set_pushes(&self, states: Vec<Arc<PushState>>) {
        self.pushes.store(Arc::new(states));
    }

    /// Disconnects the publisher and ends the stream. `None` where the stream is gone already.
    pub async fn drop_publisher(&self) -> Option<DropOutcome> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Drop { reply }).await.ok()?;
        answer.await.ok()
    }
}

type Map = HashMap<Arc<str>, StreamHandle>;

struct Inner {
    map: ArcSwap<Map>,
    /// Held only while the map is replaced.
    writing: Mutex<()>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    makers: Makers,
    metrics: Metrics,
    wants: Wants,
}

/// Every stream of this daemon. Clones share it.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

impl Directory {
    /// An empty directory whose stream tasks live in `tasks` and end with `cancel`.
    pub fn new(tasks: TaskTracker, cancel: CancellationToken, makers: Makers, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            map: ArcSwap::default(),
            writing: Mutex::new(()),
            tasks,
            cancel,
            makers,
            metrics,
            wants: Wants::default(),
        }))
    }

    /// Streams that are fetched while somebody wants to see them.
    pub fn wants(&self) -> &Wants {
        &self.0.wants
    }

    /// Looks a stream up.
    pub fn get(&self, name: &str) -> Option<StreamHandle> {
        self.0.map.load().get(name).cloned()
    }

    /// Every stream, by name.
    pub fn all(&self) -> Vec<StreamHandle> {
        let map = self.0.map.load();
        let mut names: Vec<_> = map.keys().cloned().collect();
        names.sort();
        names.iter().filter_map(|n| map.get(n).cloned()).collect()
    }

    /// Becomes the one publisher of `name`, making the stream where it is not there.
    pub async fn publish(
        &self,
        name: &str,
        spec: PublishSpec,
        max_streams: usize,
    ) -> Result<Publisher, PublishError> {
        // A stream may end between lookup and answer; then it is made anew. Twice is enough unless it ends in a loop.
        for _ in 0..3 {
            let handle = self.open(name, &spec, max_streams)?;
            let (reply, answer) = oneshot::channel();
            let attach = Command::Attach { spec: Box::new(spec.clone()), reply };
            if handle.commands.send(attach).await.is_ok()
                && let Ok(outcome) = answer.await
            {
                return outcome;
            }
        }
        Err(PublishError::ShuttingDown)
    }

    fn open(&self, name: &str, spec: &PublishSpec, max_streams: usize) -> Result<StreamHandle, PublishError> {
        let inner = &self.0;
        let _writing = inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let map = inner.map.load();
        if let Some(handle) = map.get(name)
            && !handle.commands.is_closed()
        {
            return Ok(handle.clone());
        }
        if inner.cancel.is_cancelled() {
            return Err(PublishError::ShuttingDown);
        }
        if map.len() >= max_streams {
            return Err(PublishError::TooMany(max_streams));
        }
        let (handle, task) = Stream::create(
            name,
            spec.settings.clone(),
            inner.makers.clone(),
            inner.metrics.clone(),
            inner.cancel.child_token(),
        );
        let mut next = Map::clone(&map);
        next.insert(name.into(), handle.clone());
        inner.map.store(Arc::new(next));
        let directory = self.clone();
        let name: Arc<str> = name.into();
        inner.tasks.spawn(async move {
            task.await;
            directory.forget(&name);
        });
        Ok(handle)
    }

    /// Removes a stream whose task is over.
    fn forget(&self, name: &str) {
        let inner = &self.0;
        let _writing = inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let map = inner.map.load();
        if map.get(name).is_some_and(|h| h.commands.is_closed()) {
            let mut next = Map::clone(&map);
            next.remove(name);
            inner.map.store(Arc::new(next));
        }
    }
}
