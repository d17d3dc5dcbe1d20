//! Gives streams their encoder: `live` asks for rungs, `transcode` makes them, neither knows the other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use media::AccessUnit;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::capacity::{Capacity, Ticket};
use super::room::Room;
use crate::config::Shortage;
use crate::live::{RungEvent, RungFactory, RungRequest, RungSink, Rungs, WorkerStatus};
use crate::transcode::{
    self, Backend, Coding, Elements, Family, Limits, RungSpec, TranscodeSpec, Transcoder, Wish, Workers,
    X264, installed,
};

/// Units that are kept until the encoder has shown that it works.
const FIRST: usize = 300;

/// Events that may wait for the stream.
const EVENTS: usize = 256;

/// Dropped, it lets its worker finish what it was given, and then end.
struct Sink {
    transcoder: ArcSwap<Transcoder>,
    /// What it was given since it began; None once something has come out.
    first: Mutex<Option<Vec<(AccessUnit, bool)>>>,
    /// Which rungs it makes.
    wanted: Mutex<Vec<bool>>,
    room: Arc<Room>,
}

impl Sink {
    fn new(transcoder: Transcoder, wanted: Vec<bool>, room: Arc<Room>) -> Self {
        transcoder.choose(&wanted);
        let (transcoder, first) = (ArcSwap::from_pointee(transcoder), Mutex::new(Some(Vec::new())));
        Self { transcoder, first, wanted: Mutex::new(wanted), room }
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<bool>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first(&self) -> MutexGuard<'_, Option<Vec<(AccessUnit, bool)>>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(transcoder: &Transcoder, unit: AccessUnit, edge: bool) {
        // An overrun has skipped to a keyframe and is counted in the status.
        if let Err(overrun) = transcoder.push(unit, edge) {
            tracing::debug!(%overrun, "encoder is behind");
        }
    }

    /// Another one goes on from the beginning.
    fn replace(&self, transcoder: Transcoder) {
        let mut first = self.first();
        transcoder.choose(&self.wanted());
        for (unit, edge) in first.take().unwrap_or_default() {
            Self::give(&transcoder, unit, edge);
        }
        self.transcoder.store(Arc::new(transcoder));
    }
}

impl RungSink for Sink {
    fn push(&self, unit: AccessUnit, edge: bool) {
        let mut first = self.first();
        if let Some(kept) = first.as_mut() {
            // Its start takes no longer than that; behind it nothing is kept in order.
            if kept.len() < FIRST {
                kept.push((unit.clone(), edge));
            } else {
                *first = None;
            }
        }
        Self::give(&self.transcoder.load(), unit, edge);
    }

    fn choose(&self, wanted: &[bool]) {
        wanted.clone_into(&mut self.wanted());
        self.transcoder.load().choose(wanted);
    }

    fn is_short(&self) {
        self.room.is_short();
    }

    fn has_room(&self) -> bool {
        self.room.take()
    }

    fn status(&self) -> WorkerStatus {
        let stats = self.transcoder.load().stats();
        WorkerStatus { pid: stats.pid, restarts: stats.restarts, dropped: stats.dropped, behind: stats.lag }
    }
}

