//! One continuous clock for a publisher's session: raw timestamps in, times on the stream's timeline out. Never an
//! error; what had to be repaired is answered with each unit and counted by kind.
//!
//! - Wraps are unrolled; times are 64-bit from here on.
//! - A jump of the source's clock (forward beyond what passed on the arrival clock, or backwards) re-bases the
//!   timeline, both tracks by the same amount: who sees it first decides, the other track joins when its own
//!   timestamps jump, so sound and picture stay together.
//! - Video with a constant frame rate is put on its exact grid (`cadence`), which removes the
//!   rounding of millisecond timestamps; video with a variable rate keeps its own times.
//! - Audio is spaced by its sample count (`spacing`) and follows the source's clock gently.
//! - The drift between the source's clock and the arrival clock is measured as a slope, and nothing is ever reset
//!   because of it: time follows the source, also at 98 % or 102 % of ours, so that every EXTINF is the length of its
//!   media. EXT-X-PROGRAM-DATE-TIME drifts with it, and is right again where the next session begins
//!   (docs/decisions/0008).
//! - A clock that stands still is replaced by the units' durations, from the third unit on.
//!
//! What it is not: a buffer or a gate. Each unit is answered at once, also audio that comes long before video.

// `arithmetic_side_effects` is not among them: it does not know that Timestamp and Span saturate.

mod cadence;
mod clock;
mod fit;
mod repair;
mod slope;
mod spacing;

pub use clock::Clock;
pub use repair::{Counts, Repair, Repairs};

use cadence::Cadence;
use clock::Mapping;
use slope::Slope;
use spacing::Spacing;

use crate::time::{Span, Timestamp};

/// Forward beyond this, past what the arrival clock saw pass, is a jump.
const FORWARD: Span = Span::from_millis(2_000);
/// Backwards beyond this is a jump; less is squeezed into place.
const BACKWARD: Span = Span::from_millis(200);
/// How far apart the two tracks may begin, to be taken as one clock.
const FIRST_SKEW: Span = Span::from_millis(10_000);
/// The longest silence that is kept as a gap on the timeline; a longer one is shortened to it.
const LONGEST_GAP: Span = Span::from_millis(10_000);
/// Composition offsets beyond this are garbage.
const LONGEST_COMPOSITION: Span = Span::from_millis(10_000);
/// Sounds beside the first one.
pub const MOST_FURTHER: usize = 7;
/// From the third timestamp in a row on that does not move, the source's clock is taken to stand still: the second is
/// squeezed in, which keeps it within 40 ms of where it belongs.
const FROZEN_AFTER: u32 = 2;

/// Where and how a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineConfig {
    /// Where the session's first unit is placed. A reconnect gives a time behind the last unit of the session
    /// before. A unit of the other track may truly belong before it (by at most 10 s) and is placed there; a
    /// caller who cannot use it drops it.
    pub start: Timestamp,
    /// The raw timestamps' clock.
    pub clock: Clock,
}

/// The times of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Decoding time, strictly increasing within a track.
    pub dts: Timestamp,
    /// Presentation time, never before `dts`.
    pub pts: Timestamp,
    /// The time that is expected to pass until the track's next unit: of the samples for audio, the nominal frame
    /// interval for video.
    pub duration: Span,
}

/// What is kept for each track.
#[derive(Clone, Debug, Default)]
struct Track {
    mapping: Option<Mapping>,
    /// The mapping before the last jump: a single wrong timestamp finds back through it.
    before: Option<Mapping>,
    seen: Option<Seen>,
    slope: Slope,
}

/// The last unit of a track.
#[derive(Clone, Copy, Debug)]
struct Seen {
    raw: u64,
    /// Its place by the source's clock, before the grid.
    source: Timestamp,
    arrival: Timestamp,
    /// The raw timestamp that has not moved since, its place, and the units that it was found again on.
    stood: (u64, Timestamp),
    same: u32,
    /// Where the next unit is expected.
    next: Timestamp,
    /// The unit's expected duration.
    duration: Span,
}

impl Track {
    /// The present mapping takes a unit for one that comes late, and the mapping before the last jump has it just where
    /// it is expected: the jump is over. Two clocks that take turns would move the track with each of them.
    fn returns(&self, source: Timestamp, raw: u64, clock: Clock) -> bool {
        let (Some(seen), Some(before)) = (self.seen, self.before) else { return false };
        let off = |place: Timestamp| (place - seen.next).abs();
        off(source) > BACKWARD && off(before.position(raw, clock)) <= BACKWARD.half()
    }
}

/// One publisher's session.
#[derive(Clone, Debug)]
pub struct Timeline {
    config: TimelineConfig,
    video: Track,
    audio: Sound,
    /// Sounds beside the first one.
    further: Vec<Sound>,
    cadence: Cadence,
    counts: Counts,
}

/// One of the session's sounds.
#[derive(Clone, Debug, Default)]
struct Sound {
    track: Track,
    spacing: Spacing,
}

