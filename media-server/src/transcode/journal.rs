//! The source units on their way to the worker: those that wait, and behind them those that a replacement worker
//! would need again. Pure: no clock, no socket.
//!
//! Pushing never waits. When the worker falls too far behind, what waits is dropped up to the newest keyframe
//! (or, without one, until the next), and counted.

use std::collections::VecDeque;

use media::{AccessUnit, Span, Timestamp};

use super::spec::Limits;

/// The worker is too slow, or a unit too large: units were dropped up to a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transcoder is behind: {dropped} units dropped")]
pub struct Overrun {
    /// Units dropped by this push, the pushed one perhaps among them.
    pub dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) unit: AccessUnit,
    pub(super) edge: bool,
}

/// See the module.
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other, not a mode")]
#[derive(Debug)]
pub(super) struct Journal {
    entries: VecDeque<Entry>,
    /// Entries that this worker has been given.
    sent: usize,
    /// Entries that any worker has been given; behind it they wait for the first time.
    seen: usize,
    /// Payload bytes in `entries[..seen]` and `entries[seen..]`.
    seen_bytes: usize,
    waiting_bytes: usize,
    /// Nothing is taken until a keyframe comes.
    skipping: bool,
    dropped: u64,
    closed: bool,
    retired: bool,
    /// There is no worker, and none is wanted.
    dozes: bool,
    queue_bytes: usize,
    queue_span: Span,
    replay_bytes: usize,
    replay_span: Span,
    max_unit: usize,
}

