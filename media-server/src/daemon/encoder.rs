//! Gives streams their encoder: `live` asks for rungs, `transcode` makes them, neither knows the other.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use media::{AccessUnit, AudioFormat};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ingest::{SoundFactory, SoundRequest};
use crate::live::{RungEvent, RungFactory, RungRequest, RungSink, Rungs, WorkerStatus};
use crate::serve::OpusFactory;
use crate::transcode::{
    self, Hearer, Limits, RungSpec, SoundCodec, SoundSpec, TranscodeSpec, Transcoder, Workers, X264,
};

/// Units that are kept until the encoder has shown that it works.
const FIRST: usize = 300;

/// Dropped, it lets its worker finish what it was given, and then end.
struct Sink {
    transcoder: ArcSwap<Transcoder>,
    /// What it was given since it began; None once something has come out.
    first: Mutex<Option<Vec<(AccessUnit, bool)>>>,
}

impl Sink {
    fn new(transcoder: Transcoder) -> Self {
        Self { transcoder: ArcSwap::from_pointee(transcoder), first: Mutex::new(Some(Vec::new())) }
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

    fn status(&self) -> WorkerStatus {
        let stats = self.transcoder.load().stats();
        WorkerStatus { pid: stats.pid, restarts: stats.restarts, dropped: stats.dropped }
    }
}

/// One stream's encoder, from its first worker on.
struct Job {
    spec: TranscodeSpec,
    sink: Weak<Sink>,
    falls_back: bool,
    spare: Arc<Spare>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Job {
    /// Hands on what comes, until it ends. An encoder that fails before it has given anything gives way to the processor's.
    async fn forward(mut self, mut made: mpsc::Receiver<RungEvent>, forward: mpsc::Sender<RungEvent>) {
        let mut works = false;
        while let Some(event) = made.recv().await {
            match &event {
                RungEvent::Unit { .. } if !works => {
                    works = true;
                    if let Some(sink) = self.sink.upgrade() {
                        *sink.first() = None;
                    }
                    self.spare.keep();
                }
                RungEvent::Failed { reason } if !works => {
                    if let Some(events) = self.fall_back(reason) {
                        made = events;
                        continue;
                    }
                }
                _ => {}
            }
            if forward.send(event).await.is_err() {
                break;
            }
        }
        self.spare.leave();
    }

    fn fall_back(&mut self, reason: &str) -> Option<mpsc::Receiver<RungEvent>> {
        let sink = self.sink.upgrade().filter(|_| self.falls_back && self.spec.encoder != X264)?;
        let (stream, encoder) = (&self.spec.stream, &self.spec.encoder);
        tracing::warn!(
            stream,
            encoder,
            reason,
            "the encoder cannot begin: the processor encodes this stream"
        );
        X264.clone_into(&mut self.spec.encoder);
        let workers = self.spare.workers.clone();
        let (transcoder, events, driver) =
            transcode::start(self.spec.clone(), workers, self.stop.child_token());
        self.tasks.spawn(driver);
        sink.replace(transcoder);
        Some(events)
    }
}

/// A spare worker waits while anything is encoded: a crash then costs tens of milliseconds. Without a rung to encode
/// there is no worker, and no spare.
struct Spare {
    workers: Workers,
    encoders: AtomicUsize,
}

impl Spare {
    /// An encoder has given its first unit: now a spare takes no time from it.
    fn keep(&self) {
        if let Err(error) = self.workers.keep_spare() {
            tracing::warn!(%error, "no spare encoder worker: a crash will take longer to mend");
        }
    }

    fn leave(&self) {
        if self.encoders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.workers.release_spare();
        }
    }
}

/// Bits a second of sound for players by WebRTC.
const OPUS_BITRATE: u32 = 128_000;

/// Encodes sound that players do not decode, each in a worker `program transcode-worker` of its own, until `stop`.
pub(super) fn sounds(program: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> SoundFactory {
    let workers = Workers::new(program);
    Arc::new(move |request: SoundRequest, inlet| {
        let SoundRequest { stream, format, bitrate } = request;
        let codec = match format.codec.as_str() {
            "ac-3" => SoundCodec::Ac3,
            "ec-3" => SoundCodec::Eac3,
            "opus" => SoundCodec::Opus,
            "mp1" => SoundCodec::MpegAudio(1),
            "mp2" => SoundCodec::MpegAudio(2),
            _ => SoundCodec::MpegAudio(3),
        };
        let (sample_rate, channels) = (format.sample_rate, format.channels);
        let spec = SoundSpec { stream, codec, config: Vec::new(), sample_rate, channels, bitrate };
        let hearer = Hearer::Stream(inlet);
        let (frames, job) = transcode::encode_sound(workers.clone(), spec, hearer, stop.child_token());
        tasks.spawn(job);
        frames
    })
}

/// Encodes AAC as Opus for players by WebRTC, each stream in a worker of its own, until `stop`.
pub(super) fn opus(program: PathBuf, tasks: TaskTracker, stop: CancellationToken) -> OpusFactory {
    let workers = Workers::new(program);
    Arc::new(move |stream: &str, format: &AudioFormat, units| {
        let spec = SoundSpec {
            stream: stream.to_owned(),
            codec: SoundCodec::Aac,
            config: format.config.to_vec(),
            sample_rate: format.sample_rate,
            channels: format.channels,
            bitrate: OPUS_BITRATE,
        };
        let hearer = Hearer::Packets(units);
        let (frames, job) = transcode::encode_sound(workers.clone(), spec, hearer, stop.child_token());
        tasks.spawn(job);
        frames
    })
}

/// What encodes pictures.
#[derive(Clone)]
pub(super) struct Chosen {
    /// GStreamer's element: for streams from now on.
    pub(super) element: Arc<ArcSwap<String>>,
    /// It may be one on a device.
    pub(super) devices: bool,
    /// Where it cannot begin, the processor does.
    pub(super) falls_back: bool,
}

/// A factory whose workers are `program transcode-worker`, encode with `preset`, with what is chosen, and live in `tasks` until `stop`.
pub(super) fn factory(
    program: PathBuf,
    (preset, Chosen { element, devices, falls_back }): (Arc<ArcSwap<String>>, Chosen),
    tasks: TaskTracker,
    stop: CancellationToken,
) -> RungFactory {
    let spare =
        Arc::new(Spare { workers: Workers::with_devices(program, devices), encoders: AtomicUsize::new(0) });
    Arc::new(move |request: RungRequest| {
        let spec = TranscodeSpec {
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
                    preset: r.tuning.preset,
                    crf: r.tuning.crf,
                })
                .collect(),
            preset: preset.load().to_string(),
            encoder: element.load().to_string(),
            limits: Limits::default(),
        };
        let (transcoder, made, driver) =
            transcode::start(spec.clone(), spare.workers.clone(), stop.child_token());
        let (forward, events) = mpsc::channel(256);
        spare.encoders.fetch_add(1, Ordering::AcqRel);
        tasks.spawn(driver);
        let sink = Arc::new(Sink::new(transcoder));
        let job = Job {
            spec,
            sink: Arc::downgrade(&sink),
            falls_back,
            spare: Arc::clone(&spare),
            tasks: tasks.clone(),
            stop: stop.child_token(),
        };
        tasks.spawn(job.forward(made, forward));
        Rungs { sink, events }
    })
}
