//! Renditions as RTP packets, made once for all viewers of a rung, and only while somebody watches.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{AccessUnit, Format, Kind, Timestamp, h264, ladder};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::rtp::{self, Payload};

use super::layers::Layer;
use super::voice::Voice;
use super::{Encoders, OpusFactory, encoded};
use crate::live::{Directory, Phase, Rendition, Snapshot, StreamHandle, Tapped};
use crate::transport::NoFeed;

/// Units that may wait for a viewer: some seconds.
const WAITING: usize = 512;
/// Bytes of a payload: with headers, extensions and the tag of encryption a packet stays below 1200.
const LONGEST: usize = 1100;
/// What is kept for those who join: pictures from the newest keyframe on.
const KEPT: usize = 900;
const KEPT_BYTES: usize = 16 << 20;
/// Between two looks whether somebody still watches.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at a stream that is on its way.
const AGAIN: Duration = Duration::from_millis(100);

/// Why there is nothing to watch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPackets {
    #[error(transparent)]
    Feed(#[from] NoFeed),
    #[error(
        "browsers cannot play this rung by WebRTC: it is not H.264 without B-frames; name no rung, and one is encoded"
    )]
    Rung,
    #[error(
        "browsers cannot play this stream by WebRTC: no rung of it is H.264 without B-frames, and [webrtc] encode is off; watch it by LL-HLS, or turn B-frames off in the encoder"
    )]
    Codec,
}

/// One access unit, ready to be sent.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) kind: Kind,
    /// On the track's RTP clock.
    pub(super) time: u32,
    /// When it belongs, on the clock that sender reports go by.
    pub(super) wall: Instant,
    pub(super) keyframe: bool,
    pub(super) payloads: Vec<Payload>,
}

/// A feed as a viewer holds it.
pub(super) struct Feed {
    /// The rung.
    pub(super) rung: Arc<str>,
    shared: Shared,
    pub(super) next: broadcast::Receiver<Arc<Packets>>,
    pub(super) stream: StreamHandle,
}

impl Feed {
    /// Begins at this moment: the pictures from the newest keyframe on, with which a viewer sees the present at once. What
    /// follows comes by `next`.
    pub(super) fn begin(&mut self) -> Vec<Arc<Packets>> {
        let kept = lock(&self.shared);
        self.next = kept.out.subscribe();
        kept.pictures.iter().cloned().collect()
    }
}

/// What of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Rung(Arc<str>),
    /// What is encoded for viewers by WebRTC alone.
    Encoded,
    Sound,
}

type Key = (Arc<str>, Part);

/// A moment of a stream on the clock that sender reports go by, the same for all of its feeds: sound lies by pictures, and
/// one rung by another.
type Zero = Arc<OnceLock<(Timestamp, Instant)>>;

#[derive(Debug)]
struct Kept {
    zero: Zero,
    pictures: VecDeque<Arc<Packets>>,
    bytes: usize,
    out: broadcast::Sender<Arc<Packets>>,
}

type Shared = Arc<Mutex<Kept>>;

/// Every feed that somebody watches. Clones share them.
#[derive(Clone)]
pub(super) struct PacketFeeds {
    directory: Directory,
    encoders: Encoders,
    taken: Arc<Mutex<HashMap<Key, Shared>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn add(&mut self, packets: Arc<Packets>) {
        if packets.kind == Kind::Video {
            let size: usize = packets.payloads.iter().map(|payload| payload.len()).sum();
            if packets.keyframe || self.pictures.len() >= KEPT || self.bytes.saturating_add(size) > KEPT_BYTES
            {
                self.pictures.clear();
                self.bytes = 0;
            }
            if packets.keyframe || !self.pictures.is_empty() {
                self.bytes = self.bytes.saturating_add(size);
                self.pictures.push_back(Arc::clone(&packets));
            }
        }
        // Nobody may be left meanwhile.
        let _heard = self.out.send(packets).is_ok();
    }
}

fn join(rung: &Arc<str>, shared: &Shared, stream: &StreamHandle) -> Feed {
    let next = lock(shared).out.subscribe();
    Feed { rung: Arc::clone(rung), next, shared: Arc::clone(shared), stream: stream.clone() }
}

impl PacketFeeds {
    /// None yet. Their tasks live in `tasks` and end with `stop`.
    pub(super) fn new(
        directory: Directory,
        encoders: Encoders,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { directory, encoders, taken: Arc::default(), tasks, stop }
    }

