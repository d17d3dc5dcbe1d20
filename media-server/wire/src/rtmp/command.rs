//! Commands (7.2) and data messages (7.1.3), as publishing encoders send them.

use super::error::SessionError;
use super::event::Event;
use super::message::{Message, kind};
use super::session::{Phase, Session};
use super::stats::count;
use super::{address, chunk, held};
use crate::amf0::{DecodeError, Value, decode_all};

/// Longest name of a data message.
const MAX_DATA_NAME: usize = 64;

/// One command off the wire.
struct Command {
    transaction: f64,
    /// What follows name and transaction.
    arguments: Vec<Value>,
    /// Message stream id.
    stream: u32,
}

impl Command {
    fn text(&self, index: usize) -> &str {
        self.arguments.get(index).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Session {
    /// The values of a command or data message; the AMF3 types start with a byte that says "AMF0 follows".
    fn values(&self, message: &Message) -> Result<Vec<Value>, DecodeError> {
        let bytes = &message.payload[..];
        let amf3 = matches!(message.kind, kind::COMMAND_AMF3 | kind::DATA_AMF3);
        let bytes = if amf3 { bytes.strip_prefix(&[0]).unwrap_or(bytes) } else { bytes };
        decode_all(bytes, &self.limits.amf0)
    }

    /// Before a publisher is accepted, what cannot be read ends the connection; afterwards it is counted.
    fn unreadable(&mut self, source: DecodeError, at: u64) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Live { .. }) {
            return Err(SessionError::Command { source, at });
        }
        count(&mut self.stats.repairs.unreadable_amf0);
        Ok(())
    }

    pub(super) fn data(&mut self, message: &Message, at: u64) -> Result<(), SessionError> {
        let values = match self.values(message) {
            Ok(values) => values,
            Err(source) => return self.unreadable(source, at),
        };
        let timestamp = message.timestamp;
        let mut values = values.into_iter().peekable();
        values.next_if(|value| value.as_str() == Some("@setDataFrame"));
        let name = values.next().and_then(|value| value.as_str().map(str::to_owned));
        let Some(name) = name.filter(|name| name.len() <= MAX_DATA_NAME) else {
            count(&mut self.stats.repairs.unreadable_amf0);
            return Ok(());
        };
        if name != "onMetaData" {
            match &self.phase {
                Phase::Live { .. } => {
                    let values = values.collect();
                    self.events.push_back(Event::Data { timestamp, name, values });
                }
                _ => count(&mut self.stats.repairs.unwanted_media),
            }
            return Ok(());
        }
        let Some(value) = values.next() else {
            count(&mut self.stats.repairs.unreadable_amf0);
            return Ok(());
        };
        let metadata = Event::Metadata { timestamp, value };
        if self.publishing_stream().is_some() {
            self.held.metadata(message);
        }
        match self.phase {
            Phase::Live { .. } => self.events.push_back(metadata),
            Phase::Pending { .. } => {}
            _ => count(&mut self.stats.repairs.unwanted_media),
        }
        Ok(())
    }

    pub(super) fn command(&mut self, message: &Message, at: u64) -> Result<(), SessionError> {
        let values = match self.values(message) {
            Ok(values) => values,
            Err(source) => return self.unreadable(source, at),
        };
        let mut values = values.into_iter();
        let name = values.next();
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let transaction = values.next().and_then(|value| value.as_f64()).unwrap_or(0.0);
        let command = Command { transaction, arguments: values.collect(), stream: message.stream };
        match name {
            "connect" if matches!(self.phase, Phase::New) => self.connect(&command),
            _ if matches!(self.phase, Phase::New) => self.unknown(&command, "connect first"),
            "createStream" => {
                self.last_stream = self.last_stream.wrapping_add(1).max(1);
                let stream = Value::Number(f64::from(self.last_stream));
                self.writer.result(transaction, Value::Null, stream);
            }
            "releaseStream" | "FCPublish" | "_checkbw" | "checkBandwidth" | "FCSubscribe" | "setPeerInfo" => {
                self.acknowledge_call(transaction, Value::Undefined);
            }
            "getStreamLength" => self.acknowledge_call(transaction, Value::Number(0.0)),
            "publish" => self.publish(&command),
            "FCUnpublish" => {
                self.unpublish();
                self.acknowledge_call(transaction, Value::Undefined);
            }
            "deleteStream" => {
                let stream = command.arguments.get(1).and_then(Value::as_f64);
                let own = self.publishing_stream().map(f64::from);
                // A stream that is not the published one is not ours to end.
                if stream.is_none() || stream == own {
                    self.unpublish();
                }
            }
            "closeStream" => self.unpublish(),
            "play" | "play2" => {
                let reason = "this address takes streams only: watch over HTTP";
                self.writer.status(command.stream, "error", "NetStream.Play.Failed", reason);
                self.events.push_back(Event::PlayRefused);
            }
            // Answers to questions that were not asked, and player settings.
            "_result" | "_error" | "onStatus" | "receiveAudio" | "receiveVideo" => {}
            _ => self.unknown(&command, "not known here"),
        }
        Ok(())
    }

