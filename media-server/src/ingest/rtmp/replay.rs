//! A recording taken through the code that a live publisher goes through: the session, the timeline, the doctor and
//! a stream of its own, as fast as they can. Arrivals are those of the recording, so that what depends on them comes
//! out as it did.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use media::doctor::DoctorConfig;
use media::ladder::Profile;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use wire::rtmp::{CheckpointError, Event, Limits, Session};

use super::media_messages::MediaMessages;
use crate::admission::{self, FindingData};
use crate::flight::Recording;
use crate::ingest::checkup::Checkup;
use crate::live::{Directory, Health, PublishError, PublishSpec, Publisher, Role, SessionInfo, Settings};
use crate::metrics::Metrics;

/// Why a recording was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Recorded by an ingest that has no replay.
    #[error("recordings of protocol {0:?} cannot be replayed by this version")]
    Protocol(String),
    /// The session cannot go on from it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// There is no stream to replay into.
    #[error(transparent)]
    Stream(#[from] PublishError),
}

/// What came of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// Pictures, further tracks included.
    pub video_units: u64,
    /// Frames of sound.
    pub audio_units: u64,
    /// Units that were damaged.
    pub dropped: u64,
    /// Repairs by kind: of the timestamps and of the wire.
    pub repairs: BTreeMap<&'static str, u64>,
    /// Every finding of the doctor as it was last, and when it was first listed.
    pub findings: Vec<Found>,
    /// The error that ended the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Seconds after the recording's first read.
    pub at_s: f64,
    /// What.
    #[serde(flatten)]
    pub finding: FindingData,
}

/// Replays `recording` as stream `name` of `directory`.
pub async fn replay(
    recording: &Recording,
    name: &str,
    directory: &Directory,
    settings: Settings,
) -> Result<Replayed, ReplayError> {
    let header = &recording.header;
    if !matches!(header.protocol.as_str(), "rtmp" | "rtmps") {
        return Err(ReplayError::Protocol(header.protocol.clone()));
    }
    let session = Session::resume(Limits::default(), &recording.checkpoint)?;
    let health = Arc::new(Health::default());
    let info = SessionInfo {
        session: header.session.clone(),
        protocol: "rtmp",
        client: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        agent: header.agent.clone(),
        since: SystemTime::now(),
        profile: "source".into(),
        health: Arc::clone(&health),
        recorder: None,
    };
    let profile = Profile { passthrough: true, rungs: Vec::new() };
    let config = DoctorConfig { agent: &header.agent, segment_target: settings.targets.segment };
    let checkup = Box::new(Checkup::new(config, Arc::clone(&health), Metrics::new(), name.to_owned()));
    let ended = CancellationToken::new();
    let spec = PublishSpec { role: Role::Primary, session: info, profile, settings, ended };
    let publisher = directory.publish(name, spec, usize::MAX).await?;
    let messages =
        MediaMessages::new(publisher.start(), name.to_owned(), checkup, admission::Limits::default());
    let mut replay = Replay { session, messages, publisher, health, out: Replayed::default() };
    replay.run(recording).await;
    Ok(replay.finish())
}

struct Replay {
    session: Session,
    messages: MediaMessages,
    publisher: Publisher,
    health: Arc<Health>,
    out: Replayed,
}

impl Replay {
    async fn run(&mut self, recording: &Recording) {
        let Some(first) = recording.reads.first().map(|read| read.at) else { return };
        let began = Instant::now();
        for read in &recording.reads {
            let since = read.at.saturating_sub(first);
            let Some(arrived) = began.checked_add(since) else { return };
            let fed = self.session.feed_slice(&read.bytes);
            while let Some(event) = self.session.next() {
                if matches!(event, Event::Unpublish) {
                    return;
                }
                if let Err(refusal) = self.messages.event(&event, arrived, &mut self.publisher) {
                    self.out.error = Some(refusal.to_string());
                    return;
                }
            }
            // Nobody is there to be answered.
            drop(self.session.output());
            if let Err(error) = fed {
                self.out.error = Some(error.to_string());
                return;
            }
            self.check_up(arrived, since);
            self.publisher.caught_up().await;
        }
    }

    fn check_up(&mut self, arrived: Instant, since: Duration) {
        if self.messages.check_up(arrived).is_none() {
            return;
        }
        for finding in self.health.findings().iter().map(FindingData::from) {
            match self.out.findings.iter_mut().find(|known| known.finding.code == finding.code) {
                Some(known) => known.finding = finding,
                None => self.out.findings.push(Found { at_s: since.as_secs_f64(), finding }),
            }
        }
    }

    fn finish(self) -> Replayed {
        let mut out = self.out;
        let counters = self.publisher.counters();
        out.video_units = counters.video_units.load(Ordering::Relaxed);
        out.audio_units = counters.audio_units.load(Ordering::Relaxed);
        out.dropped = counters.dropped.load(Ordering::Relaxed);
        let timeline = self.messages.repairs();
        let kinds = timeline.iter().map(|(kind, n)| (kind.name(), n));
        out.repairs = kinds.chain(self.session.stats().repairs.by_kind()).filter(|(_, n)| *n > 0).collect();
        out
    }
}
