//! The source's clock: how many ticks a second, where it wraps, and how it maps onto the timeline.

use crate::time::{Span, Timestamp};

/// The clock of raw timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Ticks a second.
    pub rate: u32,
    /// Bits of a timestamp: it wraps at 2^bits.
    pub bits: u8,
}

impl Clock {
    /// RTMP and FLV: milliseconds in 32 bits, around every 49.7 days.
    pub const RTMP: Self = Self { rate: 1_000, bits: 32 };
    /// MPEG-TS: 90 kHz in 33 bits, around every 26.5 hours.
    pub const MPEG_TS: Self = Self { rate: 90_000, bits: 33 };

    pub(super) fn sane(self) -> Self {
        Self { rate: self.rate.max(1), bits: self.bits.clamp(8, 64) }
    }

    /// The bits above the clock's are not part of a timestamp.
    pub(super) fn mask(self, raw: u64) -> u64 {
        raw & self.all_ones()
    }

    fn all_ones(self) -> u64 {
        u64::MAX.checked_shr(64_u32.saturating_sub(u32::from(self.bits))).unwrap_or(u64::MAX)
    }

    /// Whether a clock that showed `from` and now shows `to` stands still: a millisecond is no unit's duration.
    pub(super) fn stands(self, from: u64, to: u64) -> bool {
        self.distance(from, to).saturating_abs() <= i64::from(self.rate / 1_000)
    }

    /// Whether the way from `from` to `to` leads over the clock's end.
    pub(super) fn wraps(self, from: u64, to: u64) -> bool {
        to < from && self.distance(from, to) > 0
    }

    /// Ticks from `from` to `to` the short way around.
    fn distance(self, from: u64, to: u64) -> i64 {
        let unused = 64_u32.saturating_sub(u32::from(self.bits));
        // Shifting the wrap to bit 63 lets the sign fall out of two's complement.
        let shifted = to.wrapping_sub(from).checked_shl(unused).unwrap_or(0);
        (shifted as i64).checked_shr(unused).unwrap_or(0)
    }
}

/// "This raw timestamp is that time"; all others follow by the distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    raw: u64,
    time: Timestamp,
}

impl Mapping {
    pub(super) fn new(raw: u64, time: Timestamp) -> Self {
        Self { raw, time }
    }

    pub(super) fn position(self, raw: u64, clock: Clock) -> Timestamp {
        self.time + Span::from_ticks(clock.distance(self.raw, raw), clock.rate)
    }

    /// The same mapping, anchored at `raw` once that is an eighth of the clock's range away, so that the short way
    /// around stays the right one. Seldom: for rates that do not divide the flick each move rounds.
    pub(super) fn advanced(self, raw: u64, clock: Clock) -> Self {
        let eighth = (clock.all_ones() >> 3) as i64;
        if clock.distance(self.raw, raw).saturating_abs() <= eighth {
            return self;
        }
        Self { raw, time: self.position(raw, clock) }
    }
}
