//! What the control plane is told afterwards.

use media::doctor::Finding;
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::request::Client;

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum EventData {
    /// `publish.started`: a publisher was admitted and its stream is there.
    Started {
        /// `rtmp`, `rtmps`, `srt` or `whip`.
        protocol: &'static str,
        /// Who.
        client: Client,
    },
    /// `publish.stopped`: it is gone.
    Stopped(StoppedData),
    /// `stream.health`: how it does. The first to go where events pile up.
    Health(HealthData),
    /// `thumbnail.ready`: there is another picture of it. Goes with those.
    Thumbnail(ThumbnailData),
}

impl EventData {
    /// The next of its kind says more than this one: the first to go where events pile up.
    pub(super) fn may_be_lost(&self) -> bool {
        matches!(self, Self::Health(_) | Self::Thumbnail(_))
    }
}

/// A picture of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThumbnailData {
    /// Where it is, on the media server's address for players.
    pub path: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Of the JPEG.
    pub bytes: usize,
}

/// How a publish session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoppedData {
    /// A stable word: `left`, `idle`, `dropped`, `protocol`, `socket`…; `server-died` is said by the next start.
    pub reason: &'static str,
    /// How long it was, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of media taken in.
    pub bytes: u64,
}

/// How a publisher does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthData {
    /// Kilobits a second taken in.
    pub bitrate_kbps: u32,
    /// Thousandths of a frame a second taken in (29970 is 29.97).
    pub millifps: u32,
    /// Repairs of its timestamps since it began.
    pub repairs: u64,
    /// What the encoder doctor finds wrong with it at present, the gravest first.
    pub findings: Vec<FindingData>,
}

/// One finding of the encoder doctor, as API and events show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingData {
    /// A stable name.
    pub code: &'static str,
    /// `info`, `warning` or `critical`.
    pub severity: &'static str,
    /// What was seen, in a sentence.
    pub text: String,
    /// What to do about it, in the words of the publisher's software where that is known.
    pub remedy: String,
    /// What was measured, where it is a figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The unit of both; empty for counts.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
}

impl From<&Finding> for FindingData {
    fn from(finding: &Finding) -> Self {
        let rounded = |figure: Option<f64>| figure.map(|f| (f * 100.0).round() / 100.0);
        Self {
            code: finding.code.name(),
            severity: finding.severity.name(),
            text: finding.text.clone(),
            remedy: finding.remedy.clone(),
            value: rounded(finding.value),
            target: rounded(finding.target),
            unit: finding.code.unit(),
        }
    }
}

/// An event with all that identifies it. The order of the fields is the order on the wire
/// (`fixtures/webhook/event-*.json`).
#[derive(Serialize)]
pub(super) struct Event<'a> {
    r#type: &'static str,
    time: String,
    node: &'a str,
    session: &'a str,
    stream: &'a str,
    seq: u64,
    #[serde(flatten)]
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Started { protocol: &'static str, client: Client },
    Stopped(&'a StoppedData),
    Health(&'a HealthData),
    Thumbnail(&'a ThumbnailData),
}

impl<'a> Event<'a> {
    pub(super) fn new(
        node: &'a str,
        time: OffsetDateTime,
        stream: &'a str,
        session: &'a str,
        seq: u64,
        data: &'a EventData,
    ) -> Self {
        let (r#type, data) = match data {
            EventData::Started { protocol, client } => {
                ("publish.started", Data::Started { protocol, client: client.bounded() })
            }
            EventData::Stopped(data) => ("publish.stopped", Data::Stopped(data)),
            EventData::Health(data) => (HEALTH, Data::Health(data)),
            EventData::Thumbnail(data) => (THUMBNAIL, Data::Thumbnail(data)),
        };
        Self { r#type, time: rfc3339(time), node, session, stream, seq, data }
    }

    /// The JSON body, as it is kept, signed and sent.
    pub(super) fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// The types of events that may be lost.
pub(super) const HEALTH: &str = "stream.health";
pub(super) const THUMBNAIL: &str = "thumbnail.ready";

/// RFC 3339 in UTC with milliseconds, as the contract writes times.
pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // Fails for no time that has a year of four digits.
    time.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use time::macros::datetime;

    use super::*;

    /// When the fixtures happen.
    pub(crate) const INSTANT: OffsetDateTime = datetime!(2026-11-20 20:00 UTC);

    /// Who does it.
    pub(crate) fn client() -> Client {
        Client { ip: [203, 0, 113, 7].into(), port: 50012, agent: "FMLE/3.0 (compatible; FMSc/1.0)".into() }
    }

    fn told(seq: u64, data: &EventData) -> String {
        let session = "ses_019aa2f5c4007cc0b0a1c2d3e4f50617";
        String::from_utf8(Event::new("origin-1", INSTANT, "ada", session, seq, data).body().unwrap()).unwrap()
    }

    #[test]
    fn events_are_the_fixtures_byte_for_byte() {
        let started = EventData::Started { protocol: "rtmp", client: client() };
        assert_eq!(told(1, &started), include_str!("../../../fixtures/webhook/event-publish-started.json"));
        let stopped =
            EventData::Stopped(StoppedData { reason: "left", duration_ms: 60_000, bytes: 18_750_000 });
        assert_eq!(told(2, &stopped), include_str!("../../../fixtures/webhook/event-publish-stopped.json"));
        let health = EventData::Health(HealthData {
            bitrate_kbps: 2500,
            millifps: 29_970,
            repairs: 3,
            findings: vec![FindingData {
                code: "keyframe-interval-long",
                severity: "warning",
                text: "Keyframes are up to 8.0 s apart".into(),
                remedy: "OBS: Settings, Output, Keyframe Interval 2 s".into(),
                value: Some(8.0),
                target: Some(4.0),
                unit: "s",
            }],
        });
        assert_eq!(told(3, &health), include_str!("../../../fixtures/webhook/event-stream-health.json"));
        let path = "/live/ada/thumb.jpg".to_owned();
        let ready = EventData::Thumbnail(ThumbnailData { path, width: 640, height: 360, bytes: 24_576 });
        assert_eq!(told(4, &ready), include_str!("../../../fixtures/webhook/event-thumbnail-ready.json"));
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(rfc3339(datetime!(2026-02-03 04:05:06.0078 +01:00)), "2026-02-03T03:05:06.007Z");
    }
}
