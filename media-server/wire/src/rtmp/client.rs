//! The client's side of a connection: pushes a stream to another server, or plays one of its.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

use super::aggregate::Parts;
use super::chunk::{self, ChunkReader, Input};
use super::event::Event;
use super::held::Held;
use super::message::{Message, kind};
use super::session::media_event;
use super::target::PushUrl;
use super::writer::{COMMAND, CONTROL, ChunkWriter};
use super::{Limits, Repairs, SessionError};
use crate::amf0::{self, Value};
use crate::cursor::Cursor;
use crate::trace::Traced;

/// S1 and S2.
const PACKET: usize = 1536;
const VERSION: u8 = 3;
/// Most frames fit one chunk; every server of the field takes this size.
const CHUNK_SIZE: usize = 60_000;
/// Chunk streams of media, as encoders use them.
const AUDIO: u8 = 4;
const VIDEO: u8 = 6;
const DATA: u8 = 5;
/// Transactions of the commands that are answered.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;
/// Our window: what a server may send before it wants to be told that it came.
const WINDOW: u32 = 2_500_000;

/// Why it cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("the server refuses: {code}{}{description}", if .description.is_empty() { "" } else { ": " })]
    Refused {
        /// Its code, such as `NetStream.Publish.BadName`.
        code: String,
        /// Its words.
        description: String,
    },
    /// What it sends is no RTMP.
    #[error("the server does not speak RTMP: {0}")]
    Protocol(#[from] SessionError),
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// C0 and C1 are sent.
    Handshake,
    Connecting,
    Creating,
    /// Publish or play is asked for.
    Asking {
        stream: u32,
    },
    Live {
        stream: u32,
    },
}

/// What is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// An audio tag.
    Audio,
    /// A video tag.
    Video,
    /// AMF0 data, such as `@setDataFrame`.
    Data,
}

/// What the client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Publish,
    Play,
}

/// Events that may wait: the rest of what is fed is taken in when they were fetched.
const MOST_EVENTS: usize = 4096;

/// The client's machine: bytes of the server in, bytes for it out. Media goes out without being copied.
pub struct Client {
    url: PushUrl,
    agent: String,
    /// S0, S1 and S2 as far as they are there.
    greeting: Vec<u8>,
    pub(super) reader: ChunkReader,
    writer: ChunkWriter,
    limits: Limits,
    repairs: Repairs,
    pub(super) phase: Phase,
    wish: Wish,
    pub(super) held: Held,
    events: VecDeque<Event>,
    received: u64,
    acknowledged: u64,
    window: u64,
}

impl Client {
    /// A client that will publish at `url`, and calls itself `agent`.
    pub fn new(url: PushUrl, agent: &str, entropy: &[u8; 1528]) -> Self {
        Self::with(Wish::Publish, url, agent, entropy)
    }

    /// A client that will play what is at `url`: its key is the stream's name there. What comes is fetched by
    /// [`Self::next`].
    pub fn player(url: PushUrl, agent: &str, entropy: &[u8; 1528]) -> Self {
        Self::with(Wish::Play, url, agent, entropy)
    }

    fn with(wish: Wish, url: PushUrl, agent: &str, entropy: &[u8; 1528]) -> Self {
        let mut writer = ChunkWriter::new();
        writer.out.put_u8(VERSION);
        writer.out.put_bytes(0, 8);
        writer.out.put_slice(entropy);
        Self {
            url,
            agent: agent.to_owned(),
            greeting: Vec::new(),
            reader: ChunkReader::new(),
            writer,
            limits: Limits::default(),
            repairs: Repairs::default(),
            phase: Phase::Handshake,
            wish,
            held: Held::default(),
            events: VecDeque::new(),
            received: 0,
            acknowledged: 0,
            window: u64::from(WINDOW),
        }
    }

    /// The next of what is played.
    #[allow(clippy::should_implement_trait, reason = "more may come after None: it is no iterator")]
    pub fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the server takes media now, or sends them.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// As [`Session::trace`](super::Session::trace), of what is played.
    pub fn trace(&mut self) {
        self.reader.trace = Some(Vec::new());
    }

    /// As [`Session::traced`](super::Session::traced).
    pub fn traced(&mut self) -> impl Iterator<Item = Traced> {
        self.reader.trace.iter_mut().flat_map(|trace| trace.drain(..))
    }