impl Timeline {
    /// A session in which nothing has come yet.
    pub fn new(config: TimelineConfig) -> Self {
        Self {
            config: TimelineConfig { start: config.start, clock: config.clock.sane() },
            video: Track::default(),
            audio: Sound::default(),
            further: Vec::new(),
            cadence: Cadence::default(),
            counts: Counts::default(),
        }
    }

    /// Moves the session's start, as long as nothing is placed.
    pub fn begin(&mut self, start: Timestamp) {
        if self.end().is_none() {
            self.config.start = start;
        }
    }

    /// What the stream itself says its frame rate is (SPS timing, metadata), as (numerator, denominator). A wrong
    /// hint costs nothing: it is dropped when the timestamps do not agree.
    pub fn set_frame_rate_hint(&mut self, rate: Option<(u32, u32)>) {
        self.cadence.set_hint(rate);
    }

    /// Places a video unit: decoding timestamp and composition offset (pts - dts) in raw ticks, `arrival` on a
    /// monotonic clock of any origin.
    pub fn video(&mut self, raw_dts: u64, composition: i64, arrival: Timestamp) -> (Stamp, Repairs) {
        let mut repairs = Repairs::default();
        let (own, other) = (&mut self.video, &self.audio.track);
        let Placed { source, jumped } = self.config.place(own, other, raw_dts, arrival, &mut repairs);
        let dts = self.cadence.place(source, jumped, &mut repairs);
        let duration = self.cadence.duration();
        let offset = Span::from_ticks(composition, self.config.clock.rate);
        let pts = if offset < Span::ZERO || offset > LONGEST_COMPOSITION {
            repairs.note(Repair::Composition);
            dts
        } else {
            dts + self.cadence.composition(offset)
        };
        if let Some(seen) = &mut self.video.seen {
            (seen.next, seen.duration) = (dts + duration, duration);
        }
        self.counts.add(repairs);
        (Stamp { dts, pts, duration }, repairs)
    }

    /// Places an audio unit of `samples` samples (a channel) at `sample_rate`.
    pub fn audio(
        &mut self,
        raw: u64,
        samples: u32,
        sample_rate: u32,
        arrival: Timestamp,
    ) -> (Stamp, Repairs) {
        self.sound(0, raw, samples, sample_rate, arrival)
    }

    /// As [`Self::audio`], of one of several sounds: 0 is the one that `audio` means, and no number is above
    /// [`MOST_FURTHER`]. All of them stay together with the pictures, and without pictures with the first.
    pub fn sound(
        &mut self,
        number: usize,
        raw: u64,
        samples: u32,
        sample_rate: u32,
        arrival: Timestamp,
    ) -> (Stamp, Repairs) {
        if number > self.further.len() {
            self.further.resize_with(number.min(MOST_FURTHER), Sound::default);
        }
        let (own, other) = match self.further.iter_mut().take(number).next_back() {
            None => (&mut self.audio, &self.video),
            Some(own) if self.video.seen.is_some() => (own, &self.video),
            Some(own) => (own, &self.audio.track),
        };
        let mut repairs = Repairs::default();
        let Placed { source, jumped } = self.config.place(&mut own.track, other, raw, arrival, &mut repairs);
        let (dts, duration) = own.spacing.place(source, jumped, samples, sample_rate, &mut repairs);
        if let Some(seen) = &mut own.track.seen {
            (seen.next, seen.duration) = (dts + duration, duration);
        }
        self.counts.add(repairs);
        (Stamp { dts, pts: dts, duration }, repairs)
    }

    /// Frames of a sound were lost on the way: the next one leaves as much room before it as its timestamp says.
    pub fn lost_sound(&mut self, number: usize) {
        let sound = match number.checked_sub(1) {
            None => Some(&mut self.audio),
            Some(further) => self.further.get_mut(further),
        };
        if let Some(sound) = sound {
            sound.spacing.lose();
        }
    }

    /// How much faster the source's clock runs than the arrival clock, in parts per million, once half a minute is
    /// seen. Measured on video where there is any, over the whole session.
    pub fn slope_ppm(&self) -> Option<f64> {
        self.video.slope.ppm().or_else(|| self.audio.track.slope.ppm())
    }

    /// The video frame rate, where one is recognized: (numerator, denominator).
    pub fn frame_rate(&self) -> Option<(u32, u32)> {
        self.cadence.frame_rate()
    }

    /// All repairs of the session, by kind.
    pub fn repairs(&self) -> &Counts {
        &self.counts
    }

    /// The time behind the last unit of both tracks: where a following session can begin. `None` before the first.
    pub fn end(&self) -> Option<Timestamp> {
        let of = |track: &Track| track.seen.map(|seen| seen.next);
        of(&self.video).max(of(&self.audio.track))
    }
}

