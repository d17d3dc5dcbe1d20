//! The sender's buffer: packets until they are acknowledged or too old, what is asked for again, and how fast all of it
//! goes out (4.6, 4.8, 5.1).

use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;

use super::estimate::Rate;
use super::packet::Key;
use super::receiver::WINDOW;
use super::sequence::Sequence;

/// What is older than this is not sent any more, where the receiver's latency is not longer (4.6).
const DROP_LEAST: Duration = Duration::from_secs(1);
/// Beyond the receiver's latency, a packet may still be on its way for so long.
const DROP_SLACK: Duration = Duration::from_millis(20);
/// Packets a second at least, and times the measured rate: a keyframe leaves in some ten milliseconds, and no kernel's
/// buffer runs over.
const PACE_LEAST: f64 = 5_000.0;
const PACE_TIMES: f64 = 4.0;
/// Packets that may leave at once.
const BURST: f64 = 32.0;
/// Ranges that may wait to be sent again: a receiver asks again for what is forgotten here.
const MOST_RANGES: usize = 1024;

#[derive(Clone, Debug)]
struct Kept {
    at: Duration,
    key: Option<Key>,
    payload: Bytes,
    /// When it was sent last.
    sent: Option<Duration>,
}

/// A packet to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) sequence: Sequence,
    /// When it was given to be sent.
    pub(super) at: Duration,
    pub(super) key: Option<Key>,
    pub(super) payload: Bytes,
    pub(super) again: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// The number of the first packet that is kept.
    first: Sequence,
    kept: VecDeque<Kept>,
    /// How many of them were sent at least once: the first so many.
    sent: usize,
    again: VecDeque<(Sequence, Sequence)>,
    /// Older ones are given up.
    keep: Duration,
    rate: Rate,
    credit: f64,
    credited: Duration,
}

impl Sender {
    /// `latency` of the receiver.
    pub(super) fn new(now: Duration, first: Sequence, latency: Duration) -> Self {
        Self {
            first,
            kept: VecDeque::new(),
            sent: 0,
            again: VecDeque::new(),
            keep: latency.saturating_add(DROP_SLACK).max(DROP_LEAST),
            rate: Rate::default(),
            credit: BURST,
            credited: now,
        }
    }

    /// The number that the next packet gets.
    pub(super) fn next(&self) -> Sequence {
        self.first.plus(u32::try_from(self.kept.len()).unwrap_or(u32::MAX))
    }

    /// Takes a packet, encrypted where that is to be.
    pub(super) fn push(&mut self, now: Duration, key: Option<Key>, payload: Bytes) {
        self.rate.note(now, payload.len());
        self.kept.push_back(Kept { at: now, key, payload, sent: None });
    }

    /// Gives up what is too old, or has no room. What was dropped without having been acknowledged: first and last.
    pub(super) fn forget(&mut self, now: Duration) -> Option<(Sequence, Sequence)> {
        let (first, mut dropped) = (self.first, 0_u32);
        while let Some(oldest) = self.kept.front() {
            if now.saturating_sub(oldest.at) <= self.keep && self.kept.len() <= WINDOW {
                break;
            }
            self.pop();
            dropped = dropped.saturating_add(1);
        }
        (dropped > 0).then(|| (first, first.plus(dropped.saturating_sub(1))))
    }

    fn pop(&mut self) {
        self.kept.pop_front();
        self.sent = self.sent.saturating_sub(1);
        self.first = self.first.plus(1);
    }

    /// All before `until` have come.
    pub(super) fn acknowledge(&mut self, until: Sequence) {
        let Ok(count) = usize::try_from(until.since(self.first)) else { return };
        // Nobody has what was not sent.
        for _ in 0..count.min(self.sent) {
            self.pop();
        }
    }

    /// These are missing.
    pub(super) fn ask(&mut self, first: Sequence, last: Sequence) {
        if last.since(first) >= 0 && self.again.len() < MOST_RANGES {
            self.again.push_back((first, last));
        }
    }

    fn accrue(&mut self, now: Duration) -> f64 {
        let a_second = (f64::from(self.rate.last.0) * PACE_TIMES).max(PACE_LEAST);
        let passed = now.saturating_sub(self.credited).as_secs_f64();
        self.credit = (self.credit + passed * a_second).min(BURST);
        self.credited = now;
        a_second
    }

    /// When something is to be sent next.
    pub(super) fn due_at(&self) -> Option<Duration> {
        if self.again.is_empty() && self.sent >= self.kept.len() {
            // The oldest is forgotten some time.
            return self.kept.front().map(|oldest| oldest.at.saturating_add(self.keep));
        }
        let wait = if self.credit >= 1.0 { Duration::ZERO } else { Duration::from_millis(1) };
        Some(self.credited.saturating_add(wait))
    }

