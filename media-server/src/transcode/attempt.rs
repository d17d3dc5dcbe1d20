//! The life of one worker process, from its start to its end, seen from the daemon.

use std::{
    io::{self, IoSlice},
    pin::pin,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use media::{AccessUnit, Span, Timestamp, VideoFormat, av1, h265};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::live::RungEvent;

use super::{
    backend::Coding,
    process,
    protocol::{self, Encoded, FromWorker, ProtocolError, Start, ToWorker},
    spec::TranscodeSpec,
    supervisor::{Output, Shared},
    workers::Workers,
};

/// How long a process may take to be gone after its socket has closed.
const REAP: Duration = Duration::from_secs(1);

/// How a worker ended.
pub(super) enum End {
    /// It did all that it was asked, or nobody wants more.
    Finished,
    /// No rung is wanted for now.
    Unwanted,
    /// It is gone, and a replacement may do better.
    Died {
        /// Why, in plain words.
        reason: String,
    },
    /// It is gone, and a replacement would fail the same way.
    Hopeless {
        /// Why, in plain words.
        reason: String,
    },
}

/// Why the daemon stops listening to a worker.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// End of file: the process is dead or done.
    #[error("closed")]
    Closed,
    /// Nobody reads the rungs any more.
    #[error("unread")]
    Unread,
    /// No rung is wanted for now.
    #[error("unwanted")]
    Unwanted,
    #[error("reading from the worker: {0}")]
    Socket(#[from] io::Error),
    #[error("the worker does not keep to the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the worker hung: no progress for {0:?}")]
    Hung(Duration),
    #[error("{text}")]
    Said { fatal: bool, text: String },
}

/// What feeding and collecting tell each other.
#[derive(Default)]
struct Flow {
    /// Units given to the socket, whole or in part.
    sent: AtomicU64,
    /// The source has ended and the worker knows.
    ended: AtomicBool,
}

/// Runs one worker to its end, or to that of `cancel`. The worker is dead and reaped when this returns.
pub(super) async fn run(
    spec: &TranscodeSpec,
    workers: &Workers,
    shared: &Shared,
    output: &mut Output,
    cancel: &CancellationToken,
) -> End {
    let process::Worker { mut child, socket, stderr } = match workers.take() {
        Ok(worker) => worker,
        Err(error) => {
            return End::Died { reason: format!("cannot start {}: {error}", workers.program().display()) };
        }
    };
    shared.pid.store(child.id().unwrap_or(0), Relaxed);
    let start = Start {
        spec: spec.clone(),
        resume_after: output.delivered.iter().map(|pts| pts.map(Timestamp::flicks)).collect(),
        wanted: shared.wanted().clone(),
    };
    let (read, write) = socket.into_split();
    let flow = Flow::default();
    let fault = {
        let mut feed = pin!(feed(start, write, shared, &flow));
        let mut collect = pin!(collect(read, spec, workers, shared, output, &flow));
        let mut log = pin!(process::log(stderr, &spec.stream));
        let (mut fed, mut logged) = (false, false);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break Fault::Unread,
                fault = &mut collect => break fault,
                // A failed write means a dead worker: what it made before is still read, up to its end of file.
                done = &mut feed, if !fed => match done {
                    Ok(Fed::Unwanted) => break Fault::Unwanted,
                    Ok(Fed::All) | Err(_) => fed = true,
                },
                () = &mut log, if !logged => logged = true,
            }
        }
    };
    let status = if matches!(fault, Fault::Closed) { reap(&mut child).await } else { None };
    if status.is_none() {
        // Already dead, or ended by this: either way `wait` below has an answer.
        child.start_kill().ok();
        child.wait().await.ok();
    }
    match fault {
        Fault::Unread => End::Finished,
        Fault::Unwanted => End::Unwanted,
        Fault::Closed => match status {
            Some(status) if status.success() && flow.ended.load(Acquire) => End::Finished,
            Some(status) => End::Died { reason: process::describe(status) },
            None => End::Died { reason: "the worker closed its socket".to_owned() },
        },
        Fault::Said { fatal: true, text } => End::Hopeless { reason: text },
        fault => End::Died { reason: fault.to_string() },
    }
}

async fn reap(child: &mut tokio::process::Child) -> Option<std::process::ExitStatus> {
    tokio::time::timeout(REAP, child.wait()).await.ok()?.ok()
}

/// How feeding ended.
enum Fed {
    /// The source has ended.
    All,
    /// No rung is made any more.
    Unwanted,
}

