//! The receiver's buffer: packets in the order of their numbers, what is missing among them, and what is due (4.5, 4.6,
//! 4.8).

use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;

use super::sequence::Sequence;

/// Packets that the buffer holds: what the sender is told that it may have on its way (8192, as libsrt).
pub(super) const WINDOW: usize = 8192;
/// Ranges of missing packets in one report.
const MOST_RANGES: usize = 160;

#[derive(Clone, Debug)]
enum Slot {
    /// It has come.
    Here { due: Duration, payload: Bytes },
    /// It is to be asked for again at that time.
    Missing { ask: Duration },
    /// The sender has given it up.
    Gone,
}

/// What a packet was to the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was the next one, or it fills a hole.
    New {
        /// It had been missing.
        filled: bool,
    },
    /// So many before it are missing, and were not before.
    Behind {
        /// How many.
        missing: u32,
    },
    /// It is here already, or its time is over.
    Late,
    /// There is no room for it.
    Beyond,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The next payload, and when it was due.
    Payload(Bytes, Duration),
    /// So many packets did not come in time.
    Lost(u32),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// The number of the first slot: the next to be given.
    next: Sequence,
    slots: VecDeque<Slot>,
    /// How many slots are missing.
    missing: usize,
    payload_bytes: usize,
}

impl Receiver {
    pub(super) fn new(first: Sequence) -> Self {
        Self { next: first, slots: VecDeque::new(), missing: 0, payload_bytes: 0 }
    }

    /// Takes a packet in. `ask`: when what is missing before it is asked for again, if it has not come.
    pub(super) fn take(&mut self, sequence: Sequence, due: Duration, payload: Bytes, ask: Duration) -> Taken {
        let Ok(at) = usize::try_from(sequence.since(self.next)) else { return Taken::Late };
        if at >= WINDOW {
            return Taken::Beyond;
        }
        self.payload_bytes = self.payload_bytes.saturating_add(payload.len());
        let here = Slot::Here { due, payload };
        if let Some(slot) = self.slots.get_mut(at) {
            let before = std::mem::replace(slot, here);
            return match before {
                Slot::Missing { .. } => {
                    self.missing = self.missing.saturating_sub(1);
                    Taken::New { filled: true }
                }
                Slot::Gone => Taken::New { filled: true },
                Slot::Here { payload, .. } => {
                    self.payload_bytes = self.payload_bytes.saturating_sub(payload.len());
                    Taken::Late
                }
            };
        }
        let hole = at.saturating_sub(self.slots.len());
        self.slots.extend((0..hole).map(|_| Slot::Missing { ask }));
        self.missing = self.missing.saturating_add(hole);
        self.slots.push_back(here);
        if hole == 0 {
            Taken::New { filled: false }
        } else {
            Taken::Behind { missing: u32::try_from(hole).unwrap_or(u32::MAX) }
        }
    }

    /// The sender will not send these again. Gives how many before them were not known to be missing; `ask`: when those
    /// are asked for.
    pub(super) fn give_up(&mut self, first: Sequence, last: Sequence, ask: Duration) -> usize {
        let from = usize::try_from(first.since(self.next)).unwrap_or(0);
        let Ok(to) = usize::try_from(last.since(self.next)) else { return 0 };
        if to >= WINDOW || from > to {
            return 0;
        }
        let hole = from.saturating_sub(self.slots.len());
        self.slots.extend((0..hole).map(|_| Slot::Missing { ask }));
        self.missing = self.missing.saturating_add(hole);
        for slot in self.slots.iter_mut().take(to.saturating_add(1)).skip(from) {
            if matches!(slot, Slot::Missing { .. }) {
                *slot = Slot::Gone;
                self.missing = self.missing.saturating_sub(1);
            }
        }
        while self.slots.len() <= to {
            self.slots.push_back(Slot::Gone);
        }
        hole
    }

    /// What is due. A packet is not held up by missing ones before it once its own time has come.
    pub(super) fn due(&mut self, now: Duration) -> Option<Due> {
        match self.slots.front()? {
            Slot::Here { due, .. } if *due <= now => {
                let Some(Slot::Here { payload, due }) = self.slots.pop_front() else { return None };
                self.next = self.next.plus(1);
                self.payload_bytes = self.payload_bytes.saturating_sub(payload.len());
                Some(Due::Payload(payload, due))
            }
            Slot::Here { .. } => None,
            Slot::Missing { .. } | Slot::Gone => {
                let (count, due) = self.first_here()?;
                if due > now {
                    return None;
                }
                let given_up =
                    self.slots.drain(..count).filter(|slot| matches!(slot, Slot::Missing { .. })).count();
                self.missing = self.missing.saturating_sub(given_up);
                let lost = u32::try_from(count).unwrap_or(u32::MAX);
                self.next = self.next.plus(lost);
                Some(Due::Lost(lost))
            }
        }
    }

    /// The first that has come: how many slots lie before it, and when it is due.
    fn first_here(&self) -> Option<(usize, Duration)> {
        self.slots.iter().enumerate().find_map(|(at, slot)| match slot {
            Slot::Here { due, .. } => Some((at, *due)),
            Slot::Missing { .. } | Slot::Gone => None,
        })
    }

    /// When something is due next.
    pub(super) fn due_at(&self) -> Option<Duration> {
        match self.slots.front()? {
            Slot::Here { due, .. } => Some(*due),
            Slot::Missing { .. } | Slot::Gone => self.first_here().map(|(_, due)| due),
        }
    }

    /// The number behind all that have come without a hole: what is acknowledged.
    pub(super) fn whole_until(&self) -> Sequence {
        let whole = if self.missing == 0 {
            self.slots.len()
        } else {
            let is_missing = |slot: &Slot| matches!(slot, Slot::Missing { .. });
            self.slots.iter().position(is_missing).unwrap_or(self.slots.len())
        };
        self.next.plus(u32::try_from(whole).unwrap_or(u32::MAX))
    }

    /// The ranges, first and last, of what is to be asked for at `now`, each at most every `pause`.
    pub(super) fn ask(&mut self, now: Duration, pause: Duration) -> Vec<(Sequence, Sequence)> {
        let mut ranges: Vec<(Sequence, Sequence)> = Vec::new();
        if self.missing == 0 {
            return ranges;
        }
        let mut number = self.next;
        for slot in &mut self.slots {
            if let Slot::Missing { ask } = slot
                && *ask <= now
            {
                let full = ranges.len() >= MOST_RANGES;
                match ranges.last_mut() {
                    Some((_, last)) if last.plus(1) == number => *last = number,
                    _ if full => break,
                    _ => ranges.push((number, number)),
                }
                *ask = now.saturating_add(pause);
            }
            number = number.plus(1);
        }
        ranges
    }

    /// When something is to be asked for next.
    pub(super) fn ask_at(&self) -> Option<Duration> {
        if self.missing == 0 {
            return None;
        }
        let ask = |slot: &Slot| if let Slot::Missing { ask } = slot { Some(*ask) } else { None };
        self.slots.iter().filter_map(ask).min()
    }

    /// Packets that still find room.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.slots.len())
    }

    /// Packets and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.slots.len(), self.payload_bytes)
    }
}
