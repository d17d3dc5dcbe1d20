//! What the server says: command results and stream status (7.2).

use bytes::BytesMut;

use super::message::kind;
use super::writer::{COMMAND, CONTROL, ChunkWriter, STATUS};
use crate::amf0::{Properties, Value, encode_all};

/// Longest description that is sent: some encoders show it in a small box, and it stays one chunk.
const MAX_DESCRIPTION: usize = 1024;

impl ChunkWriter {
    fn command(&mut self, chunk_stream: u8, stream: u32, values: &[Value]) {
        let mut payload = BytesMut::new();
        encode_all(values, &mut payload);
        self.message(chunk_stream, kind::COMMAND_AMF0, stream, &payload);
    }

    pub(super) fn result(&mut self, transaction: f64, object: Value, value: Value) {
        self.command(COMMAND, 0, &[Value::string("_result"), Value::Number(transaction), object, value]);
    }

    pub(super) fn error(&mut self, transaction: f64, code: &str, description: &str) {
        let status = status("error", code, description);
        self.command(COMMAND, 0, &[Value::string("_error"), Value::Number(transaction), Value::Null, status]);
    }

    /// onStatus on a message stream.
    pub(super) fn status(&mut self, stream: u32, level: &str, code: &str, description: &str) {
        let status = status(level, code, description);
        self.command(STATUS, stream, &[Value::string("onStatus"), Value::Number(0.0), Value::Null, status]);
    }

    /// onFCPublish, which Flash Media Server sends besides onStatus.
    pub(super) fn fc_publish(&mut self, description: &str) {
        let status = status("status", "NetStream.Publish.Start", description);
        self.command(COMMAND, 0, &[Value::string("onFCPublish"), Value::Number(0.0), Value::Null, status]);
    }

    /// Everything that follows `connect`: the window both ways, the chunk size (early: OBS keeps its reader's old
    /// one after a reconnect), and the result. `enhanced`: with what is taken of Enhanced RTMP.
    pub(super) fn connected(&mut self, transaction: f64, window: u32, chunk_size: u32, enhanced: bool) {
        const DYNAMIC: u8 = 2;
        let [a, b, c, d] = window.to_be_bytes();
        self.message(CONTROL, kind::WINDOW_SIZE, 0, &[a, b, c, d]);
        self.message(CONTROL, kind::PEER_BANDWIDTH, 0, &[a, b, c, d, DYNAMIC]);
        self.set_chunk_size(chunk_size);
        let properties = Value::Object(vec![
            ("fmsVer".to_owned(), Value::string("FMS/3,0,1,123")),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ]);
        let mut information = information("status", "NetConnection.Connect.Success", "Connection succeeded.");
        information.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        if enhanced {
            information.extend(abilities());
        }
        self.result(transaction, properties, Value::Object(information));
    }
}

/// What is taken of Enhanced RTMP ("Enhancing NetConnection connect Command"). FourCcInfoMask: what can be decoded (1),
/// what is passed on as it is (4).
fn abilities() -> Properties {
    const DECODE_AND_FORWARD: f64 = 5.0;
    const FORWARD: f64 = 4.0;
    const MULTITRACK: u8 = 2;
    const MOD_EX: u8 = 4;
    const VIDEO: [&str; 3] = ["avc1", "hvc1", "av01"];
    const AUDIO: [&str; 2] = ["mp4a", "Opus"];
    let map = |names: &[&str], mask: f64| {
        Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Number(mask))).collect())
    };
    let list = VIDEO.iter().chain(&AUDIO).map(|name| Value::string(*name)).collect();
    let caps = f64::from(MULTITRACK | MOD_EX);
    vec![
        ("fourCcList".to_owned(), Value::StrictArray(list)),
        ("videoFourCcInfoMap".to_owned(), map(&VIDEO, DECODE_AND_FORWARD)),
        ("audioFourCcInfoMap".to_owned(), map(&AUDIO, FORWARD)),
        ("capsEx".to_owned(), Value::Number(caps)),
    ]
}

fn status(level: &str, code: &str, description: &str) -> Value {
    Value::Object(information(level, code, description))
}

fn information(level: &str, code: &str, description: &str) -> Properties {
    let description: String = description.chars().take(MAX_DESCRIPTION).collect();
    vec![
        ("level".to_owned(), Value::string(level)),
        ("code".to_owned(), Value::string(code)),
        ("description".to_owned(), Value::String(description)),
    ]
}