impl TimelineConfig {
    /// The unit's place by the source's clock, repaired of jumps and standstills, and remembered.
    fn place(
        &self,
        own: &mut Track,
        other: &Track,
        raw: u64,
        arrival: Timestamp,
        repairs: &mut Repairs,
    ) -> Placed {
        let Self { start, clock } = *self;
        let raw = clock.mask(raw);
        let bounds = Bounds::of(own, other, arrival);
        let standing = own.seen.filter(|seen| clock.stands(seen.stood.0, raw));
        let same = standing.map_or(0, |seen| seen.same.saturating_add(1));
        let sane = |mapping: Option<Mapping>| {
            mapping.map(|m| (m, m.position(raw, clock))).filter(|(_, source)| bounds.hold(*source))
        };
        let current = own.mapping.or(other.mapping);
        let (mapping, source, jumped) = if current.is_none() {
            (Mapping::new(raw, start), start, false)
        } else if same >= FROZEN_AFTER {
            repairs.note(Repair::Frozen);
            // The mapping stays: when the clock runs again, it says whether time was lost.
            let next = own.seen.map_or(start, |seen| {
                // What was squeezed in before the standstill was noticed is made up for, once.
                let since = seen.stood.1 + seen.duration.times(i64::from(same));
                if same == FROZEN_AFTER { seen.next.max(since) } else { seen.next }
            });
            (current.unwrap_or(Mapping::new(raw, next)), next, false)
        } else if let Some((mapping, source)) =
            sane(current).filter(|(_, source)| !own.returns(*source, raw, clock))
        {
            (mapping, source, false)
        } else {
            repairs.note(Repair::Jump);
            let fresh = bounds.fresh(own, other, start);
            let known = [sane(other.mapping), sane(own.before)].into_iter().flatten();
            let nearest = known.min_by_key(|(_, source)| (*source - fresh).abs());
            let (mapping, source) = nearest.unwrap_or((Mapping::new(raw, fresh), fresh));
            (mapping, source, true)
        };
        if !jumped && bounds.is_gap(source) {
            repairs.note(Repair::Gap);
        }
        let before = if jumped { own.mapping } else { own.before };
        let last = own.seen;
        if last.is_some_and(|last| !jumped && clock.wraps(last.raw, raw)) {
            repairs.note(Repair::Wrap);
        }
        own.mapping = Some(mapping.advanced(raw, clock));
        own.before = before;
        let duration = last.map_or(Span::ZERO, |seen| seen.duration);
        let stood = standing.map_or((raw, source), |seen| seen.stood);
        own.seen = Some(Seen { raw, source, arrival, stood, same, next: source, duration });
        if same < FROZEN_AFTER {
            own.slope.note(source, arrival, jumped);
        }
        Placed { source, jumped }
    }
}

struct Placed {
    source: Timestamp,
    jumped: bool,
}

/// Between which times a unit of a track is believed.
struct Bounds {
    earliest: Timestamp,
    latest: Timestamp,
    /// Where a unit without any gap would at most be.
    gapless: Timestamp,
    /// Arrival time since the track's last unit, bounded.
    elapsed: Span,
}

impl Bounds {
    fn of(own: &Track, other: &Track, arrival: Timestamp) -> Self {
        let elapsed = |seen: &Seen| (arrival - seen.arrival).clamp(Span::ZERO, LONGEST_GAP);
        let newest = [&own.seen, &other.seen].into_iter().flatten().max_by_key(|seen| seen.source);
        let (slack, back) = if own.seen.is_some() { (FORWARD, BACKWARD) } else { (FIRST_SKEW, FIRST_SKEW) };
        let last = own.seen.or(other.seen);
        let earliest = last.map_or(Timestamp::ZERO, |seen| seen.source - back);
        let latest = newest.map_or(Timestamp::ZERO, |seen| seen.source + slack + elapsed(seen));
        let gapless = newest.map_or(Timestamp::MAX, |seen| seen.source + FORWARD);
        Self { earliest, latest, gapless, elapsed: own.seen.as_ref().map_or(Span::ZERO, elapsed) }
    }

    fn hold(&self, source: Timestamp) -> bool {
        (self.earliest..=self.latest).contains(&source)
    }

    /// A real gap: the arrival clock saw it pass too.
    fn is_gap(&self, source: Timestamp) -> bool {
        source > self.gapless
    }

    /// Where a unit goes whose timestamp says nothing: behind the track's last, by as many whole durations as fit
    /// the time that passed on the arrival clock, and not so far behind the other track that this one could not
    /// join. On a track's first unit: beside the other track.
    fn fresh(&self, own: &Track, other: &Track, start: Timestamp) -> Timestamp {
        let Some(seen) = own.seen else { return other.seen.map_or(start, |seen| seen.next) };
        let passed = if self.elapsed > FORWARD { self.elapsed - seen.duration } else { Span::ZERO };
        let behind = other.seen.map_or(Span::ZERO, |other| other.next - BACKWARD.half() - seen.next);
        let whole = passed.max(behind).max(Span::ZERO).flicks().checked_div(seen.duration.flicks());
        seen.next + seen.duration.times(whole.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
