//! A recording taken through the code that a live publisher goes through: the session, the timeline, the doctor and
//! a stream of its own, as fast as they can. Arrivals are those of the recording, so that what depends on them comes
//! out as it did.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use media::doctor::DoctorConfig;
use media::ladder::Profile;
use media::timeline::Counts;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use wire::rtmp::{CheckpointError, Event, Limits, Session};

use super::checkup::Checkup;
use super::rtmp::media_messages::MediaMessages;
use super::transport_stream::TransportStream;
use super::whip::heard::Heard;
use super::whip::layers::Layers;
use super::whip::media::WhipMedia;
use crate::admission::{self, FindingData, HealthData};
use crate::flight::{Read, Recording};
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
    let (protocol, session) = match header.protocol.as_str() {
        "rtmp" | "rtmps" => ("rtmp", Some(Session::resume(Limits::default(), &recording.checkpoint)?)),
        "srt" | "udp" | "hls" | "file" => ("srt", None),
        "whip" => ("whip", None),
        other => return Err(ReplayError::Protocol(other.to_owned())),
    };
    let health = Arc::new(Health::default());
    let info = SessionInfo {
        session: header.session.clone(),
        protocol,
        client: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        agent: header.agent.clone(),
        since: SystemTime::now(),
        profile: "source".into(),
        health: Arc::clone(&health),
        link: None,
        recorder: None,
    };
    let segment = Duration::try_from_secs_f64(settings.targets.segment.seconds()).unwrap_or_default();
    let profile = Profile::as_it_is();
    let config = DoctorConfig {
        agent: &header.agent,
        segment_target: settings.targets.segment,
        on_request: header.protocol == "whip",
    };
    let checkup = Box::new(Checkup::new(config, Arc::clone(&health), Metrics::new(), name.to_owned()));
    let ended = CancellationToken::new();
    let spec = PublishSpec { role: Role::Primary, session: info, profile, settings, ended };
    let publisher = directory.publish(name, spec, usize::MAX).await?;
    let (start, stream, limits) = (publisher.start(), name.to_owned(), admission::Limits::default());
    let reader = match session {
        Some(session) => {
            Reader::Rtmp(Box::new((session, MediaMessages::new(start, stream, checkup, limits))))
        }
        None if protocol == "whip" => {
            let layers = (Layers::announced(0), None);
            let media = WhipMedia::new(start, stream, (checkup, limits), None, segment, layers);
            Reader::Whip(Box::new((None, media)))
        }
        None => Reader::TransportStream(Box::new(TransportStream::new(start, stream, checkup, limits, None))),
    };
    let mut replay = Replay { reader, publisher, health, out: Replayed::default() };
    replay.run(recording).await;
    Ok(replay.finish())
}

/// The protocol's own code.
enum Reader {
    Rtmp(Box<(Session, MediaMessages)>),
    TransportStream(Box<TransportStream>),
    /// With the head of the unit that comes next.
    Whip(Box<(Option<Bytes>, WhipMedia)>),
}

/// Whether the recording goes on.
enum Fed {
    On,
    Over,
}

struct Replay {
    reader: Reader,
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
            match self.reader.feed(read, arrived, &mut self.publisher) {
                Ok(Fed::On) => {}
                Ok(Fed::Over) => return,
                Err(error) => {
                    self.out.error = Some(error);
                    return;
                }
            }
            self.check_up(arrived, since);
            self.publisher.caught_up().await;
        }
    }

    fn check_up(&mut self, arrived: Instant, since: Duration) {
        if self.reader.check_up(arrived).is_none() {
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
        out.repairs = self.reader.repairs().filter(|(_, n)| *n > 0).collect();
        out
    }
}

impl Reader {
    fn feed(&mut self, read: &Read, arrived: Instant, publisher: &mut Publisher) -> Result<Fed, String> {
        let (session, messages) = match self {
            Self::TransportStream(media) => {
                let fed = media.feed(read.bytes.clone(), arrived, publisher);
                return fed.map(|()| Fed::On).map_err(|refusal| refusal.to_string());
            }
            Self::Whip(whip) => {
                let Some(head) = whip.0.take() else {
                    whip.0 = Some(read.bytes.clone());
                    return Ok(Fed::On);
                };
                let heard = Heard::read(&head, read.bytes.clone(), arrived);
                let heard = heard.ok_or("the recording does not go on with a whole unit")?;
                let fed = whip.1.heard(&heard, arrived, publisher);
                return fed.map(|()| Fed::On).map_err(|refusal| refusal.to_string());
            }
            Self::Rtmp(rtmp) => (&mut rtmp.0, &mut rtmp.1),
        };
        let fed = session.feed_slice(&read.bytes);
        while let Some(event) = session.next() {
            if matches!(event, Event::Unpublish) {
                return Ok(Fed::Over);
            }
            messages.event(&event, arrived, publisher).map_err(|refusal| refusal.to_string())?;
        }
        // Nobody is there to be answered.
        drop(session.output());
        fed.map(|()| Fed::On).map_err(|error| error.to_string())
    }

    fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        match self {
            Self::Rtmp(rtmp) => rtmp.1.check_up(now),
            Self::TransportStream(media) => media.check_up(now),
            Self::Whip(whip) => whip.1.check_up(now),
        }
    }

    /// Of the timestamps and of the wire, by kind.
    fn repairs(&self) -> Box<dyn Iterator<Item = (&'static str, u64)> + '_> {
        let named = |counts: &Counts| counts.iter().map(|(kind, n)| (kind.name(), n)).collect::<Vec<_>>();
        match self {
            Self::Rtmp(rtmp) => {
                Box::new(named(rtmp.1.repairs()).into_iter().chain(rtmp.0.stats().repairs.by_kind()))
            }
            Self::TransportStream(media) => Box::new(named(media.repairs()).into_iter()),
            Self::Whip(whip) => Box::new(named(whip.1.repairs()).into_iter()),
        }
    }
}
