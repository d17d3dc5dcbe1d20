//! A publisher that writes its bytes one by one, so that tests can do what no library would.
#![allow(dead_code, reason = "each test crate takes what it needs")]

use bytes::{Bytes, BytesMut};
use wire::amf0::{Value, encode_all};
use wire::rtmp::{Event, Limits, Session, SessionError};

pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;
pub(crate) const COMMAND: u8 = 20;
pub(crate) const AGGREGATE: u8 = 22;

/// How continuation chunks of a message with an extended timestamp look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// As the specification says: the four bytes again.
    Repeats,
    /// OBS up to 2024: without.
    Omits,
}

/// Bytes of a publisher.
#[derive(Clone, Default)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
}

impl Wire {
    pub(crate) fn basic(&mut self, format: u8, chunk_stream: u32) -> &mut Self {
        let format = format << 6;
        match chunk_stream {
            2..64 => self.bytes.push(format | chunk_stream as u8),
            64..320 => self.bytes.extend([format, (chunk_stream - 64) as u8]),
            _ => {
                let id = chunk_stream - 64;
                self.bytes.extend([format | 1, id as u8, (id >> 8) as u8]);
            }
        }
        self
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u24(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes()[1..])
    }

    /// A type 0, 1 or 2 header; fields that the type leaves out are not written.
    pub(crate) fn header(
        &mut self,
        format: u8,
        chunk_stream: u32,
        time: u32,
        length: usize,
        kind: u8,
    ) -> &mut Self {
        self.basic(format, chunk_stream).u24(time.min(0xFF_FFFF));
        if format < 2 {
            self.u24(length as u32).raw(&[kind]);
        }
        if format == 0 {
            self.raw(&1u32.to_le_bytes());
        }
        if time >= 0xFF_FFFF {
            self.raw(&time.to_be_bytes());
        }
        self
    }

    /// A message with a type 0 header.
    pub(crate) fn message(
        &mut self,
        chunk_stream: u32,
        time: u32,
        kind: u8,
        body: &[u8],
        chunk: usize,
    ) -> &mut Self {
        self.message_in(Dialect::Repeats, chunk_stream, time, kind, body, chunk)
    }

    pub(crate) fn message_in(
        &mut self,
        dialect: Dialect,
        chunk_stream: u32,
        time: u32,
        kind: u8,
        body: &[u8],
        chunk: usize,
    ) -> &mut Self {
        self.header(0, chunk_stream, time, body.len(), kind);
        for (number, part) in body.chunks(chunk).enumerate() {
            if number > 0 {
                self.basic(3, chunk_stream);
                if time >= 0xFF_FFFF && dialect == Dialect::Repeats {
                    self.raw(&time.to_be_bytes());
                }
            }
            self.raw(part);
        }
        self
    }

    pub(crate) fn command(&mut self, values: &[Value]) -> &mut Self {
        self.message(3, 0, COMMAND, &amf(values), 128)
    }

    pub(crate) fn chunk_size(&mut self, size: u32) -> &mut Self {
        self.message(2, 0, 1, &size.to_be_bytes(), 128)
    }

    pub(crate) fn handshake(&mut self) -> &mut Self {
        self.raw(&[3]).raw(&[0x55; 1536]).raw(&[0xAA; 1536])
    }

    pub(crate) fn connect(&mut self, app: &str, tc_url: &str) -> &mut Self {
        self.command(&[
            text("connect"),
            Value::Number(1.0),
            Value::Object(vec![
                ("app".into(), text(app)),
                ("flashVer".into(), text("FMLE/3.0")),
                ("tcUrl".into(), text(tc_url)),
            ]),
        ])
    }

    pub(crate) fn publish(&mut self, name: &str) -> &mut Self {
        self.command(&[text("publish"), Value::Number(5.0), Value::Null, text(name), text("live")])
    }

    /// Everything up to the publish command, with the default chunk size.
    pub(crate) fn opening(&mut self) -> &mut Self {
        self.handshake().connect("live", "rtmp://host/live");
        self.command(&[text("createStream"), Value::Number(4.0), Value::Null]).publish("key")
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::string(text)
}

pub(crate) fn amf(values: &[Value]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_all(values, &mut out);
    out.to_vec()
}

pub(crate) fn session() -> Session {
    Session::new(Limits::default(), [7; 1528])
}

/// A session past the handshake.
pub(crate) fn shaken() -> Session {
    let mut session = session();
    let mut wire = Wire::default();
    session.feed(wire.handshake().clone().into_bytes()).unwrap();
    session.output();
    session
}

/// A session with an accepted publish, and nothing waiting.
pub(crate) fn live() -> Session {
    let mut session = session();
    let mut wire = Wire::default();
    session.feed(wire.opening().clone().into_bytes()).unwrap();
    events(&mut session);
    assert!(session.accept_publish());
    session.output();
    session
}

pub(crate) fn feed(session: &mut Session, wire: &Wire) -> Result<(), SessionError> {
    session.feed(Bytes::copy_from_slice(&wire.bytes))
}

pub(crate) fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.next()).collect()
}

/// A body that is as long as wanted and does not repeat early.
pub(crate) fn body(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(31) >> 3) as u8 ^ seed ^ index as u8).collect()
}

pub(crate) fn video(timestamp: u32, body: &[u8]) -> Event {
    Event::Video { timestamp, payload: Bytes::copy_from_slice(body) }
}

pub(crate) fn audio(timestamp: u32, body: &[u8]) -> Event {
    Event::Audio { timestamp, payload: Bytes::copy_from_slice(body) }
}

/// Whether `bytes` hold `text` somewhere; chunk headers could cut it only beyond the first chunk.
pub(crate) fn says(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
