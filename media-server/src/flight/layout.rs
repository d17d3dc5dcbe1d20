//! Reads, taken apart: a message's body is kept in the memory that the player is sent, and only what lies between the
//! bodies is copied. Put together again they are what came off the wire, byte for byte.

use std::time::Duration;

use bytes::Bytes;
use wire::Traced;

use super::recording::append_head;

/// Shorter bodies are copied: they are not worth what it takes to point at them.
const SHORT: usize = 64;

/// Some consecutive reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Time since the publish began, and length.
    reads: Vec<(Duration, u32)>,
    pieces: Vec<Piece>,
    copied: Vec<u8>,
    /// Empty while there is not all of it.
    bodies: Vec<Bytes>,
    /// Memory of `bodies`.
    kept: usize,
    /// The trace's id of each body that is not yet whole, and which of `bodies` it will be.
    open: Vec<(u32, u32)>,
}

/// A part of the wire.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The next so many bytes of `copied`.
    Copied(u32),
    /// These bytes of a body.
    Body { body: u32, offset: u32, length: u32 },
}

impl Layout {
    /// Room for as much as `last` had between its bodies.
    pub(super) fn like(last: &Self) -> Self {
        Self {
            reads: Vec::with_capacity(last.reads.len()),
            pieces: Vec::with_capacity(last.pieces.len()),
            copied: Vec::with_capacity(last.copied.len()),
            bodies: Vec::with_capacity(last.bodies.len()),
            ..Self::default()
        }
    }

    /// Adds what was read `at` this time. `traced` is of these very bytes: its places lie in them, one after the other.
    pub(super) fn read(&mut self, at: Duration, bytes: &[u8], traced: impl Iterator<Item = Traced>) {
        if !bytes.is_empty() {
            self.reads.push((at, part(bytes.len())));
        }
        let mut from = 0;
        let mut traced = traced.peekable();
        while let Some(next) = traced.next() {
            match next {
                Traced::Body { id, at, offset: 0, length } if length < SHORT => {
                    let whole = |next: &Traced| matches!(next, Traced::Whole { id: of, .. } if *of == id);
                    if traced.next_if(whole).is_none() {
                        self.run(&bytes[from..at], id, 0, length);
                        from = at + length;
                    }
                }
                Traced::Body { id, at, offset, length } => {
                    self.run(&bytes[from..at], id, offset, length);
                    from = at + length;
                }
                Traced::Whole { id, body } | Traced::Lost { id, body } => self.ends(id, body),
            }
        }
        self.copy(&bytes[from..]);
    }

    /// Adds a part of body `id`, and what came `before` it.
    fn run(&mut self, before: &[u8], id: u32, offset: usize, length: usize) {
        self.copy(before);
        let open = self.open.iter().find(|(open, _)| *open == id);
        let body = open.map_or(part(self.bodies.len()), |(_, body)| *body);
        if open.is_none() {
            self.bodies.push(Bytes::new());
            self.open.push((id, body));
        }
        self.pieces.push(Piece::Body { body, offset: part(offset), length: part(length) });
    }

    fn copy(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.copied.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some(Piece::Copied(before)) => *before = before.saturating_add(part(bytes.len())),
            _ => self.pieces.push(Piece::Copied(part(bytes.len()))),
        }
    }

    /// This is all that comes of body `id`.
    fn ends(&mut self, id: u32, body: Bytes) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == id) else { return };
        let (_, place) = self.open.swap_remove(at);
        if let Some(place) = self.bodies.get_mut(place as usize) {
            self.kept += body.len();
            *place = body;
        }
    }

    /// Nothing is added any more. `unfinished` has what there is of the bodies that are not yet whole.
    pub(super) fn close(&mut self, unfinished: impl Iterator<Item = (u32, Bytes)>) {
        unfinished.for_each(|(id, body)| self.ends(id, body));
    }

    /// Forgets the end of it, from the first body on that is not whole.
    pub(super) fn forget_unfinished(&mut self) {
        let (whole, mut left) = (self.whole(), self.length());
        let copied = |piece: &Piece| if let Piece::Copied(n) = piece { *n as usize } else { 0 };
        let (pieces, copied) = (whole.len(), whole.iter().map(copied).sum());
        self.pieces.truncate(pieces);
        self.copied.truncate(copied);
        self.open.clear();
        for (_, length) in &mut self.reads {
            *length = (*length).min(part(left));
            left -= *length as usize;
        }
        self.reads.retain(|(_, length)| *length > 0);
    }

    /// What comes before the first body that is not whole.
    fn whole(&self) -> &[Piece] {
        let there = |piece: &Piece| match *piece {
            Piece::Copied(_) => true,
            Piece::Body { body, offset, length } => {
                let known = self.bodies.get(body as usize).map_or(0, Bytes::len);
                offset as usize + length as usize <= known
            }
        };
        let end = self.pieces.iter().position(|piece| !there(piece));
        &self.pieces[..end.unwrap_or(self.pieces.len())]
    }

    /// Bytes of what was read, as far as there is an image of them.
    pub(super) fn length(&self) -> usize {
        let lengths = self.whole().iter().map(|piece| match piece {
            Piece::Copied(length) | Piece::Body { length, .. } => *length as usize,
        });
        lengths.sum()
    }

    /// Memory that it takes, that of the bodies included.
    pub(super) fn size(&self) -> usize {
        self.copied.len()
            + self.kept
            + size_of_val(&self.reads[..])
            + size_of_val(&self.pieces[..])
            + size_of_val(&self.bodies[..])
    }

    /// The reads as a recording has them, up to the first body that is not whole.
    pub(super) fn image(&self) -> Vec<u8> {
        let mut left = self.length();
        let mut out = Vec::with_capacity(left + self.reads.len() * 12);
        let mut copied = &self.copied[..];
        let mut wire = self.whole().iter().map(|piece| match *piece {
            Piece::Copied(length) => {
                let (part, rest) = copied.split_at(length as usize);
                copied = rest;
                part
            }
            Piece::Body { body, offset, length } => {
                &self.bodies[body as usize][offset as usize..][..length as usize]
            }
        });
        let mut piece: &[u8] = &[];
        for (at, length) in &self.reads {
            let mut missing = left.min(*length as usize);
            if missing == 0 {
                break;
            }
            left -= missing;
            append_head(&mut out, *at, part(missing));
            while missing > 0 {
                if piece.is_empty() {
                    let Some(next) = wire.next() else { return out };
                    piece = next;
                }
                let (now, later) = piece.split_at(missing.min(piece.len()));
                out.extend_from_slice(now);
                missing -= now.len();
                piece = later;
            }
        }
        out
    }
}