/// One stream's encoder, from its first worker on.
struct Job {
    spec: TranscodeSpec,
    /// Room on a device; None where the processor makes everything.
    ticket: Option<Ticket>,
    capacity: Arc<Capacity>,
    sink: Weak<Sink>,
    shortage: Shortage,
    spare: Arc<Spare>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Job {
    /// Hands on what comes, until it ends. An encoder that fails before it has given anything gives way, as is laid down for
    /// a shortage.
    async fn forward(mut self, mut made: mpsc::Receiver<RungEvent>, forward: mpsc::Sender<RungEvent>) {
        let mut works = false;
        while let Some(event) = made.recv().await {
            let failure = match &event {
                RungEvent::Failed { reason } if !works && self.gives_way() => reason.clone(),
                // A device that fails a stream at once would go on doing so.
                RungEvent::Restarted { reason } if !works && self.ticket.is_some() => reason.clone(),
                other => {
                    if matches!(other, RungEvent::Unit { .. }) && !std::mem::replace(&mut works, true) {
                        self.begun();
                    }
                    if forward.send(event).await.is_err() {
                        break;
                    }
                    continue;
                }
            };
            let (events, says) = self.fall_back(failure);
            for said in says {
                // Nobody listens: seen when there is something to hand on.
                forward.send(said).await.ok();
            }
            match events {
                Some(events) => made = events,
                None => break,
            }
        }
        self.spare.leave();
    }

    /// The first unit has come out.
    fn begun(&self) {
        if let Some(sink) = self.sink.upgrade() {
            *sink.first() = None;
        }
        self.spare.keep();
    }

    fn gives_way(&self) -> bool {
        let by_device = self.spec.rungs.iter().any(of_device);
        self.ticket.is_some() || self.shortage == Shortage::Cpu && (self.spec.encoder != X264 || by_device)
    }

    /// Something else for an encoder that cannot begin, and what is said of it.
    fn fall_back(&mut self, reason: String) -> (Option<mpsc::Receiver<RungEvent>>, Vec<RungEvent>) {
        let device = self.ticket.take().map(|ticket| ticket.device().to_owned()).unwrap_or_default();
        let (stream, encoder, shortage) = (&self.spec.stream, &self.spec.encoder, self.shortage);
        tracing::warn!(stream, device, encoder, reason, ?shortage, "the encoder cannot begin");
        let mut says = Vec::new();
        match self.shortage {
            Shortage::Cpu => {
                says.extend(by_processor(&mut self.spec, &reason, installed));
                if self.spec.rungs.is_empty() {
                    return (None, vec![RungEvent::Failed { reason }]);
                }
            }
            Shortage::Passthrough => return (None, vec![RungEvent::Failed { reason }]),
            Shortage::Fail => return (None, vec![RungEvent::Refused { reason }]),
            Shortage::Shed => {
                let largest = largest(&self.spec);
                says.extend(leave_out(&mut self.spec, largest, &reason));
                match place(&mut self.spec, &self.capacity, self.shortage) {
                    Ok((ticket, left)) if !self.spec.rungs.is_empty() => {
                        self.ticket = ticket;
                        says.extend(left);
                    }
                    _ => return (None, vec![RungEvent::Failed { reason }]),
                }
            }
        }
        let Some(sink) = self.sink.upgrade() else { return (None, Vec::new()) };
        close_up(&mut sink.wanted(), &says);
        let workers = self.spare.workers.clone();
        let (transcoder, events, driver) =
            transcode::start(self.spec.clone(), workers, self.stop.child_token());
        sink.replace(transcoder);
        self.tasks.spawn(driver);
        (Some(events), says)
    }
}

fn put(spec: &mut TranscodeSpec, elements: &Elements) {
    let Elements { encoder, decoder, scaler } = elements.clone();
    (spec.encoder, spec.decoder, spec.scaler) = (encoder, decoder, scaler);
}

/// It has an encoder of its own, which is a device's.
fn of_device(rung: &RungSpec) -> bool {
    rung.encoder.as_deref().and_then(Backend::of).is_some_and(|backend| backend.family != Family::Cpu)
}

/// The processor makes everything: rungs of codecs of which it has no encoder are left out, and what is said of them.
fn by_processor(
    spec: &mut TranscodeSpec,
    reason: &str,
    encoder: impl Fn(Coding) -> Option<&'static str>,
) -> Vec<RungEvent> {
    put(spec, &Elements::processor(X264));
    let mut without = Vec::new();
    for (index, rung) in spec.rungs.iter_mut().enumerate().filter(|(_, rung)| of_device(rung)) {
        match encoder(rung.codec) {
            Some(element) => rung.encoder = Some(element.to_owned()),
            None => without.push(index),
        }
    }
    leave_out(spec, without, reason)
}

/// Pixels a second of a rung.
fn pixels(rung: &RungSpec, source: Option<(u32, u32)>) -> u64 {
    let (numerator, denominator) = rung.fps.or(source).unwrap_or((30, 1));
    let size = u64::from(rung.width) * u64::from(rung.height);
    size.saturating_mul(u64::from(numerator)) / u64::from(denominator.max(1))
}

fn largest(spec: &TranscodeSpec) -> Vec<usize> {
    let rungs = spec.rungs.iter().enumerate();
    let largest = rungs.max_by_key(|(_, rung)| pixels(rung, spec.video.frame_rate));
    largest.map(|(index, _)| index).into_iter().collect()
}

/// Takes rungs out of the job; what is said of it.
fn leave_out(spec: &mut TranscodeSpec, mut rungs: Vec<usize>, reason: &str) -> Vec<RungEvent> {
    // From behind: those in front keep their numbers.
    rungs.sort_unstable_by(|a, b| b.cmp(a));
    let mut says = Vec::new();
    for rung in rungs {
        spec.rungs.remove(rung);
        says.push(RungEvent::Left { rung, reason: reason.to_owned() });
    }
    says
}

/// Takes those that are left out from among the wanted.
fn close_up(wanted: &mut Vec<bool>, says: &[RungEvent]) {
    for event in says {
        if let RungEvent::Left { rung, .. } = event
            && *rung < wanted.len()
        {
            wanted.remove(*rung);
        }
    }
}

/// What a stream is told that has no room.
const FULL: &str = "no device has room for it";

/// Finds room for a job, where it is one for a device, and what is said of it; Err is all that it comes to.
fn place(
    spec: &mut TranscodeSpec,
    capacity: &Arc<Capacity>,
    shortage: Shortage,
) -> Result<(Option<Ticket>, Vec<RungEvent>), RungEvent> {
    if !capacity.has_devices() {
        put(spec, &capacity.processor());
        return Ok((None, Vec::new()));
    }
    let rungs = spec.rungs.iter().map(|rung| pixels(rung, spec.video.frame_rate)).collect();
    let wish = Wish { codec: &spec.video.codec, rungs };
    if let Some((ticket, left)) = capacity.take(&wish, shortage == Shortage::Shed) {
        put(spec, ticket.elements());
        let says = leave_out(spec, left, FULL);
        return Ok((Some(ticket), says));
    }
    let (stream, reason) = (&spec.stream, FULL.to_owned());
    tracing::warn!(stream, ?shortage, "no device has room for the stream's rungs");
    match shortage {
        Shortage::Cpu => {
            let says = by_processor(spec, FULL, installed);
            Ok((None, says))
        }
        Shortage::Shed | Shortage::Passthrough => Err(RungEvent::Failed { reason }),
        Shortage::Fail => Err(RungEvent::Refused { reason }),
    }
}

/// A spare worker waits while anything is encoded: a crash then costs tens of milliseconds. Without a rung to encode
/// there is no worker, and no spare, unless workers take long to look at their device: then one always waits, or a stream's
/// rungs would begin seconds after it.
struct Spare {
    workers: Workers,
    encoders: AtomicUsize,
    /// Plugins that look at a device when they are loaded.
    plugins: Arc<ArcSwap<Vec<&'static str>>>,
}

impl Spare {
    /// An encoder has given its first unit: now a spare takes no time from it.
    fn keep(&self) {
        if let Err(error) = self.workers.keep_spare() {
            tracing::warn!(%error, "no spare encoder worker: a crash will take longer to mend");
        }
    }

