//! A publish session whose media come as a transport stream: what SRT callers and fetched streams have in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::doctor::Line;
use wire::Traced;

use super::Desk;
use super::budget::Budget;
use super::checkup;
use super::publishing::{Admitted, Publishing};
use super::sound_worker::SoundWorkers;
use super::tracks::Refusal;
use super::transport_stream::TransportStream;

/// See the module.
pub(super) struct TransportSession {
    pub(super) publishing: Publishing,
    media: TransportStream,
    budget: Budget,
    heard: Instant,
    checked: Instant,
}

impl TransportSession {
    pub(super) fn new(admitted: Admitted, desk: &Desk) -> Self {
        let Admitted { publishing, checkup, limits, sound_bitrate } = admitted;
        let workers = SoundWorkers { factory: Arc::clone(&desk.sounds), bitrate: sound_bitrate };
        let now = Instant::now();
        let (start, stream) = (publishing.publisher.start(), publishing.stream.clone());
        Self {
            publishing,
            media: TransportStream::new(start, stream, checkup, limits, Some(workers)),
            budget: Budget::new(limits, now),
            heard: now,
            checked: now,
        }
    }

    /// Takes packets in.
    pub(super) fn payload(&mut self, payload: Bytes, now: Instant) -> Result<(), Refusal> {
        self.heard = now;
        self.budget.spend(now, payload.len() as u64, 1)?;
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
        self.media.feed(payload, now, &mut self.publishing.publisher)
    }

    /// The transport has lost something.
    pub(super) fn lost(&mut self) {
        self.media.lost();
    }

    /// Nothing has come for `idle`.
    pub(super) fn is_silent(&self, now: Instant, idle: Duration) -> bool {
        now.saturating_duration_since(self.heard) >= idle
    }

    /// It is time for [`Self::check_up`].
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.checked) >= checkup::PACE;
        if due {
            self.checked = now;
        }
        due
    }

    /// Looks the publisher over. `line` is of the transport.
    pub(super) fn check_up(&mut self, now: Instant, line: Line) {
        self.media.line(line, now);
        let health = self.media.check_up(now);
        self.publishing.check_up(line.lost, health);
    }
}