/// Writes the job and then the source's units and which rungs are made; after the last unit half-closes the socket.
async fn feed(start: Start, mut socket: OwnedWriteHalf, shared: &Shared, flow: &Flow) -> io::Result<Fed> {
    let mut made = start.wanted.clone();
    write(&mut socket, ToWorker::Start(Box::new(start)).encode()).await?;
    loop {
        let wanted = shared.wanted().clone();
        if !wanted.contains(&true) {
            return Ok(Fed::Unwanted);
        }
        for (rung, (now, before)) in (0_u8..).zip(wanted.iter().zip(&mut made)) {
            if std::mem::replace(before, *now) != *now {
                write(&mut socket, ToWorker::Choose { rung, made: *now }.encode()).await?;
            }
        }
        let entry = {
            let mut journal = shared.journal();
            journal.take().ok_or_else(|| journal.is_closed())
        };
        match entry {
            Ok(entry) => {
                flow.sent.fetch_add(1, Release);
                write(&mut socket, ToWorker::Source { unit: entry.unit, edge: entry.edge }.encode()).await?;
            }
            Err(true) => break,
            // `notify_one` keeps its permit when nobody waits yet, so no push is missed.
            Err(false) => tokio::select! {
                () = shared.waiting.notified() => {}
                () = shared.chosen.notified() => {}
            },
        }
    }
    flow.ended.store(true, Release);
    socket.shutdown().await?;
    Ok(Fed::All)
}

/// Writes head and payload in one system call where the socket has room.
pub(super) async fn write(socket: &mut OwnedWriteHalf, encoded: Encoded) -> io::Result<()> {
    let Encoded { mut head, mut payload } = encoded;
    while head.has_remaining() || payload.has_remaining() {
        let written = socket.write_vectored(&[IoSlice::new(&head), IoSlice::new(&payload)]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head.advance(of_head);
        payload.advance(written - of_head);
    }
    Ok(())
}

/// Hands on what the worker makes, until something ends it.
async fn collect(
    mut socket: OwnedReadHalf,
    spec: &TranscodeSpec,
    workers: &Workers,
    shared: &Shared,
    output: &mut Output,
    flow: &Flow,
) -> Fault {
    let mut collector = Collector {
        begun: output.delivered.clone(),
        made: shared.wanted().clone(),
        fresh: vec![false; spec.rungs.len()],
        spec,
        workers,
        shared,
        output,
        ready: false,
        refilled: false,
        consumed: 0,
        progress: Instant::now(),
    };
    let mut read = BytesMut::new();
    let mut tick = tokio::time::interval(spec.limits.hang.div_f32(16.0).max(Duration::from_millis(10)));
    loop {
        loop {
            match protocol::split(&mut read)
                .and_then(|message| message.map(|(kind, body)| FromWorker::decode(kind, body)).transpose())
            {
                Ok(Some(message)) => {
                    if let Err(fault) = collector.take(message).await {
                        return fault;
                    }
                }
                Ok(None) => break,
                Err(error) => return error.into(),
            }
        }
        protocol::make_room(&mut read);
        tokio::select! {
            got = socket.read_buf(&mut read) => match got {
                Ok(0) => return Fault::Closed,
                Ok(_) => {}
                // A worker that dies with input unread resets the socket instead of closing it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Fault::Closed,
                Err(error) => return error.into(),
            },
            _ = tick.tick() => if let Err(fault) = collector.check(flow) { return fault },
        }
    }
}

struct Collector<'a> {
    /// What the predecessors of this worker had delivered of each rung.
    begun: Vec<Option<Timestamp>>,
    /// Which rungs are made, and which of them have given nothing since they are: those are not late yet.
    made: Vec<bool>,
    fresh: Vec<bool>,
    spec: &'a TranscodeSpec,
    workers: &'a Workers,
    shared: &'a Shared,
    output: &'a mut Output,
    ready: bool,
    /// The spare that this worker may have been was replaced.
    refilled: bool,
    /// Units that have reached the worker's decoder.
    consumed: u64,
    /// When the worker last got on, or had nothing to do.
    progress: Instant,
}

