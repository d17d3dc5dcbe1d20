//! Where a stream can be fetched from.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::address::{host_and_port, query_pairs};
use crate::rtmp::{PushUrl, PushUrlError};
use crate::srt::{SrtUrl, SrtUrlError};

/// An address to fetch from. It may hold secrets: only `Display` is fit for logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PullUrl {
    /// `srt://`: a listener is called.
    Srt(SrtUrl),
    /// `rtmp://` or `rtmps://`: a stream is played.
    Rtmp(PushUrl),
    /// `udp://`: a transport stream that somebody sends.
    Udp(UdpUrl),
    /// `http://` or `https://`: HLS, as it was written.
    Hls(String),
    /// `file:///`: a file that is played again and again, as it was written.
    File(String),
}

const LONGEST: usize = 2048;

/// `udp://ADDRESS:PORT[?interface=ADDRESS]`: an address of this machine to listen at, or a group to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpUrl {
    /// What is listened at; a multicast group is joined.
    pub address: SocketAddr,
    /// On which interface a group of IPv4 is joined; the system's choice where it is unspecified.
    pub interface: Ipv4Addr,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullUrlError {
    /// None that is known.
    #[error("it begins with srt://, rtmp://, rtmps://, udp://, http://, https:// or file:///")]
    Scheme,
    /// Of HLS and files.
    #[error("it is at most 2048 printable characters without blanks (%20 for one)")]
    Characters,
    /// Of files.
    #[error("a file is named by its whole path: file:///FOLDER/FILE")]
    File,
    /// Of HLS.
    #[error("a host is missing: http://HOST/PATH.m3u8")]
    Host,
    /// Of SRT.
    #[error(transparent)]
    Srt(#[from] SrtUrlError),
    /// Of RTMP.
    #[error(transparent)]
    Rtmp(#[from] PushUrlError),
    /// Of UDP.
    #[error("it is udp://ADDRESS:PORT: an address of this machine (0.0.0.0 for any), or a multicast group")]
    Address,
    /// Of UDP.
    #[error("interface is an IPv4 address of this machine")]
    Interface,
}

impl PullUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, PullUrlError> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("srt") => Ok(Self::Srt(SrtUrl::parse(text)?)),
            Some("rtmp" | "rtmps") => Ok(Self::Rtmp(PushUrl::parse(text)?)),
            Some("http" | "https" | "file")
                if text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control()) =>
            {
                Err(PullUrlError::Characters)
            }
            Some("file") if !text.get(5..).is_some_and(|rest| rest.starts_with("///") && rest.len() > 3) => {
                Err(PullUrlError::File)
            }
            Some("file") => Ok(Self::File(text.to_owned())),
            Some("http" | "https") if text.split('/').nth(2).is_none_or(str::is_empty) => {
                Err(PullUrlError::Host)
            }
            Some("http" | "https") => Ok(Self::Hls(text.to_owned())),
            Some("udp") => Ok(Self::Udp(UdpUrl::parse(text)?)),
            _ => Err(PullUrlError::Scheme),
        }
    }

    /// The protocol's name in API, events and metrics.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Srt(_) => "srt",
            Self::Rtmp(url) if url.tls => "rtmps",
            Self::Rtmp(_) => "rtmp",
            Self::Udp(_) => "udp",
            Self::Hls(_) => "hls",
            Self::File(_) => "file",
        }
    }
}

impl UdpUrl {
    fn parse(text: &str) -> Result<Self, PullUrlError> {
        let (_, rest) = text.split_once("://").ok_or(PullUrlError::Scheme)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        // As others write it: what is behind the sign is listened at.
        let authority = authority.trim_end_matches('/').trim_start_matches('@');
        let authority =
            if authority.starts_with(':') { format!("0.0.0.0{authority}") } else { authority.to_owned() };
        let Some((host, Some(port))) = host_and_port(&authority) else { return Err(PullUrlError::Address) };
        let ip: IpAddr = host.parse().map_err(|_| PullUrlError::Address)?;
        let mut interface = Ipv4Addr::UNSPECIFIED;
        for (name, value) in query_pairs(query, 16) {
            if name == "interface" || name == "localaddr" {
                interface = value.parse().map_err(|_| PullUrlError::Interface)?;
            }
        }
        if ip.is_ipv6() && !interface.is_unspecified() {
            return Err(PullUrlError::Interface);
        }
        Ok(Self { address: SocketAddr::new(ip, port), interface })
    }
}

impl fmt::Debug for PullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PullUrl({self}, [hidden])")
    }
}

/// Without secrets.
impl fmt::Display for PullUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Srt(url) => url.fmt(f),
            Self::Rtmp(url) => url.fmt(f),
            Self::Udp(url) => write!(f, "udp://{}", url.address),
            // Tokens stand in queries, and user and password before the host.
            Self::Hls(url) => {
                let plain = url.split('?').next().unwrap_or_default();
                match plain.split_once("://").zip(plain.rsplit_once('@')) {
                    Some(((scheme, _), (_, rest))) => write!(f, "{scheme}://{rest}"),
                    None => f.write_str(plain),
                }
            }
            Self::File(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_scheme_has_its_reader() {
        assert_eq!(PullUrl::parse("srt://a:1?streamid=play/x").unwrap().protocol(), "srt");
        assert_eq!(PullUrl::parse("rtmps://a/b/c").unwrap().protocol(), "rtmps");
        for (text, shown) in [
            ("udp://239.1.2.3:5000?interface=127.0.0.1", "udp://239.1.2.3:5000"),
            ("udp://@239.1.2.3:5000", "udp://239.1.2.3:5000"),
            ("udp://:5000", "udp://0.0.0.0:5000"),
            ("UDP://[ff02::1]:5000", "udp://[ff02::1]:5000"),
            ("https://me:secret@h/live/a.m3u8?token=secret", "https://h/live/a.m3u8"),
            ("http://h/a.m3u8", "http://h/a.m3u8"),
            ("file:///films/a.mp4", "file:///films/a.mp4"),
        ] {
            assert_eq!(PullUrl::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_none_says_why() {
        for (text, error) in [
            ("ftp://a/b.m3u8", PullUrlError::Scheme),
            ("http:///b.m3u8", PullUrlError::Host),
            ("file://relative", PullUrlError::File),
            ("file:///a b", PullUrlError::Characters),
            ("udp://host:1", PullUrlError::Address),
            ("udp://1.2.3.4", PullUrlError::Address),
            ("udp://239.1.2.3:5000?interface=eth0", PullUrlError::Interface),
            ("udp://[ff02::1]:5000?interface=127.0.0.1", PullUrlError::Interface),
            ("srt://a", SrtUrlError::Host.into()),
        ] {
            assert_eq!(PullUrl::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _any = PullUrl::parse(&text).is_ok();
            let _like = PullUrl::parse(&format!("udp://{text}")).is_ok();
        }
    }
}
