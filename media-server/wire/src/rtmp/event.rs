//! What a publisher does.

use std::fmt;

use bytes::Bytes;

use crate::amf0::Value;

/// What the peer did. `Debug` shows neither stream keys nor query values: both are secrets.
#[derive(Clone, PartialEq)]
pub enum Event {
    /// The peer connected to an application; it has been answered.
    Connect {
        /// The application without its query, e.g. `live`.
        app: String,
        /// The URL as the peer says it, e.g. `rtmp://host/live`. Some encoders put the key into it.
        tc_url: String,
        /// `flashVer`, e.g. `FMLE/3.0 (compatible; FMSc/1.0)`.
        agent: String,
        /// Query of `app` and `tcUrl`, percent-decoded.
        query: Vec<(String, String)>,
    },
    /// The peer wants to publish: answer by `accept_publish` or `reject_publish`.
    Publish {
        /// The application without its query.
        app: String,
        /// The stream name without its query: the stream key.
        key: String,
        /// Query of the stream name, then of `app` and `tcUrl` where they have other names; percent-decoded.
        query: Vec<(String, String)>,
        /// `live`, `record` or `append` (7.2.2.6); `live` where the peer does not say.
        mode: String,
    },
    /// What the encoder says of its stream (`onMetaData`), from this time on.
    Metadata {
        /// Milliseconds on the peer's clock; wraps at 32 bits.
        timestamp: u32,
        /// An object, as a rule.
        value: Value,
    },
    /// Any other data message of the accepted publish (7.1.3): captions, cue points, times.
    Data {
        /// Milliseconds on the peer's clock; wraps at 32 bits.
        timestamp: u32,
        /// What it calls itself, e.g. `onTextData`, `onCuePoint`.
        name: String,
        /// What follows the name.
        values: Vec<Value>,
    },
    /// A video message of the accepted publish.
    Video {
        /// Milliseconds on the peer's clock; wraps at 32 bits.
        timestamp: u32,
        /// The body of an FLV video tag, never empty.
        payload: Bytes,
    },
    /// An audio message of the accepted publish.
    Audio {
        /// Milliseconds on the peer's clock; wraps at 32 bits.
        timestamp: u32,
        /// The body of an FLV audio tag, never empty.
        payload: Bytes,
    },
    /// The peer ended its publish (accepted or not yet answered); the connection may live on.
    Unpublish,
    /// The peer wants to play: it has been refused.
    PlayRefused,
}

/// What stands in for a secret.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names(query: &[(String, String)]) -> Vec<&str> {
            query.iter().map(|(name, _)| name.as_str()).collect()
        }
        match self {
            Self::Connect { app, agent, query, .. } => f
                .debug_struct("Connect")
                .field("app", app)
                .field("tc_url", &Hidden)
                .field("agent", agent)
                .field("query", &names(query))
                .finish(),
            Self::Publish { app, query, mode, .. } => f
                .debug_struct("Publish")
                .field("app", app)
                .field("key", &Hidden)
                .field("query", &names(query))
                .field("mode", mode)
                .finish(),
            Self::Metadata { timestamp, value } => {
                f.debug_struct("Metadata").field("timestamp", timestamp).field("value", value).finish()
            }
            Self::Data { timestamp, name, values } => f
                .debug_struct("Data")
                .field("timestamp", timestamp)
                .field("name", name)
                .field("values", &values.len())
                .finish(),
            Self::Video { timestamp, payload } => {
                f.debug_struct("Video").field("timestamp", timestamp).field("bytes", &payload.len()).finish()
            }
            Self::Audio { timestamp, payload } => {
                f.debug_struct("Audio").field("timestamp", timestamp).field("bytes", &payload.len()).finish()
            }
            Self::Unpublish => f.write_str("Unpublish"),
            Self::PlayRefused => f.write_str("PlayRefused"),
        }
    }
}
