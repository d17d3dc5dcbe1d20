//! The chunk layer (5.3): bytes to messages, with state for each chunk stream, so that interleaved ones do not
//! mix. A message that lies whole in what was fed is a slice of it; any other is put together in one buffer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::header::{self, MAX_HEADER};
use super::message::{Message, is_media};
use super::stats::{Repairs, count};
use super::stream::{ChunkStream, Start};
use super::{Limits, SessionError};
use crate::Traced;

/// Until the peer says otherwise (5.4.1).
const FIRST_CHUNK_SIZE: usize = 128;
/// Longer messages cannot be declared, so longer chunks make no difference.
const LARGEST_CHUNK_SIZE: u32 = 0x00FF_FFFF;
/// Memory that a message of an accepted publisher gets at once, in bytes: most frames in one allocation.
const EAGER_LIVE: usize = 256 << 10;
/// The same for anybody else.
const EAGER_STRANGER: usize = 1 << 10;
/// A slice keeps the whole fed buffer alive: it must be at least this fraction of it, or it is copied.
const SLICE_FRACTION: usize = 4;

/// Which media bodies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Media {
    /// All, up to the limit: a publisher is live.
    All,
    /// Up to so many bytes: enough for sequence headers.
    UpTo(usize),
    /// None.
    Nothing,
}

/// What was fed and is not yet read.
pub(super) struct Input<'a> {
    pub(super) data: &'a [u8],
    /// The buffer that `data` are the end of, where bodies may be slices of it.
    pub(super) owner: Option<&'a Bytes>,
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    /// The next `count` bytes on their own: a slice where that does not keep much else alive, or a copy.
    fn body(&mut self, count: usize) -> Bytes {
        let body = self.rest().get(..count).unwrap_or_default();
        self.skip(count);
        match self.owner {
            _ if body.is_empty() => Bytes::new(),
            Some(owner) if count >= owner.len() / SLICE_FRACTION => owner.slice_ref(body),
            _ => Bytes::copy_from_slice(body),
        }
    }

    fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Stage {
    Header,
    /// Within a chunk of the stream at `index`, with `left` bytes to come.
    Body {
        index: usize,
        left: usize,
    },
}

/// The reader of one connection.
#[derive(Serialize, Deserialize)]
pub(super) struct ChunkReader {
    streams: Vec<ChunkStream>,
    /// Where the last chunk went: mostly where the next one goes.
    last: usize,
    stage: Stage,
    /// The start of a header, cut by the end of what was fed.
    carry: [u8; MAX_HEADER],
    carried: usize,
    chunk_size: usize,
    /// Memory of all unfinished bodies.
    buffered: usize,
    pub(super) media: Media,
    /// The peer has been seen to leave extended timestamps out of continuations: it always does, so that no body
    /// that looks like one is taken for it, and no chunk waits for the bytes that would tell.
    omits: bool,
    /// Where bodies lie, for who asked for it.
    #[serde(skip)]
    pub(super) trace: Option<Vec<Traced>>,
}

impl ChunkReader {
    pub(super) fn new() -> Self {
        Self {
            streams: Vec::new(),
            last: 0,
            stage: Stage::Header,
            carry: [0; MAX_HEADER],
            carried: 0,
            chunk_size: FIRST_CHUNK_SIZE,
            buffered: 0,
            media: Media::Nothing,
            omits: false,
            trace: None,
        }
    }

