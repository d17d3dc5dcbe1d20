//! When a packet is due (4.5): its sender's timestamp, the latency that was agreed on, and the drift between two clocks.

use core::time::Duration;

/// Samples of the drift that make a correction (4.7).
const SAMPLES: u32 = 1000;
/// A drift below this is noise, microseconds.
const NOISE: i64 = 1_000;

/// See the module. Inside, all times are microseconds.
#[derive(Clone, Debug)]
pub(super) struct DeliveryClock {
    /// Our time when the sender's timestamps were 0.
    base: i64,
    latency: i64,
    /// The newest timestamp, unrolled.
    last: i64,
    drift: i64,
    samples: u32,
    /// Round trip at the first sample: what it grows by since is not drift.
    first_round_trip: Option<i64>,
}

pub(super) fn micros(at: Duration) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
}

impl DeliveryClock {
    /// `timestamp` of a packet that has come at `now`.
    pub(super) fn new(now: Duration, timestamp: u32, latency: Duration) -> Self {
        let last = i64::from(timestamp);
        Self {
            base: micros(now).saturating_sub(last),
            latency: micros(latency),
            last,
            drift: 0,
            samples: 0,
            first_round_trip: None,
        }
    }

    /// The timestamp without its wraps (every 71 minutes): the nearest to the newest one.
    fn unroll(&self, timestamp: u32) -> i64 {
        let off = timestamp.wrapping_sub(self.last as u32).cast_signed();
        self.last.saturating_add(i64::from(off))
    }

    /// When the packet with this timestamp is due.
    pub(super) fn due(&mut self, timestamp: u32) -> Duration {
        let at = self.unroll(timestamp);
        self.last = self.last.max(at);
        let due = self.base.saturating_add(at).saturating_add(self.latency);
        Duration::from_micros(u64::try_from(due).unwrap_or(0))
    }

    /// A packet that was sent at once, with this timestamp, has come at `now`.
    pub(super) fn sample(&mut self, now: Duration, timestamp: u32, round_trip: Duration) {
        let round_trip = micros(round_trip);
        let first = *self.first_round_trip.get_or_insert(round_trip);
        let longer = round_trip.saturating_sub(first).checked_div(2).unwrap_or_default();
        let off = micros(now)
            .saturating_sub(self.base.saturating_add(self.unroll(timestamp)))
            .saturating_sub(longer);
        self.drift = self.drift.saturating_add(off);
        self.samples = self.samples.saturating_add(1);
        if self.samples >= SAMPLES {
            let mean = self.drift.checked_div(i64::from(SAMPLES)).unwrap_or_default();
            if mean.abs() > NOISE {
                self.base = self.base.saturating_add(mean);
            }
            (self.drift, self.samples) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(120);

    #[test]
    fn packets_are_due_a_latency_after_they_were_sent_over_every_wrap() {
        let begin = u32::MAX - 5_000_000;
        let mut clock = DeliveryClock::new(Duration::from_secs(9), begin, LATENCY);
        for second in 0..20_000_u64 {
            let sent = begin.wrapping_add((second * 1_000_000) as u32);
            assert_eq!(clock.due(sent), Duration::from_secs(9 + second) + LATENCY, "{second}");
        }
    }

    #[test]
    fn a_sender_whose_clock_is_slow_is_followed() {
        let mut clock = DeliveryClock::new(Duration::from_secs(1), 0, LATENCY);
        // 100 ppm, an hour, a sample each 10 ms.
        for n in 1..360_000_u64 {
            let (now, sent) = (Duration::from_secs(1) + Duration::from_micros(n * 10_000), n * 9_999);
            clock.sample(now, sent as u32, Duration::from_millis(50));
            let late = (clock.due(sent as u32)).abs_diff(now + LATENCY);
            assert!(late < Duration::from_millis(4), "{n}: {late:?}");
        }
    }
}
