//! One WHIP session from its answer to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m::Event;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Rid};
use str0m::stats::MediaIngressStats;
use tokio_util::sync::CancellationToken;
use wire::Traced;

use super::Guards;
use super::heard::Heard;
use super::layers::{Layers, Track};
use super::media::{PATIENCE, WhipMedia};
use crate::ingest::Desk;
use crate::ingest::black_box::BlackBox;
use crate::ingest::budget::Budget;
use crate::ingest::checkup;
use crate::ingest::publishing::{Admitted, Allowed, Denied, Publishing, begin};
use crate::ingest::sound_worker::SoundWorkers;
use crate::ingest::tracks::Refusal;
use crate::live::{Link, LinkState};
use crate::signalling::Door;
use crate::transport::rtc::{Over, Peer};

/// A client that is not connected by then has gone, or cannot reach us.
const CONNECT: Duration = Duration::from_secs(15);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the publisher left")]
    Left,
    #[error(
        "no connection came about within {CONNECT:?}: are the addresses in [webrtc] advertise, and UDP open?"
    )]
    Unconnected,
    #[error("no media came for {0:?}")]
    Idle(Duration),
    #[error("dropped by the server")]
    Dropped,
    #[error("{0}")]
    Denied(Denied),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Over(Over),
}

impl Ended {
    /// Stable word for metrics and events.
    fn name(&self) -> &'static str {
        match self {
            Self::Left | Self::Over(Over::Left) => "left",
            Self::Unconnected => "unconnected",
            Self::Idle(_) => "idle",
            Self::Dropped | Self::Over(Over::Closed) => "dropped",
            Self::Refused(Refusal::Excess(_)) => "over-limit",
            Self::Denied(_) | Self::Refused(_) => "refused",
            Self::Over(Over::Silent) => "silent",
            Self::Over(Over::Failed(_)) => "error",
        }
    }
}

/// The head is a read, and what is behind it another one.
fn record(black_box: &mut BlackBox, heard: &Heard, now: Instant) {
    if black_box.is_due(now) {
        // There is no state before a unit that is not in those that follow.
        black_box.turn(now, Vec::new(), std::iter::empty());
    }
    black_box.read(now, &heard.head(now), std::iter::empty());
    let whole = [
        Traced::Body { id: 0, at: 0, offset: 0, length: heard.payload.len() },
        Traced::Whole { id: 0, body: heard.payload.clone() },
    ];
    black_box.read(now, &heard.payload, whole.into_iter());
}

/// What there is once media can come.
struct Live {
    publishing: Publishing,
    media: WhipMedia,
    budget: Budget,
    link: Arc<Link>,
    line: LinkState,
    /// Packets and requests to send again, of each track.
    counted: Vec<(Mid, Option<Rid>, u64, u64)>,
    bytes: u64,
    heard: Instant,
    idle: Duration,
}

impl Live {
    fn note(&mut self, stats: &MediaIngressStats) {
        self.counted.retain(|(mid, rid, ..)| (*mid, *rid) != (stats.mid, stats.rid));
        self.counted.push((stats.mid, stats.rid, stats.packets, stats.nacks));
        self.line.packets = self.counted.iter().map(|(.., packets, _)| packets).sum();
        self.line.missing = self.counted.iter().map(|(.., missing)| missing).sum();
    }
}

/// See the module.
pub(super) struct Session {
    peer: Peer,
    desk: Desk,
    allowed: Option<Allowed>,
    /// The layers of its offer, and the configuration record of its pictures where that had one.
    picture: (usize, Option<Bytes>),
    halt: CancellationToken,
    /// Whether the offer has pictures, and sound.
    offered: (bool, bool),
    live: Option<Box<Live>>,
}

impl Session {
    pub(super) fn new(peer: Peer, desk: Desk, allowed: Allowed, picture: (usize, Option<Bytes>)) -> Self {
        let halt = CancellationToken::new();
        Self { peer, desk, allowed: Some(allowed), picture, halt, offered: (false, false), live: None }
    }

