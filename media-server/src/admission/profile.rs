//! What the control plane is asked once a source's tracks are known: `"type": "profile"`.

use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;

use super::call::{CallError, Caller, Endpoint};
use super::event::rfc3339;
use super::profile_answer::{self, ProfileAnswer, UnusableAnswer};
use crate::config::Fallback;

/// Who is asked, and what is done without an answer.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// Where, and how long it may take.
    pub endpoint: Endpoint,
    /// What makes rungs, as the configuration names it: an answered ladder must be one that it can make.
    pub encoder: String,
    /// Without a connection, or an answer in time.
    pub unanswered: Fallback,
    /// Where the source is refused.
    pub refused: Fallback,
    /// Where the answer is none.
    pub unusable: Fallback,
}

/// Which ladder is this source to have? The order of the fields is the order on the wire
/// (`fixtures/webhook/profile-request.json`).
#[derive(Clone, Debug, Serialize)]
pub struct ProfileRequest {
    /// The publish session.
    pub session: String,
    /// The stream's public name.
    pub stream: String,
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    pub protocol: &'static str,
    /// The profile that it was admitted with.
    pub profile: String,
    /// What it sends.
    pub tracks: Vec<TrackData>,
}

/// One track; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrackData {
    /// Its number among those of its kind.
    pub track: u8,
    /// `video` or `audio`.
    pub kind: &'static str,
    /// RFC 6381.
    pub codec: String,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames a second, to three places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Kilobits a second, measured or announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u64>,
    /// Pictures are shown in another order than they are decoded in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b_frames: Option<bool>,
    /// RFC 5646.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<&'static str>,
    /// Samples a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    time: String,
    node: &'a str,
    #[serde(flatten)]
    request: &'a ProfileRequest,
}

impl ProfileRequest {
    fn body(&self, node: &str, time: OffsetDateTime) -> Vec<u8> {
        let message = Message { r#type: "profile", time: rfc3339(time), node, request: self };
        // Derived structs of text and numbers have no way to fail; an empty body would be refused.
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoProfile {
    /// No connection, or no answer in time.
    #[error("{0}")]
    Unanswered(CallError),
    /// An answer that refuses the question itself.
    #[error("{0}")]
    Refusal(CallError),
    /// An answer that is none.
    #[error("{0}")]
    Unusable(#[from] UnusableAnswer),
}

/// The control plane, as it is asked about one source.
#[derive(Clone)]
pub struct ProfileHook {
    /// Who is asked, and what is done without an answer.
    pub settings: HookSettings,
    pub(super) node: String,
    pub(super) caller: Caller,
}

impl ProfileHook {
    /// Asks. Takes no longer than the endpoint's timeout. Cancel safe.
    pub async fn ask(&self, request: &ProfileRequest) -> Result<ProfileAnswer, NoProfile> {
        let body = Bytes::from(request.body(&self.node, OffsetDateTime::now_utc()));
        let id = format!("msg_{}", uuid::Uuid::now_v7().simple());
        let answer = self.caller.post(&self.settings.endpoint, &id, body).await;
        let unanswered = |error: CallError| {
            if error.is_unreachable() { NoProfile::Unanswered(error) } else { NoProfile::Refusal(error) }
        };
        Ok(profile_answer::read(&answer.map_err(unanswered)?, &self.settings.encoder)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::control::{ControlPlane, Reply, endpoint, secret};
    use super::super::event::tests::INSTANT;
    use super::super::{Admission, Mode, Settings};
    use super::*;

    fn request() -> ProfileRequest {
        let sound = |track, language, channels| TrackData {
            track,
            kind: "audio",
            codec: "mp4a.40.2".into(),
            bitrate_kbps: Some(128),
            language,
            sample_rate: Some(48_000),
            channels: Some(channels),
            ..TrackData::default()
        };
        ProfileRequest {
            session: "ses_019aa2f5c4007cc0b0a1c2d3e4f50617".into(),
            stream: "ada".into(),
            protocol: "srt",
            profile: "default".into(),
            tracks: vec![
                TrackData {
                    kind: "video",
                    codec: "avc1.640033".into(),
                    width: Some(3840),
                    height: Some(2160),
                    fps: Some(59.94),
                    bitrate_kbps: Some(18_000),
                    b_frames: Some(true),
                    ..TrackData::default()
                },
                sound(0, Some("en"), 2),
                sound(1, None, 1),
            ],
        }
    }

    fn hook(endpoint: Endpoint) -> ProfileHook {
        let (unanswered, refused, unusable) = (Fallback::UseAdmitted, Fallback::Refuse, Fallback::SourceOnly);
        let encoder = "auto".into();
        let hook = HookSettings { endpoint, encoder, unanswered, refused, unusable };
        let mode = Mode::Open { profile: "default".into() };
        let settings = Settings { mode, node: "origin-1".into(), profile_hook: Some(hook) };
        Admission::new(settings).unwrap().profile_hook().unwrap()
    }

    #[test]
    fn the_question_is_the_fixture_byte_for_byte() {
        let fixture = include_bytes!("../../../fixtures/webhook/profile-request.json");
        let body = request().body("origin-1", INSTANT);
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(fixture));
    }

    #[tokio::test]
    async fn the_control_plane_is_asked_with_a_signature_and_its_answer_is_read() {
        let named = include_bytes!("../../../fixtures/webhook/profile-named.json").to_vec();
        let mut control = ControlPlane::start([Reply::Answer(200, named)]).await;
        let answer = hook(control.endpoint()).ask(&request()).await.unwrap();
        assert_eq!(answer, ProfileAnswer::Named("uhd".into()));
        let calls = control.calls(1).await;
        let (id, timestamp) = (calls[0].header("webhook-id"), calls[0].header("webhook-timestamp"));
        assert_eq!(calls[0].header("webhook-signature"), secret().sign(id, timestamp, &calls[0].body));
        assert_eq!(
            (&calls[0].json()["type"], &calls[0].json()["tracks"][0]["height"]),
            (&"profile".into(), &2160.into())
        );
    }

    #[tokio::test]
    async fn no_answer_in_time_and_an_answer_that_is_none_are_told_apart() {
        let mut huge = br#"{"profile":""#.to_vec();
        huge.extend(vec![b'x'; 100_000]);
        huge.extend(br#""}"#);
        let nothing = Reply::Answer(204, Vec::new());
        let fails = Reply::Answer(500, br#"{"profile":"a"}"#.to_vec());
        let replies = [Reply::Hang, Reply::Cut, nothing, fails, Reply::Answer(200, huge)];
        for (reply, unanswered) in replies.into_iter().zip([true, true, false, false, true]) {
            let control = ControlPlane::start([reply.clone()]).await;
            let hook = hook(endpoint(control.address, Duration::from_millis(400)));
            let error = hook.ask(&request()).await.unwrap_err();
            assert_eq!(matches!(error, NoProfile::Unanswered(_)), unanswered, "{reply:?}: {error}");
        }
    }
}