impl Collector<'_> {
    async fn take(&mut self, message: FromWorker) -> Result<(), Fault> {
        match message {
            FromWorker::Ready => self.ready = true,
            FromWorker::Progress { consumed } => self.consumed = consumed,
            FromWorker::Format { rung, width, height, frame_rate, config } => {
                let rung = usize::from(rung);
                let Some(spec) = self.spec.rungs.get(rung) else { return Ok(()) };
                let codec = codec(spec.codec, &config);
                let format = VideoFormat { codec, width, height, frame_rate, config };
                let Some(known) = self.output.formats.get_mut(rung) else { return Ok(()) };
                if known.as_ref() != Some(&format) {
                    *known = Some(format.clone());
                    self.send(RungEvent::Format { rung, format }).await?;
                }
            }
            FromWorker::Unit { rung, mut unit } => {
                let rung = usize::from(rung);
                if !self.accept(rung, &mut unit) {
                    return Ok(());
                }
                self.send(RungEvent::Unit { rung, unit }).await?;
                self.settle(rung);
                self.refill();
            }
            // Of a slate or a sound; no worker of a ladder says it.
            FromWorker::Sound { .. } => {}
            FromWorker::Error { fatal, text } => return Err(Fault::Said { fatal, text }),
        }
        self.progress = Instant::now();
        Ok(())
    }

    /// Whether a unit is one that was not delivered yet. Pictures may be decoded in another order than they are shown in: what
    /// a worker gives is all new, but for what lies before the last one that its predecessors had shown.
    fn accept(&mut self, rung: usize, unit: &mut AccessUnit) -> bool {
        let begun = self.begun.get(rung).copied().flatten();
        let Some(delivered) = self.output.delivered.get_mut(rung) else { return false };
        let Some(decoded) = self.output.decoded.get_mut(rung) else { return false };
        if begun.is_some_and(|last| unit.pts <= last) {
            return false;
        }
        if let Some(last) = decoded.filter(|last| unit.dts <= *last) {
            // Its first pictures are decoded so long before they are shown that a predecessor's last one is still in the way.
            unit.dts = last + Span::from_ticks(1, 90_000);
        }
        if let Some(fresh) = self.fresh.get_mut(rung) {
            *fresh = false;
        }
        *decoded = Some(unit.dts);
        *delivered = (*delivered).max(Some(unit.pts));
        true
    }

    /// Once a worker gives units: earlier, a new spare would take the processor from it.
    fn refill(&mut self) {
        if !std::mem::replace(&mut self.refilled, true)
            && let Err(error) = self.workers.refill()
        {
            tracing::warn!(stream = self.spec.stream, %error, "no spare transcode worker can be started");
        }
    }

    async fn send(&mut self, event: RungEvent) -> Result<(), Fault> {
        self.output.events.send(event).await.map_err(|_| Fault::Unread)
    }

    /// What all rungs that are made have delivered is not needed again.
    fn settle(&mut self, rung: usize) {
        let before = std::mem::replace(&mut self.made, self.shared.wanted().clone());
        for (index, fresh) in self.fresh.iter_mut().enumerate() {
            *fresh |=
                self.made.get(index) == Some(&true) && before.get(index) == Some(&false) && index != rung;
        }
        let each = self.output.delivered.iter().zip(&self.made).zip(&self.fresh);
        let given = each.filter(|((_, made), fresh)| **made && !**fresh);
        let slowest = given.map(|((delivered, _), _)| *delivered).min().flatten();
        let first = self.made.iter().position(|made| *made);
        if let Some(slowest) = slowest {
            self.shared.delivered.store(slowest.flicks(), Relaxed);
            self.shared.journal().settle(slowest);
        }
        let (since, count) = &mut self.output.second;
        *count += u32::from(Some(rung) == first);
        let elapsed = since.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.shared.rate.store((f64::from(*count) * 100.0 / elapsed.as_secs_f64()) as u32, Relaxed);
            self.output.second = (Instant::now(), 0);
        }
    }

    fn check(&mut self, flow: &Flow) -> Result<(), Fault> {
        let limits = &self.spec.limits;
        let idle = flow.sent.load(Acquire) <= self.consumed && !flow.ended.load(Acquire);
        let patience = if self.ready { limits.hang } else { limits.startup };
        if self.ready && idle {
            self.progress = Instant::now();
        } else if self.progress.elapsed() > patience {
            return Err(Fault::Hung(patience));
        }
        Ok(())
    }
}

/// RFC 6381 codec string of a configuration record: `avcC`, `hvcC` or `av1C`.
pub(super) fn codec(coding: Coding, config: &Bytes) -> String {
    match coding {
        Coding::H264 => match config.as_ref() {
            // Profile, compatibility and level follow the version.
            [_, profile, compatibility, level, ..] => {
                format!("avc1.{profile:02x}{compatibility:02x}{level:02x}")
            }
            _ => "avc1".to_owned(),
        },
        Coding::Hevc => h265::format(config).map_or_else(|_| "hvc1".to_owned(), |format| format.codec),
        Coding::Av1 => {
            av1::format(config).ok().flatten().map_or_else(|| "av01".to_owned(), |format| format.codec)
        }
    }
}
