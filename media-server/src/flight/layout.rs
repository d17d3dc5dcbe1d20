//! Reads, taken apart: a message's body is kept in the memory that the player is sent, and only what lies between the
//! bodies is copied. Put together again they are what came off the wire, byte for byte.

use std::time::Duration;

use bytes::Bytes;
use wire::Traced;

use super::recording::append_head;

/// Shorter bodies are copied: they are not worth what it takes to point at them.
const BODY: usize = 512;
/// The same for the parts of a body.
const RUN: usize = 64;
/// No more than this waits for a body to become whole.
const LOOSE: usize = 256 << 10;

/// Some consecutive reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Time since the publish began, and length.
    reads: Vec<(Duration, u32)>,
    pieces: Vec<Piece>,
    copied: Vec<u8>,
    bodies: Vec<Bytes>,
    /// Memory of `bodies`.
    kept: usize,
    /// The end, which has bodies that are not yet whole.
    loose: Vec<u8>,
    /// Within `loose`, in order.
    runs: Vec<Run>,
}

/// A part of the wire.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The next so many bytes of `copied`.
    Copied(u32),
    /// These bytes of a body.
    Body { body: u32, offset: u32, length: u32 },
}

/// A part of a body.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: u32,
    at: usize,
    offset: usize,
    length: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The body is not yet whole.
    Open,
    /// It is to be copied.
    Copied,
    /// It is this one of `bodies`.
    Body(u32),
}

impl Layout {
    /// Room for as much as `last` had between its bodies.
    pub(super) fn like(last: &Self) -> Self {
        Self { copied: Vec::with_capacity(last.copied.len()), ..Self::default() }
    }

