//! What is measured of the path: round trip (4.10) and how much comes.

use core::time::Duration;

/// Round trip time and its variance.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    pub(super) value: Duration,
    pub(super) variance: Duration,
    measured: bool,
}

impl Default for RoundTrip {
    fn default() -> Self {
        Self { value: Duration::from_millis(100), variance: Duration::from_millis(50), measured: false }
    }
}

impl RoundTrip {
    pub(super) fn sample(&mut self, sample: Duration) {
        if !std::mem::replace(&mut self.measured, true) {
            (self.value, self.variance) = (sample, share(sample, 2));
            return;
        }
        self.variance = share(self.variance.saturating_mul(3).saturating_add(self.value.abs_diff(sample)), 4);
        self.value = share(self.value.saturating_mul(7).saturating_add(sample), 8);
    }

    /// The other side has measured it.
    pub(super) fn told(&mut self, value: Duration, variance: Duration) {
        (self.value, self.variance, self.measured) = (value, variance, true);
    }
}

/// One of so many equal parts of a span.
pub(super) fn share(span: Duration, parts: u32) -> Duration {
    span.checked_div(parts).unwrap_or_default()
}

/// How much comes in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    since: Option<Duration>,
    packets: u32,
    bytes: u32,
    /// Packets and bytes of the last whole second.
    pub(super) last: (u32, u32),
}

impl Rate {
    pub(super) fn note(&mut self, now: Duration, bytes: usize) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_sub(since);
        if passed >= Duration::from_secs(1) {
            let a_second = |count: u32| (f64::from(count) / passed.as_secs_f64()) as u32;
            self.last = (a_second(self.packets), a_second(self.bytes));
            (self.since, self.packets, self.bytes) = (Some(now), 0, 0);
        }
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}