    /// As [`Session::unfinished`](super::Session::unfinished).
    pub fn unfinished(&self) -> impl Iterator<Item = (u32, Bytes)> {
        self.reader.unfinished()
    }

    /// Bytes for the server; empty where there are none.
    pub fn output(&mut self) -> Bytes {
        self.writer.take()
    }

    /// Takes bytes of the server in.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<(), ClientError> {
        // Of the bytes before: nobody has taken it, and its places are not in these.
        if let Some(trace) = &mut self.reader.trace {
            trace.clear();
        }
        self.received = self.received.saturating_add(data.len() as u64);
        if self.phase == Phase::Handshake && !self.shake_hands(&mut data)? {
            return Ok(());
        }
        let mut input = Input { data, owner: None, at: 0 };
        let base = self.received.saturating_sub(data.len() as u64);
        while let Some(message) = self.reader.read(&mut input, base, &self.limits, &mut self.repairs)? {
            let at = base.saturating_add(input.at as u64);
            self.message(message, at)?;
        }
        if self.received.saturating_sub(self.acknowledged) >= self.window {
            self.acknowledged = self.received;
            self.writer.message(CONTROL, kind::ACKNOWLEDGEMENT, 0, &(self.received as u32).to_be_bytes());
        }
        Ok(())
    }

    /// One media message, as pieces to be written in this order: `head` is the tag's header, `payload` its data, of
    /// which the pieces are slices. Nothing before [`Self::is_live`].
    pub fn media(&mut self, media: Media, timestamp: u32, head: &[u8], payload: &Bytes) -> Vec<Bytes> {
        let Phase::Live { stream } = self.phase else { return Vec::new() };
        let (chunk_stream, kind) = match media {
            Media::Audio => (AUDIO, kind::AUDIO),
            Media::Video => (VIDEO, kind::VIDEO),
            Media::Data => (DATA, kind::DATA_AMF0),
        };
        let length = head.len().saturating_add(payload.len());
        let extended = timestamp >= 0x00FF_FFFF;
        let mut first = BytesMut::with_capacity(head.len().saturating_add(20));
        first.put_u8(chunk_stream);
        first.put_uint(u64::from(timestamp.min(0x00FF_FFFF)), 3);
        first.put_uint(length as u64 & 0x00FF_FFFF, 3);
        first.put_u8(kind);
        first.put_u32_le(stream);
        if extended {
            first.put_u32(timestamp);
        }
        first.put_slice(head);
        let mut pieces = vec![first.freeze()];
        let mut rest = payload.clone();
        let mut room = CHUNK_SIZE.saturating_sub(head.len());
        while !rest.is_empty() {
            pieces.push(rest.split_to(room.min(rest.len())));
            if !rest.is_empty() {
                let mut next = BytesMut::with_capacity(5);
                next.put_u8(0xC0 | chunk_stream);
                if extended {
                    next.put_u32(timestamp);
                }
                pieces.push(next.freeze());
            }
            room = CHUNK_SIZE;
        }
        pieces
    }

    /// True once it is done; what follows it stays in `data`.
    fn shake_hands(&mut self, data: &mut &[u8]) -> Result<bool, ClientError> {
        let before = self.greeting.len();
        let (part, rest) =
            data.split_at_checked((1 + 2 * PACKET).saturating_sub(before)).unwrap_or((*data, &[]));
        *data = rest;
        self.greeting.extend_from_slice(part);
        if let Some(&version) = self.greeting.first()
            && version != VERSION
        {
            return Err(SessionError::Version { version }.into());
        }
        // C2 is S1 again.
        if before < 1 + PACKET
            && let Some(first) = self.greeting.get(1..=PACKET)
        {
            self.writer.out.put_slice(first);
        }
        if self.greeting.len() < 1 + 2 * PACKET {
            return Ok(false);
        }
        self.greeting = Vec::new();
        self.phase = Phase::Connecting;
        self.connect();
        Ok(true)
    }

    fn connect(&mut self) {
        self.writer.set_chunk_size(CHUNK_SIZE as u32);
        let names = ["avc1", "hvc1", "av01", "mp4a", "Opus"].map(Value::string);
        let properties = vec![
            ("app".to_owned(), Value::string(self.url.app.as_str())),
            ("type".to_owned(), Value::string("nonprivate")),
            ("flashVer".to_owned(), Value::string(self.agent.as_str())),
            ("tcUrl".to_owned(), Value::String(self.url.tc_url())),
            ("fourCcList".to_owned(), Value::StrictArray(names.to_vec())),
        ];
        self.command(0, &[Value::string("connect"), Value::Number(CONNECT), Value::Object(properties)]);
    }

    fn command(&mut self, stream: u32, values: &[Value]) {
        let mut payload = BytesMut::new();
        amf0::encode_all(values, &mut payload);
        self.writer.message(COMMAND, kind::COMMAND_AMF0, stream, &payload);
    }

    fn message(&mut self, message: Message, at: u64) -> Result<(), ClientError> {
        let mut cursor = Cursor::new(&message.payload);
        match message.kind {
            kind::SET_CHUNK_SIZE => {
                if let Some(size) = cursor.u32()
                    && !self.reader.set_chunk_size(size)
                {
                    return Err(SessionError::ChunkSize { size, at }.into());
                }
            }
            kind::WINDOW_SIZE => {
                if let Some(window) = cursor.u32().filter(|window| *window > 0) {
                    self.window = u64::from(window);
                }
            }
            kind::USER_CONTROL => self.user_control(cursor),
            kind::COMMAND_AMF0 | kind::COMMAND_AMF3 => {
                let bytes = &message.payload[..];
                let amf3 = message.kind == kind::COMMAND_AMF3;
                let bytes = if amf3 { bytes.strip_prefix(&[0]).unwrap_or(bytes) } else { bytes };
                // Answers that cannot be read are no answers: the caller's deadline ends the wait for them.
                if let Ok(values) = amf0::decode_all(bytes, &self.limits.amf0) {
                    self.answer(values)?;
                }
            }
            _ if self.wish == Wish::Play => self.played(message),
            _ => {}
        }
        Ok(())
    }

    /// Media, and what is said of them.
    fn played(&mut self, message: Message) {
        if self.events.len() >= MOST_EVENTS || message.discarded || message.payload.is_empty() {
            return;
        }
        match message.kind {
            kind::AUDIO | kind::VIDEO => {
                self.held.media(&message);
                self.events.push_back(media_event(message));
            }
            kind::DATA_AMF0 => {
                let Ok(values) = amf0::decode_all(&message.payload, &self.limits.amf0) else { return };
                let mut values =
                    values.into_iter().skip_while(|value| value.as_str() == Some("@setDataFrame"));
                let is_metadata = values.next().is_some_and(|name| name.as_str() == Some("onMetaData"));
                if let Some(value) = values.next().filter(|_| is_metadata) {
                    self.held.metadata(&message);
                    self.events.push_back(Event::Metadata { timestamp: message.timestamp, value });
                }
            }
            kind::AGGREGATE => {
                let parts: Vec<_> = Parts::new(message).collect();
                for part in parts.into_iter().filter(|part| part.kind != kind::AGGREGATE) {
                    self.played(part);
                }
            }
            _ => {}
        }
    }

    fn user_control(&mut self, mut cursor: Cursor<'_>) {
        const PING_REQUEST: u16 = 6;
        const PING_RESPONSE: u16 = 7;
        if cursor.u16() == Some(PING_REQUEST)
            && let Some(value) = cursor.u32()
        {
            let payload = [&PING_RESPONSE.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
            self.writer.message(CONTROL, kind::USER_CONTROL, 0, &payload);
        }
    }

    fn answer(&mut self, values: Vec<Value>) -> Result<(), ClientError> {
        let mut values = values.into_iter();
        let name = values.next();
        let transaction = values.next().and_then(|value| value.as_f64()).unwrap_or(0.0);
        let rest: Vec<Value> = values.collect();
        let said = |key: &str| {
            let found = rest.iter().find_map(|value| value.get(key)).and_then(Value::as_str);
            found.unwrap_or_default().chars().take(200).collect::<String>()
        };
        match (name.as_ref().and_then(Value::as_str).unwrap_or_default(), self.phase) {
            ("_result", Phase::Connecting) if transaction == CONNECT => {
                let key = Value::string(self.url.key.as_str());
                let before: &[(&str, f64)] = match self.wish {
                    Wish::Publish => &[("releaseStream", 2.0), ("FCPublish", 3.0)],
                    Wish::Play => &[],
                };
                for (name, transaction) in before.iter().copied() {
                    let values = [Value::string(name), Value::Number(transaction), Value::Null, key.clone()];
                    self.command(0, &values);
                }
                self.command(0, &[Value::string("createStream"), Value::Number(CREATE_STREAM), Value::Null]);
                self.phase = Phase::Creating;
            }
            ("_result", Phase::Creating) if transaction == CREATE_STREAM => {
                let number = rest.iter().find_map(Value::as_f64).unwrap_or(1.0);
                let stream = number.clamp(0.0, f64::from(u32::MAX)) as u32;
                let key = Value::string(self.url.key.as_str());
                let (name, how) = match self.wish {
                    Wish::Publish => ("publish", Value::string("live")),
                    // A live stream, or a recorded one (7.2.2.1).
                    Wish::Play => ("play", Value::Number(-2.0)),
                };
                self.command(stream, &[Value::string(name), Value::Number(5.0), Value::Null, key, how]);
                if self.wish == Wish::Play {
                    self.reader.media = chunk::Media::All;
                }
                self.phase = Phase::Asking { stream };
            }
            // releaseStream and FCPublish are refused by servers that do not know them.
            ("_error", _) if transaction == CONNECT || transaction == CREATE_STREAM => {
                return Err(ClientError::Refused { code: said("code"), description: said("description") });
            }
            ("onStatus", phase) => {
                let code = said("code");
                let over =
                    ["NetStream.Unpublish.Success", "NetStream.Play.Stop", "NetStream.Play.UnpublishNotify"];
                let begins = ["NetStream.Publish.Start", "NetStream.Play.Start"].contains(&code.as_str());
                if let (Phase::Asking { stream }, true) = (phase, begins) {
                    self.phase = Phase::Live { stream };
                } else if said("level") == "error" || over.contains(&code.as_str()) {
                    return Err(ClientError::Refused { code, description: said("description") });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Session;
    use super::*;

    fn client(url: &str) -> Client {
        Client::new(PushUrl::parse(url).unwrap(), "test", &[7; 1528])
    }

    /// Carries bytes both ways, `piece` at a time, until neither has any.
    fn talk(client: &mut Client, server: &mut Session, piece: usize) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let (up, down) = (client.output(), server.output());
            if up.is_empty() && down.is_empty() {
                return events;
            }
            for part in up.chunks(piece) {
                server.feed_slice(part).unwrap();
            }
            while let Some(event) = server.next() {
                if matches!(event, Event::Publish { .. }) {
                    assert!(server.accept_publish());
                }
                events.push(event);
            }
            for part in down.chunks(piece) {
                client.feed(part).unwrap();
            }
        }
    }

    #[test]
    fn it_publishes_to_our_own_server_whole_and_in_pieces() {
        for piece in [1, 7, 1500, 1 << 20] {
            let mut client = client("rtmp://h/live/room/key_1?x=y");
            let mut server = Session::new(Limits::default(), [1; 1528]);
            let events = talk(&mut client, &mut server, piece);
            assert!(client.is_live(), "{events:?}");
            assert!(
                events.iter().any(|event| matches!(event, Event::Publish { app, key, .. }
                    if app == "live/room" && key == "key_1")),
                "{events:?}"
            );
            let payload = Bytes::from(vec![9; 200_000]);
            for timestamp in [0, 40, 0x00FF_FFFF, 0x0100_0000] {
                let pieces = client.media(Media::Video, timestamp, &[0x17, 1, 0, 0, 0], &payload);
                for part in pieces {
                    server.feed(part).unwrap();
                }
                let Some(Event::Video { timestamp: at, payload: got }) = server.next() else { panic!() };
                assert_eq!((at, got.len(), got[0]), (timestamp, 200_005, 0x17));
            }
        }
    }

    #[test]
    fn a_refusal_is_told_with_the_servers_words() {
        let mut client = client("rtmp://h/live/key");
        let mut server = Session::new(Limits::default(), [1; 1528]);
        let refused = loop {
            let (up, down) = (client.output(), server.output());
            server.feed_slice(&up).unwrap();
            while let Some(event) = server.next() {
                if matches!(event, Event::Publish { .. }) {
                    server.reject_publish("NetStream.Publish.BadName", "who are you");
                }
            }
            if let Err(error) = client.feed(&down) {
                break error;
            }
        };
        assert_eq!(refused.to_string(), "the server refuses: NetStream.Publish.BadName: who are you");
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_taken_or_refused(noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..5000)) {
            let mut client = client("rtmp://h/live/key");
            let mut greeting = vec![3];
            greeting.resize(1 + 2 * PACKET, 0);
            client.feed(&greeting).unwrap();
            let _taken = client.feed(&noise).is_ok();
        }
    }
}
