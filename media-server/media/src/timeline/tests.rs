//! Simulated publishers: what they send, and what must come out.

mod cadence;
mod garbage;
mod sound;
mod source_clock;

use super::*;
use crate::time::FLICKS_PER_SECOND;

const AAC: (u32, u32) = (1024, 48_000);

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ticks(ms, 1000)
}

fn timeline(clock: Clock) -> Timeline {
    Timeline::new(TimelineConfig { start: Timestamp::ZERO, clock })
}

fn rtmp() -> Timeline {
    timeline(Clock::RTMP)
}

/// Small, seeded, and the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// Evenly within -width..=width.
    fn around(&mut self, width: i64) -> i64 {
        (self.next() % (2 * width as u64 + 1)) as i64 - width
    }
}

/// The n-th frame's true time at this rate.
fn frame(n: i64, (numerator, denominator): (i64, i64)) -> Timestamp {
    Timestamp::from_flicks(n * FLICKS_PER_SECOND * denominator / numerator)
}

/// Whole milliseconds, as encoders cut them off.
fn cut(time: Timestamp) -> u64 {
    (time.flicks() / (FLICKS_PER_SECOND / 1000)) as u64
}

fn steps(stamps: &[Stamp]) -> Vec<Span> {
    stamps.windows(2).map(|pair| pair[1].dts - pair[0].dts).collect()
}

/// Feeds 30 fps video and 48 kHz audio of `seconds`, true times shifted by `raw_start` ticks, and answers the
/// worst difference between out and truth of each track.
fn publish(timeline: &mut Timeline, clock: Clock, raw_start: u64, seconds: i64) -> (Span, Span) {
    let raw = |time: Timestamp| raw_start.wrapping_add(time.ticks(clock.rate) as u64);
    let (mut v, mut a) = (0, 0);
    let (mut worst_v, mut worst_a) = (Span::ZERO, Span::ZERO);
    loop {
        let video = frame(v, (30, 1));
        let audio = Timestamp::from_ticks(a * 1024, 48_000);
        if video.min(audio) > ms(seconds * 1000) {
            return (worst_v, worst_a);
        }
        if video <= audio {
            let (stamp, _) = timeline.video(raw(video), 0, video);
            worst_v = worst_v.max((stamp.dts - video).abs());
            v += 1;
        } else {
            let (stamp, _) = timeline.audio(raw(audio), AAC.0, AAC.1, audio);
            worst_a = worst_a.max((stamp.dts - audio).abs());
            a += 1;
        }
    }
}

/// Both tracks, whose raw clock is the truth plus `shift(time)`; the answer is the worst deviation between the
/// tracks (each from its truth) after `settle`, and the longest step of either.
fn shifted(timeline: &mut Timeline, seconds: i64, settle: i64, shift: impl Fn(i64) -> i64) -> (Span, Span) {
    let (mut v, mut a) = (0, 0);
    let (mut off_v, mut off_a, mut worst) = (Span::ZERO, Span::ZERO, Span::ZERO);
    let (mut last_v, mut last_a, mut longest) = (None, None, Span::ZERO);
    let mut note = |last: &mut Option<Timestamp>, dts: Timestamp| {
        if let Some(before) = *last {
            assert!(dts > before);
            longest = longest.max(dts - before);
        }
        *last = Some(dts);
    };
    loop {
        let video = frame(v, (30, 1));
        let audio = Timestamp::from_ticks(a * 1024, 48_000);
        let now = video.min(audio);
        if now > ms(seconds * 1000) {
            return (worst, longest);
        }
        let raw = (cut(now) as i64 + shift(cut(now) as i64)) as u64;
        if video <= audio {
            let stamp = timeline.video(raw, 0, now).0;
            off_v = stamp.dts - video;
            note(&mut last_v, stamp.dts);
            v += 1;
        } else {
            let stamp = timeline.audio(raw, AAC.0, AAC.1, now).0;
            off_a = stamp.dts - audio;
            note(&mut last_a, stamp.dts);
            a += 1;
        }
        if now > ms(settle * 1000) {
            worst = worst.max((off_v - off_a).abs());
        }
    }
}