    /// Memory of all unfinished messages, in bytes.
    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Copies of what there is of the bodies that are not yet whole, by the trace's ids.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = (u32, Bytes)> {
        self.streams.iter().filter(|stream| stream.unfinished).map(|stream| (stream.id, stream.so_far()))
    }

    /// Makes what a checkpoint says its own; false where no reader could be in that state.
    pub(super) fn restore(&mut self, limits: &Limits) -> bool {
        let longest = limits.max_media_message.max(limits.max_data_message).max(limits.max_command_message);
        let memory: Option<usize> =
            self.streams.iter().try_fold(0_usize, |sum, stream| sum.checked_add(stream.restored(longest)?));
        let Some(memory) = memory.filter(|memory| *memory <= limits.max_buffered) else { return false };
        self.buffered = memory;
        let stage = match self.stage {
            Stage::Header => true,
            Stage::Body { index, left } => self
                .streams
                .get(index)
                .is_some_and(|stream| stream.unfinished && (1..=stream.missing()).contains(&left)),
        };
        stage
            && self.media == Media::All
            && self.streams.len() <= limits.max_chunk_streams
            && self.carried <= MAX_HEADER
            && (1..=LARGEST_CHUNK_SIZE as usize).contains(&self.chunk_size)
    }

    /// Set Chunk Size (5.4.1); false where the size is impossible.
    pub(super) fn set_chunk_size(&mut self, size: u32) -> bool {
        if size == 0 || size > i32::MAX as u32 {
            return false;
        }
        self.chunk_size = size.min(LARGEST_CHUNK_SIZE) as usize;
        true
    }

    /// Abort (5.4.2): forgets the unfinished message of a chunk stream; true if there was one.
    pub(super) fn abort(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return false };
        if !stream.unfinished {
            return false;
        }
        let (body, memory) = stream.finish();
        self.buffered = self.buffered.saturating_sub(memory);
        traced(&mut self.trace, Traced::Lost { id, body });
        true
    }

    /// The next message, or `None` when `input` is used up. `base` is the stream position of `input`'s start.
    pub(super) fn read(
        &mut self,
        input: &mut Input<'_>,
        base: u64,
        limits: &Limits,
        repairs: &mut Repairs,
    ) -> Result<Option<Message>, SessionError> {
        loop {
            let (index, left) = match self.stage {
                Stage::Body { index, left } => (index, left),
                Stage::Header => {
                    let at = base.saturating_add(input.at as u64).saturating_sub(self.carried as u64);
                    let Some(header) = self.header(input, at)? else { return Ok(None) };
                    let index = self.begin(&header, at, limits, repairs)?;
                    let missing = self.streams.get(index).map_or(0, ChunkStream::missing);
                    (index, missing.min(self.chunk_size))
                }
            };
            let at = base.saturating_add(input.at as u64);
            if let Some(message) = self.body(index, left, input, at, limits)? {
                return Ok(Some(message));
            }
            if matches!(self.stage, Stage::Body { .. }) {
                return Ok(None);
            }
        }
    }

    /// Reads a header from what was carried over and what is new.
    fn header(&mut self, input: &mut Input<'_>, at: u64) -> Result<Option<header::Header>, SessionError> {
        let fresh = input.rest();
        let before = self.carried;
        if before == 0 {
            if let Some(header) = self.parse(fresh, at)? {
                input.skip(header.size);
                return Ok(Some(header));
            }
            self.carry_over(fresh);
            let count = fresh.len();
            input.skip(count);
            return Ok(None);
        }
        self.carry_over(fresh);
        let carry = self.carry;
        let known = carry.get(..self.carried).unwrap_or_default();
        let Some(header) = self.parse(known, at)? else {
            input.skip(self.carried.saturating_sub(before));
            return Ok(None);
        };
        // Undecided bytes of an extended timestamp may turn out to be body: they stay for `body`.
        input.skip(header.size.saturating_sub(before));
        self.carried = before;
        self.drop_carried(header.size.min(before));
        Ok(Some(header))
    }

    fn carry_over(&mut self, fresh: &[u8]) {
        if let Some(room) = self.carry.get_mut(self.carried..) {
            let count = room.len().min(fresh.len());
            if let (Some(room), Some(fresh)) = (room.get_mut(..count), fresh.get(..count)) {
                room.copy_from_slice(fresh);
                self.carried = self.carried.saturating_add(count);
            }
        }
    }

    fn drop_carried(&mut self, count: usize) {
        let count = count.min(self.carried);
        self.carry.copy_within(count..self.carried, 0);
        self.carried = self.carried.saturating_sub(count);
    }

    fn parse(&mut self, bytes: &[u8], at: u64) -> Result<Option<header::Header>, SessionError> {
        let Some((format, chunk_stream, cursor)) = header::basic(bytes) else { return Ok(None) };
        let known = self.find(chunk_stream).and_then(|index| self.streams.get(index));
        // A type 1 header may come first: librtmp's pings do.
        if known.is_none() && matches!(format, header::Format::SameLength | header::Format::Same) {
            return Err(SessionError::MissingHeader { chunk_stream, at });
        }
        let continues = format == header::Format::Same && known.is_some_and(|stream| stream.unfinished);
        let expected = if continues && self.omits { None } else { known.and_then(ChunkStream::expected) };
        let header = header::rest(format, chunk_stream, cursor, expected);
        if continues && expected.is_some() {
            self.omits = header.is_some_and(|header| !header.extended);
        }
        Ok(header)
    }

    fn find(&self, id: u32) -> Option<usize> {
        if self.streams.get(self.last).is_some_and(|stream| stream.id == id) {
            return Some(self.last);
        }
        self.streams.iter().position(|stream| stream.id == id)
    }

    /// Takes a header in; gives the index of its chunk stream.
    fn begin(
        &mut self,
        header: &header::Header,
        at: u64,
        limits: &Limits,
        repairs: &mut Repairs,
    ) -> Result<usize, SessionError> {
        let index = match self.find(header.chunk_stream) {
            Some(index) => index,
            None if self.streams.len() >= limits.max_chunk_streams => {
                return Err(SessionError::TooManyChunkStreams { limit: limits.max_chunk_streams, at });
            }
            None => {
                self.streams.push(ChunkStream::new(header.chunk_stream));
                self.streams.len().saturating_sub(1)
            }
        };
        self.last = index;
        let Some(stream) = self.streams.get_mut(index) else { return Ok(index) };
        match stream.apply(header) {
            Start::Continuation => return Ok(index),
            Start::Restated => {
                count(&mut repairs.restated_headers);
                return Ok(index);
            }
            Start::Message => {}
            Start::Instead => {
                count(&mut repairs.partial_messages);
                let (body, memory) = stream.finish();
                stream.unfinished = true;
                self.buffered = self.buffered.saturating_sub(memory);
                traced(&mut self.trace, Traced::Lost { id: stream.id, body });
            }
        }
        let media = is_media(stream.kind);
        stream.discard = media
            && match self.media {
                Media::All => false,
                Media::UpTo(most) => stream.length > most,
                Media::Nothing => true,
            };
        let limit = match (media, self.media) {
            (true, _) => limits.max_media_message,
            (false, Media::All) => limits.max_data_message,
            (false, _) => limits.max_command_message,
        };
        if stream.length > limit {
            return Err(SessionError::MessageTooLarge { length: stream.length, limit, at });
        }
        Ok(index)
    }

    /// Reads body bytes of one chunk. Leaves `stage` at `Body` where more input is needed.
    fn body(
        &mut self,
        index: usize,
        mut left: usize,
        input: &mut Input<'_>,
        at: u64,
        limits: &Limits,
    ) -> Result<Option<Message>, SessionError> {
        self.stage = Stage::Header;
        let eager = if self.media == Media::All { EAGER_LIVE } else { EAGER_STRANGER };
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        if self.carried > 0 {
            let carry = self.carry;
            let take = self.carried.min(left);
            let bytes = carry.get(..take).unwrap_or_default();
            keep(stream, bytes, eager, &mut self.buffered, limits, at)?;
            left = left.saturating_sub(take);
            self.carry.copy_within(take..self.carried, 0);
            self.carried = self.carried.saturating_sub(take);
        }
        loop {
            let rest = input.rest();
            let take = left.min(rest.len());
            if stream.received == 0 && take == stream.length {
                let start = input.at;
                let payload = input.body(if stream.discard { 0 } else { take });
                if stream.discard {
                    input.skip(take);
                } else {
                    traced(&mut self.trace, run(stream, start, take));
                    traced(&mut self.trace, Traced::Whole { id: stream.id, body: payload.clone() });
                }
                stream.unfinished = false;
                return Ok(Some(message(stream, payload)));
            }
            if take > 0 && !stream.discard {
                traced(&mut self.trace, run(stream, input.at, take));
            }
            keep(stream, rest.get(..take).unwrap_or_default(), eager, &mut self.buffered, limits, at)?;
            input.skip(take);
            left = left.saturating_sub(take);
            let missing = stream.missing();
            if missing == 0 {
                let (payload, memory) = stream.finish();
                self.buffered = self.buffered.saturating_sub(memory);
                if !stream.discard {
                    traced(&mut self.trace, Traced::Whole { id: stream.id, body: payload.clone() });
                }
                return Ok(Some(message(stream, payload)));
            }
            if left > 0 {
                self.stage = Stage::Body { index, left };
                return Ok(None);
            }
            // The common case without the detour: the next chunk continues this message with a one-byte header.
            let plain = (self.omits || stream.continues_plainly()) && (2..64).contains(&stream.id);
            if !plain || self.carried > 0 || input.rest().first() != Some(&(0xC0 | stream.id as u8)) {
                return Ok(None);
            }
            input.skip(1);
            left = missing.min(self.chunk_size);
        }
    }
}

/// The next `length` bytes of a stream's body, which lie at `at` of what was fed.
fn run(stream: &ChunkStream, at: usize, length: usize) -> Traced {
    Traced::Body { id: stream.id, at, offset: stream.received, length }
}

fn traced(trace: &mut Option<Vec<Traced>>, what: Traced) {
    if let Some(trace) = trace {
        trace.push(what);
    }
}

/// Adds to a message's body, within the memory that the connection may have.
fn keep(
    stream: &mut ChunkStream,
    bytes: &[u8],
    eager: usize,
    buffered: &mut usize,
    limits: &Limits,
    at: u64,
) -> Result<(), SessionError> {
    let growth = stream.growth(bytes.len(), eager);
    if growth > 0 && buffered.saturating_add(growth) > limits.max_buffered {
        return Err(SessionError::TooMuchBuffered { limit: limits.max_buffered, at });
    }
    *buffered = buffered.saturating_add(stream.push(bytes, growth));
    Ok(())
}

fn message(stream: &ChunkStream, payload: Bytes) -> Message {
    Message {
        kind: stream.kind,
        stream: stream.stream,
        timestamp: stream.timestamp,
        payload,
        discarded: stream.discard,
    }
}
