//! The state of one connection.

use std::collections::VecDeque;

use bytes::Bytes;

use super::aggregate::Parts;
use super::chunk::{ChunkReader, Input, Media};
use super::control::Window;
use super::error::SessionError;
use super::event::Event;
use super::handshake::Handshake;
use super::held::Held;
use super::limits::Limits;
use super::message::{Message, is_media, kind};
use super::stats::{Stats, count};
use super::writer::ChunkWriter;
use crate::Traced;

/// How far the peer has come.
pub(super) enum Phase {
    /// `connect` is outstanding.
    New,
    /// Connected, not publishing.
    Connected,
    /// `publish` waits for the shell's answer.
    Pending {
        /// Message stream id.
        stream: u32,
        /// The shell has taken the event: an answer is for this publish, not for one before it.
        told: bool,
    },
    /// The publish is accepted.
    Live {
        /// Message stream id.
        stream: u32,
    },
}

/// The server's side of one RTMP connection that publishes.
///
/// Feed what the socket gives, take the events until there are none, write the output. Memory stays within the
/// [`Limits`], besides the events of what was last fed.
pub struct Session {
    pub(super) limits: Limits,
    handshake: Option<Handshake>,
    pub(super) reader: ChunkReader,
    pub(super) writer: ChunkWriter,
    pub(super) window: Window,
    pub(super) events: VecDeque<Event>,
    pub(super) phase: Phase,
    /// What the publish has said once: encoders that do not wait for its answer send it before.
    pub(super) held: Held,
    pub(super) app: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) last_stream: u32,
    pub(super) stats: Stats,
    failure: Option<SessionError>,
}

impl Session {
    /// A connection that has just been accepted. `entropy` are the random bytes of the handshake (5.2.3); nothing
    /// secret depends on them.
    pub fn new(limits: Limits, entropy: [u8; 1528]) -> Self {
        Self {
            handshake: Some(Handshake::new(Box::new(entropy))),
            reader: ChunkReader::new(),
            writer: ChunkWriter::new(),
            window: Window::new(limits.window),
            events: VecDeque::new(),
            phase: Phase::New,
            held: Held::default(),
            app: String::new(),
            query: Vec::new(),
            last_stream: 0,
            stats: Stats::default(),
            failure: None,
            limits,
        }
    }

    /// Takes bytes from the peer in. After an error the connection is over: events and output up to it are still
    /// there, and every further call gives the same error.
    ///
    /// Payloads that are a good part of `data` are slices of it. That saves a copy where each read has a buffer of
    /// its own; with one read buffer for all reads, [`feed_slice`](Self::feed_slice) is the cheaper way.
    #[allow(clippy::needless_pass_by_value, reason = "slices of it stay behind")]
    pub fn feed(&mut self, data: Bytes) -> Result<(), SessionError> {
        self.feed_from(&data, Some(&data))
    }

    /// Like [`feed`](Self::feed), but keeps nothing of `data`: each payload is put together in memory of its own,
    /// with one copy.
    pub fn feed_slice(&mut self, data: &[u8]) -> Result<(), SessionError> {
        self.feed_from(data, None)
    }

    /// From now on says where in what is fed the bodies of messages lie: take it by [`traced`](Self::traced) after each
    /// feed.
    pub fn trace(&mut self) {
        self.reader.trace = Some(Vec::new());
    }

    /// What became of the bytes last fed; nothing unless asked for by [`trace`](Self::trace).
    pub fn traced(&mut self) -> impl Iterator<Item = Traced> {
        self.reader.trace.iter_mut().flat_map(|trace| trace.drain(..))
    }

