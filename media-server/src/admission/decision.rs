//! What the control plane answers.

use std::fmt;

use serde::Deserialize;

use super::call::CallError;
use super::name::is_stream_name;
use super::text::plain;

/// Most push targets of one stream.
const MOST_PUSHES: usize = 16;

/// May this client publish?
#[derive(Debug)]
pub enum Decision {
    /// Yes, and as what.
    Allow(Grant),
    /// No.
    Deny {
        /// A stable word: `unknown-key`, `banned`, `already-live`, `over-limit`…
        reason: String,
        /// For the broadcaster; can be empty.
        message: String,
    },
    /// The control plane gave no answer that counts, which denies too. It has been logged with the remedy.
    Unreachable {
        /// What came instead.
        error: CallError,
    },
}

/// What an admitted publisher gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The stream's public name.
    pub stream: String,
    /// The name of its ladder profile.
    pub profile: String,
    /// Whether it is to be recorded.
    pub record: bool,
    /// What it may send.
    pub limits: Limits,
    /// Where it goes on to.
    pub push: Vec<Push>,
    /// Who may watch.
    pub playback: Playback,
    /// What its transport must be encrypted with, where that has passphrases (SRT); the listener's own where there is
    /// none.
    pub passphrase: Option<Hidden>,
}

/// Text that no log shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// What a publisher may send; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Kilobits a second, audio and video.
    pub bitrate_kbps: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Seconds from the first to the last frame.
    pub duration_s: u32,
}

/// Another server that the stream is sent to. The address carries that server's stream key.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Push {
    /// `rtmp://…`
    pub url: String,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Push([hidden])")
    }
}

/// Who may watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playback {
    /// Everyone.
    #[default]
    Public,
    /// Who brings a signed token.
    Token,
    /// Whom the control plane lets, asked each time.
    Webhook,
}

/// An answer that is none: it denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not the JSON that was asked for.
    #[error("the answer is not an admission answer")]
    Json,
    /// Allowed, without the name of a stream that could be one.
    #[error(
        "the answer's stream name is missing, or has other characters than A-Z a-z 0-9 - _, or more than 64"
    )]
    Stream,
    /// More push targets than a stream may have.
    #[error("the answer has more than 16 push targets")]
    Pushes,
    /// A passphrase that SRT cannot have: without it the stream would not be as secret as it is meant.
    #[error("the answer's passphrase has fewer than 10 or more than 79 characters")]
    Passphrase,
}

/// Fields that are not known are passed over, so that a newer control plane can answer an older media server.
#[derive(Deserialize)]
struct Answer {
    allow: bool,
    #[serde(default)]
    stream: String,
    #[serde(default = "default_profile")]
    profile: String,
    #[serde(default)]
    record: bool,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    push: Vec<Push>,
    #[serde(default)]
    playback: Playback,
    #[serde(default)]
    passphrase: Option<Hidden>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

fn default_profile() -> String {
    "default".into()
}

/// Reads a 2xx body.
pub(super) fn read(body: &[u8]) -> Result<Decision, Malformed> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Malformed::Json)?;
    if !answer.allow {
        let reason = plain(&answer.reason);
        let reason = if reason.is_empty() { "denied".to_owned() } else { reason };
        return Ok(Decision::Deny { reason, message: plain(&answer.message) });
    }
    if !is_stream_name(&answer.stream) {
        return Err(Malformed::Stream);
    }
    if answer.push.len() > MOST_PUSHES {
        return Err(Malformed::Pushes);
    }
    if answer.passphrase.as_ref().is_some_and(|it| !(10..=79).contains(&it.0.len())) {
        return Err(Malformed::Passphrase);
    }
    Ok(Decision::Allow(Grant {
        stream: answer.stream,
        profile: answer.profile,
        record: answer.record,
        limits: answer.limits,
        push: answer.push,
        playback: answer.playback,
        passphrase: answer.passphrase,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::LONGEST;
    use super::*;

    #[test]
    fn the_allowing_fixture_is_read_whole() {
        let Ok(Decision::Allow(grant)) = read(include_bytes!("../../../fixtures/webhook/publish-allow.json"))
        else {
            panic!("not allowed")
        };
        let limits = Limits { bitrate_kbps: 12_000, width: 1920, height: 1080, fps: 60, duration_s: 0 };
        let push = vec![Push { url: "rtmp://push.example/live/example-push-key".into() }];
        assert_eq!(
            grant,
            Grant {
                stream: "ada".into(),
                profile: "default".into(),
                record: true,
                limits,
                push,
                playback: Playback::Public,
                passphrase: None,
            }
        );
        assert!(!format!("{grant:?}").contains("example-push-key"));
    }

    #[test]
    fn the_denying_fixture_is_read_whole() {
        let Ok(Decision::Deny { reason, message }) =
            read(include_bytes!("../../../fixtures/webhook/publish-deny.json"))
        else {
            panic!("not denied")
        };
        assert_eq!(reason, "unknown-key");
        assert_eq!(message, "This stream key is not known. Copy it again from your channel's page.");
    }

    #[test]
    fn anything_but_a_well_formed_yes_is_no_yes() {
        let no_yes = [
            "",
            "{}",
            "null",
            "true",
            "[]",
            "allow",
            r#"{"allow":"true","stream":"ada"}"#,
            r#"{"allow":1,"stream":"ada"}"#,
            r#"{"allow":null,"stream":"ada"}"#,
            r#"{"allow":true}"#,
            r#"{"allow":true,"stream":""}"#,
            r#"{"allow":true,"stream":"../ada"}"#,
            r#"{"allow":true,"stream":"a b"}"#,
            r#"{"allow":true,"stream":"ada","playback":"friends"}"#,
            r#"{"allow":true,"stream":"ada","limits":{"fps":-1}}"#,
            r#"{"allow":true,"stream":"ada"} and more"#,
            r#"{"allow":true,"stream":"ada","passphrase":"short"}"#,
        ];
        for body in no_yes {
            assert!(!matches!(read(body.as_bytes()), Ok(Decision::Allow(_))), "{body}");
        }
        assert!(matches!(read(br#"{"allow":true,"stream":"ada","new":{}}"#), Ok(Decision::Allow(_))));
    }

    #[test]
    fn a_passphrase_is_taken_and_never_shown() {
        let body = br#"{"allow":true,"stream":"ada","passphrase":"correct horse"}"#;
        let Ok(Decision::Allow(grant)) = read(body) else { panic!("not allowed") };
        assert_eq!(grant.passphrase, Some(Hidden("correct horse".into())));
        assert!(!format!("{grant:?}").contains("horse"));
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        let body = serde_json::json!({"allow": false, "reason": "", "message": format!("a\r\nb{}", "ä".repeat(999))});
        let Ok(Decision::Deny { reason, message }) = read(body.to_string().as_bytes()) else {
            panic!("not denied")
        };
        assert_eq!(reason, "denied");
        assert!(message.starts_with("a  b") && message.len() <= LONGEST, "{message}");
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(read(&body), Ok(Decision::Allow(_))));
        }
    }
}
