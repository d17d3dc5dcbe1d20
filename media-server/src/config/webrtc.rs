//! `[webrtc]`: where its media comes and goes, and what clients are told of it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::types::{Secret, listen};

/// `[webrtc]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webrtc {
    /// Where media comes and goes (UDP, and TCP of the same number); none where absent.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Addresses of this server as clients see them: `IP`, or `IP:PORT`.
    pub advertise: Vec<String>,
    /// The machine's own addresses are told to clients beside those.
    pub own_addresses: bool,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<IceServer>,
    /// A rung is encoded for viewers where the stream has none that browsers play.
    pub encode: bool,
    /// Sessions at a time.
    pub max_sessions: usize,
}

/// One of `[webrtc] ice_servers`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IceServer {
    /// `stun:HOST:PORT`, `turn:HOST:PORT?transport=udp`, `turns:…`
    pub url: String,
    /// For TURN.
    pub username: String,
    /// For TURN.
    pub credential: Secret,
}

impl Default for Webrtc {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 8189))),
            advertise: Vec::new(),
            own_addresses: false,
            ice_servers: Vec::new(),
            encode: true,
            max_sessions: 1000,
        }
    }
}

/// One of `[webrtc] advertise`; a port of 0 where it names none.
pub fn advertised(text: &str) -> Option<SocketAddr> {
    let ip = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    ip.or_else(|_| text.parse()).ok().filter(|address| !address.ip().is_unspecified())
}

/// RFC 7064, RFC 7065, and what a `Link` header can say.
pub(super) fn is_ice_server(server: &IceServer) -> bool {
    let plain =
        |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>'));
    let (scheme, host) = server.url.split_once(':').unwrap_or_default();
    let turn = matches!(scheme, "turn" | "turns");
    let named = !server.username.is_empty() && !server.credential.0.is_empty();
    (turn && named || matches!(scheme, "stun" | "stuns"))
        && !host.is_empty()
        && [&server.url, &server.username, &server.credential.0].into_iter().all(|text| plain(text))
}
