//! Where a stream can be sent on to.

use core::fmt;

use crate::rtmp::{PushUrl, PushUrlError};
use crate::srt::{SrtUrl, SrtUrlError};

/// An address to send to. It carries the other server's key: only `Display` is fit for logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PushTarget {
    /// `rtmp://` or `rtmps://`.
    Rtmp(PushUrl),
    /// `srt://`.
    Srt(SrtUrl),
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushTargetError {
    /// None that is known.
    #[error("it begins with rtmp://, rtmps:// or srt://")]
    Scheme,
    /// Of RTMP.
    #[error(transparent)]
    Rtmp(#[from] PushUrlError),
    /// Of SRT.
    #[error(transparent)]
    Srt(#[from] SrtUrlError),
}

impl PushTarget {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, PushTargetError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("rtmp" | "rtmps") => Ok(Self::Rtmp(PushUrl::parse(text)?)),
            Some("srt") => Ok(Self::Srt(SrtUrl::parse(text)?)),
            _ => Err(PushTargetError::Scheme),
        }
    }
}

/// Without the key.
impl fmt::Display for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtmp(url) => url.fmt(f),
            Self::Srt(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_its_reader() {
        assert!(matches!(PushTarget::parse("rtmp://a/b/c"), Ok(PushTarget::Rtmp(_))));
        assert!(matches!(PushTarget::parse("SRT://a:1"), Ok(PushTarget::Srt(_))));
        assert_eq!(PushTarget::parse("srt://a"), Err(SrtUrlError::Host.into()));
        assert_eq!(PushTarget::parse("http://a/b/c"), Err(PushTargetError::Scheme));
        assert_eq!(PushTarget::parse("rtmps://a/b/key").unwrap().to_string(), "rtmps://a/b");
    }
}
