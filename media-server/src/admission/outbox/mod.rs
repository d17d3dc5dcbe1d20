//! Events on their way to the control plane: kept on disk until it has acknowledged them with a 2xx, told at least
//! once, a stream's in order.
//!
//! A session whose process died without a word gets its `publish.stopped` from the next start. Without a control
//! plane (modes `static` and `open`) nothing is kept.

mod delivery;
mod queue;
mod store;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use time::OffsetDateTime;
use tokio::sync::Notify;

use self::delivery::deliver;
use self::queue::{Entry, Queue};
use self::store::{Session, Store};
use super::call::{Caller, Endpoint};
use super::event::{Event, EventData, StoppedData};
use crate::metrics::Metrics;

/// Most events kept. A day without a control plane at a publish every ten seconds.
const MOST_EVENTS: usize = 20_000;

/// Where events go, changeable while they are on their way. Clones share it.
#[derive(Clone)]
pub struct SharedEndpoint(Arc<Target>);

struct Target {
    endpoint: ArcSwapOption<Endpoint>,
    changed: Notify,
}

impl SharedEndpoint {
    /// `None`: there is no control plane, events are not kept.
    pub fn new(endpoint: Option<Endpoint>) -> Self {
        let endpoint = ArcSwapOption::from_pointee(endpoint);
        Self(Arc::new(Target { endpoint, changed: Notify::new() }))
    }

    /// From now on events go there, those that wait too.
    pub fn set(&self, endpoint: Option<Endpoint>) {
        self.0.endpoint.store(endpoint.map(Arc::new));
        self.0.changed.notify_one();
    }

    fn get(&self) -> Option<Arc<Endpoint>> {
        self.0.endpoint.load_full()
    }
}

/// Takes events. Clones share it.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    store: Store,
    node: String,
    endpoint: SharedEndpoint,
    metrics: Metrics,
    most: usize,
    /// Held while an event is numbered and written, so that order on disk is order in the queue.
    books: Mutex<Books>,
    /// Held for moments only.
    queue: Mutex<Queue>,
    /// Something was put into the queue.
    filled: Notify,
    lost: AtomicU64,
}

struct Books {
    order: u64,
    /// The newest number of each session that is on.
    sessions: HashMap<String, u64>,
}

impl Outbox {
    /// Opens the folder; what was not acknowledged before is told first. The future delivers until it is dropped,
    /// at any moment: what it had not finished is told again.
    pub fn open(
        folder: PathBuf,
        endpoint: SharedEndpoint,
        node: String,
        metrics: Metrics,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        Self::bounded(folder, endpoint, node, metrics, MOST_EVENTS)
    }

    fn bounded(
        folder: PathBuf,
        endpoint: SharedEndpoint,
        node: String,
        metrics: Metrics,
        most: usize,
    ) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let (store, found) = Store::open(folder)?;
        for path in &found.foreign {
            tracing::warn!(path = %path.display(), "a file in the outbox is no event: left alone");
        }
        let caller = Caller::new().map_err(io::Error::other)?;
        let order = found.events.last().map_or(0, |(_, entry)| entry.order);
        let mut queue = Queue::default();
        for (stream, entry) in found.events {
            queue.push(&stream, entry);
        }
        metrics.outbox_pending.set(queue.len() as i64);
        let shared = Arc::new(Shared {
            store,
            node,
            endpoint,
            metrics,
            most,
            books: Mutex::new(Books { order, sessions: HashMap::new() }),
            queue: Mutex::new(queue),
            filled: Notify::new(),
            lost: AtomicU64::new(0),
        });
        for Session { stream, id: session, seq } in found.sessions {
            shared.lock_books().sessions.insert(session.clone(), seq);
            let data = StoppedData { reason: "server-died", duration_ms: 0, bytes: 0 };
            shared.keep(&stream, &session, &EventData::Stopped(data), OffsetDateTime::now_utc());
        }
        Ok((Self(Arc::clone(&shared)), deliver(shared, caller)))
    }

    /// Keeps an event until it is acknowledged. When this returns it has reached the disk, or the log says why not.
    /// Dropping the future does not take the event back.
    pub async fn record(&self, stream: &str, session: &str, data: EventData) {
        let shared = Arc::clone(&self.0);
        let (stream, session, now) = (stream.to_owned(), session.to_owned(), OffsetDateTime::now_utc());
        // The disk may take long; whoever publishes waits, nobody else.
        let kept = tokio::task::spawn_blocking(move || shared.keep(&stream, &session, &data, now)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "an event was not kept");
        }
    }

    /// Events that were not acknowledged yet.
    pub fn pending(&self) -> usize {
        self.0.lock_queue().len()
    }

    /// Events that were lost since the start because too many waited.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Blocks on the disk.
    fn keep(&self, stream: &str, session: &str, data: &EventData, time: OffsetDateTime) {
        let over = matches!(data, EventData::Stopped(_));
        let mut books = self.lock_books();
        // What is made beside a session may be done after its end: then there is nobody whose it is.
        if data.may_be_lost() && !books.sessions.contains_key(session) {
            return;
        }
        let seq = books.sessions.get(session).copied().unwrap_or_default().saturating_add(1);
        if over {
            books.sessions.remove(session);
        } else {
            books.sessions.insert(session.to_owned(), seq);
        }
        if self.endpoint.get().is_none() {
            // Nobody to tell. A file of an earlier mode says of a session that it is on: not any more.
            if over {
                self.tell("session file", self.store.off(session));
            }
            return;
        }
        let health = data.may_be_lost();
        // A crash between two files tells an end that had no beginning, or tells it twice: never none at all.
        if !over {
            let on = Session { stream: stream.to_owned(), id: session.to_owned(), seq };
            self.tell("session file", self.store.on(&on, !health));
        }
        books.order = books.order.saturating_add(1);
        let id = format!("evt_{}", uuid::Uuid::now_v7().simple());
        let kept = Event::new(&self.node, time, stream, session, seq, data)
            .body()
            .map_err(io::Error::from)
            .and_then(|body| self.store.keep(books.order, &id, health, &body));
        match kept {
            Ok(entry) => {
                self.enqueue(stream, entry);
                if over {
                    self.tell("session file", self.store.off(session));
                }
            }
            Err(error) => {
                // The file of a session that is on stays: the next start tells its end.
                tracing::error!(stream, session, %error, "an event was not kept: is the disk full?");
            }
        }
    }

    fn enqueue(&self, stream: &str, entry: Entry) {
        let gone = {
            let mut queue = self.lock_queue();
            let gone = queue.evict(self.most);
            queue.push(stream, entry);
            self.metrics.outbox_pending.set(queue.len() as i64);
            gone
        };
        if let Some(gone) = gone {
            self.metrics.outbox_lost.inc();
            let lost = self.lost.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let (id, health, most) = (gone.id.as_str(), gone.health, self.most);
            tracing::warn!(id, health, most, lost, "outbox is full: its oldest event is lost");
            self.tell("lost event", Store::forget(&gone));
        }
        self.filled.notify_one();
    }

    fn tell(&self, what: &'static str, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(node = self.node, what, %error, "outbox folder");
        }
    }

    // A panic cannot happen while one of these is held without the state being whole: both are updated in one step.
    fn lock_books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
