//! Where a stream is pushed to: `rtmp://HOST[:PORT]/APP[/INSTANCE…]/KEY[?QUERY]`, `rtmps://` the same by TLS.

use std::fmt;

use crate::address::{bracketed, host_and_port};

/// An address to push to. It carries the other server's stream key: only `Display` is fit for logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PushUrl {
    /// By TLS.
    pub tls: bool,
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// 1935, or 443 by TLS, where it is not said.
    pub port: u16,
    /// Application: everything between host and key.
    pub app: String,
    /// Stream key with its query.
    pub key: String,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushUrlError {
    /// Neither `rtmp://` nor `rtmps://`.
    #[error("it begins with rtmp:// or rtmps://")]
    Scheme,
    /// No host, or a port that is none.
    #[error("it names a host, and a port from 1 to 65535 where one is given")]
    Host,
    /// No application or no key.
    #[error("after the host come the application and the stream key: rtmp://HOST/APP/KEY")]
    Path,
    /// Longer than 2048 bytes, or with blanks or control characters in it.
    #[error("it is at most 2048 printable characters without blanks")]
    Characters,
}

const LONGEST: usize = 2048;

impl PushUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, PushUrlError> {
        if text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(PushUrlError::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(PushUrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(PushUrlError::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(PushUrlError::Path)?;
        let (host, port) = host_and_port(authority).ok_or(PushUrlError::Host)?;
        let port = port.unwrap_or(if tls { 443 } else { 1935 });
        // A query may hold slashes: the key begins behind the last one before it.
        let (plain, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let (app, key) = plain.trim_start_matches('/').rsplit_once('/').ok_or(PushUrlError::Path)?;
        if app.is_empty() || key.is_empty() {
            return Err(PushUrlError::Path);
        }
        let key = query.map_or_else(|| key.to_owned(), |query| format!("{key}?{query}"));
        Ok(Self { tls, host: host.to_owned(), port, app: app.to_owned(), key })
    }

    /// `tcUrl` of the connect command: the address without the key.
    pub fn tc_url(&self) -> String {
        self.to_string()
    }
}

/// Without the key.
impl fmt::Display for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, standard) = if self.tls { ("rtmps", 443) } else { ("rtmp", 1935) };
        let (open, close) = bracketed(&self.host);
        write!(f, "{scheme}://{open}{}{close}", self.host)?;
        if self.port != standard {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.app)
    }
}

impl fmt::Debug for PushUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushUrl({self}/[hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_key() {
        let url = PushUrl::parse("rtmps://live.example:8443/app/instance/sk_1?a=/b").unwrap();
        assert_eq!((url.tls, &*url.host, url.port), (true, "live.example", 8443));
        assert_eq!((&*url.app, &*url.key), ("app/instance", "sk_1?a=/b"));
        assert_eq!(format!("{url} {url:?}").matches("sk_1").count(), 0);
        let url = PushUrl::parse("RTMP://[2001:db8::1]/live/key").unwrap();
        assert_eq!(
            (&*url.host, url.port, url.to_string()),
            ("2001:db8::1", 1935, "rtmp://[2001:db8::1]/live".into())
        );
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, error) in [
            ("http://a/b/c", PushUrlError::Scheme),
            ("rtmp://a/b", PushUrlError::Path),
            ("rtmp://a", PushUrlError::Path),
            ("rtmp://a/b/", PushUrlError::Path),
            ("rtmp://:1935/b/c", PushUrlError::Host),
            ("rtmp://a:0/b/c", PushUrlError::Host),
            ("rtmp://a:x/b/c", PushUrlError::Host),
            ("rtmp://[::1/b/c", PushUrlError::Host),
            ("rtmp://[[]/b/c", PushUrlError::Host),
            ("rtmp://[host]/b/c", PushUrlError::Host),
            ("rtmp://a]/b/c", PushUrlError::Host),
            ("rtmp://user@a/b/c", PushUrlError::Host),
            ("rtmp://a/b/c d", PushUrlError::Characters),
        ] {
            assert_eq!(PushUrl::parse(text), Err(error), "{text}");
        }
    }
}
