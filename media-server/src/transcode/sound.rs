//! Sound that is encoded by a worker of its own: a publisher's that players do not decode, a rung of a stream's, a player's. A worker that dies or hangs is
//! replaced, and the replacement is given again what the dead one had not answered: what a listener misses is nothing, or
//! what could not be decoded.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media::{AccessUnit, Span, Timestamp, aac};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::attempt::write;
use super::process;
use super::protocol::{self, FromWorker, ProtocolError, ToWorker};
use super::spec::SoundSpec;
use super::workers::Workers;
use crate::backoff::Backoff;
use crate::live::{Inlet, SoundRungOutlet};

/// Frames that may wait for the worker: some seconds.
const WAITING: usize = 256;
/// What a decoder and an encoder need to hear before a frame, to give it as if they had heard all.
const WARM_UP: Span = Span::from_millis(150);
/// Frames that are kept for a replacement.
const KEPT: usize = 512;
/// Time without an answer, while frames wait for one.
const HANG: Duration = Duration::from_secs(2);
/// Until a worker is ready for input.
const STARTUP: Duration = Duration::from_secs(10);
/// Workers of a rung in a row that give nothing before it is given up.
const BARREN: u32 = 3;
/// How long what was sent may still come out, once the publisher has gone.
const DRAIN: Duration = Duration::from_secs(1);
/// A frame's time is that behind the one before, unless it is off by more than this.
const OFF: Span = Span::from_millis(5);

/// Why a worker is over.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the worker ended")]
    Closed,
    #[error("the worker: {0}")]
    Socket(#[from] io::Error),
    #[error("the worker does not keep to the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the worker hung")]
    Hung,
    /// `fatal`: another worker would fail the same way.
    #[error("{text}")]
    Said { fatal: bool, text: String },
    #[error("the stream has gone")]
    Unwanted,
}

/// Who is given what was encoded.
pub enum Hearer {
    /// A stream, as one of its publisher's sounds: AAC.
    Stream(Inlet),
    /// A stream, as a rung of one of its sounds.
    Rung(SoundRungOutlet),
    /// Whoever plays it by WebRTC: Opus.
    Packets(mpsc::Sender<AccessUnit>),
}

impl Hearer {
    /// False: nobody hears it any more.
    fn format(&self, config: &Bytes) -> Result<bool, aac::AacError> {
        match self {
            Self::Stream(inlet) => Ok(inlet.format(aac::format(&aac::canonical(config))?)),
            Self::Rung(outlet) => Ok(outlet.format(aac::format(&aac::canonical(config))?)),
            Self::Packets(_) => Ok(true),
        }
    }

    fn frame(&self, unit: AccessUnit) -> bool {
        match self {
            Self::Stream(inlet) => inlet.frame(unit),
            Self::Rung(outlet) => outlet.frame(unit),
            // Who is too slow misses it.
            Self::Packets(units) => !matches!(units.try_send(unit), Err(TrySendError::Closed(_))),
        }
    }

    fn dropped(&self) {
        if let Self::Stream(inlet) = self {
            inlet.dropped();
        }
    }

    async fn closed(&self) {
        match self {
            Self::Stream(inlet) => inlet.closed().await,
            Self::Rung(outlet) => outlet.closed().await,
            Self::Packets(units) => units.closed().await,
        }
    }
}

/// Encodes what is sent to the sender, and gives it to `hearer`; the task, which the caller spawns, ends when the sender is
/// dropped and all has come out, when the stream is gone, or with `stop`.
pub fn encode_sound(
    workers: Workers,
    spec: SoundSpec,
    hearer: Hearer,
    stop: CancellationToken,
) -> (mpsc::Sender<AccessUnit>, impl Future<Output = ()> + Send + use<>) {
    let (sender, frames) = mpsc::channel(WAITING);
    let job = Job { workers, spec, hearer, journal: Mutex::default(), fed: Notify::new() };
    (sender, async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = job.run(frames) => {}
        }
    })
}

struct Job {
    workers: Workers,
    spec: SoundSpec,
    hearer: Hearer,
    journal: Mutex<Journal>,
    fed: Notify,
}

/// What was sent and may be needed again.
#[derive(Default)]
struct Journal {
    frames: VecDeque<AccessUnit>,
    /// Of these the present worker has been given so many.
    given: usize,
    /// No more will come.
    ended: bool,
    /// Behind what was delivered.
    delivered: Option<Timestamp>,
    /// When something was answered last, or a frame was given while nothing was owed.
    progress: Option<Instant>,
}

impl Journal {
    /// False: the oldest had to go for it.
    fn add(&mut self, frame: AccessUnit) -> bool {
        self.frames.push_back(frame);
        let room = self.frames.len() <= KEPT;
        if !room {
            self.frames.pop_front();
            self.given = self.given.saturating_sub(1);
        }
        room
    }

    fn next(&mut self, now: Instant) -> Option<AccessUnit> {
        let next = self.frames.get(self.given)?.clone();
        if !self.is_owed() {
            self.progress = Some(now);
        }
        self.given = self.given.saturating_add(1);
        Some(next)
    }

