//! Media time.
//!
//! One unit serves every clock: the *flick*, 1/705 600 000 s. It divides evenly by every rate that video and
//! audio use (90 kHz, 1 kHz, 44.1 and 48 kHz, 30000/1001 fps …), so conversions on the media path are exact and
//! an `i64` holds 414 years.

use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

/// Flicks in one second.
pub const FLICKS_PER_SECOND: i64 = 705_600_000;

/// A point on a stream's timeline, in flicks from the stream's own zero. Never wraps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A signed length of media time, in flicks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

/// Rounds `value * to / from` to the nearest integer, ties upwards, without overflow (saturating).
fn rescale(value: i64, from: i64, to: i64) -> i64 {
    let from = i128::from(from.max(1));
    let product = i128::from(value).saturating_mul(i128::from(to));
    let rounded = product.saturating_add(from / 2).div_euclid(from);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

impl Timestamp {
    /// The timeline's zero.
    pub const ZERO: Self = Self(0);
    /// Later than every real timestamp.
    pub const MAX: Self = Self(i64::MAX);

    /// From flicks.
    pub const fn from_flicks(flicks: i64) -> Self {
        Self(flicks)
    }

    /// From `ticks` of a clock of `rate` ticks a second (90 000, 1 000, a sample rate…).
    pub fn from_ticks(ticks: i64, rate: u32) -> Self {
        Self(rescale(ticks, i64::from(rate), FLICKS_PER_SECOND))
    }

    /// The flick count.
    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// The nearest tick of a clock of `rate` ticks a second.
    pub fn ticks(self, rate: u32) -> i64 {
        rescale(self.0, FLICKS_PER_SECOND, i64::from(rate))
    }

    /// Seconds, for people and estimates.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / FLICKS_PER_SECOND as f64
    }

    /// The span from the timeline's zero.
    pub const fn since_zero(self) -> Span {
        Span(self.0)
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than every real span.
    pub const MAX: Self = Self(i64::MAX);

    /// From flicks.
    pub const fn from_flicks(flicks: i64) -> Self {
        Self(flicks)
    }

    /// From `ticks` of a clock of `rate` ticks a second.
    pub fn from_ticks(ticks: i64, rate: u32) -> Self {
        Self(rescale(ticks, i64::from(rate), FLICKS_PER_SECOND))
    }

    /// From whole milliseconds.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(FLICKS_PER_SECOND / 1000))
    }

    /// The flick count.
    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// The nearest tick of a clock of `rate` ticks a second.
    pub fn ticks(self, rate: u32) -> i64 {
        rescale(self.0, FLICKS_PER_SECOND, i64::from(rate))
    }

    /// Seconds, for people, playlists and estimates.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / FLICKS_PER_SECOND as f64
    }

    /// Whole milliseconds, rounded to nearest.
    pub fn millis(self) -> i64 {
        self.ticks(1000)
    }

    /// The length without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// `self * n`, saturating.
    #[must_use]
    pub const fn times(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Half of it.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Span) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}
impl AddAssign<Span> for Timestamp {
    fn add_assign(&mut self, rhs: Span) {
        *self = *self + rhs;
    }
}
impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Span) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}
impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, rhs: Self) -> Span {
        Span(self.0.saturating_sub(rhs.0))
    }
}
impl Add for Span {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}
impl Sub for Span {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}
impl SubAssign for Span {
    fn sub_assign(&mut self, rhs: Self) {
        *self = *self - rhs;
    }
}
impl Neg for Span {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl std::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "@{:.6}s", self.seconds())
    }
}
impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6}s", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_rate_divides_the_flick() {
        for rate in [1_000, 8_000, 44_100, 48_000, 90_000, 96_000] {
            for n in [0_i64, 1, 7, 1024, 123_456_789] {
                assert_eq!(Timestamp::from_ticks(n, rate).ticks(rate), n);
            }
        }
        assert_eq!(FLICKS_PER_SECOND * 1001 % 30_000, 0);
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Timestamp::from_flicks(i64::MAX) + Span::from_flicks(1), Timestamp::MAX);
        assert_eq!(Timestamp::from_ticks(i64::MAX, 1).flicks(), i64::MAX);
    }
}
