//! The admission webhook's messages, field by field as `fixtures/webhook` has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `"type": "publish"` or `"play"`: may this client do that?
///
/// Fields that are not known are passed over, so that a newer media server can be asked by an older control plane.
#[derive(Clone, Deserialize)]
pub struct Request {
    /// The publisher's connection, as the media server names it.
    #[serde(default)]
    pub session: String,
    /// What the client presents.
    #[serde(default)]
    pub key: String,
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    #[serde(default)]
    pub protocol: String,
    /// RTMP's application name.
    #[serde(default)]
    pub app: String,
    /// For `play`: the stream that is to be watched.
    #[serde(default)]
    pub stream: String,
    /// The query of the address that was published to.
    #[serde(default)]
    pub query: BTreeMap<String, serde_json::Value>,
    /// Who.
    #[serde(default)]
    pub client: Client,
}

/// Who asks the media server.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Client {
    /// Its address.
    #[serde(default)]
    pub ip: String,
    /// Its port.
    #[serde(default)]
    pub port: u16,
    /// Its name for itself.
    #[serde(default)]
    pub agent: Option<String>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("session", &self.session)
            .field("protocol", &self.protocol)
            .field("app", &self.app)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The answer: the one with `allow: true`, or the one with `allow: false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Come in.
    Allow(Allow),
    /// Stay out.
    Deny(Deny),
}

/// What an admitted publisher gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// `true`
    pub allow: True,
    /// The stream's public name.
    pub stream: String,
    /// The transcode profile.
    pub profile: String,
    /// Record it.
    pub record: bool,
    /// What it may not exceed.
    pub limits: Limits,
    /// Where to send it on to.
    pub push: Vec<Push>,
    /// Who may watch.
    pub playback: Playback,
}

/// What a stream may not exceed. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Total, kbit/s.
    pub bitrate_kbps: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Seconds.
    pub duration_s: u32,
}

/// A target to send a stream on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// Its address.
    pub url: String,
}

/// Who may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playback {
    /// Everyone.
    Public,
    /// Who has a token.
    Token,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// `false`
    pub allow: False,
    /// A stable word.
    pub reason: Reason,
    /// For the broadcaster.
    pub message: String,
}

/// Why a publisher stays out, as a stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No channel has this key: mistyped, or rotated.
    UnknownKey,
    /// The account is suspended or banned.
    Banned,
    /// Another publisher has the stream. Said by the media server, which knows; never from here.
    AlreadyLive,
    /// The account has used up what it may.
    OverLimit,
}

impl Reason {
    /// As in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown-key",
            Self::Banned => "banned",
            Self::AlreadyLive => "already-live",
            Self::OverLimit => "over-limit",
        }
    }
}

macro_rules! literal_bool {
    ($(#[$doc:meta])* $name:ident, $value:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bool($value)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if bool::deserialize(deserializer)? == $value {
                    return Ok(Self);
                }
                Err(serde::de::Error::custom(concat!("`allow` must be ", $value)))
            }
        }
    };
}

literal_bool!(
    /// The JSON value `true` and no other.
    True, true
);
literal_bool!(
    /// The JSON value `false` and no other.
    False, false
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::event::{Event, Kind};

    /// The files that the media server's tests write and read, too.
    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../fixtures/webhook/", $name, ".json"))
        };
    }

    #[test]
    fn our_answers_are_byte_for_byte_what_the_media_server_reads() {
        for text in [fixture!("publish-allow"), fixture!("publish-deny")] {
            let answer: Answer = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        }
        let unknown = crate::access::rules::decide(None, &crate::config::Publish::default());
        assert_eq!(serde_json::to_string(&unknown).unwrap(), fixture!("publish-deny"));
    }

    #[test]
    fn its_question_is_understood() {
        let request: Request = serde_json::from_str(fixture!("publish-request")).unwrap();
        assert_eq!(request.key, "example-stream-key");
        assert_eq!(request.session, "ses_019aa2f5c4007cc0b0a1c2d3e4f50617");
        assert_eq!((request.protocol.as_str(), request.app.as_str()), ("rtmp", "live"));
        assert_eq!((request.client.ip.as_str(), request.client.port), ("203.0.113.7", 50012));
        assert!(!format!("{request:?}").contains("example-stream-key"));
    }

    #[test]
    fn its_events_are_understood() {
        let read = |text: &str| {
            let body: serde_json::Value = serde_json::from_str(text).unwrap();
            Event::read(body["type"].as_str().unwrap(), &body)
        };
        let started = read(fixture!("event-publish-started"));
        assert_eq!(
            (started.kind, started.seq, started.stream.as_deref()),
            (Kind::Started, Some(1), Some("ada"))
        );
        assert_eq!(started.time, Some(1_795_204_800_000));
        let stopped = read(fixture!("event-publish-stopped"));
        assert_eq!(
            (stopped.kind, stopped.seq, stopped.reason.as_deref()),
            (Kind::Stopped, Some(2), Some("left"))
        );
        assert_eq!(stopped.session, started.session);
        let health = read(fixture!("event-stream-health"));
        assert_eq!((health.kind, health.seq, health.stream.as_deref()), (Kind::Other, Some(3), Some("ada")));
        let ready = read(fixture!("event-thumbnail-ready"));
        assert_eq!((ready.kind, ready.seq, ready.stream.as_deref()), (Kind::Other, Some(4), Some("ada")));
    }

    #[test]
    fn an_answer_that_says_neither_or_both_is_none() {
        for wrong in
            [r#"{"allow":false}"#, r#"{"allow":true,"reason":"banned","message":""}"#, r#"{"allow":"yes"}"#]
        {
            assert!(serde_json::from_str::<Answer>(wrong).is_err(), "{wrong}");
        }
    }
}
