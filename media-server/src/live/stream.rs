//! The task that owns one stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::directory::{DropOutcome, PublishError, StreamHandle};
use super::packaging::{Outcome, Run};
use super::publisher::{Input, PublishSpec, Publisher, QUEUE};
use super::rung::{RungEvent, RungFactory};
use super::snapshot::{Counters, Phase, SessionInfo, Snapshot};
use crate::metrics::Metrics;

/// How long an ended stream can still be fetched, beyond its window: viewers finish what they have listed.
const RETENTION: Duration = Duration::from_secs(30);

pub(super) enum Command {
    /// A newcomer wants to publish.
    Attach { spec: Box<PublishSpec>, reply: oneshot::Sender<Result<Publisher, PublishError>> },
    /// An operator drops the publisher and ends the stream.
    Drop { reply: oneshot::Sender<DropOutcome> },
}

/// The publisher as the stream holds it.
struct Feed {
    inputs: mpsc::Receiver<Input>,
    ended: CancellationToken,
    last_media: Instant,
}

pub(super) struct Stream {
    name: Arc<str>,
    settings: Settings,
    factory: RungFactory,
    metrics: Metrics,
    phase: Phase,
    run: Run,
    feed: Option<Feed>,
    session: Option<SessionInfo>,
    counters: Arc<Counters>,
    /// When the present phase runs out: the reconnect window, or the retention.
    deadline: Option<Instant>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Stream {
    /// The handle and the task, which the caller spawns.
    pub(super) fn create(
        name: &str,
        settings: Settings,
        factory: RungFactory,
        metrics: Metrics,
        cancel: CancellationToken,
    ) -> (StreamHandle, impl Future<Output = ()> + Send + use<>) {
        let name: Arc<str> = name.into();
        let run = Run::new(&name, settings.clone(), 0, Arc::clone(&factory), metrics.clone());
        let counters = Arc::new(Counters::default());
        let first = Arc::new(Snapshot {
            name: Arc::clone(&name),
            epoch: Arc::clone(&run.epoch),
            phase: Phase::Waiting,
            ready: false,
            video: Vec::new(),
            retired: None,
            audio: None,
            independent: true,
            missing: Vec::new(),
            source_video: None,
            source_audio: None,
            session: None,
            counters: Arc::clone(&counters),
            encoder: None,
        });
        let (snapshots, snapshot) = watch::channel(first);
        let (commands, inbox) = mpsc::channel(16);
        let stream = Self {
            name,
            deadline: Some(Instant::now() + settings.reconnect_window),
            settings,
            factory,
            metrics,
            phase: Phase::Waiting,
            run,
            feed: None,
            session: None,
            counters,
            snapshots,
        };
        (StreamHandle { commands, snapshot }, stream.serve(inbox, cancel))
    }

    async fn serve(mut self, mut inbox: mpsc::Receiver<Command>, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(64);
        let mut rung_batch = Vec::with_capacity(64);
        loop {
            let deadline = [self.deadline, self.run.ready_by()].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                command = inbox.recv() => match command {
                    Some(Command::Attach { spec, reply }) => self.attach(*spec, reply),
                    Some(Command::Drop { reply }) => self.drop_publisher(reply),
                    None => break,
                },
                n = next_inputs(self.feed.as_mut(), &mut batch) => {
                    if n == 0 {
                        self.detach();
                    }
                    self.inputs(&mut batch);
                }
                n = next_rungs(self.run.events.as_mut(), &mut rung_batch) => {
                    self.rungs(&mut rung_batch);
                    if n == 0 && self.run.rungs_ended().changed {
                        self.show();
                    }
                }
                () = sleep_until(deadline) => {
                    if self.run.settle().changed {
                        self.show();
                    }
                    if self.deadline.is_some_and(|d| d <= Instant::now()) && self.expire() {
                        break;
                    }
                }
            }
        }
        if let Some(feed) = self.feed.take() {
            feed.ended.cancel();
        }
        if self.phase != Phase::Ended {
            self.end();
        }
    }

