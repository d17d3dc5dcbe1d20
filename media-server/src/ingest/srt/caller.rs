//! One caller that publishes: its connection, and the transport stream that comes over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wire::srt::{Closed, Connection, Delivery};

use super::figures::Figures;
use crate::ingest::Desk;
use crate::ingest::checkup;
use crate::ingest::publishing::Admitted;
use crate::ingest::tracks::Refusal;
use crate::ingest::transport_session::TransportSession;
use crate::live::Link;

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
    pub(super) session: TransportSession,
    halt: CancellationToken,
    idle: Duration,
    figures: Figures,
}

impl Caller {
    pub(super) fn new(
        connection: Connection,
        admitted: Admitted,
        (halt, idle): (CancellationToken, Duration),
        link: Arc<Link>,
        desk: &Desk,
    ) -> Self {
        let mut figures = Figures::new(&admitted.publishing, link, &desk.metrics);
        figures.tell(&connection.stats(), connection.key_bits());
        Self { connection, session: TransportSession::new(admitted, desk), halt, idle, figures }
    }

    /// Does what is due at `now`, which is `at` on the connection's clock. An error: it is over.
    pub(super) fn turn(&mut self, now: Instant, at: Duration) -> Result<(), Ended> {
        self.connection.tick(at);
        let mut told = false;
        while let Some(delivery) = self.connection.deliver(at) {
            match delivery {
                Delivery::Payload(payload) => {
                    // Of those of one turn the first was due first.
                    if !std::mem::replace(&mut told, true) {
                        self.figures.late(self.connection.lateness());
                    }
                    self.session.payload(payload, now).map_err(Ended::Refused)?;
                }
                Delivery::Lost(_) => self.session.lost(),
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
        if self.session.is_silent(now, self.idle) {
            return Err(Ended::Idle(self.idle));
        }
        if self.session.is_due(now) {
            self.check_up(now);
        }
        Ok(())
    }

    /// When [`Self::turn`] is due at the latest, on the connection's clock; `at` is now.
    pub(super) fn due(&self, at: Duration) -> Duration {
        self.connection.timeout().min(at + checkup::PACE)
    }

    fn check_up(&mut self, now: Instant) {
        let line = self.figures.tell(&self.connection.stats(), self.connection.key_bits());
        self.session.check_up(now, line);
    }

    /// Says goodbye; what is to be sent is in the connection.
    pub(super) fn end(&mut self, ended: &Ended, now: Instant, at: Duration) {
        self.check_up(now);
        if let Ended::Refused(refusal) = ended {
            tracing::warn!(stream = %self.session.publishing.stream, message = %refusal, "publisher refused");
        }
        self.connection.shut_down(at);
    }
}