    /// Runs to its end; a stable word for how that was.
    pub(super) async fn run(
        mut self,
        mut door: Door,
        mut guards: Guards,
        stop: CancellationToken,
    ) -> &'static str {
        let ended = match self.drive(&mut door, &mut guards, &stop).await {
            Err(ended) => ended,
            Ok(never) => match never {},
        };
        if let Ended::Refused(refusal) = &ended
            && let Some(live) = &self.live
        {
            tracing::warn!(stream = %live.publishing.stream, message = %refusal, "publisher refused");
        }
        self.peer.close();
        // Its place is free before the control plane is told.
        drop((door, guards));
        if let Some(live) = self.live.take() {
            live.publishing.close(ended.name(), &ended.to_string()).await;
        } else {
            tracing::info!(reason = %ended, "WHIP session ended before it published");
        }
        ended.name()
    }

    async fn drive(
        &mut self,
        door: &mut Door,
        guards: &mut Guards,
        stop: &CancellationToken,
    ) -> Result<std::convert::Infallible, Ended> {
        let connect_by = tokio::time::Instant::now() + CONNECT;
        let mut look = tokio::time::interval(checkup::PACE);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut keyframe = Instant::now();
        loop {
            let live = self.live.is_some();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Ended::Dropped),
                () = self.halt.cancelled() => return Err(Ended::Dropped),
                Some(command) = door.commands.recv() => {
                    if !command.obey(&mut self.peer) {
                        return Err(Ended::Left);
                    }
                }
                event = self.peer.next() => {
                    self.event(event.map_err(Ended::Over)?, guards).await?;
                }
                _ = look.tick() => self.check_up()?,
                () = tokio::time::sleep_until(connect_by), if !live => return Err(Ended::Unconnected),
                () = tokio::time::sleep_until(keyframe.into()), if live => {}
            }
            if let Some(live) = &mut self.live {
                let now = Instant::now();
                let wished = live.publishing.publisher.keyframe_wanted();
                if wished || now >= keyframe {
                    for Track { mid, rid } in live.media.wanted(wished, now) {
                        let writer = self.peer.rtc().writer(mid);
                        let asked = writer.map(|mut it| it.request_keyframe(rid, KeyframeRequestKind::Pli));
                        if let Some(Err(error)) = asked {
                            tracing::debug!(%error, "no keyframe could be asked for");
                        }
                    }
                }
                keyframe = live.media.due(now).max(now + Duration::from_millis(20));
            }
        }
    }

    async fn event(&mut self, event: Event, guards: &mut Guards) -> Result<(), Ended> {
        let now = Instant::now();
        match event {
            Event::MediaAdded(media)
                if matches!(media.direction, Direction::RecvOnly | Direction::SendRecv) =>
            {
                match media.kind {
                    MediaKind::Video => self.offered.0 = true,
                    MediaKind::Audio => self.offered.1 = true,
                }
            }
            Event::Connected if self.live.is_none() => {
                self.begin().await?;
                guards.waiting = None;
            }
            Event::MediaData(data) => {
                let Some(live) = &mut self.live else { return Ok(()) };
                live.heard = now;
                live.budget.spend(now, data.data.len() as u64, 1).map_err(|it| Ended::Refused(it.into()))?;
                let Some(heard) = Heard::of(data) else { return Ok(()) };
                if let Some(black_box) = &mut live.publishing.black_box {
                    record(black_box, &heard, now);
                }
                live.media.heard(&heard, now, &mut live.publishing.publisher).map_err(Ended::Refused)?;
            }
            Event::PeerStats(stats) => {
                let Some(live) = &mut self.live else { return Ok(()) };
                let pair = stats.selected_candidate_pair.and_then(|pair| pair.current_round_trip_time);
                if let Some(round_trip) = stats.rtt.or(pair) {
                    live.line.round_trip = round_trip;
                }
                live.line.bitrate = stats.bytes_rx.saturating_sub(live.bytes).saturating_mul(8);
                live.bytes = stats.bytes_rx;
            }
            Event::MediaIngressStats(stats) => {
                let Some(live) = &mut self.live else { return Ok(()) };
                live.note(&stats);
            }
            _ => {}
        }
        Ok(())
    }

    /// Media can come: now the stream is this one's.
    async fn begin(&mut self) -> Result<(), Ended> {
        let Some(allowed) = self.allowed.take() else { return Ok(()) };
        let link = Arc::new(Link::default());
        let begun = begin(&self.desk, allowed, Some(Arc::clone(&link)), self.halt.clone()).await;
        let Admitted { mut publishing, checkup, limits, sound_bitrate } = begun.map_err(Ended::Denied)?;
        let workers = SoundWorkers { factory: Arc::clone(&self.desk.sounds), bitrate: sound_bitrate };
        let rules = self.desk.rules.load();
        let segment = u64::try_from(rules.settings.targets.segment.millis()).unwrap_or(2_000);
        let (start, stream) = (publishing.publisher.start(), publishing.stream.clone());
        let segment = Duration::from_millis(segment);
        let picture = (Layers::announced(self.picture.0), self.picture.1.take());
        let media = WhipMedia::new(start, stream, (checkup, limits), Some(workers), segment, picture);
        let (video, audio) = self.offered;
        WhipMedia::expect(video, audio, sound_bitrate, &mut publishing.publisher);
        let (now, idle) = (Instant::now(), rules.idle_timeout);
        let (budget, line) =
            (Budget::new(limits, now), LinkState { latency: PATIENCE, ..LinkState::default() });
        let (heard, counted) = (now, Vec::new());
        let live = Live { publishing, media, budget, link, line, counted, bytes: 0, heard, idle };
        self.live = Some(Box::new(live));
        Ok(())
    }

    fn check_up(&mut self) -> Result<(), Ended> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let now = Instant::now();
        if now.saturating_duration_since(live.heard) >= live.idle {
            return Err(Ended::Idle(live.idle));
        }
        live.line.too_late = live.media.gaps;
        live.link.set(live.line);
        live.media.line(checkup::line(&live.line), now);
        let health = live.media.check_up(now);
        live.publishing.check_up(live.media.gaps, health);
        Ok(())
    }
}