fn span(duration: std::time::Duration) -> Span {
    Span::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

impl Journal {
    /// `max_unit`: payloads above it are dropped.
    pub(super) fn new(limits: &Limits, max_unit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            sent: 0,
            seen: 0,
            seen_bytes: 0,
            waiting_bytes: 0,
            skipping: true,
            dropped: 0,
            closed: false,
            retired: false,
            dozes: false,
            queue_bytes: limits.queue_bytes,
            queue_span: span(limits.queue_span),
            replay_bytes: limits.replay_bytes,
            replay_span: span(limits.replay_span),
            max_unit,
        }
    }

    /// Takes a unit in decode order. Units before the first keyframe cannot be decoded and are left out.
    pub(super) fn push(&mut self, unit: AccessUnit, edge: bool) -> Result<(), Overrun> {
        let before = self.dropped;
        if self.retired {
            return Ok(());
        }
        if unit.payload.len() > self.max_unit {
            self.dropped += 1;
            self.skipping = true;
            return Err(Overrun { dropped: 1 });
        }
        if self.skipping && !unit.keyframe {
            self.dropped += u64::from(!self.dozes);
            return Ok(());
        }
        self.skipping = false;
        self.waiting_bytes += unit.payload.len();
        self.entries.push_back(Entry { unit, edge });
        if self.dozes {
            self.keep_late();
            return Ok(());
        }
        if self.is_over() {
            self.skip();
        }
        match self.dropped - before {
            0 => Ok(()),
            dropped => Err(Overrun { dropped }),
        }
    }

    /// The next unit for this worker.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.entries.get(self.sent)?.clone();
        self.sent += 1;
        if self.sent > self.seen {
            let length = entry.unit.payload.len();
            self.seen = self.sent;
            self.seen_bytes += length;
            self.waiting_bytes -= length;
            if self.is_replay_over() {
                self.forget(self.seen);
            }
        }
        Some(entry)
    }

    /// Every rung has delivered up to here: whole GOPs before it are not needed again.
    pub(super) fn settle(&mut self, delivered: Timestamp) {
        let needed = self
            .entries
            .iter()
            .take(self.sent)
            .rposition(|entry| entry.unit.keyframe && entry.unit.pts <= delivered);
        if let Some(needed) = needed {
            self.forget(needed);
        }
    }

    /// A new worker: it is given everything from the oldest keyframe kept.
    pub(super) fn rewind(&mut self) {
        let keyframe = self.entries.iter().position(|entry| entry.unit.keyframe);
        self.sent = 0;
        match keyframe {
            Some(keyframe) => {
                self.dropped += keyframe.saturating_sub(self.seen) as u64;
                self.forget(keyframe);
            }
            None => self.clear(),
        }
    }

    /// What was sent so far kills workers: a new one starts with the first keyframe behind it.
    pub(super) fn abandon(&mut self) {
        self.forget(self.seen);
        self.rewind();
    }

    /// No worker is wanted for now. The newest segments are kept: who begins then has a whole one at once.
    pub(super) fn doze(&mut self) {
        self.dozes = true;
        self.sent = 0;
        self.seen = 0;
        self.waiting_bytes += std::mem::take(&mut self.seen_bytes);
        self.keep_late();
    }

    /// One is wanted again. What was kept waits for it.
    pub(super) fn wake(&mut self) {
        self.dozes = false;
    }

    /// Keeps what a segment began with before the newest, where one did so with a keyframe, and what came since.
    fn keep_late(&mut self) {
        let begins = |entry: &Entry| entry.edge && entry.unit.keyframe;
        let mut segments =
            (0..self.entries.len()).rev().filter(|&at| self.entries.get(at).is_some_and(begins));
        let (newest, before) = (segments.next(), segments.next());
        if let Some(from) = before.or(newest) {
            self.forget(from);
        }
        if self.is_over() {
            let newest = self.entries.iter().rposition(|entry| entry.unit.keyframe);
            self.forget(newest.unwrap_or(self.entries.len()));
        }
        if self.is_over() {
            self.forget(self.entries.len());
        }
        self.skipping = self.entries.is_empty();
    }

    /// Units dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// No more units will come.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Nobody will take units any more: they are forgotten, and so are those that still come.
    pub(super) fn retire(&mut self) {
        self.clear();
        self.retired = true;
    }

    /// [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_over(&self) -> bool {
        self.waiting_bytes > self.queue_bytes || self.spans(self.seen, self.entries.len()) > self.queue_span
    }

    fn is_replay_over(&self) -> bool {
        self.seen_bytes > self.replay_bytes || self.spans(0, self.seen) > self.replay_span
    }

    fn spans(&self, from: usize, to: usize) -> Span {
        match (self.entries.get(from), to.checked_sub(1).and_then(|last| self.entries.get(last))) {
            (Some(first), Some(last)) if to > from => last.unit.dts - first.unit.dts,
            _ => Span::ZERO,
        }
    }

    /// Drops what waits, up to the newest keyframe if that is not the first of it.
    fn skip(&mut self) {
        let newest = self.entries.iter().skip(self.seen + 1).rposition(|entry| entry.unit.keyframe);
        let keep_from = newest.map_or(self.entries.len(), |offset| self.seen + 1 + offset);
        for entry in self.entries.drain(self.seen..keep_from) {
            self.waiting_bytes -= entry.unit.payload.len();
            self.dropped += 1;
        }
        if newest.is_none() || self.is_over() {
            self.dropped += (self.entries.len() - self.seen) as u64;
            self.entries.truncate(self.seen);
            self.waiting_bytes = 0;
            self.skipping = true;
        }
    }

    /// Removes the first `count` entries.
    fn forget(&mut self, count: usize) {
        for (index, entry) in self.entries.drain(..count.min(self.entries.len())).enumerate() {
            let length = entry.unit.payload.len();
            if index < self.seen { self.seen_bytes -= length } else { self.waiting_bytes -= length }
        }
        self.sent = self.sent.saturating_sub(count);
        self.seen = self.seen.saturating_sub(count);
    }

    fn clear(&mut self) {
        self.dropped += (self.entries.len() - self.seen) as u64;
        self.forget(self.entries.len());
        self.skipping = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn unit(index: i64, keyframe: bool, size: usize) -> AccessUnit {
        AccessUnit {
            dts: Timestamp::from_ticks(index, 30),
            pts: Timestamp::from_ticks(index, 30),
            duration: Span::from_ticks(1, 30),
            keyframe,
            payload: Bytes::from(vec![0; size]),
        }
    }

    fn journal(queue_bytes: usize, queue_span: Duration) -> Journal {
        Journal::new(&Limits { queue_bytes, queue_span, ..Limits::default() }, 1 << 20)
    }

    fn taken(journal: &mut Journal) -> Vec<i64> {
        std::iter::from_fn(|| journal.take()).map(|entry| entry.unit.pts.ticks(30)).collect()
    }

    /// Keyframes at 0, 10, 20…
    fn fill(journal: &mut Journal, range: std::ops::Range<i64>) -> Vec<Result<(), Overrun>> {
        range.map(|i| journal.push(unit(i, i % 10 == 0, 100), false)).collect()
    }

    #[test]
    fn a_stream_that_begins_in_mid_gop_waits_for_its_keyframe() {
        let mut journal = journal(1 << 20, Duration::from_secs(9));
        fill(&mut journal, 5..12);
        assert_eq!(taken(&mut journal), [10, 11]);
        assert_eq!(journal.dropped(), 5);
    }

    #[test]
    fn a_replacement_is_given_the_gop_again_and_then_what_waits() {
        let mut journal = journal(1 << 20, Duration::from_secs(9));
        fill(&mut journal, 0..15);
        assert_eq!(taken(&mut journal).len(), 15);
        journal.settle(Timestamp::from_ticks(12, 30));
        fill(&mut journal, 15..17);
        journal.rewind();
        assert_eq!(taken(&mut journal), (10..17).collect::<Vec<_>>());
        assert_eq!(journal.dropped(), 0);
    }

    #[test]
    fn a_gop_is_kept_until_every_rung_is_past_it() {
        let mut journal = journal(1 << 20, Duration::from_secs(9));
        fill(&mut journal, 0..15);
        assert_eq!(taken(&mut journal).len(), 15);
        journal.settle(Timestamp::from_ticks(9, 30));
        journal.rewind();
        assert_eq!(taken(&mut journal), (0..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_slow_worker_skips_to_the_newest_keyframe() {
        let mut journal = journal(1500, Duration::from_secs(9));
        fill(&mut journal, 0..3);
        assert_eq!(taken(&mut journal), [0, 1, 2]);
        let answers = fill(&mut journal, 3..25);
        // 15 units fit; the 16th finds the keyframe 10 in the queue and drops 3 to 9.
        assert_eq!(answers[15], Err(Overrun { dropped: 7 }));
        assert_eq!(answers.iter().filter(|a| a.is_err()).count(), 1);
        assert_eq!(taken(&mut journal), (10..25).collect::<Vec<_>>());
    }

    #[test]
    fn media_time_bounds_the_queue_too() {
        let mut journal = journal(1 << 20, Duration::from_millis(500));
        fill(&mut journal, 0..9);
        // No second keyframe: everything goes, and nothing is taken until one comes.
        let answers: Vec<_> = (9..40).map(|i| journal.push(unit(i, i == 35, 100), false)).collect();
        assert!(answers.iter().any(Result::is_err));
        assert_eq!(taken(&mut journal), (35..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_gop_too_long_to_replay_is_given_up_not_hoarded() {
        let limits = Limits { replay_bytes: 500, ..Limits::default() };
        let mut journal = Journal::new(&limits, 1 << 20);
        for i in 0..9 {
            journal.push(unit(i, i == 0, 100), false).unwrap();
            journal.take();
        }
        journal.push(unit(9, false, 100), false).unwrap();
        journal.rewind();
        assert!(taken(&mut journal).is_empty());
        journal.push(unit(10, true, 100), false).unwrap();
        assert_eq!(taken(&mut journal), [10]);
    }

    #[test]
    fn who_begins_after_a_time_without_a_worker_has_a_whole_segment_at_once() {
        let mut journal = journal(1 << 20, Duration::from_secs(9));
        for i in 0..15 {
            journal.push(unit(i, i % 10 == 0, 100), i % 10 == 0).unwrap();
        }
        assert_eq!(taken(&mut journal).len(), 15);
        journal.doze();
        for i in 15..57 {
            journal.push(unit(i, i % 5 == 0, 100), i % 10 == 0).unwrap();
        }
        journal.wake();
        assert_eq!(taken(&mut journal), (40..57).collect::<Vec<_>>());
        assert_eq!(journal.dropped(), 0);
        assert_eq!((journal.waiting_bytes, journal.seen_bytes), (0, 1700));
    }

    #[test]
    fn what_is_kept_without_a_worker_is_bounded() {
        let mut journal = journal(1500, Duration::from_secs(9));
        journal.doze();
        for i in 0..100 {
            journal.push(unit(i, i == 0, 100), i == 0).unwrap();
        }
        assert!(journal.entries.len() <= 16 && journal.waiting_bytes <= 1600);
        journal.push(unit(100, true, 100), true).unwrap();
        journal.wake();
        assert_eq!(taken(&mut journal), [100]);
    }

    #[test]
    fn input_that_kills_workers_is_passed_over() {
        let mut journal = journal(1 << 20, Duration::from_secs(9));
        fill(&mut journal, 0..15);
        for _ in 0..3 {
            journal.take();
        }
        journal.abandon();
        assert_eq!(taken(&mut journal), (10..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_unit_the_protocol_cannot_carry_is_dropped() {
        let mut journal = journal(64 << 20, Duration::from_secs(9));
        assert!(journal.push(unit(0, true, (1 << 20) + 1), true).is_err());
        fill(&mut journal, 1..12);
        assert_eq!(taken(&mut journal), [10, 11]);
    }

    proptest! {
        #[test]
        fn counts_and_bounds_hold_whatever_happens(
            steps in proptest::collection::vec((0_u8..8, 0_usize..400, any::<bool>()), 0..300),
        ) {
            let limits = Limits {
                queue_bytes: 2000,
                replay_bytes: 3000,
                queue_span: Duration::from_secs(2),
                replay_span: Duration::from_secs(3),
                ..Limits::default()
            };
            let mut journal = Journal::new(&limits, 300);
            let mut index = 0;
            for (step, size, keyframe) in steps {
                match step {
                    0..=3 => {
                        journal.push(unit(index, keyframe, size), false).ok();
                        index += 1;
                    }
                    4 | 5 => { journal.take(); }
                    6 => journal.settle(Timestamp::from_ticks(index - (size / 20) as i64, 30)),
                    _ => if keyframe { journal.rewind() } else { journal.abandon() },
                }
                prop_assert!(journal.sent <= journal.seen && journal.seen <= journal.entries.len());
                let bytes = |entries: &mut dyn Iterator<Item = &Entry>| -> usize {
                    entries.map(|e| e.unit.payload.len()).sum()
                };
                prop_assert_eq!(journal.seen_bytes, bytes(&mut journal.entries.iter().take(journal.seen)));
                prop_assert_eq!(journal.waiting_bytes, bytes(&mut journal.entries.iter().skip(journal.seen)));
                prop_assert!(journal.waiting_bytes <= 2000 && journal.seen_bytes <= 3300);
            }
        }
    }
}
