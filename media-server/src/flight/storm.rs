//! When so much has to be put right that somebody should see what was sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Repairs are counted over so long.
const OVER: Duration = Duration::from_secs(10);
/// One storm a session in this time: a source that is always bad is known after the first.
const QUIET: Duration = Duration::from_mins(10);

/// Watches one session's count of repairs and dropped units.
#[derive(Debug)]
pub struct Storm {
    /// Repairs within [`OVER`] that are one; 0 for never.
    at: u64,
    seen: VecDeque<(Instant, u64)>,
    last: Option<Instant>,
}

impl Storm {
    /// A storm is `at` repairs within ten seconds; none where it is 0.
    pub fn new(at: u64) -> Self {
        Self { at, seen: VecDeque::new(), last: None }
    }

    /// Looks at the count so far; how many it grew by where that makes a storm. Called about once a second.
    pub fn look(&mut self, now: Instant, total: u64) -> Option<u64> {
        self.seen.push_back((now, total));
        while self.seen.get(1).is_some_and(|(then, _)| now.saturating_duration_since(*then) >= OVER) {
            self.seen.pop_front();
        }
        let grown = total.saturating_sub(self.seen.front().map_or(total, |(_, before)| *before));
        let quiet = self.last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        if self.at == 0 || grown < self.at || !quiet {
            return None;
        }
        self.last = Some(now);
        Some(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storms(at: u64, totals: impl Iterator<Item = u64>) -> Vec<(usize, u64)> {
        let start = Instant::now();
        let mut storm = Storm::new(at);
        totals
            .enumerate()
            .filter_map(|(s, total)| Some((s, storm.look(start + Duration::from_secs(s as u64), total)?)))
            .collect()
    }

    #[test]
    fn many_repairs_in_ten_seconds_are_a_storm_and_the_same_over_minutes_are_none() {
        assert_eq!(storms(100, (0..300).map(|s| s * 9)), []);
        assert_eq!(storms(100, (0..60).map(|s| if s < 30 { 0 } else { (s - 29) * 40 })), [(32, 120)]);
        assert_eq!(storms(0, (0..60).map(|s| s * 1000)), []);
    }

    #[test]
    fn a_storm_that_goes_on_is_told_again_after_ten_minutes() {
        let told = storms(100, (0..700).map(|s| s * 50));
        assert_eq!(told.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [2, 602]);
    }
}
