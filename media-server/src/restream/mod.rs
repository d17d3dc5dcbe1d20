//! Sending live streams on to other servers, from the configuration or as admission says: each push is a task with a
//! state of its own, which listens to the stream and never slows it.

mod push;
mod rtmp;
mod srt;
mod tags;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::PushTarget;

use crate::live::{PushState, StreamHandle};
use crate::metrics::Metrics;
use push::Push;

/// Pushes of one stream at a time; more are refused with a log line.
const MOST: usize = 16;

/// One push that was started.
struct Running {
    state: Arc<PushState>,
    stop: CancellationToken,
}

type Pushes = HashMap<Arc<str>, HashMap<PushTarget, Running>>;

/// Every push of this daemon. Clones share them.
#[derive(Clone)]
pub struct Restreams {
    pushes: Arc<Mutex<Pushes>>,
    /// PEM file of authorities that are trusted besides the public ones; empty for none.
    authorities: Arc<ArcSwap<PathBuf>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    metrics: Metrics,
}

impl Restreams {
    /// None yet. Their tasks live in `tasks` and end with `stop`.
    pub fn new(tasks: TaskTracker, stop: CancellationToken, metrics: Metrics) -> Self {
        Self { pushes: Arc::default(), authorities: Arc::default(), tasks, stop, metrics }
    }

    /// A PEM file of authorities that the next connections by TLS trust besides the public ones; empty for none.
    pub fn trust(&self, authorities: PathBuf) {
        self.authorities.store(Arc::new(authorities));
    }

    /// Sends a stream to these addresses and to no other, until it ends; what already goes there goes on.
    pub fn set(&self, stream: &StreamHandle, urls: &[PushTarget]) {
        let name = Arc::clone(&stream.snapshot().name);
        let mut all = self.pushes();
        let pushes = all.entry(Arc::clone(&name)).or_default();
        pushes.retain(|url, running| {
            let stays = urls.contains(url) && running.state.is_running();
            if !stays {
                running.stop.cancel();
            }
            stays
        });
        for url in urls {
            if pushes.contains_key(url) {
                continue;
            }
            if pushes.len() >= MOST {
                tracing::warn!(stream = %name, target = %url, most = MOST, "not pushed: the stream has as many pushes as it may");
                continue;
            }
            let state = Arc::new(PushState::new(url.to_string(), self.metrics.clone()));
            let stop = self.stop.child_token();
            let authorities = Arc::clone(&self.authorities);
            let push = Push::new(url.clone(), stream.clone(), Arc::clone(&state), authorities);
            let (token, restreams, stream_name) = (stop.clone(), self.clone(), Arc::clone(&name));
            self.tasks.spawn(async move {
                push.run(token).await;
                restreams.forget(&stream_name);
            });
            pushes.insert(url.clone(), Running { state, stop });
        }
        let mut states: Vec<_> = pushes.values().map(|running| Arc::clone(&running.state)).collect();
        states.sort_by(|a, b| a.target().cmp(b.target()));
        stream.set_pushes(states);
        if pushes.is_empty() {
            all.remove(&name);
        }
    }

    /// Forgets a stream once all of its pushes are over.
    fn forget(&self, name: &str) {
        let mut all = self.pushes();
        if all.get(name).is_some_and(|pushes| pushes.values().all(|running| !running.state.is_running())) {
            all.remove(name);
        }
    }

    fn pushes(&self) -> MutexGuard<'_, Pushes> {
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
