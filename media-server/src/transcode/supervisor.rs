//! Keeps one stream's worker alive: starts it, feeds it, hands on what it makes, replaces it when it dies or hangs.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use media::{AccessUnit, Span, Timestamp, VideoFormat};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::live::RungEvent;

use super::{
    attempt::{self, End},
    journal::{Journal, Overrun},
    protocol::MAX_BODY,
    spec::TranscodeSpec,
    workers::Workers,
};

/// Events that may wait for their reader; a full channel slows the worker, not the source.
const EVENTS: usize = 256;
/// Room for a unit message's fixed fields beside its payload.
const MAX_UNIT: usize = MAX_BODY - 64;
/// A worker that has lived this long before it dies is replaced at once.
const HEALTHY: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(5);

/// How a transcoder fares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Process id of the live worker.
    pub pid: Option<u32>,
    /// Times the worker was replaced.
    pub restarts: u64,
    /// Source units that no worker was given: before the first keyframe, or the worker was too slow.
    pub dropped: u64,
    /// Frames a second that the first rung that is made gave over the last second.
    pub fps: f64,
    /// Media time between the newest source unit and the slowest rung.
    pub lag: Span,
}

/// What the stream's handle and the supervisor share.
pub(super) struct Shared {
    journal: Mutex<Journal>,
    /// Which rungs are made.
    wanted: Mutex<Vec<bool>>,
    /// That has changed.
    pub(super) chosen: Notify,
    /// Units wait in the journal, or it is closed.
    pub(super) waiting: Notify,
    pub(super) pid: AtomicU32,
    restarts: AtomicU64,
    /// Hundredths of a frame a second.
    pub(super) rate: AtomicU32,
    /// Flicks; `i64::MIN` before there is one.
    pushed: AtomicI64,
    pub(super) delivered: AtomicI64,
}

impl Shared {
    /// A panic between lock and unlock cannot leave the journal half-changed in a way that matters more than the
    /// stream itself, so a poisoned lock is taken as it is.
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which rungs are made, by their places in the job.
    pub(super) fn wanted(&self) -> MutexGuard<'_, Vec<bool>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to make.
    pub(super) fn wants_any(&self) -> bool {
        self.wanted().contains(&true)
    }
}

/// The stream's end of its transcoder. Dropping it lets the worker finish what it was given, then ends it.
pub struct Transcoder {
    shared: Arc<Shared>,
}

impl Transcoder {
    /// Hands over one source unit in decode order; `edge` asks for an IDR on every rung at its PTS. Never waits.
    /// [`Overrun`] says that units were dropped up to a keyframe; the next push may well succeed.
    pub fn push(&self, unit: AccessUnit, edge: bool) -> Result<(), Overrun> {
        self.shared.pushed.fetch_max(unit.pts.flicks(), Relaxed);
        let pushed = self.shared.journal().push(unit, edge);
        self.shared.waiting.notify_one();
        pushed
    }

    /// Makes these rungs from now on, by their places in the job; all of them at first. A rung that begins while others are
    /// made does so with the next edge; the first ones after none was made begin with the segment before the running one.
    /// Where none is wanted there is no worker.
    pub fn choose(&self, wanted: &[bool]) {
        let mut now = self.shared.wanted();
        for (index, now) in now.iter_mut().enumerate() {
            *now = wanted.get(index).copied().unwrap_or(false);
        }
        drop(now);
        self.shared.chosen.notify_one();
    }

    /// Process id of the live worker.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Relaxed)).filter(|&pid| pid != 0)
    }

    /// Times the worker was replaced.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Relaxed)
    }

    /// How it fares.
    pub fn stats(&self) -> Stats {
        let (pushed, delivered) = (self.shared.pushed.load(Relaxed), self.shared.delivered.load(Relaxed));
        // Where no rung is made, nothing is late.
        let known = pushed != i64::MIN && delivered != i64::MIN && self.shared.wants_any();
        Stats {
            pid: self.pid(),
            restarts: self.restarts(),
            dropped: self.shared.journal().dropped(),
            fps: f64::from(self.shared.rate.load(Relaxed)) / 100.0,
            lag: if known { Span::from_flicks(pushed.saturating_sub(delivered).max(0)) } else { Span::ZERO },
        }
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        self.shared.journal().close();
        self.shared.waiting.notify_one();
    }
}

/// Makes a transcoder: the handle that takes the source, the events of the rungs, and the driver, which has to be
/// polled (on a tokio runtime) for anything to happen and which supervises the worker processes. It ends when
/// `cancel` is cancelled (at once), when the handle is dropped (after what was pushed is encoded), when the event
/// receiver is dropped, or after [`RungEvent::Failed`]. Dropping it kills the worker.
///
/// `workers` may be the path of the executable that has the `transcode-worker` subcommand. A job without rungs
/// starts no worker.
#[must_use = "nothing is transcoded unless the driver is polled"]
pub fn start(
    spec: TranscodeSpec,
    workers: impl Into<Workers>,
    cancel: CancellationToken,
) -> (Transcoder, mpsc::Receiver<RungEvent>, impl Future<Output = ()> + Send + 'static) {
    let shared = Arc::new(Shared {
        journal: Mutex::new(Journal::new(&spec.limits, MAX_UNIT)),
        wanted: Mutex::new(vec![true; spec.rungs.len()]),
        chosen: Notify::new(),
        waiting: Notify::new(),
        pid: AtomicU32::new(0),
        restarts: AtomicU64::new(0),
        rate: AtomicU32::new(0),
        pushed: AtomicI64::new(i64::MIN),
        delivered: AtomicI64::new(i64::MIN),
    });
    let (sender, events) = mpsc::channel(EVENTS);
    let output = Output {
        delivered: vec![None; spec.rungs.len()],
        decoded: vec![None; spec.rungs.len()],
        formats: vec![None; spec.rungs.len()],
        events: sender,
        second: (Instant::now(), 0),
    };
    let supervisor = Supervisor {
        spec,
        workers: workers.into(),
        cancel,
        shared: Arc::clone(&shared),
        output,
        deaths: VecDeque::new(),
    };
    let driver = async move {
        // The journal must not fill up for nobody, however this future ends.
        let _retired = Retire(Arc::clone(&supervisor.shared));
        supervisor.run().await;
    };
    (Transcoder { shared }, events, driver)
}