    fn leave(&self) {
        if self.encoders.fetch_sub(1, Ordering::AcqRel) == 1 && !self.begins_slowly() {
            self.workers.release_spare();
        }
    }

    fn begins_slowly(&self) -> bool {
        !self.plugins.load().is_empty()
    }
}

/// How long a stream's first list waits for rungs of a worker that may have to look at its device first.
const SLOW_BEGINNING: Duration = Duration::from_secs(4);

/// What encodes pictures.
#[derive(Clone)]
pub(super) struct Chosen {
    /// The devices, and what they are given.
    pub(super) capacity: Arc<Capacity>,
    /// Workers may have to reach one.
    pub(super) devices: bool,
    /// What is done where none has room, or an encoder cannot begin.
    pub(super) shortage: Shortage,
}

/// A factory whose workers are `program transcode-worker`, encode with `preset`, with what is chosen, and live in `tasks` until `stop`.
pub(super) fn factory(
    program: PathBuf,
    (preset, Chosen { capacity, devices, shortage }): (Arc<ArcSwap<String>>, Chosen),
    tasks: TaskTracker,
    stop: CancellationToken,
) -> RungFactory {
    let room = Arc::new(Room::new());
    let workers = Workers::with_devices(program, devices, capacity.plugins());
    let spare = Arc::new(Spare { workers, encoders: AtomicUsize::new(0), plugins: capacity.plugins() });
    if spare.begins_slowly() {
        spare.keep();
    }
    Arc::new(move |request: RungRequest| {
        let mut spec = TranscodeSpec {
            stream: request.stream,
            video: request.source,
            rungs: request
                .rungs
                .into_iter()
                .map(|r| RungSpec {
                    name: r.name,
                    width: r.width,
                    height: r.height,
                    // Every frame is kept where the source's rate is low enough already.
                    fps: r.fps.filter(|_| r.every > 1),
                    video_bitrate: r.video_bitrate,
                    codec: r.codec.into(),
                    encoder: r.encoder,
                    tuning: r.tuning,
                })
                .collect(),
            preset: preset.load().to_string(),
            encoder: X264.to_owned(),
            decoder: None,
            scaler: None,
            limits: Limits::default(),
        };
        let (forward, events) = mpsc::channel(EVENTS);
        let mut wanted = request.wanted;
        let (ticket, says) = place(&mut spec, &capacity, shortage).unwrap_or_else(|end| {
            // Nothing is encoded, and no worker started.
            spec.rungs.clear();
            (None, vec![end])
        });
        close_up(&mut wanted, &says);
        for event in says {
            // The channel is empty, and takes more than there are rungs.
            forward.try_send(event).ok();
        }
        let (transcoder, made, driver) =
            transcode::start(spec.clone(), spare.workers.clone(), stop.child_token());
        spare.encoders.fetch_add(1, Ordering::AcqRel);
        // Who begins later than its stream should not wait for a process to start.
        if !wanted.contains(&true) {
            spare.keep();
        }
        let sink = Arc::new(Sink::new(transcoder, wanted, Arc::clone(&room)));
        tasks.spawn(driver);
        let slow = ticket.is_some() && spare.begins_slowly();
        let patience = if slow { SLOW_BEGINNING } else { Duration::ZERO };
        let job = Job {
            spec,
            ticket,
            capacity: Arc::clone(&capacity),
            sink: Arc::downgrade(&sink),
            shortage,
            spare: Arc::clone(&spare),
            tasks: tasks.clone(),
            stop: stop.child_token(),
        };
        tasks.spawn(job.forward(made, forward));
        Rungs { sink, events, patience }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::VideoFormat;

    use super::*;

    #[test]
    fn a_device_that_fails_gives_way_to_the_processors_encoder_of_each_codec() {
        let rung = |name: &str, codec, encoder: Option<&str>| RungSpec {
            codec,
            encoder: encoder.map(str::to_owned),
            ..RungSpec::new(name, (640, 360), 800_000)
        };
        let codec = "avc1.64001f".to_owned();
        let video = VideoFormat { codec, width: 1280, height: 720, frame_rate: None, config: Bytes::new() };
        let mut spec = TranscodeSpec {
            stream: "ada".into(),
            video,
            rungs: vec![
                rung("hevc", Coding::Hevc, Some("vah265enc")),
                rung("av1", Coding::Av1, Some("vaav1enc")),
                rung("usual", Coding::H264, None),
                rung("slow", Coding::Hevc, Some("x265enc")),
            ],
            preset: "veryfast".into(),
            encoder: "vah264enc".into(),
            decoder: Some("vah264dec".into()),
            scaler: Some("vapostproc".into()),
            limits: Limits::default(),
        };
        let says =
            by_processor(&mut spec, "no session", |coding| (coding == Coding::Hevc).then_some("x265enc"));
        assert_eq!(says, [RungEvent::Left { rung: 1, reason: "no session".into() }]);
        let made: Vec<_> = spec.rungs.iter().map(|rung| (&*rung.name, rung.encoder.as_deref())).collect();
        assert_eq!(made, [("hevc", Some("x265enc")), ("usual", None), ("slow", Some("x265enc"))]);
        assert_eq!((spec.encoder.as_str(), spec.decoder, spec.scaler), (X264, None, None));
        assert!(!spec.rungs.iter().any(of_device), "it is not tried for ever");
    }
}
