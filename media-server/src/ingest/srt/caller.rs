//! One caller that publishes: its connection, and the transport stream that comes over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wire::Traced;
use wire::srt::{Closed, Connection, Delivery, Stats};

use super::figures::{Gauges, kinds, line, state};
use crate::admission::Limits;
use crate::ingest::budget::Budget;
use crate::ingest::checkup::{self, Checkup};
use crate::ingest::publishing::Publishing;
use crate::ingest::tracks::Refusal;
use crate::ingest::transport_stream::TransportStream;
use crate::live::Link;
use crate::metrics::{LinkLabels, Metrics};

/// Why a caller's session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the publisher left")]
    Left,
    #[error("nothing was heard of it")]
    Silent,
    #[error("no media came for {0:?}")]
    Idle(Duration),
    #[error("dropped by the server")]
    Dropped,
    #[error("{0}")]
    Refused(Refusal),
}

impl Ended {
    /// Stable word for metrics and events.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Silent => "silent",
            Self::Idle(_) => "idle",
            Self::Dropped => "dropped",
            Self::Refused(Refusal::Excess(_)) => "over-limit",
            Self::Refused(_) => "refused",
        }
    }
}

/// See the module.
pub(super) struct Caller {
    pub(super) connection: Connection,
    pub(super) publishing: Publishing,
    media: TransportStream,
    budget: Budget,
    halt: CancellationToken,
    idle: Duration,
    heard: Instant,
    checked: Instant,
    metrics: Metrics,
    gauges: Gauges,
    /// Where its line is shown.
    link: Arc<Link>,
    /// What the metrics have of it.
    counted: Stats,
}

impl Caller {
    pub(super) fn new(
        connection: Connection,
        publishing: Publishing,
        (checkup, limits): (Box<Checkup>, Limits),
        (halt, idle): (CancellationToken, Duration),
        link: Arc<Link>,
        metrics: Metrics,
    ) -> Self {
        let now = Instant::now();
        let (start, stream) = (publishing.publisher.start(), publishing.stream.clone());
        let labels = LinkLabels { stream: stream.clone(), session: publishing.id.clone() };
        Self {
            connection,
            publishing,
            media: TransportStream::new(start, stream, checkup, limits),
            budget: Budget::new(limits, now),
            halt,
            idle,
            heard: now,
            checked: now,
            gauges: Gauges::new(&metrics, labels),
            metrics,
            link,
            counted: Stats::default(),
        }
    }

    /// Does what is due at `now`, which is `at` on the connection's clock. An error: it is over.
    pub(super) fn turn(&mut self, now: Instant, at: Duration) -> Result<(), Ended> {
        self.connection.tick(at);
        while let Some(delivery) = self.connection.deliver(at) {
            match delivery {
                Delivery::Payload(payload) => self.payload(payload, now)?,
                Delivery::Lost(_) => self.media.lost(),
            }
        }
        match self.connection.closed() {
            Some(Closed::Left) => return Err(Ended::Left),
            Some(Closed::Silent) => return Err(Ended::Silent),
            None => {}
        }
        if self.halt.is_cancelled() {
            return Err(Ended::Dropped);
        }
        if now.saturating_duration_since(self.heard) >= self.idle {
            return Err(Ended::Idle(self.idle));
        }
        if now.saturating_duration_since(self.checked) >= checkup::PACE {
            self.checked = now;
            self.check_up(now);
        }
        Ok(())
    }

    /// When [`Self::turn`] is due at the latest, on the connection's clock; `at` is now.
    pub(super) fn due(&self, at: Duration) -> Duration {
        self.connection.timeout().min(at + checkup::PACE)
    }

    fn payload(&mut self, payload: Bytes, now: Instant) -> Result<(), Ended> {
        self.heard = now;
        let length = payload.len() as u64;
        self.budget.spend(now, length, 1).map_err(|excess| Ended::Refused(excess.into()))?;
        if let Some(black_box) = &mut self.publishing.black_box {
            if black_box.is_due(now) {
                // A transport stream can be joined anywhere: there is no state before it.
                black_box.turn(now, Vec::new(), std::iter::empty());
            }
            let whole = [
                Traced::Body { id: 0, at: 0, offset: 0, length: payload.len() },
                Traced::Whole { id: 0, body: payload.clone() },
            ];
            black_box.read(now, &payload, whole.into_iter());
        }
        self.media.feed(payload, now, &mut self.publishing.publisher).map_err(Ended::Refused)
    }

    fn check_up(&mut self, now: Instant) {
        let stats = self.connection.stats();
        self.link.set(state(&stats, self.connection.key_bits()));
        self.media.line(line(&stats), now);
        let health = self.media.check_up(now);
        self.publishing.check_up(stats.too_late, health);
        self.gauges.set(&stats);
        let before = std::mem::replace(&mut self.counted, stats);
        for ((kind, now), (_, before)) in kinds(&stats).into_iter().zip(kinds(&before)) {
            if now > before {
                self.metrics.srt_packets(kind, now - before);
            }
        }
    }

    /// Says goodbye; what is to be sent is in the connection.
    pub(super) fn end(&mut self, ended: &Ended, now: Instant, at: Duration) {
        self.check_up(now);
        if let Ended::Refused(refusal) = ended {
            tracing::warn!(stream = %self.publishing.stream, message = %refusal, "publisher refused");
        }
        self.connection.shut_down(at);
    }
}