    /// Up to here all is delivered.
    fn settle(&mut self, end: Timestamp, now: Instant) {
        self.delivered = Some(end);
        self.progress = Some(now);
        while self.given > 0
            && self.frames.front().is_some_and(|frame| frame.pts + frame.duration + WARM_UP < end)
        {
            self.frames.pop_front();
            self.given = self.given.saturating_sub(1);
        }
    }

    /// An answer is to come. What is kept to warm up is answered already.
    fn is_owed(&self) -> bool {
        let given = self.given.checked_sub(1).and_then(|last| self.frames.get(last));
        given.is_some_and(|frame| self.delivered.is_none_or(|end| frame.pts > end + WARM_UP))
    }

    /// And has not come for so long.
    fn is_overdue(&self, patience: Duration, now: Instant) -> bool {
        self.is_owed() && self.progress.is_some_and(|at| now.saturating_duration_since(at) > patience)
    }
}

impl Job {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, mut frames: mpsc::Receiver<AccessUnit>) {
        let intake = async {
            while let Some(frame) = frames.recv().await {
                if !self.journal().add(frame) {
                    self.hearer.dropped();
                }
                self.fed.notify_one();
            }
            self.journal().ended = true;
            self.fed.notify_one();
            // Nothing is waited for long.
            sleep(DRAIN).await;
        };
        tokio::select! {
            () = intake => {}
            () = self.hearer.closed() => {}
            () = self.attempts() => {}
        }
    }

    /// For a new worker, which is given all that is kept; up to where the last one delivered.
    fn begin(&self) -> Option<Timestamp> {
        let mut journal = self.journal();
        (journal.given, journal.progress) = (0, None);
        journal.delivered
    }

    /// One worker after the other, until one has done it all. A rung of which nothing comes any more is given up.
    async fn attempts(&self) {
        let mut backoff = Backoff::default();
        let mut barren = 0_u32;
        loop {
            let before = self.begin();
            let ended = self.attempt().await;
            let (done, gave) = {
                let journal = self.journal();
                (journal.ended, journal.delivered != before)
            };
            barren = if gave { 0 } else { barren.saturating_add(1) };
            if let (Hearer::Rung(outlet), Err(fault)) = (&self.hearer, &ended)
                && !gave
                && (barren >= BARREN || matches!(fault, Fault::Said { fatal: true, .. }))
            {
                return outlet.failed(fault.to_string());
            }
            match ended {
                Err(Fault::Unwanted) => return,
                Ok(()) | Err(Fault::Closed) if done => return,
                Ok(()) => {}
                Err(fault) => {
                    tracing::warn!(stream = %self.spec.stream, reason = %fault, "sound encoder replaced");
                }
            }
            // One that gave something is replaced at once.
            if gave {
                backoff.reset();
            } else {
                sleep(backoff.next(rand::random())).await;
            }
        }
    }

    async fn attempt(&self) -> Result<(), Fault> {
        let process::Worker { mut child, socket, stderr } =
            process::spawn(self.workers.program(), false, &[])?;
        let (read, write_half) = socket.into_split();
        let result = {
            let mut feed = pin!(self.feed(write_half));
            let mut collect = pin!(self.collect(read));
            let mut log = pin!(process::log(stderr, &self.spec.stream));
            let (mut fed, mut logged) = (false, false);
            loop {
                tokio::select! {
                    biased;
                    collected = &mut collect => break collected,
                    // A failed write means a dead worker: what it made before is still read, up to its end of file.
                    _ = &mut feed, if !fed => fed = true,
                    () = &mut log, if !logged => logged = true,
                }
            }
        };
        // Already dead, or ended by this.
        child.start_kill().ok();
        child.wait().await.ok();
        result
    }

    async fn feed(&self, mut socket: OwnedWriteHalf) -> io::Result<()> {
        write(&mut socket, ToWorker::Sound(Box::new(self.spec.clone())).encode()).await?;
        loop {
            let next = {
                let mut journal = self.journal();
                journal.next(Instant::now()).ok_or(journal.ended)
            };
            match next {
                Ok(unit) => write(&mut socket, ToWorker::Source { unit, edge: false }.encode()).await?,
                Err(true) => return socket.shutdown().await,
                Err(false) => self.fed.notified().await,
            }
        }
    }

    async fn collect(&self, mut socket: OwnedReadHalf) -> Result<(), Fault> {
        let mut read = BytesMut::new();
        let mut ready = false;
        let mut grid = Grid::default();
        loop {
            while let Some((kind, body)) = protocol::split(&mut read)? {
                match FromWorker::decode(kind, body)? {
                    FromWorker::Ready => ready = true,
                    FromWorker::Sound { config } => {
                        let heard = self.hearer.format(&config);
                        let unread =
                            |error: aac::AacError| Fault::Said { fatal: true, text: error.to_string() };
                        if !heard.map_err(unread)? {
                            return Err(Fault::Unwanted);
                        }
                    }
                    FromWorker::Unit { unit, .. } => {
                        let unit = grid.place(unit, self.spec.made_rate());
                        let new =
                            self.journal().delivered.is_none_or(|end| unit.pts + unit.duration.half() >= end);
                        if new {
                            self.journal().settle(unit.pts + unit.duration, Instant::now());
                            if !self.hearer.frame(unit) {
                                return Err(Fault::Unwanted);
                            }
                        }
                    }
                    FromWorker::Error { fatal, text } => return Err(Fault::Said { fatal, text }),
                    FromWorker::Format { .. } | FromWorker::Progress { .. } => {}
                }
            }
            protocol::make_room(&mut read);
            let patience = if ready { HANG } else { STARTUP };
            match timeout(HANG / 4, socket.read_buf(&mut read)).await {
                Ok(Ok(0)) => return Err(Fault::Closed),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(Fault::Closed);
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if self.journal().is_overdue(patience, Instant::now()) => return Err(Fault::Hung),
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

/// Frames exactly one behind the other, as far as their times say so: the worker counts nanoseconds.
#[derive(Default)]
struct Grid {
    /// The first frame's time, and how many follow on it.
    run: Option<(Timestamp, i64)>,
}

impl Grid {
    fn place(&mut self, mut unit: AccessUnit, rate: u32) -> AccessUnit {
        let samples = unit.duration.ticks(rate);
        let next = |(origin, count): (Timestamp, i64)| {
            origin + Span::from_ticks(count.saturating_mul(samples), rate)
        };
        let run = self.run.filter(|run| (unit.pts - next(*run)).abs() <= OFF).unwrap_or((unit.pts, 0));
        (unit.dts, unit.pts) = (next(run), next(run));
        self.run = Some((run.0, run.1.saturating_add(1)));
        unit
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(at: Timestamp, duration: Span) -> AccessUnit {
        AccessUnit { dts: at, pts: at, duration, keyframe: true, payload: Bytes::new() }
    }

    #[test]
    fn times_in_nanoseconds_become_exact_and_a_jump_is_followed() {
        let mut grid = Grid::default();
        let lasts = Span::from_ticks(1024, 44_100);
        for n in 0..10_000_i64 {
            let jump = if n < 5_000 { 0 } else { 3_000_000_000 };
            let nanoseconds = i128::from(n) * 1024 * 1_000_000_000 / 44_100;
            let sent = Timestamp::from_ticks(i64::try_from(nanoseconds).unwrap() + jump, 1_000_000_000);
            let unit = grid.place(frame(sent, lasts), 44_100);
            let exact = Timestamp::from_ticks(n * 1024, 44_100)
                + Timestamp::from_ticks(jump, 1_000_000_000).since_zero();
            assert!((unit.pts - exact).abs() < Span::from_ticks(1, 1_000_000), "{n}");
        }
    }

    #[test]
    fn what_was_answered_is_kept_as_long_as_a_replacement_needs_it_to_warm_up() {
        let lasts = Span::from_millis(24);
        let mut journal = Journal::default();
        for n in 0..100 {
            journal.add(frame(Timestamp::ZERO + lasts.times(n), lasts));
        }
        assert_eq!(std::iter::from_fn(|| journal.next(Instant::now())).count(), 100);
        journal.settle(Timestamp::ZERO + lasts.times(50), Instant::now());
        let first = journal.frames.front().map(|frame| frame.pts);
        assert!(first.is_some_and(|at| at <= Timestamp::ZERO + lasts.times(44)), "{first:?}");
        assert!(journal.frames.len() < 60 && journal.given == journal.frames.len());
        journal.given = 0;
        assert_eq!(
            journal.next(Instant::now()).map(|frame| frame.pts),
            first,
            "the next worker begins with it"
        );
    }

    #[test]
    fn an_answer_is_overdue_from_its_own_frame_on_and_not_from_the_pause_before() {
        let lasts = Span::from_millis(24);
        let at = |ms| Timestamp::ZERO + Span::from_millis(ms);
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let mut journal = Journal::default();
        journal.add(frame(at(0), lasts));
        assert!(journal.next(began).is_some());
        assert!(journal.is_overdue(HANG, after(3)), "it never answered");
        journal.settle(at(24), after(3));
        assert!(!journal.is_overdue(HANG, after(60)), "nothing is owed");
        journal.add(frame(at(60_000), lasts));
        assert!(journal.next(after(60)).is_some() && !journal.is_overdue(HANG, after(61)));
        assert!(journal.is_overdue(HANG, after(63)));
    }

    #[test]
    fn frames_for_a_worker_that_never_answers_are_bounded() {
        let mut journal = Journal::default();
        for n in 0..5_000 {
            journal.add(frame(Timestamp::ZERO + Span::from_millis(n), Span::from_millis(1)));
        }
        assert_eq!(journal.frames.len(), KEPT);
        assert!(!journal.add(frame(Timestamp::ZERO, Span::ZERO)), "said, to be counted");
    }
}