    /// Adds what was read `at` this time.
    pub(super) fn read(&mut self, at: Duration, bytes: &[u8], traced: impl Iterator<Item = Traced>) {
        let base = self.loose.len();
        self.loose.extend_from_slice(bytes);
        self.reads.push((at, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        for part in traced {
            match part {
                Traced::Body { id, at, offset, length } if length >= RUN => {
                    self.runs.push(Run { id, at: base + at, offset, length, fate: Fate::Open });
                }
                Traced::Body { .. } => {}
                Traced::Whole { id, body } if body.len() >= BODY => {
                    let fate = Fate::Body(u32::try_from(self.bodies.len()).unwrap_or(u32::MAX));
                    if self.decide(id, fate) {
                        self.kept += body.len();
                        self.bodies.push(body);
                    }
                }
                Traced::Whole { id, .. } | Traced::Lost { id } => {
                    self.decide(id, Fate::Copied);
                }
            }
        }
        self.settle(self.loose.len() > LOOSE);
    }

    /// Says what becomes of the open body `id`; false where none of it is here.
    fn decide(&mut self, id: u32, fate: Fate) -> bool {
        let mut any = false;
        for run in self.runs.iter_mut().rev().filter(|run| run.id == id) {
            if run.fate != Fate::Open {
                break;
            }
            run.fate = fate;
            any = true;
            if run.offset == 0 {
                break;
            }
        }
        any
    }

    /// Takes apart what lies before the first open body; all of it if `now`.
    fn settle(&mut self, now: bool) {
        let open = if now { None } else { self.runs.iter().position(|run| run.fate == Fate::Open) };
        let count = open.unwrap_or(self.runs.len());
        let end = open.and_then(|open| self.runs.get(open)).map_or(self.loose.len(), |run| run.at);
        if end == 0 {
            return;
        }
        let mut from = 0;
        for run in self.runs.drain(..count) {
            let Fate::Body(body) = run.fate else { continue };
            let part = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            copy(&mut self.copied, &mut self.pieces, &self.loose[from..run.at]);
            self.pieces.push(Piece::Body { body, offset: part(run.offset), length: part(run.length) });
            from = run.at + run.length;
        }
        copy(&mut self.copied, &mut self.pieces, &self.loose[from..end]);
        self.loose.drain(..end);
        for run in &mut self.runs {
            run.at -= end;
        }
    }

    /// Nothing is added any more.
    pub(super) fn close(&mut self) {
        self.settle(true);
        self.loose = Vec::new();
        self.runs = Vec::new();
    }

    /// Forgets the end of it, from the first body on that is not whole.
    pub(super) fn forget_unfinished(&mut self) {
        let mut over = self.loose.len();
        self.loose.clear();
        self.runs.clear();
        while let (Some((_, length)), true) = (self.reads.last_mut(), over > 0) {
            let less = over.min(*length as usize);
            *length -= less as u32;
            over -= less;
            if *length == 0 {
                self.reads.pop();
            }
        }
    }

    /// Bytes that were read.
    pub(super) fn length(&self) -> usize {
        self.reads.iter().map(|(_, length)| *length as usize).sum()
    }

    /// Memory that it takes, that of the bodies included.
    pub(super) fn size(&self) -> usize {
        self.copied.len()
            + self.loose.len()
            + self.kept
            + size_of_val(&self.reads[..])
            + size_of_val(&self.pieces[..])
            + size_of_val(&self.bodies[..])
    }

    /// The reads as a recording has them.
    pub(super) fn image(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length() + self.reads.len() * 12);
        let mut copied = &self.copied[..];
        let wire = self.pieces.iter().map(|piece| match *piece {
            Piece::Copied(length) => {
                let (part, rest) = copied.split_at(length as usize);
                copied = rest;
                part
            }
            Piece::Body { body, offset, length } => {
                &self.bodies[body as usize][offset as usize..][..length as usize]
            }
        });
        let mut wire = wire.chain([&self.loose[..]]);
        let mut part: &[u8] = &[];
        for (at, length) in &self.reads {
            append_head(&mut out, *at, *length);
            let mut missing = *length as usize;
            while missing > 0 {
                if part.is_empty() {
                    let Some(next) = wire.next() else { return out };
                    part = next;
                }
                let (now, later) = part.split_at(missing.min(part.len()));
                out.extend_from_slice(now);
                missing -= now.len();
                part = later;
            }
        }
        out
    }
}

fn copy(copied: &mut Vec<u8>, pieces: &mut Vec<Piece>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    copied.extend_from_slice(bytes);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    match pieces.last_mut() {
        Some(Piece::Copied(before)) => *before = before.saturating_add(length),
        _ => pieces.push(Piece::Copied(length)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes next on the wire.
    #[derive(Clone, Debug)]
    enum Step {
        Header(usize),
        Run { id: u32, length: usize },
        Whole(u32),
        Lost(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![1usize..80, 80usize..5000];
        prop_oneof![
            4 => (1usize..13).prop_map(Step::Header),
            6 => (0u32..3, length).prop_map(|(id, length)| Step::Run { id, length }),
            2 => (0u32..3).prop_map(Step::Whole),
            1 => (0u32..3).prop_map(Step::Lost),
        ]
    }

    /// Feeds the steps in reads of these lengths; gives the layouts, one for each `turn` reads, and what was read.
    fn take_apart(steps: &[Step], cuts: &[usize], turn: usize) -> (Vec<Layout>, Vec<Vec<u8>>) {
        let mut cuts = cuts.iter().cycle().copied();
        let (mut layouts, mut reads) = (vec![Layout::default()], Vec::new());
        let mut bodies: [Vec<u8>; 3] = Default::default();
        let (mut read, mut traced, mut room, mut byte) = (Vec::new(), Vec::new(), cuts.next().unwrap(), 0_u8);
        let mut flush = |read: &mut Vec<u8>, traced: &mut Vec<Traced>| {
            if reads.len() % turn == turn - 1 {
                layouts.last_mut().unwrap().close();
                let next = Layout::like(layouts.last().unwrap());
                layouts.push(next);
            }
            layouts.last_mut().unwrap().read(Duration::from_millis(5), read, traced.drain(..));
            reads.push(std::mem::take(read));
        };
        for step in steps {
            let (id, mut left) = match *step {
                Step::Header(length) => (None, length),
                Step::Run { id, length } => (Some(id), length),
                Step::Whole(id) => {
                    let body = std::mem::take(&mut bodies[id as usize]).into();
                    traced.push(Traced::Whole { id, body });
                    continue;
                }
                Step::Lost(id) => {
                    bodies[id as usize].clear();
                    traced.push(Traced::Lost { id });
                    continue;
                }
            };
            while left > 0 {
                let now = left.min(room);
                let bytes: Vec<u8> = (0..now).map(|n| byte.wrapping_add(n as u8)).collect();
                byte = byte.wrapping_add(now as u8).wrapping_mul(3);
                if let Some(id) = id {
                    let body = &mut bodies[id as usize];
                    traced.push(Traced::Body { id, at: read.len(), offset: body.len(), length: now });
                    body.extend(&bytes);
                }
                read.extend(bytes);
                left -= now;
                room -= now;
                if room == 0 {
                    flush(&mut read, &mut traced);
                    room = cuts.next().unwrap();
                }
            }
        }
        flush(&mut read, &mut traced);
        (layouts, reads)
    }

    proptest! {
        #[test]
        fn what_was_taken_apart_is_put_together_byte_for_byte(
            steps in proptest::collection::vec(step(), 1..60),
            cuts in proptest::collection::vec(prop_oneof![1usize..50, 50usize..9000], 1..8),
            turn in 1usize..20,
        ) {
            let (layouts, reads) = take_apart(&steps, &cuts, turn);
            let expected: Vec<u8> = reads
                .iter()
                .flat_map(|read| {
                    let mut out = Vec::new();
                    append_head(&mut out, Duration::from_millis(5), read.len() as u32);
                    out.extend(read);
                    out
                })
                .collect();
            prop_assert_eq!(layouts.iter().flat_map(Layout::image).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_body_that_never_becomes_whole_does_not_hold_up_the_rest() {
        let mut layout = Layout::default();
        let never = Traced::Body { id: 9, at: 0, offset: 0, length: 100 };
        layout.read(Duration::ZERO, &[1; 100], std::iter::once(never));
        let body = Bytes::from(vec![2; 10_000]);
        for _ in 0..1000 {
            let parts = [
                Traced::Body { id: 1, at: 0, offset: 0, length: body.len() },
                Traced::Whole { id: 1, body: body.clone() },
            ];
            layout.read(Duration::ZERO, &body, parts.into_iter());
        }
        assert_eq!(layout.length(), 10_000_100);
        assert!(layout.loose.len() <= LOOSE, "{}", layout.loose.len());
        assert!(layout.copied.len() <= LOOSE + body.len(), "{}", layout.copied.len());
        assert_eq!(layout.bodies.len(), 1000);
    }
}
