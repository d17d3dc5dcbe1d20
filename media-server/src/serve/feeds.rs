//! Renditions as MPEG transport streams. Each is written once, however many take it, and only while somebody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::select_all;
use media::{AccessUnit, Language};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::{Directory, Phase, Rendition, Snapshot, StreamHandle, Tapped, Wants};
use crate::transport::{Chunk, NoFeed, Program, Slot, Track};

/// Chunks that may wait for whoever takes them: some seconds.
const WAITING: usize = 512;

/// Stream and rung.
type Key = (Arc<str>, Option<Arc<str>>);

/// Every feed that somebody takes. Clones share them.
#[derive(Clone)]
pub struct Feeds {
    directory: Directory,
    taken: Arc<Mutex<HashMap<Key, broadcast::Sender<Chunk>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Feeds {
    /// None yet. Their tasks live in `tasks` and end with `stop`.
    pub fn new(directory: Directory, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { directory, taken: Arc::default(), tasks, stop }
    }

    /// A stream's rung by its name, its best one where none is named, with its sounds. It closes when the stream is over.
    pub fn take(&self, stream: &str, rung: Option<&str>) -> Result<broadcast::Receiver<Chunk>, NoFeed> {
        let fetched = self.directory.wants().want(stream).is_some();
        let none = || if fetched { NoFeed::Starting } else { NoFeed::Stream };
        let handle = self.directory.get(stream).ok_or_else(none)?;
        let snapshot = handle.snapshot();
        if snapshot.phase == Phase::Ended || (fetched && snapshot.renditions().next().is_none()) {
            return Err(none());
        }
        if rung.is_some_and(|rung| find(&snapshot, Some(rung)).is_none()) {
            let names = snapshot.video.iter().map(|video| video.name.to_string()).collect();
            return Err(NoFeed::Rung(names));
        }
        let key = (Arc::clone(&snapshot.name), rung.map(Arc::from));
        let mut feeds = self.feeds();
        if let Some(feed) = feeds.get(&key) {
            return Ok(feed.subscribe());
        }
        let (sender, receiver) = broadcast::channel(WAITING);
        feeds.insert(key.clone(), sender.clone());
        let (all, stop) = (self.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let wants = all.directory.wants().clone();
            let feed = Feed { rung: key.1.clone(), out: sender, program: Program::default(), wants };
            let ended = tokio::select! {
                () = stop.cancelled() => Ended::Stream,
                ended = feed.run(handle, || all.is_over(&key)) => ended,
            };
            // Where nobody took it any more it is forgotten already, and another may stand in its place.
            if ended == Ended::Stream {
                all.feeds().remove(&key);
            }
        });
        Ok(receiver)
    }

    /// Nobody takes it any more: from here on it is not found.
    fn is_over(&self, key: &Key) -> bool {
        let mut feeds = self.feeds();
        let over = feeds.get(key).is_none_or(|feed| feed.receiver_count() == 0);
        if over {
            feeds.remove(key);
        }
        over
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<Key, broadcast::Sender<Chunk>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(snapshot: &'a Snapshot, rung: Option<&str>) -> Option<&'a Rendition> {
    match rung {
        Some(name) => snapshot.video.iter().find(|video| *video.name == *name),
        None => snapshot.video.first(),
    }
}

/// Why a feed is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// There is nothing more to give.
    Stream,
    /// Nobody takes it.
    Unheard,
}

/// One rendition and its sounds.
struct Feed {
    rung: Option<Arc<str>>,
    out: broadcast::Sender<Chunk>,
    program: Program,
    /// Whoever takes it wants to see it.
    wants: Wants,
}

/// One rendition that is listened to, and where it belongs.
struct Ear {
    slot: Slot,
    language: Option<Language>,
    units: broadcast::Receiver<Tapped>,
}

/// What is listened to.
#[derive(Default)]
struct Ears(Vec<Ear>);

impl Ears {
    /// Listens to what there is and is not yet listened to.
    fn open(&mut self, snapshot: &Snapshot, rung: Option<&str>) -> Vec<Track> {
        let video = find(snapshot, rung).map(|video| (Slot::Video, video));
        let sounds = (0..).map(Slot::Sound).zip(&snapshot.audio);
        let mut tracks = Vec::new();
        for (slot, rendition) in video.into_iter().chain(sounds) {
            if self.0.iter().all(|ear| ear.slot != slot) {
                let language = rendition.language;
                self.0.push(Ear { slot, language, units: rendition.listen() });
                tracks.push(Track { slot, format: Arc::new(rendition.format.clone()), language });
            }
        }
        tracks
    }

    fn has_video(&self) -> bool {
        self.0.iter().any(|ear| ear.slot == Slot::Video)
    }

    /// What is heard next. None: something was missed, or one has nothing more.
    async fn hear(&mut self) -> Option<(Track, AccessUnit)> {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let heard = select_all(self.0.iter_mut().map(|ear| Box::pin(ear.units.recv())));
        let (heard, index, _) = heard.await;
        let ear = self.0.get(index)?;
        match heard {
            Ok(Tapped { format, unit, .. }) => {
                Some((Track { slot: ear.slot, format, language: ear.language }, unit))
            }
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => {
                self.0.swap_remove(index);
                None
            }
        }
    }
}

impl Feed {
    /// Until the stream is over, or nobody takes it.
    async fn run(mut self, stream: StreamHandle, is_over: impl Fn() -> bool) -> Ended {
        let mut snapshots = stream.watch();
        let mut ears = Ears::default();
        let tracks = ears.open(&snapshots.borrow_and_update(), self.rung.as_deref());
        self.program = Program::new(tracks);
        loop {
            let heard = tokio::select! {
                heard = ears.hear() => heard,
                changed = snapshots.changed() => {
                    let snapshot = Arc::clone(&snapshots.borrow_and_update());
                    if changed.is_err() || snapshot.phase == Phase::Ended {
                        return Ended::Stream;
                    }
                    ears.open(&snapshot, self.rung.as_deref());
                    None
                }
            };
            let Some((track, unit)) = heard else {
                if is_over() {
                    return Ended::Unheard;
                }
                continue;
            };
            // Sound alone has no keyframe to wait for.
            let joins = unit.keyframe && (track.slot == Slot::Video || !ears.has_video());
            if joins {
                if is_over() {
                    return Ended::Unheard;
                }
                let _fetched = self.wants.want(&stream.snapshot().name).is_some();
            }
            match self.program.write(&track, &unit) {
                Ok(bytes) if bytes.is_empty() => {}
                // Nobody may be left meanwhile.
                Ok(bytes) => drop(self.out.send(Chunk { bytes, joins })),
                Err(error) => {
                    tracing::warn!(stream = %stream.snapshot().name, %error, "not given as a transport stream");
                    return Ended::Stream;
                }
            }
        }
    }
}
