//! What is to be told next: in order within a stream, streams beside each other. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// First wait after a failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// An event on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place among all events of this folder.
    pub(super) order: u64,
    /// `webhook-id`: the same at every try, so that the other side knows a repetition.
    pub(super) id: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it may go where events pile up.
    pub(super) health: bool,
}

#[derive(Default)]
struct Line {
    entries: VecDeque<Entry>,
    in_flight: bool,
    failures: u32,
    due: Option<Instant>,
}

/// Events that were not acknowledged yet.
#[derive(Default)]
pub(super) struct Queue {
    lines: BTreeMap<String, Line>,
    length: usize,
}

impl Queue {
    /// Events waiting or on their way.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds the newest event of a stream.
    pub(super) fn push(&mut self, stream: &str, entry: Entry) {
        let line = self.lines.entry(stream.to_owned()).or_default();
        line.entries.push_back(entry);
        self.length = self.length.saturating_add(1);
    }

    /// Makes room for one event where there are `most`: takes out the oldest health event, or else the oldest of
    /// all. What is on its way stays.
    pub(super) fn evict(&mut self, most: usize) -> Option<Entry> {
        if self.length < most {
            return None;
        }
        let oldest = |only_health: bool| {
            let candidates = self.lines.iter().flat_map(|(stream, line)| {
                let first = usize::from(line.in_flight);
                line.entries.iter().enumerate().skip(first).map(move |(at, entry)| (entry, stream, at))
            });
            candidates
                .filter(|(entry, ..)| entry.health || !only_health)
                .min_by_key(|(entry, ..)| entry.order)
                .map(|(_, stream, at)| (stream.clone(), at))
        };
        let (stream, at) = oldest(true).or_else(|| oldest(false))?;
        let gone = self.lines.get_mut(&stream)?.entries.remove(at)?;
        self.length = self.length.saturating_sub(1);
        self.forget_if_empty(&stream);
        Some(gone)
    }

    /// The oldest event that may be sent now; its stream sends nothing else until [`Queue::done`].
    pub(super) fn take(&mut self, now: Instant) -> Option<(String, Entry)> {
        let ready = self.lines.iter_mut().filter(|(_, line)| {
            !line.in_flight && !line.entries.is_empty() && line.due.is_none_or(|due| due <= now)
        });
        let (stream, line) = ready.min_by_key(|(_, line)| line.entries.front().map(|e| e.order))?;
        let entry = line.entries.front()?.clone();
        line.in_flight = true;
        Some((stream.clone(), entry))
    }

    /// The event of this stream that was on its way arrived, or has to be tried again. `jitter` is 0.0 to 1.0.
    pub(super) fn done(&mut self, stream: &str, arrived: bool, now: Instant, jitter: f64) {
        if arrived {
            // Whoever answers one stream answers the others too.
            for line in self.lines.values_mut() {
                line.failures = 0;
                line.due = None;
            }
        }
        let Some(line) = self.lines.get_mut(stream) else { return };
        line.in_flight = false;
        if arrived {
            if line.entries.pop_front().is_some() {
                self.length = self.length.saturating_sub(1);
            }
            self.forget_if_empty(stream);
        } else {
            let wait = FIRST_WAIT.saturating_mul(1 << line.failures.min(10)).min(LONGEST_WAIT);
            // Half to one and a half of it, so that many servers do not come back at once.
            line.due = now.checked_add(wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0)));
            line.failures = line.failures.saturating_add(1);
        }
    }

    /// Every event may be tried at once: the other side is another now.
    pub(super) fn hurry(&mut self) {
        for line in self.lines.values_mut() {
            line.failures = 0;
            line.due = None;
        }
    }

    /// When the next event may be sent, if one waits for that.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lines.values().filter(|line| !line.in_flight).filter_map(|line| line.due).min()
    }

    fn forget_if_empty(&mut self, stream: &str) {
        if self.lines.get(stream).is_some_and(|line| line.entries.is_empty() && !line.in_flight) {
            self.lines.remove(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(order: u64, health: bool) -> Entry {
        Entry { order, id: format!("evt_{order}"), path: format!("{order}.json").into(), health }
    }

    fn orders(queue: &mut Queue, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| queue.take(now).map(|(_, entry)| entry.order)).collect()
    }

    #[test]
    fn a_stream_tells_one_after_the_other_and_streams_go_beside_each_other() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (order, stream) in [(1, "ada"), (2, "ada"), (3, "bob")] {
            queue.push(stream, entry(order, false));
        }
        assert_eq!(orders(&mut queue, now), [1, 3]);
        queue.done("ada", true, now, 0.5);
        assert_eq!(orders(&mut queue, now), [2]);
        queue.done("ada", true, now, 0.5);
        queue.done("bob", true, now, 0.5);
        assert_eq!(queue.len(), 0);
        assert!(queue.lines.is_empty());
    }

    #[test]
    fn a_failure_is_tried_again_later_and_later_and_never_overtaken() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.push("ada", entry(1, false));
        queue.push("ada", entry(2, false));
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(orders(&mut queue, now), [1]);
            queue.done("ada", false, now, 0.5);
            assert_eq!(orders(&mut queue, now), Vec::<u64>::new());
            let due = queue.next_due().unwrap();
            waits.push(due - now);
            now = due;
        }
        assert_eq!(waits[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
    }

    #[test]
    fn one_that_arrives_ends_the_waiting_of_all() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push("ada", entry(1, false));
        queue.push("bob", entry(2, false));
        assert_eq!(orders(&mut queue, now), [1, 2]);
        queue.done("bob", false, now, 0.5);
        queue.done("ada", true, now, 0.5);
        assert_eq!(orders(&mut queue, now), [2]);
    }

    #[test]
    fn where_events_pile_up_the_oldest_health_goes_first() {
        let mut queue = Queue::default();
        for (order, health) in [(1, false), (2, true), (3, true), (4, false)] {
            queue.push("ada", entry(order, health));
        }
        assert_eq!(queue.evict(5), None);
        let gone: Vec<_> = std::iter::from_fn(|| queue.evict(1)).map(|e| e.order).collect();
        assert_eq!(gone, [2, 3, 1, 4]);
        assert_eq!(queue.len(), 0);
    }

    proptest! {
        #[test]
        fn whatever_fails_each_stream_is_told_in_order_and_whole(
            streams in proptest::collection::vec(0_u8..4, 1..40),
            outcomes in proptest::collection::vec(any::<bool>(), 0..100),
        ) {
            let (mut queue, mut now) = (Queue::default(), Instant::now());
            for (order, stream) in (0..).zip(&streams) {
                queue.push(&stream.to_string(), entry(order, false));
            }
            let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut outcomes = outcomes.into_iter();
            while queue.len() > 0 {
                let Some((stream, entry)) = queue.take(now) else {
                    now = queue.next_due().expect("something waits");
                    continue;
                };
                let arrived = outcomes.next().unwrap_or(true);
                if arrived {
                    told.entry(stream.clone()).or_default().push(entry.order);
                }
                queue.done(&stream, arrived, now, 0.3);
            }
            for (stream, orders) in told {
                let expected: Vec<u64> =
                    (0..).zip(&streams).filter(|(_, s)| s.to_string() == stream).map(|(n, _)| n).collect();
                prop_assert_eq!(orders, expected);
            }
        }
    }
}