    /// The next packet that may go out at `now`. What went out within `round_trip` is on its way, and not sent again.
    pub(super) fn take(&mut self, now: Duration, round_trip: Duration) -> Option<Outgoing> {
        self.accrue(now);
        if self.credit < 1.0 {
            return None;
        }
        let out = self.take_again(now, round_trip).or_else(|| self.take_new(now))?;
        self.credit -= 1.0;
        Some(out)
    }

    fn take_again(&mut self, now: Duration, round_trip: Duration) -> Option<Outgoing> {
        while let Some((first, last)) = self.again.pop_front() {
            // What lies before is acknowledged or given up.
            let first = if first.since(self.first) < 0 { self.first } else { first };
            if last.since(first) < 0 {
                continue;
            }
            if first != last {
                self.again.push_front((first.plus(1), last));
            }
            let Ok(at) = usize::try_from(first.since(self.first)) else { continue };
            if at >= self.sent {
                // Never sent: the rest of the range is not, either.
                if first != last {
                    self.again.pop_front();
                }
                continue;
            }
            let Some(kept) = self.kept.get_mut(at) else { continue };
            if kept.sent.is_some_and(|sent| sent.saturating_add(round_trip) > now) {
                continue;
            }
            kept.sent = Some(now);
            let Kept { at, key, payload, .. } = kept.clone();
            return Some(Outgoing { sequence: first, at, key, payload, again: true });
        }
        None
    }

    fn take_new(&mut self, now: Duration) -> Option<Outgoing> {
        let sequence = self.first.plus(u32::try_from(self.sent).unwrap_or(u32::MAX));
        let kept = self.kept.get_mut(self.sent)?;
        kept.sent = Some(now);
        self.sent = self.sent.saturating_add(1);
        let Kept { at, key, payload, .. } = kept.clone();
        Some(Outgoing { sequence, at, key, payload, again: false })
    }

    /// Packets that are kept.
    pub(super) fn waiting(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 0x7fff_fffe;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn sender(packets: u32) -> Sender {
        let mut sender = Sender::new(ms(0), Sequence::new(FIRST), ms(120));
        for n in 0..packets {
            sender.push(ms(0), None, Bytes::copy_from_slice(&n.to_be_bytes()));
        }
        sender
    }

    fn numbers(sender: &mut Sender, now: Duration) -> Vec<u32> {
        let all = std::iter::from_fn(|| sender.take(now, ms(10)));
        all.map(|out| u32::from_be_bytes(*out.payload.first_chunk().unwrap())).collect()
    }

    #[test]
    fn packets_go_out_in_order_and_not_all_at_once() {
        let mut sender = sender(100);
        let first = numbers(&mut sender, ms(0));
        assert_eq!(first, (0..32).collect::<Vec<_>>());
        assert_eq!(sender.due_at(), Some(ms(1)));
        assert_eq!(numbers(&mut sender, ms(1)), (32..37).collect::<Vec<_>>());
        assert_eq!(numbers(&mut sender, ms(20)).len(), 32, "what was saved up is bounded");
    }

    #[test]
    fn what_is_asked_for_is_sent_again_once_a_round_trip() {
        let mut sender = sender(10);
        numbers(&mut sender, ms(0));
        let at = |n: u32| Sequence::new(FIRST).plus(n);
        sender.ask(at(2), at(4));
        sender.ask(at(8), at(700));
        assert!(numbers(&mut sender, ms(5)).is_empty(), "still on its way");
        sender.ask(at(2), at(4));
        sender.ask(at(8), at(700));
        assert_eq!(numbers(&mut sender, ms(20)), [2, 3, 4, 8, 9]);
        sender.acknowledge(at(4));
        sender.ask(at(0), at(4));
        assert_eq!(numbers(&mut sender, ms(40)), [4]);
        sender.acknowledge(at(4000));
        assert_eq!(sender.waiting(), 0);
        assert_eq!(sender.next(), at(10), "nobody has what was not sent");
    }

    #[test]
    fn what_is_too_old_is_given_up_and_named() {
        let mut sender = sender(3);
        sender.push(ms(500), None, Bytes::new());
        assert_eq!(sender.forget(ms(1000)), None);
        let at = |n: u32| Sequence::new(FIRST).plus(n);
        assert_eq!(sender.forget(ms(1001)), Some((at(0), at(2))));
        assert_eq!(sender.waiting(), 1);
        for _ in 0..10_000 {
            sender.push(ms(1001), None, Bytes::new());
        }
        sender.forget(ms(1001));
        assert_eq!(sender.waiting(), WINDOW);
    }
}