    /// A stream's rung by its name; where none is named, its best one that browsers play, or one that is encoded for them.
    /// Waits for a stream that is fetched.
    pub(super) async fn take(&self, stream: &str, rung: Option<&str>) -> Result<Feed, NoPackets> {
        loop {
            let fetched = self.directory.wants().want(stream).is_some();
            let handle = self.directory.get(stream).filter(|it| it.snapshot().phase != Phase::Ended);
            let Some(handle) = handle.filter(|it| !fetched || !it.snapshot().video.is_empty()) else {
                if !fetched {
                    return Err(NoFeed::Stream.into());
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            return self.of(&handle, rung);
        }
    }

    /// A rung of a stream that is there.
    pub(super) fn of(&self, handle: &StreamHandle, rung: Option<&str>) -> Result<Feed, NoPackets> {
        let snapshot = handle.snapshot();
        match find(&snapshot, rung) {
            Ok(rendition) => Ok(self.part(handle, &rendition.name, Part::Rung(Arc::clone(&rendition.name)))),
            Err(NoPackets::Codec) if self.encoders.encode.load(Ordering::Relaxed) => {
                Ok(self.part(handle, &ladder::FULL.into(), Part::Encoded))
            }
            Err(none) => Err(none),
        }
    }

    /// A stream's sound, which is one for all of its rungs.
    fn sound(&self, handle: &StreamHandle) -> broadcast::Receiver<Arc<Packets>> {
        self.part(handle, &Arc::default(), Part::Sound).next
    }

    fn part(&self, handle: &StreamHandle, rung: &Arc<str>, part: Part) -> Feed {
        let stream = Arc::clone(&handle.snapshot().name);
        let key = (Arc::clone(&stream), part);
        let mut feeds = lock(&self.taken);
        if let Some(shared) = feeds.get(&key) {
            return join(rung, shared, handle);
        }
        let of_stream = feeds.iter().find(|((name, _), _)| *name == stream);
        let zero = of_stream.map(|(_, shared)| Arc::clone(&lock(shared).zero)).unwrap_or_default();
        let out = broadcast::Sender::new(WAITING);
        let kept = Kept { zero: Arc::clone(&zero), pictures: VecDeque::new(), bytes: 0, out };
        let shared: Shared = Arc::new(Mutex::new(kept));
        feeds.insert(key.clone(), Arc::clone(&shared));
        let feed = join(rung, &shared, handle);
        let (all, stop, handle) = (self.clone(), self.stop.clone(), handle.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = async {
                    let is_over = || all.is_over(&key);
                    match &key.1 {
                        Part::Rung(rung) => {
                            let sound = all.sound(&handle);
                            pictures(&handle, |now| sent(now, rung), sound, &shared, &zero, is_over).await;
                        }
                        Part::Encoded => {
                            let (sound, out) = (all.sound(&handle), broadcast::Sender::new(WAITING));
                            let made = |_: &Snapshot| Some((Vec::new(), out.subscribe()));
                            tokio::select! {
                                () = encoded::encode(&handle, &all.encoders.rungs, &out) => {}
                                () = pictures(&handle, made, sound, &shared, &zero, is_over) => {}
                            }
                        }
                        Part::Sound => sound(&handle, &all.encoders.opus, &shared, &zero, is_over).await,
                    }
                } => {}
            }
            // Viewers who hold the last of it see it close.
            let mut feeds = lock(&all.taken);
            if feeds.get(&key).is_some_and(|known| Arc::ptr_eq(known, &shared)) {
                feeds.remove(&key);
            }
        });
        feed
    }

    /// Nobody watches any more: from here on it is not found.
    fn is_over(&self, key: &Key) -> bool {
        let mut feeds = lock(&self.taken);
        let over = feeds.get(key).is_none_or(|shared| lock(shared).out.receiver_count() == 0);
        if over {
            feeds.remove(key);
        }
        over
    }
}

/// What a viewer may choose of, the best first.
pub(super) fn layers(snapshot: &Snapshot) -> Vec<Layer> {
    let played = snapshot.video.iter().filter(|it| is_played(it));
    let mut layers: Vec<_> = played
        .filter_map(|it| match &it.format {
            Format::Video(video) => Some(Layer {
                encoding_id: Arc::clone(&it.name),
                width: video.width,
                height: video.height,
                bitrate: it.bitrate(),
            }),
            Format::Audio(_) => None,
        })
        .collect();
    if layers.is_empty()
        && let Some(rung) = encoded::rung(snapshot)
    {
        let ladder::Rung { width, height, video_bitrate, .. } = rung;
        let bitrate = video_bitrate.into();
        layers.push(Layer { encoding_id: ladder::FULL.into(), width, height, bitrate });
    }
    layers.sort_by_key(|layer| std::cmp::Reverse((layer.height, layer.bitrate)));
    layers
}

/// What browsers play: H.264 whose pictures are shown as they come.
pub(super) fn is_played(rendition: &Rendition) -> bool {
    !rendition.reorders()
        && matches!(&rendition.format, Format::Video(video) if video.codec.starts_with("avc1."))
}

fn find<'a>(snapshot: &'a Snapshot, rung: Option<&str>) -> Result<&'a Rendition, NoPackets> {
    match rung.filter(|rung| !rung.is_empty()) {
        Some(name) => {
            let names = || snapshot.video.iter().map(|video| video.name.to_string()).collect();
            match snapshot.video.iter().find(|video| *video.name == *name) {
                Some(found) if is_played(found) => Ok(found),
                Some(_) => Err(NoPackets::Rung),
                None if name == ladder::FULL && !snapshot.video.iter().any(is_played) => {
                    Err(NoPackets::Codec)
                }
                None => Err(NoFeed::Rung(names()).into()),
            }
        }
        None if snapshot.video.is_empty() => Err(NoFeed::Stream.into()),
        None => snapshot.video.iter().find(|it| is_played(it)).ok_or(NoPackets::Codec),
    }
}