    fn attach(&mut self, spec: PublishSpec, reply: oneshot::Sender<Result<Publisher, PublishError>>) {
        if let Some(feed) = &self.feed {
            if feed.last_media.elapsed() < self.settings.silence {
                // A newcomer that has gone away meanwhile needs no answer.
                drop(reply.send(Err(PublishError::AlreadyLive(self.name.to_string()))));
                return;
            }
            tracing::warn!(stream = %self.name, "publisher is silent: a newcomer with its key takes over");
            feed.ended.cancel();
            self.detach();
        }
        if self.phase == Phase::Ended {
            let msn = self.run.next_msn();
            self.settings = spec.settings.clone();
            self.run =
                Run::new(&self.name, spec.settings, msn, Arc::clone(&self.factory), self.metrics.clone());
            self.counters = Arc::new(Counters::default());
        }
        self.run.attach(spec.profile);
        let (inputs, receiver) = mpsc::channel(QUEUE);
        let ended = CancellationToken::new();
        let publisher = Publisher {
            inputs,
            ended: ended.clone(),
            start: self.run.now(),
            counters: Arc::clone(&self.counters),
            skipping: false,
        };
        self.feed = Some(Feed { inputs: receiver, ended, last_media: Instant::now() });
        self.session = Some(spec.session);
        self.phase = Phase::Live;
        self.deadline = None;
        self.metrics.streams_live.inc();
        self.show();
        if reply.send(Ok(publisher)).is_err() {
            self.detach();
        }
    }

    fn detach(&mut self) {
        self.feed = None;
        self.metrics.streams_live.dec();
        self.run.detach();
        self.phase = Phase::Waiting;
        self.deadline = Some(Instant::now() + self.settings.reconnect_window);
        tracing::info!(
            stream = %self.name,
            window_s = self.settings.reconnect_window.as_secs_f64(),
            "publisher gone; waiting for its return"
        );
        self.show();
    }

    fn drop_publisher(&mut self, reply: oneshot::Sender<DropOutcome>) {
        let outcome = match self.feed.take() {
            Some(feed) => {
                feed.ended.cancel();
                self.metrics.streams_live.dec();
                DropOutcome::Dropped
            }
            None => DropOutcome::Idle,
        };
        if self.phase != Phase::Ended {
            self.end();
        }
        // Whoever asked may have hung up.
        let _told = reply.send(outcome).is_ok();
    }

    /// The present phase has run out. True when the stream is to be forgotten.
    fn expire(&mut self) -> bool {
        match self.phase {
            Phase::Live => {
                self.deadline = None;
                false
            }
            Phase::Waiting => {
                self.end();
                false
            }
            Phase::Ended => true,
        }
    }

    fn end(&mut self) {
        self.run.end();
        self.phase = Phase::Ended;
        self.deadline = Some(Instant::now() + self.window() + RETENTION);
        tracing::info!(stream = %self.name, "stream ended");
        self.show();
    }

    fn window(&self) -> Duration {
        let targets = &self.settings.targets;
        let segments = u32::try_from(targets.window).unwrap_or(u32::MAX);
        Duration::from_secs_f64(targets.segment.seconds().clamp(0.0, 60.0))
            .saturating_mul(segments.min(20_000))
    }

    fn inputs(&mut self, batch: &mut Vec<Input>) {
        let mut outcome = Outcome::default();
        for input in batch.drain(..) {
            outcome |= match input {
                Input::Expect(expect) => {
                    self.run.expect(expect);
                    Outcome::default()
                }
                Input::Format(format) => self.run.format(format),
                Input::Unit { kind, unit, arrived } => {
                    if let Some(feed) = &mut self.feed {
                        feed.last_media = arrived;
                    }
                    self.run.unit(kind, unit, arrived)
                }
            };
        }
        if outcome.changed {
            self.show();
        }
    }

    fn rungs(&mut self, batch: &mut Vec<RungEvent>) {
        let mut outcome = Outcome::default();
        for event in batch.drain(..) {
            outcome |= self.run.rung(event);
        }
        if outcome.changed {
            self.show();
        }
    }

    fn show(&self) {
        self.snapshots.send_replace(Arc::new(Snapshot {
            name: Arc::clone(&self.name),
            epoch: Arc::clone(&self.run.epoch),
            phase: self.phase,
            ready: self.run.ready,
            video: self.run.video_renditions(),
            retired: self.run.retired(),
            audio: self.run.audio_rendition(),
            independent: self.run.aligned(),
            missing: self.run.missing.clone(),
            source_video: self.run.source_video.clone(),
            source_audio: self.run.source_audio.clone(),
            session: self.session.clone(),
            counters: Arc::clone(&self.counters),
            encoder: self.run.encoder.clone(),
        }));
    }
}

async fn next_inputs(feed: Option<&mut Feed>, batch: &mut Vec<Input>) -> usize {
    match feed {
        Some(feed) => feed.inputs.recv_many(batch, 64).await,
        None => std::future::pending().await,
    }
}

async fn next_rungs(events: Option<&mut mpsc::Receiver<RungEvent>>, batch: &mut Vec<RungEvent>) -> usize {
    match events {
        Some(events) => events.recv_many(batch, 64).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
