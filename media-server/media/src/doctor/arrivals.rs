//! When media arrive, against when they are due.
//!
//! How far a unit's time is ahead of its arrival says how long it was on its way, up to a constant. The most ahead
//! of late is the track's *best*; what lies behind it is lateness. The best is let down by 3 % of the passing time,
//! so that a source of a wrong speed, or a line that became longer, is not late for ever.

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};
use crate::timeline::{Repair, Repairs};
use crate::unit::Kind;

/// Bitrates and lateness are measured over this much of the arrival clock.
const WINDOW: Span = Span::from_millis(10_000);
/// A pause of everything that is worth counting.
const STALL: Span = Span::from_millis(1_000);
/// Stalls within a minute from which on the line is told of.
const STALLS: usize = 2;
const MINUTE: Span = Span::from_millis(60_000);
/// Lateness that a player at low latency feels.
const LATE: Span = Span::from_millis(500);
/// Units later than this are part of a burst; so many in a hundred of them are a habit.
const BURST: Span = Span::from_millis(200);
const HABIT: u64 = 30;
/// Lets the best down: a part of the passing time.
const LET_DOWN: i64 = 33;
/// Media of both tracks needed before they are compared.
const COMPARED_AFTER: Span = Span::from_millis(5_000);

/// What one window of one track saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    bytes: u64,
    units: u64,
    burst: u64,
    latest: Span,
}

/// One track.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    best: Option<Span>,
    /// Since when the best is meaningful.
    steady: Option<Timestamp>,
    window: Option<(Timestamp, Seen)>,
    /// The last full window, and its length.
    closed: Option<(Seen, Span)>,
}

impl Track {
    /// The media time of the first unit.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// The arrival of the last unit.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Bits a second over the last full window.
    pub(super) fn bitrate(&self) -> Option<f64> {
        self.closed.map(|(seen, length)| seen.bytes as f64 * 8.0 / length.seconds())
    }

    fn note(&mut self, dts: Timestamp, bytes: u64, rebased: bool, arrival: Timestamp) {
        self.advance(arrival);
        self.first.get_or_insert(dts);
        let passed = self.last.map_or(Span::ZERO, |last| (arrival - last).max(Span::ZERO));
        self.last = Some(arrival);
        let ahead = dts - arrival;
        let best = match self.best {
            Some(best) if !rebased => (best - Span::from_flicks(passed.flicks() / LET_DOWN)).max(ahead),
            _ => {
                self.steady = Some(arrival);
                ahead
            }
        };
        self.best = Some(best);
        let (_, seen) = self.window.get_or_insert((arrival, Seen::default()));
        let late = best - ahead;
        seen.bytes = seen.bytes.saturating_add(bytes);
        seen.units = seen.units.saturating_add(1);
        seen.burst = seen.burst.saturating_add(u64::from(late > BURST));
        seen.latest = seen.latest.max(late);
    }

    fn advance(&mut self, now: Timestamp) {
        if let Some((began, seen)) = self.window
            && now - began >= WINDOW
        {
            self.closed = Some((seen, now - began));
            self.window = Some((now, Seen::default()));
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    video: Track,
    audio: Track,
    /// The last stalls: where they ended, and how long they were.
    stalls: [Option<(Timestamp, Span)>; STALLS],
    now: Timestamp,
}

impl Arrivals {
    pub(super) fn track(&self, kind: Kind) -> &Track {
        match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        }
    }

    /// The last arrival of anything.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.video.last.max(self.audio.last)
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.video.advance(now);
        self.audio.advance(now);
    }

    pub(super) fn note(
        &mut self,
        kind: Kind,
        dts: Timestamp,
        bytes: u64,
        repairs: Repairs,
        arrival: Timestamp,
    ) {
        self.now = self.now.max(arrival);
        if let Some(last) = self.last()
            && arrival - last > STALL
        {
            self.stalls.rotate_right(1);
            if let Some(first) = self.stalls.first_mut() {
                *first = Some((arrival, arrival - last));
            }
        }
        let rebased = repairs.contains(Repair::Jump) || repairs.contains(Repair::Gap);
        let track = match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        track.note(dts, bytes, rebased, arrival);
    }

    /// How much later sound is timestamped than the picture that arrives with it.
    pub(super) fn sound_offset(&self) -> Option<Span> {
        let steady = |track: &Track| track.steady.zip(track.last).map(|(since, last)| last - since);
        if steady(&self.video)?.min(steady(&self.audio)?) < COMPARED_AFTER {
            return None;
        }
        Some(self.audio.best? - self.video.best?)
    }

    pub(super) fn stalls(&self) -> Verdict {
        let recent = |stall: &&(Timestamp, Span)| self.now - stall.0 < MINUTE;
        let recent: Vec<_> = self.stalls.iter().flatten().filter(recent).collect();
        Verdict::sign(recent.len() >= STALLS, || {
            let longest = recent.iter().map(|stall| stall.1).max().unwrap_or(STALL).seconds();
            Sign::warning(format!("Media stopped more than once within a minute, for up to {longest:.1} s"))
                .figures(recent.len() as f64, 0.0)
        })
    }

    pub(super) fn late_data(&self) -> Verdict {
        let Some(worst) = self.worst() else { return Verdict::Unknown };
        Verdict::sign(worst.latest > LATE && !is_habit(&worst), || {
            let ms = worst.latest.millis();
            Sign::warning(format!("Media arrived up to {ms} ms late within the last 10 s"))
                .figures(ms as f64, LATE.millis() as f64)
        })
    }

    pub(super) fn bursts(&self) -> Verdict {
        let Some(worst) = self.worst() else { return Verdict::Unknown };
        Verdict::sign(worst.latest > LATE && is_habit(&worst), || {
            let ms = worst.latest.millis();
            Sign::warning(format!("Media arrive in bursts, up to {ms} ms after they are due"))
                .figures(ms as f64, LATE.millis() as f64)
        })
    }

    /// The window of the track that came later.
    fn worst(&self) -> Option<Seen> {
        let seen = [&self.video, &self.audio].into_iter().filter_map(|track| track.closed);
        seen.map(|(seen, _)| seen).filter(|seen| seen.units > 0).max_by_key(|seen| seen.latest)
    }
}

fn is_habit(seen: &Seen) -> bool {
    seen.burst.saturating_mul(100) > seen.units.saturating_mul(HABIT)
}