fn packets(zero: &Zero, kind: Kind, unit: &AccessUnit, payloads: Vec<Payload>) -> Packets {
    let rate = if kind == Kind::Video { 90_000 } else { 48_000 };
    let (first, at) = *zero.get_or_init(|| (unit.pts, Instant::now()));
    let since = (unit.pts - first).flicks();
    let nanos = Duration::from_nanos(since.unsigned_abs().saturating_mul(1_000) / 705_600);
    let wall = if since < 0 { at.checked_sub(nanos) } else { at.checked_add(nanos) };
    let time = unit.pts.since_zero().ticks(rate) as u32;
    Packets { kind, time, wall: wall.unwrap_or(at), keyframe: unit.keyframe, payloads }
}

/// The parameter sets of a format, as long as it is the same.
#[derive(Default)]
struct Sets {
    of: Option<Arc<Format>>,
    sets: Vec<Bytes>,
}

impl Sets {
    fn of(&mut self, format: &Arc<Format>) -> &[Bytes] {
        if self.of.as_ref().is_none_or(|known| !Arc::ptr_eq(known, format)) {
            self.of = Some(Arc::clone(format));
            self.sets = match &**format {
                Format::Video(video) => h264::Config::parse(&video.config)
                    .map(|config| config.sps.into_iter().chain(config.pps).collect())
                    .unwrap_or_default(),
                Format::Audio(_) => Vec::new(),
            };
        }
        &self.sets
    }
}

/// What came of a rung from the newest keyframe on, and what comes next.
type Joined = (Vec<(Arc<Format>, AccessUnit)>, broadcast::Receiver<Tapped>);

/// Joins a rung that the stream has.
fn sent(snapshot: &Snapshot, rung: &str) -> Option<Joined> {
    let rendition = snapshot.video.iter().find(|video| *video.name == *rung)?;
    let format = Arc::new(rendition.format.clone());
    let (group, next) = rendition.join();
    Some((group.into_iter().map(|unit| (Arc::clone(&format), unit)).collect(), next))
}

/// Writes what `join` gives, with the sound, until its stream is over, or nobody watches: a viewer waits for one thing only.
async fn pictures(
    handle: &StreamHandle,
    join: impl Fn(&Snapshot) -> Option<Joined>,
    mut sound: broadcast::Receiver<Arc<Packets>>,
    shared: &Shared,
    zero: &Zero,
    is_over: impl Fn() -> bool,
) {
    let mut snapshots = handle.watch();
    let mut sets = Sets::default();
    let mut packed = |format: &Arc<Format>, unit: &AccessUnit| {
        let sets = if unit.keyframe { sets.of(format) } else { &[] };
        Arc::new(packets(zero, Kind::Video, unit, rtp::h264(&unit.payload, sets, LONGEST)))
    };
    let mut video = None;
    if let Some((group, next)) = join(&snapshots.borrow_and_update()) {
        for (format, unit) in group {
            lock(shared).add(packed(&format, &unit));
        }
        video = Some(next);
    }
    let mut look = tokio::time::interval(LOOK);
    // Pictures were missed: what builds on them is left out. And: no sound comes any more.
    let (mut broken, mut silent) = (false, false);
    loop {
        let pictures = async {
            match &mut video {
                Some(video) => video.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = pictures => match heard {
                Ok(Tapped { format, unit, .. }) => {
                    broken &= !unit.keyframe;
                    if !broken {
                        lock(shared).add(packed(&format, &unit));
                    }
                }
                Err(RecvError::Lagged(_)) => broken = true,
                Err(RecvError::Closed) => video = None,
            },
            heard = sound.recv(), if !silent => match heard {
                Ok(packets) => lock(shared).add(packets),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => silent = true,
            },
            changed = snapshots.changed() => {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                if changed.is_err() || snapshot.phase == Phase::Ended {
                    return;
                }
                if video.is_none() {
                    video = join(&snapshot).map(|(_, next)| next);
                }
            }
            _ = look.tick() => {
                if is_over() {
                    return;
                }
            }
        }
    }
}

/// Writes the sound until its stream is over, or no rung is watched.
async fn sound(
    handle: &StreamHandle,
    opus: &OpusFactory,
    shared: &Shared,
    zero: &Zero,
    is_over: impl Fn() -> bool,
) {
    let mut snapshots = handle.watch();
    let mut sound = Voice::new(handle, opus);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            heard = sound.next() => match heard {
                Some(unit) => {
                    let payloads = vec![Payload::from(&unit.payload[..])];
                    lock(shared).add(Arc::new(packets(zero, Kind::Audio, &unit, payloads)));
                }
                None => return,
            },
            changed = snapshots.changed() => {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                if changed.is_err() || snapshot.phase == Phase::Ended {
                    return;
                }
                sound.listen(&snapshot);
            }
            _ = look.tick() => {
                if is_over() {
                    return;
                }
            }
        }
    }
}
