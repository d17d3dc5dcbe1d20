//! Addresses to call: `srt://HOST:PORT?streamid=ID&passphrase=…&pbkeylen=16|24|32&latency=MILLISECONDS`.

use core::fmt;
use core::time::Duration;

use super::crypto::Passphrase;
use crate::address::{bracketed, host_and_port, query_pairs};

const LONGEST: usize = 2048;
const MOST_PAIRS: usize = 16;
/// Milliseconds of latency at most.
const MOST_LATENCY: u64 = 8000;

/// An address to call. Its stream id may hold a key, and it may hold a passphrase: only `Display` is fit for logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SrtUrl {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the listener is told; empty for nothing.
    pub stream_id: String,
    /// What is encrypted with, and by keys of how many bits.
    pub secret: Option<(Passphrase, usize)>,
    /// What is held back at least.
    pub latency: Option<Duration>,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtUrlError {
    /// Another scheme.
    #[error("it begins with srt://")]
    Scheme,
    /// No host, or no port.
    #[error("it names a host and a port from 1 to 65535: srt://HOST:PORT")]
    Host,
    /// It is to listen, or to meet.
    #[error("mode is \"caller\": to listen there is [srt] listen")]
    Mode,
    /// Not what SRT takes.
    #[error("passphrase has 10 to 79 characters")]
    Passphrase,
    /// Not a length of AES.
    #[error("pbkeylen is 16, 24 or 32 (bytes)")]
    KeyLength,
    /// Too long, or no number.
    #[error("latency is a number of milliseconds up to 8000")]
    Latency,
    /// Longer than the protocol allows.
    #[error("streamid has at most 512 characters")]
    StreamId,
    /// Longer than 2048 bytes, or with blanks or control characters in it.
    #[error("it is at most 2048 printable characters without blanks (%20 for one)")]
    Characters,
}

impl SrtUrl {
    /// Reads an address. Options that it does not know are passed over.
    pub fn parse(text: &str) -> Result<Self, SrtUrlError> {
        if text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(SrtUrlError::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(SrtUrlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("srt") {
            return Err(SrtUrlError::Scheme);
        }
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.trim_end_matches('/');
        let Some((host, Some(port))) = host_and_port(authority) else { return Err(SrtUrlError::Host) };
        let (mut stream_id, mut passphrase, mut latency) = (String::new(), None, None);
        let mut bits = 128;
        for (name, value) in query_pairs(query, MOST_PAIRS) {
            match name.as_str() {
                "streamid" if value.chars().count() > 512 => return Err(SrtUrlError::StreamId),
                "streamid" => stream_id = value,
                "passphrase" if value.is_empty() => {}
                "passphrase" => {
                    passphrase = Some(Passphrase::new(&value).ok_or(SrtUrlError::Passphrase)?);
                }
                "pbkeylen" => {
                    bits = match value.as_str() {
                        "0" | "16" => 128,
                        "24" => 192,
                        "32" => 256,
                        _ => return Err(SrtUrlError::KeyLength),
                    }
                }
                "latency" => {
                    let millis = value.parse().ok().filter(|millis| *millis <= MOST_LATENCY);
                    latency = Some(Duration::from_millis(millis.ok_or(SrtUrlError::Latency)?));
                }
                "mode" if value != "caller" => return Err(SrtUrlError::Mode),
                _ => {}
            }
        }
        let secret = passphrase.map(|passphrase| (passphrase, bits));
        Ok(Self { host: host.to_owned(), port, stream_id, secret, latency })
    }
}

/// Without stream id and passphrase.
impl fmt::Display for SrtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = bracketed(&self.host);
        write!(f, "srt://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for SrtUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtUrl({self}?[hidden])")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_secrets() {
        let text = "srt://live.example:8890?streamid=publish/sk_1%3Frole=backup&passphrase=correct%20horse&pbkeylen=24&latency=400";
        let url = SrtUrl::parse(text).unwrap();
        assert_eq!(
            (&*url.host, url.port, &*url.stream_id),
            ("live.example", 8890, "publish/sk_1?role=backup")
        );
        assert_eq!(url.latency, Some(Duration::from_millis(400)));
        assert_eq!(url.secret.as_ref().map(|(_, bits)| *bits), Some(192));
        let shown = format!("{url} {url:?}");
        assert!(!shown.contains("sk_1") && !shown.contains("horse"), "{shown}");
        let plain = SrtUrl::parse("SRT://[2001:db8::1]:9000/").unwrap();
        assert_eq!((plain.to_string(), plain.secret.is_none()), ("srt://[2001:db8::1]:9000".into(), true));
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, error) in [
            ("rtmp://a:1/b", SrtUrlError::Scheme),
            ("srt://a", SrtUrlError::Host),
            ("srt://:8890", SrtUrlError::Host),
            ("srt://a:0", SrtUrlError::Host),
            ("srt://[host]:1", SrtUrlError::Host),
            ("srt://a:1?mode=listener", SrtUrlError::Mode),
            ("srt://a:1?passphrase=short", SrtUrlError::Passphrase),
            ("srt://a:1?passphrase=long-enough&pbkeylen=20", SrtUrlError::KeyLength),
            ("srt://a:1?latency=120000", SrtUrlError::Latency),
            ("srt://a:1?streamid=a b", SrtUrlError::Characters),
        ] {
            assert_eq!(SrtUrl::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", tail in "\\PC{0,80}") {
            let _any = SrtUrl::parse(&text).is_ok();
            let _like = SrtUrl::parse(&format!("srt://{text}:1?{tail}")).is_ok();
        }
    }
}
