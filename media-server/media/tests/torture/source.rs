//! A simulated publisher: true capture times, and what the wire says of them.

use media::timeline::Clock;
use media::{Kind, Span, Timestamp};

pub(crate) fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ticks(ms, 1000)
}

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;

/// One unit on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    /// When it was captured, by true time: where it belongs.
    pub(crate) truth: Timestamp,
    pub(crate) raw: u64,
    pub(crate) composition: i64,
    pub(crate) keyframe: bool,
    pub(crate) arrival: Timestamp,
}

/// A unit before it is sent: which track, its number, its true time in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    pub(crate) n: i64,
    pub(crate) ms: i64,
}

type Of<T> = Box<dyn Fn(Unit) -> T>;

/// How a publisher behaves. The default is a healthy one over RTMP at 30 frames a second, GOPs of 2 s, AAC at 48 kHz.
pub(crate) struct Source {
    pub(crate) clock: Clock,
    /// Where the session begins on the stream's timeline.
    pub(crate) start: Timestamp,
    /// Frames a second.
    pub(crate) rate: (i64, i64),
    /// Frames a GOP.
    pub(crate) gop: i64,
    /// Where the raw clock starts, in ticks.
    pub(crate) raw_start: u64,
    /// What is wrong with the raw timestamps: added, in ticks.
    pub(crate) error: Of<i64>,
    /// Takes the place of the raw timestamp, in ticks since the start.
    pub(crate) replace: Option<Of<i64>>,
    /// Units that never come.
    pub(crate) lost: Of<bool>,
    /// Composition offset in ticks.
    pub(crate) composition: Of<i64>,
    /// The distance to the next frame, where it varies.
    pub(crate) vary: Option<fn(i64) -> Span>,
    /// Milliseconds on the way.
    pub(crate) delay: Of<i64>,
    /// Arrival time that passes for a second of media, in parts per million of it beyond 1.
    pub(crate) slow_ppm: i64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            clock: Clock::RTMP,
            start: Timestamp::ZERO,
            rate: (30, 1),
            gop: 60,
            raw_start: 0,
            error: Box::new(|_| 0),
            replace: None,
            lost: Box::new(|_| false),
            composition: Box::new(|_| 0),
            vary: None,
            delay: Box::new(|_| 30),
            slow_ppm: 0,
        }
    }
}

impl Source {
    /// Sends so many milliseconds of media.
    pub(crate) fn run(&self, length: i64, mut sink: impl FnMut(Sent)) {
        let end = ms(length);
        let (mut frame, mut frame_at) = (0_i64, Timestamp::ZERO);
        let (mut sound, mut sound_at) = (0_i64, Timestamp::ZERO);
        let mut arrived = Timestamp::ZERO;
        while frame_at.min(sound_at) < end {
            let (kind, n, truth) = if frame_at <= sound_at {
                let unit = (Kind::Video, frame, frame_at);
                frame += 1;
                frame_at = match self.vary {
                    Some(vary) => frame_at + vary(unit.1),
                    None => Timestamp::from_ticks(frame * self.rate.1, self.rate.0 as u32),
                };
                unit
            } else {
                let unit = (Kind::Audio, sound, sound_at);
                sound += 1;
                sound_at = Timestamp::from_ticks(sound * 1024, 48_000);
                unit
            };
            let unit = Unit { kind, n, ms: floor(truth, 1000) };
            if (self.lost)(unit) {
                continue;
            }
            // Encoders cut fractions off.
            let ticks = match &self.replace {
                Some(replace) => replace(unit),
                None => floor(truth, self.clock.rate) + (self.error)(unit),
            };
            let raw = self.raw_start.wrapping_add(ticks as u64);
            let passed = Span::from_flicks(truth.flicks() / 1_000_000 * (1_000_000 + self.slow_ppm));
            let arrival = Timestamp::ZERO + passed + Span::from_millis((self.delay)(unit));
            arrived = arrived.max(arrival);
            sink(Sent {
                kind,
                truth,
                raw,
                composition: if kind == Kind::Video { (self.composition)(unit) } else { 0 },
                keyframe: kind == Kind::Audio || n % self.gop == 0,
                arrival: arrived,
            });
        }
    }
}

fn floor(time: Timestamp, rate: u32) -> i64 {
    let ticks = i128::from(time.flicks()) * i128::from(rate) / i128::from(media::time::FLICKS_PER_SECOND);
    ticks as i64
}

/// The same everywhere: a number from 0 to below `bound` that depends on `n` only.
pub(crate) fn noise(n: i64, bound: i64) -> i64 {
    let mut x = (n as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) % bound as u64) as i64
}
