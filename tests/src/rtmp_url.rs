//! An address to publish to, in the two forms that encoders take.

use std::fmt;

/// `rtmp://HOST/APP/KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpUrl {
    /// `rtmp` or `rtmps`.
    pub scheme: &'static str,
    /// `host:port`.
    pub address: String,
    /// Application, such as `live`.
    pub app: String,
    /// Stream key.
    pub key: String,
}

impl RtmpUrl {
    /// Of its parts.
    pub fn new(address: &str, app: &str, key: &str) -> Self {
        Self { scheme: "rtmp", address: address.to_owned(), app: app.to_owned(), key: key.to_owned() }
    }

    /// The same by TLS.
    pub fn tls(address: &str, app: &str, key: &str) -> Self {
        Self { scheme: "rtmps", ..Self::new(address, app, key) }
    }

    /// What a broadcaster enters as the server; the key goes into its own field.
    pub fn server(&self) -> String {
        format!("{}://{}/{}", self.scheme, self.address, self.app)
    }
}

impl fmt::Display for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server(), self.key)
    }
}