    /// Copies of what there is of the bodies that the trace has begun and not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = (u32, Bytes)> {
        self.reader.unfinished()
    }

    /// A publish is accepted and has not ended.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    fn feed_from(&mut self, data: &[u8], owner: Option<&Bytes>) -> Result<(), SessionError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        // Of the bytes before: nobody has taken it, and its places are not in these.
        if let Some(trace) = &mut self.reader.trace {
            trace.clear();
        }
        let result = self.read(data, owner);
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        result
    }

    /// The next thing that the peer did.
    #[allow(clippy::should_implement_trait, reason = "a machine, not a sequence: it goes on after None")]
    pub fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let (Some(Event::Publish { .. }), Phase::Pending { told, .. }) = (&event, &mut self.phase) {
            // Only the last one can be the pending one: no other waits behind it.
            *told = !self.events.iter().any(|event| matches!(event, Event::Publish { .. }));
        }
        event
    }

    /// Bytes for the peer; empty if there are none.
    pub fn output(&mut self) -> Bytes {
        self.writer.take()
    }

    /// Accepts the publish of the last [`Event::Publish`] taken. False if the peer has ended it since: its
    /// [`Event::Unpublish`] waits in the queue.
    pub fn accept_publish(&mut self) -> bool {
        let Phase::Pending { stream, told: true } = self.phase else { return false };
        self.phase = Phase::Live { stream };
        self.reader.media = Media::All;
        self.stream_begin(stream);
        self.writer.fc_publish("Publishing started.");
        self.writer.status(stream, "status", "NetStream.Publish.Start", "Publishing started.");
        self.say_held();
        true
    }

    /// Enters the live phase of a checkpoint.
    pub(super) fn begin_resumed(&mut self, stream: u32, reader: ChunkReader, held: Held) {
        self.handshake = None;
        self.phase = Phase::Live { stream };
        self.last_stream = stream;
        self.reader = reader;
        self.held = held;
        self.say_held();
    }

    fn say_held(&mut self) {
        for message in self.held.messages() {
            if is_media(message.kind) {
                self.media(message);
            } else {
                // A live session counts what it cannot read.
                let _read = self.data(&message, self.stats.bytes_in).is_ok();
            }
        }
    }

    /// Refuses the publish of the last [`Event::Publish`] taken, e.g. with `NetStream.Publish.BadName` or
    /// `NetStream.Publish.Denied`. False if the peer has ended it since.
    pub fn reject_publish(&mut self, code: &str, description: &str) -> bool {
        let Phase::Pending { stream, told: true } = self.phase else { return false };
        self.end_with(stream, code, description);
        true
    }

    /// Ends the accepted publish with an error that the encoder shows, e.g. `NetStream.Publish.Rejected` with the
    /// codec and the remedy. False if there is none (any more).
    pub fn fail(&mut self, code: &str, description: &str) -> bool {
        let Phase::Live { stream } = self.phase else { return false };
        self.end_with(stream, code, description);
        true
    }

    /// What the connection has carried so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Memory that unfinished messages take, in bytes.
    pub fn buffered(&self) -> usize {
        self.reader.buffered()
    }

    fn end_with(&mut self, stream: u32, code: &str, description: &str) {
        self.writer.status(stream, "error", code, description);
        self.stop_publishing();
    }

    pub(super) fn stop_publishing(&mut self) {
        self.phase = Phase::Connected;
        self.held = Held::default();
        self.reader.media = Media::Nothing;
    }

    /// Message stream of the pending or accepted publish.
    pub(super) fn publishing_stream(&self) -> Option<u32> {
        match self.phase {
            Phase::Pending { stream, .. } | Phase::Live { stream } => Some(stream),
            Phase::New | Phase::Connected => None,
        }
    }

    fn read(&mut self, mut data: &[u8], owner: Option<&Bytes>) -> Result<(), SessionError> {
        let end = self.stats.bytes_in.saturating_add(data.len() as u64);
        self.stats.bytes_in = end;
        if let Some(handshake) = &mut self.handshake {
            if !handshake.read(&mut data, &mut self.writer.out)? {
                return Ok(());
            }
            self.handshake = None;
        }
        let base = end.saturating_sub(data.len() as u64);
        let mut input = Input { data, owner, at: 0 };
        while let Some(message) = self.reader.read(&mut input, base, &self.limits, &mut self.stats.repairs)? {
            count(&mut self.stats.messages);
            let at = base.saturating_add(input.at as u64);
            self.message(message, at)?;
            if self.writer.out.len() > self.limits.max_output {
                return Err(SessionError::TooMuchOutput { limit: self.limits.max_output, at });
            }
        }
        self.acknowledge();
        Ok(())
    }

    fn message(&mut self, message: Message, at: u64) -> Result<(), SessionError> {
        match message.kind {
            kind::SET_CHUNK_SIZE..=kind::PEER_BANDWIDTH => self.control(&message, at)?,
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => self.command(&message, at)?,
            unexpected if matches!(self.phase, Phase::New) => {
                return Err(SessionError::UnexpectedMessage { kind: unexpected, at });
            }
            kind::DATA_AMF0 | kind::DATA_AMF3 => self.data(&message, at)?,
            kind::AUDIO | kind::VIDEO => self.media(message),
            kind::AGGREGATE if message.discarded => count(&mut self.stats.repairs.unwanted_media),
            kind::AGGREGATE => self.aggregate(message, at)?,
            _ => count(&mut self.stats.repairs.unknown_messages),
        }
        Ok(())
    }

    fn aggregate(&mut self, message: Message, at: u64) -> Result<(), SessionError> {
        let mut parts = Parts::new(message);
        for part in &mut parts {
            match part.kind {
                kind::DATA_AMF0 => self.data(&part, at)?,
                other if is_media(other) && other != kind::AGGREGATE => self.media(part),
                _ => count(&mut self.stats.repairs.unknown_messages),
            }
        }
        if parts.broken {
            count(&mut self.stats.repairs.broken_aggregates);
        }
        Ok(())
    }

    fn media(&mut self, message: Message) {
        if message.discarded {
            count(&mut self.stats.repairs.unwanted_media);
            return;
        }
        if message.payload.is_empty() {
            count(&mut self.stats.repairs.empty_media);
            return;
        }
        match self.phase {
            Phase::Live { .. } => {
                self.held.media(&message);
                self.events.push_back(media_event(message));
            }
            Phase::Pending { .. } if self.held.media(&message) => {}
            _ => count(&mut self.stats.repairs.unwanted_media),
        }
    }
}

pub(super) fn media_event(Message { kind: media, timestamp, payload, .. }: Message) -> Event {
    if media == kind::VIDEO {
        Event::Video { timestamp, payload }
    } else {
        Event::Audio { timestamp, payload }
    }
}
