//! A stream's slate: asked for as soon as it is known what it must look like, shown once nobody has sent for a while,
//! left for the first publisher that sends again.

use std::time::{Duration, Instant};

use media::{Format, Span};

use super::publisher::Track;
use super::run::Outcome;
use super::slate::{Showing, SlateCell, SlateFactory, SlateRequest};
use super::sound::Missing;
use super::stream::Stream;

/// Frames a second where the source names no rate, or one that no picture has: its parameter sets may say anything.
const RATE: (u32, u32) = (30, 1);
const MOST_RATE: u32 = 120;
/// Between two slates that a stream asks for: a source that changes with every picture does not keep encoders busy.
const PACE: Duration = Duration::from_secs(5);
/// What was shown last ends this much ago at most, where it was held: the slate follows on it without a hole.
const SEAM: Span = Span::from_millis(1_000);

/// See the module.
pub(super) struct Standby {
    factory: SlateFactory,
    /// What was asked for, and where it will be.
    asked: Option<(SlateRequest, SlateCell, Instant)>,
    showing: Option<Showing>,
    /// When a publisher on the air last sent.
    heard: Instant,
}

impl Standby {
    pub(super) fn new(factory: SlateFactory) -> Self {
        Self { factory, asked: None, showing: None, heard: Instant::now() }
    }

    /// It is not shown any more.
    pub(super) fn leave(&mut self) {
        self.showing = None;
    }

    fn is_made(&self) -> bool {
        self.asked.as_ref().is_some_and(|(_, cell, _)| cell.get().is_some())
    }
}

impl Stream {
    /// Notes what is on the air, and has a slate made that could stand in for it.
    pub(super) fn prepare_slate(&mut self, heard: Option<Instant>) {
        let Some(heard) = heard else { return };
        self.standby.heard = heard;
        // Once its tracks are known.
        let wanted = self.settings.slate.is_some() && self.run.ready;
        let Some(video) = self.run.source.format.as_ref().filter(|_| wanted) else {
            return;
        };
        let request = SlateRequest {
            width: video.width,
            height: video.height,
            frame_rate: video.frame_rate.filter(|rate| is_real(*rate)).unwrap_or(RATE),
            bitrate: self.run.expect.video_bitrate.unwrap_or(0),
            sound: self.run.first_sound().map(|audio| (audio.sample_rate, audio.channels)),
        };
        let another = |(asked, _, at): &(SlateRequest, _, Instant)| *asked != request && at.elapsed() >= PACE;
        if self.standby.asked.as_ref().is_none_or(another) {
            let cell = (self.standby.factory)(request.clone());
            self.standby.asked = Some((request, cell, Instant::now()));
        }
    }

    /// It can be shown, and is due or shown already.
    pub(super) fn slate_is_due(&self, now: Instant) -> bool {
        self.slate_due_at().is_some_and(|at| self.standby.showing.is_some() || at <= now)
    }

    /// When it is due. None: there is none, or nothing that it could stand in for.
    pub(super) fn slate_due_at(&self) -> Option<Instant> {
        let after = self.settings.slate.filter(|_| self.run.open && self.standby.is_made())?;
        Some(self.standby.heard + after.max(Duration::from_millis(100)))
    }

    /// Puts it on the air, behind what was shown last.
    pub(super) fn begin_slate(&mut self) -> Outcome {
        let made = self.standby.asked.as_ref().and_then(|(_, cell, _)| cell.get().cloned());
        let Some(slate) = made else { return Outcome::default() };
        let now = self.run.now();
        let base = self.run.source.splice.end().filter(|end| now - *end < SEAM).unwrap_or(now);
        let format = Format::Video(slate.video.clone());
        self.standby.showing = Showing::begin(slate, base, self.run.first_sound());
        self.run.choice.leave();
        self.run.rejoin();
        self.run.format(Track::Video(0), &format)
    }

    /// Gives what is due of it; silence and held pictures for the tracks that it does not have.
    pub(super) fn show_slate(&mut self) -> Outcome {
        let Some(showing) = &mut self.standby.showing else { return Outcome::default() };
        let now = self.run.now();
        let missing = if showing.has_sound() { Missing::FURTHER } else { Missing::ALL };
        let mut outcome = Outcome::default();
        for (track, unit) in showing.due(now) {
            // Its sound is made for the first one, and decodes as no other.
            outcome |= match track {
                Track::Audio(_) => self.run.frame(0, unit),
                Track::Video(_) => self.run.unit(track, unit, None),
            };
        }
        outcome |= self.run.hold_beside_source(missing);
        outcome
    }

    /// When its next unit is due.
    pub(super) fn next_of_slate(&self) -> Option<Instant> {
        self.standby.showing.as_ref().map(|showing| self.run.instant(showing.next_at()))
    }
}

/// From one picture a second to [`MOST_RATE`].
fn is_real((numerator, denominator): (u32, u32)) -> bool {
    denominator > 0 && numerator >= denominator && numerator / denominator <= MOST_RATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_no_picture_has_is_not_asked_for() {
        for rate in [(30_000, 1001), (120, 1), (1, 1)] {
            assert!(is_real(rate), "{rate:?}");
        }
        for rate in [(u32::MAX, 1), (u32::MAX, 0), (0, 0), (1, 2), (121, 1)] {
            assert!(!is_real(rate), "{rate:?}");
        }
    }
}
