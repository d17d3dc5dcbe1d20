//! What the control plane is asked: `"type": "publish"`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use time::OffsetDateTime;

use super::event::rfc3339;

/// Parameters of an address that are passed on; what comes after them is not.
const QUERY_PARAMETERS: usize = 32;
/// Longest name or value of one, in bytes; longer ones are not passed on.
const QUERY_TEXT: usize = 1024;
/// Longest text that a client says about itself, in bytes; longer ones are cut.
const CLIENT_TEXT: usize = 256;

/// Someone wants to publish.
#[derive(Clone)]
pub struct PublishRequest {
    /// This connection's name (`ses_…`).
    pub session: String,
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    pub protocol: &'static str,
    /// The stream key: a secret.
    pub key: String,
    /// RTMP's application name.
    pub app: String,
    /// The query of the address that is published to. Can carry secrets.
    pub query: Vec<(String, String)>,
    /// Who.
    pub client: Client,
}

/// Who connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
    /// Its name for itself (`flashVer`, `User-Agent`); empty where it says none.
    pub agent: String,
}

impl fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishRequest")
            .field("session", &self.session)
            .field("protocol", &self.protocol)
            .field("app", &self.app)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The message; the order of the fields is the order on the wire (`fixtures/webhook/publish-request.json`).
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    time: String,
    node: &'a str,
    session: &'a str,
    protocol: &'static str,
    key: &'a str,
    app: &'a str,
    query: BTreeMap<&'a str, &'a str>,
    client: Client,
}

impl PublishRequest {
    /// The JSON body, as it is signed and sent.
    pub(super) fn body(&self, node: &str, time: OffsetDateTime) -> Vec<u8> {
        let mut query = BTreeMap::new();
        let fits = |text: &str| text.len() <= QUERY_TEXT;
        for (name, value) in self.query.iter().filter(|(n, v)| fits(n) && fits(v)).take(QUERY_PARAMETERS) {
            // The first of a name counts, as in most servers.
            query.entry(name.as_str()).or_insert(value.as_str());
        }
        let message = Message {
            r#type: "publish",
            time: rfc3339(time),
            node,
            session: &self.session,
            protocol: self.protocol,
            key: &self.key,
            app: cut(&self.app),
            query,
            client: self.client.bounded(),
        };
        // Maps of text to text and derived structs have no way to fail; an empty body would be denied.
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

impl Client {
    /// A copy without excess.
    pub(super) fn bounded(&self) -> Self {
        Self { agent: cut(&self.agent).to_owned(), ..self.clone() }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(CLIENT_TEXT)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::{INSTANT, client};
    use super::*;

    fn request() -> PublishRequest {
        PublishRequest {
            session: "ses_019aa2f5c4007cc0b0a1c2d3e4f50617".into(),
            protocol: "rtmp",
            key: "example-stream-key".into(),
            app: "live".into(),
            query: Vec::new(),
            client: client(),
        }
    }

    #[test]
    fn the_question_is_the_fixture_byte_for_byte() {
        let fixture = include_bytes!("../../../fixtures/webhook/publish-request.json");
        assert_eq!(
            String::from_utf8_lossy(&request().body("origin-1", INSTANT)),
            String::from_utf8_lossy(fixture)
        );
    }

    #[test]
    fn what_a_client_says_is_bounded() {
        let mut request = request();
        request.client.agent = "ä".repeat(10_000);
        request.app = "x".repeat(10_000);
        request.query = (0..1000).map(|n| (format!("n{n}"), "v".repeat(n * 10))).collect();
        request.query.insert(1, ("n0".into(), "the second of its name".into()));
        let body = request.body("n", INSTANT);
        assert!(body.len() < 64 * 1024);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["query"]["n0"], "");
        assert_eq!(json["client"]["agent"].as_str().unwrap().chars().count(), 128);
    }

    #[test]
    fn a_key_is_in_no_log() {
        let mut request = request();
        request.query = vec![("token".into(), "hush".into())];
        let shown = format!("{request:?}");
        assert!(!shown.contains("example-stream-key") && !shown.contains("hush"), "{shown}");
    }
}
