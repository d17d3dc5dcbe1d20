//! Where the media server is, as a client of this request sees it.

use axum::http::{HeaderMap, header};

use crate::config::MediaServer;

/// The media server's default ports beside this program.
const HLS_PORT: u16 = 8080;

/// Public addresses of the media server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    host: String,
    hls_base: String,
    webrtc_base: String,
}

impl Addresses {
    /// From the settings, or the host that the request names.
    pub fn of_request(settings: &MediaServer, headers: &HeaderMap) -> Self {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        Self::of_host(settings, host.and_then(host_name).unwrap_or("localhost"), HLS_PORT)
    }

    /// From the settings, or the host by name and the media server's HTTP port.
    pub fn of_host(settings: &MediaServer, host: &str, port: u16) -> Self {
        let hls_base = match &settings.public_hls_url {
            Some(url) => url.as_str().to_owned(),
            None => format!("http://{host}:{port}"),
        };
        let webrtc_base = settings
            .public_webrtc_url
            .as_ref()
            .map_or_else(|| hls_base.clone(), |url| url.as_str().to_owned());
        Self { host: host.to_owned(), hls_base, webrtc_base }
    }

    /// The multivariant playlist of a stream.
    pub fn hls(&self, stream: &str) -> String {
        format!("{}/live/{stream}/index.m3u8", self.hls_base)
    }

    /// The WHIP endpoint.
    pub fn whip(&self) -> String {
        format!("{}/whip", self.webrtc_base)
    }

    /// The WHEP endpoint of a stream.
    pub fn whep(&self, stream: &str) -> String {
        format!("{}/whep/{stream}", self.webrtc_base)
    }

    /// Where the host's RTMP is unless the settings say otherwise.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Scheme, host and port of HLS, for a Content-Security-Policy.
    pub fn hls_origin(&self) -> &str {
        origin(&self.hls_base)
    }

    /// Scheme, host and port of WHIP and WHEP.
    pub fn webrtc_origin(&self) -> &str {
        origin(&self.webrtc_base)
    }
}

fn origin(base: &str) -> &str {
    let path = base.find("://").and_then(|at| {
        let start = at + 3;
        base.get(start..)?.find('/').map(|slash| start + slash)
    });
    path.and_then(|end| base.get(..end)).unwrap_or(base)
}

/// The host of a `Host` header without its port. It is the client's own text and ends up in pages and headers,
/// so only what a host can be made of passes.
fn host_name(host: &str) -> Option<&str> {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let inside = rest.get(..end)?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            return host.get(..end + 2);
        }
        None => host.split(':').next()?,
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    (plain && !name.is_empty() && name.len() <= 253).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpUrl;

    #[test]
    fn hls_is_found_on_the_host_of_the_page() {
        let settings = MediaServer::default();
        for (host, expected) in [
            ("stream.example:8000", "http://stream.example:8080/live/ada/index.m3u8"),
            ("[2001:db8::1]:8000", "http://[2001:db8::1]:8080/live/ada/index.m3u8"),
            ("x; script-src *", "http://localhost:8080/live/ada/index.m3u8"),
            ("[::1; x]", "http://localhost:8080/live/ada/index.m3u8"),
            ("", "http://localhost:8080/live/ada/index.m3u8"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(Addresses::of_request(&settings, &headers).hls("ada"), expected, "{host}");
        }
    }

    #[test]
    fn a_set_address_wins_and_its_origin_is_without_the_path() {
        let url = HttpUrl::parse("https://cdn.example/weir/").unwrap();
        let settings = MediaServer { public_hls_url: Some(url), ..MediaServer::default() };
        let addresses = Addresses::of_host(&settings, "ignored", 1);
        assert_eq!(addresses.hls("ada"), "https://cdn.example/weir/live/ada/index.m3u8");
        assert_eq!(addresses.hls_origin(), "https://cdn.example");
        assert_eq!(addresses.whip(), "https://cdn.example/weir/whip");
        let webrtc = HttpUrl::parse("https://origin.example/x").unwrap();
        let settings = MediaServer { public_webrtc_url: Some(webrtc), ..settings };
        let addresses = Addresses::of_host(&settings, "ignored", 1);
        assert_eq!(addresses.whip(), "https://origin.example/x/whip");
        assert_eq!(addresses.webrtc_origin(), "https://origin.example");
    }
}
