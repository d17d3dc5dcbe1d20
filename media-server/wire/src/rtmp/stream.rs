//! One chunk stream: the last header, and the message that is being put together.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::header::{Format, Header};

/// A type 3 chunk that starts a message repeats the last delta; after a type 0 chunk that is, to the letter of
/// 5.3.1.2.4, the absolute timestamp. Writers that mean it have a small one (ffmpeg, whose first frames may be as
/// far from zero as from each other); for the others (librtmp) it means "the same time". In milliseconds.
const LARGEST_DELTA_AFTER_FULL: u32 = 1000;

/// State of a chunk stream.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ChunkStream {
    pub(super) id: u32,
    /// Time of the current (or last) message, in milliseconds, wrapping.
    pub(super) timestamp: u32,
    /// The delta of the last header.
    delta: u32,
    /// The last header's timestamp or delta as sent.
    field: u32,
    extended: bool,
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) stream: u32,
    /// Bytes of the unfinished message that have arrived.
    pub(super) received: usize,
    /// A message has started and is not finished.
    pub(super) unfinished: bool,
    /// The body is counted, not kept.
    pub(super) discard: bool,
    body: Vec<u8>,
}

/// What a header meant for the message before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A new message.
    Message,
    /// The next chunk of the current message.
    Continuation,
    /// The next chunk of the current message, with a header that repeats what is known.
    Restated,
    /// A new message, though the last one was unfinished.
    Instead,
}

impl ChunkStream {
    pub(super) fn new(id: u32) -> Self {
        Self { id, ..Self::default() }
    }

    /// The extended timestamps that a type 3 chunk may repeat: the field as sent, or the message's own time.
    pub(super) fn expected(&self) -> Option<[u32; 2]> {
        self.extended.then_some([self.field, self.timestamp])
    }

    /// A single byte is the whole header of a continuation.
    pub(super) fn continues_plainly(&self) -> bool {
        !self.extended
    }

    /// Takes a header in.
    pub(super) fn apply(&mut self, header: &Header) -> Start {
        let start = self.start(header);
        if matches!(start, Start::Continuation | Start::Restated) {
            return start;
        }
        if let Some(length) = header.length {
            self.length = length as usize;
        }
        self.kind = header.kind.unwrap_or(self.kind);
        self.stream = header.stream.unwrap_or(self.stream);
        if let Some(time) = header.time {
            self.field = time;
            self.extended = header.extended;
        }
        match (header.format, header.time) {
            (Format::Full, Some(time)) => {
                self.timestamp = time;
                self.delta = if time <= LARGEST_DELTA_AFTER_FULL { time } else { 0 };
            }
            (_, Some(delta)) => {
                self.timestamp = self.timestamp.wrapping_add(delta);
                self.delta = delta;
            }
            (_, None) => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
        self.unfinished = true;
        self.received = 0;
        start
    }

    /// Some encoders repeat headers within a message, and about one OBS stream in a hundred starts a new message
    /// of another size without having finished the last.
    fn start(&self, header: &Header) -> Start {
        if !self.unfinished {
            return Start::Message;
        }
        if header.format == Format::Same {
            return Start::Continuation;
        }
        let same = header.length.is_none_or(|length| length as usize == self.length)
            && header.kind.is_none_or(|kind| kind == self.kind)
            && (header.format != Format::Full || header.time == Some(self.timestamp));
        if same { Start::Restated } else { Start::Instead }
    }

    /// What a checkpoint says is possible; and the memory that the body takes.
    pub(super) fn restored(&self, longest: usize) -> Option<usize> {
        let kept = if self.discard { 0 } else { self.received };
        let whole = self.received <= self.length && (self.unfinished || self.received == 0);
        (whole && self.length <= longest && self.body.len() == kept).then_some(self.body.capacity())
    }

    /// A copy of what there is of the body.
    pub(super) fn so_far(&self) -> Bytes {
        Bytes::copy_from_slice(&self.body)
    }

    /// Bytes of the message that are still to come.
    pub(super) fn missing(&self) -> usize {
        self.length.saturating_sub(self.received)
    }

    /// Memory that the body needs on top of what it has, to take `count` more bytes. The declared length alone
    /// makes no allocation beyond `eager` bytes; from there the memory grows as bytes arrive.
    pub(super) fn growth(&self, count: usize, eager: usize) -> usize {
        let needed = self.body.len().saturating_add(count);
        if self.discard || needed <= self.body.capacity() {
            return 0;
        }
        let target = needed.max(self.body.len().saturating_mul(2)).max(eager).min(self.length).max(needed);
        target.saturating_sub(self.body.capacity())
    }

    /// Takes bytes of the body in, after growing by `growth`; says by how much the memory really grew.
    pub(super) fn push(&mut self, bytes: &[u8], growth: usize) -> usize {
        self.received = self.received.saturating_add(bytes.len());
        if self.discard {
            return 0;
        }
        let before = self.body.capacity();
        if growth > 0 {
            let target = before.saturating_add(growth);
            self.body.reserve_exact(target.saturating_sub(self.body.len()));
        }
        self.body.extend_from_slice(bytes);
        self.body.capacity().saturating_sub(before)
    }

    /// Ends the message; gives its body and the memory that it took.
    pub(super) fn finish(&mut self) -> (Bytes, usize) {
        self.unfinished = false;
        self.received = 0;
        let memory = self.body.capacity();
        (Bytes::from(std::mem::take(&mut self.body)), memory)
    }
}