/// Reads and bodies are much shorter.
fn part(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::recording::{Header, Recording, preamble};
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

    /// Feeds the steps in reads of these lengths; gives the layouts, one for each `turn` reads, what was read, and the
    /// image of the last layout before it was closed.
    fn take_apart(steps: &[Step], cuts: &[usize], turn: usize) -> (Vec<Layout>, Vec<Vec<u8>>, Vec<u8>) {
        let mut cuts = cuts.iter().cycle().copied();
        let (mut layouts, mut reads) = (vec![Layout::default()], Vec::new());
        let mut bodies: [Vec<u8>; 3] = Default::default();
        let (mut read, mut traced, mut room, mut byte) = (Vec::new(), Vec::new(), cuts.next().unwrap(), 0_u8);
        let close = |layout: &mut Layout, bodies: &[Vec<u8>; 3]| {
            layout.close((0..).zip(bodies).map(|(id, body)| (id, Bytes::copy_from_slice(body))));
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
                    let body = std::mem::take(&mut bodies[id as usize]).into();
                    traced.push(Traced::Lost { id, body });
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
                    let last: &mut Layout = layouts.last_mut().unwrap();
                    last.read(Duration::from_millis(5), &read, traced.drain(..));
                    reads.push(std::mem::take(&mut read));
                    room = cuts.next().unwrap();
                    if reads.len() % turn == 0 {
                        close(last, &bodies);
                        let next = Layout::like(last);
                        layouts.push(next);
                    }
                }
            }
        }
        let last = layouts.last_mut().unwrap();
        last.read(Duration::from_millis(5), &read, traced.drain(..));
        reads.push(read);
        let unclosed = last.image();
        close(last, &bodies);
        (layouts, reads, unclosed)
    }

    proptest! {
        #[test]
        fn what_was_taken_apart_is_put_together_byte_for_byte(
            steps in proptest::collection::vec(step(), 1..60),
            cuts in proptest::collection::vec(prop_oneof![1usize..50, 50usize..9000], 1..8),
            turn in 1usize..20,
        ) {
            let (mut layouts, reads, unclosed) = take_apart(&steps, &cuts, turn);
            let expected: Vec<u8> = reads
                .iter()
                .filter(|read| !read.is_empty())
                .flat_map(|read| {
                    let mut out = Vec::new();
                    append_head(&mut out, Duration::from_millis(5), read.len() as u32);
                    out.extend(read);
                    out
                })
                .collect();
            prop_assert_eq!(layouts.iter().flat_map(Layout::image).collect::<Vec<_>>(), expected);
            // What is not whole is left out, and the rest is as it was.
            let last = layouts.pop().unwrap().image();
            let (whole, cut) = (reads_of(last), reads_of(unclosed));
            prop_assert!(cut.len() <= whole.len());
            prop_assert!(cut.concat() == whole.concat()[..cut.concat().len()]);
        }
    }

    fn reads_of(image: Vec<u8>) -> Vec<Bytes> {
        let mut file = preamble(&Header::default(), &[]);
        file.extend(image);
        let recording = Recording::parse(file.into()).unwrap();
        assert!(!recording.cut);
        recording.reads.into_iter().map(|read| read.bytes).collect()
    }

    #[test]
    fn a_body_that_never_becomes_whole_hides_the_rest_until_the_end_only() {
        let mut layout = Layout::default();
        let never = Traced::Body { id: 9, at: 4, offset: 0, length: 96 };
        layout.read(Duration::ZERO, &[1; 100], std::iter::once(never));
        let body = Bytes::from(vec![2; 10_000]);
        for _ in 0..100 {
            let parts = [
                Traced::Body { id: 1, at: 0, offset: 0, length: body.len() },
                Traced::Whole { id: 1, body: body.clone() },
            ];
            layout.read(Duration::ZERO, &body, parts.into_iter());
        }
        assert_eq!((layout.length(), layout.image().len()), (4, 16));
        assert_eq!(layout.copied, [1; 4]);
        layout.close(std::iter::once((9, Bytes::from(vec![1; 96]))));
        assert_eq!(layout.length(), 1_000_100);
    }
}