struct Retire(Arc<Shared>);

impl Drop for Retire {
    fn drop(&mut self) {
        self.0.pid.store(0, Relaxed);
        self.0.journal().retire();
    }
}

/// What has come out so far, across workers.
pub(super) struct Output {
    /// The latest PTS of each rung.
    pub(super) delivered: Vec<Option<Timestamp>>,
    /// The last DTS of each.
    pub(super) decoded: Vec<Option<Timestamp>>,
    pub(super) formats: Vec<Option<VideoFormat>>,
    pub(super) events: mpsc::Sender<RungEvent>,
    /// Start of the second being counted, and the first made rung's units in it.
    pub(super) second: (Instant, u32),
}

impl Output {
    /// Something has come out.
    fn has_given(&self) -> bool {
        self.formats.iter().any(Option::is_some)
    }
}

struct Supervisor {
    spec: TranscodeSpec,
    workers: Workers,
    cancel: CancellationToken,
    shared: Arc<Shared>,
    output: Output,
    deaths: VecDeque<Instant>,
}

impl Supervisor {
    async fn run(mut self) {
        if self.spec.rungs.is_empty() {
            return;
        }
        if let Err(invalid) = self.spec.validate() {
            return self.fail(invalid.to_string()).await;
        }
        loop {
            if !self.shared.wants_any() && !self.sleep().await {
                return;
            }
            let started = Instant::now();
            let before = self.output.delivered.clone();
            let end =
                attempt::run(&self.spec, &self.workers, &self.shared, &mut self.output, &self.cancel).await;
            self.shared.pid.store(0, Relaxed);
            let reason = match end {
                End::Finished => return,
                End::Unwanted => continue,
                // What has worked is there: a worker that finds no element, say, has no memory to load it.
                End::Hopeless { reason } if !self.output.has_given() => return self.fail(reason).await,
                End::Hopeless { reason } | End::Died { reason } => reason,
            };
            if self.is_hopeless(started) {
                let reason = format!("{reason}; given up after {} deaths", self.deaths.len());
                return self.fail(reason).await;
            }
            let barren = self.output.delivered == before;
            let wait = self.prepare(&reason, barren);
            let announced = async {
                self.output.events.send(RungEvent::Restarted { reason }).await?;
                tokio::time::sleep(wait).await;
                Ok::<_, mpsc::error::SendError<RungEvent>>(())
            };
            if !matches!(self.cancel.run_until_cancelled(announced).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Waits until a rung is wanted. False: none will be.
    async fn sleep(&mut self) -> bool {
        self.shared.journal().doze();
        loop {
            let changed = async {
                tokio::select! {
                    () = self.shared.chosen.notified() => {}
                    () = self.shared.waiting.notified() => {}
                    () = self.output.events.closed() => {}
                }
            };
            if self.cancel.run_until_cancelled(changed).await.is_none() || self.output.events.is_closed() {
                return false;
            }
            if self.shared.wants_any() {
                break;
            }
            if self.shared.journal().is_closed() {
                return false;
            }
        }
        self.shared.journal().wake();
        // What was given before has no part in what begins now.
        self.output.delivered.fill(None);
        self.shared.delivered.store(i64::MIN, Relaxed);
        true
    }

    /// Counts a death. True when there were too many of late.
    fn is_hopeless(&mut self, started: Instant) -> bool {
        let now = Instant::now();
        if now.duration_since(started) >= HEALTHY {
            self.deaths.clear();
        }
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|&at| now.duration_since(at) > self.spec.limits.restart_window)
        {
            self.deaths.pop_front();
        }
        self.deaths.len() > self.spec.limits.restarts
    }

    /// Sets the journal for the next worker and says how long to wait for it. A first death waits for nothing;
    /// repeated ones back off, and ones that delivered nothing pass over the input that may have caused them.
    fn prepare(&mut self, reason: &str, barren: bool) -> Duration {
        let restarts = self.shared.restarts.fetch_add(1, Relaxed) + 1;
        let passed_over = barren && self.deaths.len() > 1;
        {
            let mut journal = self.shared.journal();
            if passed_over { journal.abandon() } else { journal.rewind() }
        }
        let wait = match u32::try_from(self.deaths.len()).unwrap_or(u32::MAX) {
            0 | 1 => Duration::ZERO,
            deaths => {
                let most = BACKOFF_FIRST.saturating_mul(1 << (deaths - 2).min(8)).min(BACKOFF_MOST);
                most.mul_f64(rand::random_range(0.5..=1.0))
            }
        };
        let (stream, wait_ms) = (self.spec.stream.as_str(), wait.as_millis());
        tracing::warn!(stream, reason, restarts, passed_over, wait_ms, "transcode worker is replaced");
        wait
    }

    async fn fail(self, reason: String) {
        tracing::error!(stream = self.spec.stream, reason, "transcoding is given up");
        let said = self.output.events.send(RungEvent::Failed { reason });
        // A receiver that is gone does not need to know.
        self.cancel.run_until_cancelled(said).await.map(Result::ok);
    }
}
