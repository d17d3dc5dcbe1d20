//! The task that owns one stream: its publishers come and go, what viewers see goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::directory::{DropOutcome, PublishError, StreamHandle};
use super::feed::Feed;
use super::publisher::{Ended, Input, PublishSpec, Publisher, QUEUE, Role};
use super::run::{After, Outcome, Run};
use super::rung::RungEvent;
use super::snapshot::{Counters, Phase, SessionInfo, Snapshot};
use super::sound_rung::{self, SoundBatch};
use super::standby::Standby;
use super::switch::OnAir;
use super::tap::Tap;
use super::{Makers, Policy, Settings, air, choice};
use crate::metrics::Metrics;

/// How long an ended stream can still be fetched, beyond its window: viewers finish what they have listed.
const RETENTION: Duration = Duration::from_secs(30);

pub(super) enum Command {
    /// A newcomer wants to publish.
    Attach { spec: Box<PublishSpec>, reply: oneshot::Sender<Result<Publisher, PublishError>> },
    /// An operator drops the publishers and ends the stream.
    Drop { reply: oneshot::Sender<DropOutcome> },
}

pub(super) struct Stream {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    makers: Makers,
    metrics: Metrics,
    pub(super) phase: Phase,
    pub(super) run: Run,
    tap: Tap,
    /// Whoever wants a rung that is not made is heard here.
    wake: Arc<Notify>,
    pub(super) primary: Option<Feed>,
    pub(super) backup: Option<Feed>,
    pub(super) on_air: OnAir,
    pub(super) holding: bool,
    pub(super) standby: Standby,
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
        makers: Makers,
        metrics: Metrics,
        cancel: CancellationToken,
    ) -> (StreamHandle, impl Future<Output = ()> + Send + use<>) {
        let name: Arc<str> = name.into();
        let (tap, wake) = (Tap::new(), Arc::default());
        let ears = (tap.clone(), Arc::clone(&wake));
        let run = Run::new(&name, settings.clone(), After::default(), &makers, metrics.clone(), ears);
        let counters = Arc::new(Counters::default());
        let first = Arc::new(Snapshot {
            name: Arc::clone(&name),
            epoch: Arc::clone(&run.epoch),
            phase: Phase::Waiting,
            ready: false,
            video: Vec::new(),
            retired: None,
            shed: Vec::new(),
            audio: Vec::new(),
            sound_groups: Vec::new(),
            independent: true,
            missing: Vec::new(),
            source_video: None,
            source_audio: None,
            session: None,
            backup: None,
            on_air: OnAir::Nothing,
            holding: false,
            counters: Arc::clone(&counters),
            encoder: None,
            ladder: None,
        });
        let (snapshots, snapshot) = watch::channel(first);
        let (commands, inbox) = mpsc::channel(16);
        let standby = Standby::new(Arc::clone(&makers.slates));
        let stream = Self {
            name,
            deadline: Some(Instant::now() + settings.reconnect_window),
            settings,
            makers,
            metrics,
            phase: Phase::Waiting,
            run,
            tap: tap.clone(),
            wake,
            primary: None,
            backup: None,
            on_air: OnAir::Nothing,
            holding: false,
            standby,
            session: None,
            counters,
            snapshots,
        };
        (StreamHandle { commands, snapshot, tap, pushes: Arc::default() }, stream.serve(inbox, cancel))
    }

    async fn serve(mut self, mut inbox: mpsc::Receiver<Command>, cancel: CancellationToken) {
        let mut batch = Vec::with_capacity(64);
        let mut backup_batch = Vec::with_capacity(64);
        let mut rung_batch = Vec::with_capacity(64);
        let mut sound_batch = SoundBatch::default();
        // Set anew only where it would ring too late: the deadline moves with every unit, and a bell too early is
        // cheaper than a timer for each of them.
        let mut bell = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut cancelled = std::pin::pin!(cancel.cancelled());
        let wake = Arc::clone(&self.wake);
        let mut rings = false;
        loop {
            // While all is as it should be, what comes only puts the deadline off.
            if !(rings && !bell.is_elapsed() && self.is_steady()) {
                let deadline =
                    [self.deadline, self.run.ready_by(), self.next_look()].into_iter().flatten().min();
                if let Some(at) = deadline.map(tokio::time::Instant::from_std)
                    && (bell.is_elapsed() || at < bell.deadline())
                {
                    bell.as_mut().reset(at);
                }
                rings = deadline.is_some();
            }
            tokio::select! {
                biased;
                () = &mut cancelled => break,
                command = inbox.recv() => match command {
                    Some(Command::Attach { spec, reply }) => self.attach(*spec, reply),
                    Some(Command::Drop { reply }) => self.drop_publishers(reply),
                    None => break,
                },
                n = next_inputs(self.primary.as_mut(), &mut batch) => {
                    self.inputs(Role::Primary, n == 0, &mut batch);
                }
                n = next_inputs(self.backup.as_mut(), &mut backup_batch) => {
                    self.inputs(Role::Backup, n == 0, &mut backup_batch);
                }
                n = next_rungs(self.run.events.as_mut(), &mut rung_batch) => {
                    self.rungs(&mut rung_batch);
                    if n == 0 && self.run.rungs_ended().changed {
                        self.show();
                    }
                }
                () = sound_rung::next_sounds(&mut self.run.encoders_of_sound, &mut sound_batch) => {
                    self.sounds_made(&mut sound_batch);
                }
                answer = choice::next_answer(&mut self.run.choice) => self.answered(answer),
                () = wake.notified() => {
                    if self.run.woken().changed {
                        self.show();
                    }
                }
                () = &mut bell, if rings => {
                    let mut outcome = self.run.settle();
                    outcome |= self.look();
                    if outcome.changed {
                        self.show();
                    }
                    if self.deadline.is_some_and(|d| d <= Instant::now()) && self.expire() {
                        break;
                    }
                }
            }
        }
        self.dismiss();
        if self.phase != Phase::Ended {
            self.end();
        }
    }

    pub(super) fn slot(&mut self, role: Role) -> &mut Option<Feed> {
        match role {
            Role::Primary => &mut self.primary,
            Role::Backup => &mut self.backup,
        }
    }

    fn attach(&mut self, spec: PublishSpec, reply: oneshot::Sender<Result<Publisher, PublishError>>) {
        let role = spec.role;
        let silence = self.settings.silence;
        let name = Arc::clone(&self.name);
        if let Some(feed) = self.slot(role) {
            let silent = feed.last_media().elapsed() >= silence;
            if !silent && spec.settings.policy == Policy::Reject {
                // A newcomer that has gone away meanwhile needs no answer.
                drop(reply.send(Err(PublishError::AlreadyLive(self.name.to_string()))));
                return;
            }
            tracing::warn!(
                stream = %name, silent, from = %feed.session.client, to = %spec.session.client,
                "a newcomer with the publisher's key takes over"
            );
            feed.ended.halt.cancel();
            self.leave(role);
        }
        if self.phase == Phase::Ended {
            let after = self.run.after();
            self.settings = spec.settings.clone();
            self.run = Run::new(
                &self.name,
                spec.settings,
                after,
                &self.makers,
                self.metrics.clone(),
                (self.tap.clone(), Arc::clone(&self.wake)),
            );
            self.counters = Arc::new(Counters::default());
            self.on_air = OnAir::Nothing;
            self.standby.leave();
        }
        let counters = match role {
            Role::Primary => Arc::clone(&self.counters),
            Role::Backup => Arc::new(Counters::default()),
        };
        let (inputs, receiver) = mpsc::channel(QUEUE);
        let publisher = Publisher {
            inputs,
            start: self.run.now(),
            counters: Arc::clone(&counters),
            wish: self.tap.wish(),
            skipping: Vec::new(),
            farewell: Arc::default(),
        };
        let ended = Ended { halt: spec.ended, farewell: Arc::clone(&publisher.farewell) };
        *self.slot(role) = Some(Feed::new(receiver, ended, spec.session, spec.profile, counters));
        self.metrics.streams_live.inc();
        self.phase = Phase::Live;
        self.deadline = None;
        self.look();
        self.show();
        if reply.send(Ok(publisher)).is_err() {
            self.leave(role);
            self.show();
        }
    }

    /// A publisher is gone. Where it was the last one, its return is waited for.
    fn leave(&mut self, role: Role) {
        if self.slot(role).take().is_none() {
            return;
        }
        self.metrics.streams_live.dec();
        if self.primary.is_none() && self.backup.is_none() && self.phase == Phase::Live {
            self.phase = Phase::Waiting;
            self.deadline = Some(Instant::now() + self.settings.reconnect_window);
            tracing::info!(
                stream = %self.name,
                window_s = self.settings.reconnect_window.as_secs_f64(),
                "publisher gone; waiting for its return"
            );
        }
        self.look();
    }

    /// Disconnects whoever publishes. True: someone did.
    fn dismiss(&mut self) -> bool {
        let feeds: Vec<_> = [self.primary.take(), self.backup.take()].into_iter().flatten().collect();
        for feed in &feeds {
            feed.ended.halt.cancel();
            self.metrics.streams_live.dec();
        }
        !feeds.is_empty()
    }

    /// The publisher of this session is disconnected, and told why. Where it was the only one, the stream is over: the
    /// next one begins anew.
    pub(super) fn refuse(&mut self, session: &str, message: String) {
        let at = |feed: &Option<Feed>| feed.as_ref().is_some_and(|feed| feed.session.session == session);
        let refused = if at(&self.primary) {
            self.primary.take()
        } else if at(&self.backup) {
            self.backup.take()
        } else {
            None
        };
        let Some(feed) = refused else { return };
        tracing::warn!(stream = %self.name, session, message, "publisher refused now that its tracks are known");
        feed.ended.because(message);
        self.metrics.streams_live.dec();
        if self.primary.is_none() && self.backup.is_none() {
            self.end();
        } else {
            self.look();
            self.show();
        }
    }

    fn drop_publishers(&mut self, reply: oneshot::Sender<DropOutcome>) {
        let outcome = if self.dismiss() { DropOutcome::Dropped } else { DropOutcome::Idle };
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
        self.on_air = OnAir::Nothing;
        self.standby.leave();
        self.holding = false;
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

    fn inputs(&mut self, role: Role, closed: bool, batch: &mut Vec<Input>) {
        let mut outcome = Outcome::default();
        for input in batch.drain(..) {
            outcome |= self.input(role, input);
        }
        if closed {
            self.leave(role);
            outcome.changed = true;
        } else if !self.is_steady() {
            outcome |= self.look();
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
        if let Some(reason) = self.run.refused.take() {
            tracing::error!(stream = %self.name, reason, "publisher ended: its rungs cannot be made");
            let feeds = [&self.primary, &self.backup].into_iter().flatten();
            for session in feeds.map(|feed| feed.session.session.clone()).collect::<Vec<_>>() {
                self.refuse(&session, "the server has no room to encode this stream".to_owned());
            }
        }
        if outcome.changed {
            self.show();
        }
    }

    pub(super) fn show(&mut self) {
        let mut counters = Arc::clone(&self.counters);
        if let Some(feed) = air::on_air(self.on_air, self.primary.as_ref(), self.backup.as_ref()) {
            feed.session.health.shed(self.run.shed_names());
            self.session = Some(feed.session.clone());
            counters = Arc::clone(&feed.counters);
        }
        self.snapshots.send_replace(Arc::new(Snapshot {
            name: Arc::clone(&self.name),
            epoch: Arc::clone(&self.run.epoch),
            phase: self.phase,
            ready: self.run.ready,
            video: self.run.video_renditions(),
            retired: self.run.retired(),
            shed: self.run.shed_renditions(),
            audio: self.run.audio_renditions(),
            sound_groups: self.run.sound_groups(),
            independent: self.run.aligned,
            missing: self.run.all_missing(),
            source_video: self.run.source.format.clone(),
            source_audio: self.run.first_sound().cloned(),
            session: self.session.clone(),
            backup: self.backup.as_ref().map(|feed| feed.session.clone()),
            on_air: self.on_air,
            holding: self.holding,
            counters,
            encoder: self.run.encoder.clone(),
            ladder: self.run.choice.in_force().cloned(),
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