    fn acknowledge_call(&mut self, transaction: f64, value: Value) {
        if transaction > 0.0 {
            self.writer.result(transaction, Value::Null, value);
        }
    }

    fn unknown(&mut self, command: &Command, reason: &str) {
        count(&mut self.stats.repairs.unknown_commands);
        if command.transaction > 0.0 {
            self.writer.error(command.transaction, "NetConnection.Call.Failed", reason);
        }
    }

    fn connect(&mut self, command: &Command) {
        let object = command.arguments.first();
        let text = |name: &str| {
            let text = object.and_then(|object| object.get(name)).and_then(Value::as_str).unwrap_or_default();
            if text.len() > self.limits.max_name { "" } else { text }
        };
        let (app, app_query) = address::application(text("app"));
        let tc_url = text("tcUrl");
        let mut query = Vec::new();
        address::add_query(&mut query, app_query);
        address::add_query(&mut query, address::split(tc_url).1);
        let event = Event::Connect {
            app: app.to_owned(),
            tc_url: tc_url.to_owned(),
            agent: text("flashVer").to_owned(),
            query: query.clone(),
        };
        self.app = app.to_owned();
        self.query = query;
        // An encoder that says nothing of Enhanced RTMP is answered as ever.
        let enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"]
            .iter()
            .any(|name| object.is_some_and(|object| object.get(name).is_some()));
        self.writer.connected(command.transaction, self.limits.window, self.limits.chunk_size, enhanced);
        self.phase = Phase::Connected;
        self.events.push_back(event);
    }

    fn publish(&mut self, command: &Command) {
        // Arguments: null, name, mode.
        let (key, own_query) = address::split(command.text(1));
        let refusal = if self.publishing_stream().is_some() {
            Some("this connection publishes already")
        } else if key.is_empty() {
            Some("the stream key is missing")
        } else if command.text(1).len() > self.limits.max_name {
            Some("the stream key is too long")
        } else {
            None
        };
        if let Some(reason) = refusal {
            count(&mut self.stats.repairs.unknown_commands);
            self.writer.status(command.stream, "error", "NetStream.Publish.BadName", reason);
            return;
        }
        let mut query = Vec::new();
        address::add_query(&mut query, own_query);
        let known = query.len();
        let inherited = self.query.iter().filter(|(name, _)| !query.iter().any(|(own, _)| own == name));
        let inherited: Vec<_> = inherited.cloned().collect();
        query.extend(inherited.into_iter().take(address::MAX_PAIRS.saturating_sub(known)));
        let mode = match command.text(2) {
            "" => "live",
            mode => mode,
        };
        self.events.push_back(Event::Publish {
            app: self.app.clone(),
            key: key.to_owned(),
            query,
            mode: mode.chars().take(16).collect(),
        });
        self.phase = Phase::Pending { stream: command.stream, told: false };
        self.held = held::Held::default();
        self.reader.media = chunk::Media::UpTo(held::MAX_HELD);
    }

    fn unpublish(&mut self) {
        let Some(stream) = self.publishing_stream() else { return };
        self.stop_publishing();
        self.events.push_back(Event::Unpublish);
        self.writer.status(stream, "status", "NetStream.Unpublish.Success", "Publishing stopped.");
    }
}
