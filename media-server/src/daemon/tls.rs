//! How the encrypted ports do their handshakes, and what HTTPS says of HTTP/3.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::{ALT_SVC, HeaderValue};
use http::{Request, Response};
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::DaemonError;
use super::webrtc::Webrtc;
use crate::config;
use crate::serve::Public;
use crate::signalling::Readable;
use crate::web::body::Body;
use crate::web::certificate::{CertificateError, Certificates, Pair};
use crate::web::quic::H3;

/// How long a client may remember that there is HTTP/3, in seconds.
const REMEMBERED: u32 = 86_400;

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) certificates: Certificates,
    pub(super) rtmps: TlsAcceptor,
    pub(super) https: TlsAcceptor,
    pub(super) http3: Arc<ServerConfig>,
    alternative: Arc<ArcSwapOption<HeaderValue>>,
}

impl Tls {
    pub(super) fn new() -> Result<Self, DaemonError> {
        let certificates = Certificates::default();
        let config = |protocols: &[&[u8]]| {
            certificates
                .config(protocols)
                .map_err(|error| DaemonError::System { what: "TLS", source: std::io::Error::other(error) })
        };
        let (rtmps, https, http3) = (config(&[])?, config(&[b"h2", b"http/1.1"])?, config(&[H3])?);
        let alternative = Arc::default();
        Ok(Self { rtmps: rtmps.into(), https: https.into(), http3, certificates, alternative })
    }

    /// Presents these certificates from the next handshake on.
    pub(super) fn set(&self, tls: &config::Tls) -> Result<(), CertificateError> {
        let pair = |certificate: &std::path::PathBuf, key: &std::path::PathBuf| Pair {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let set = [&tls.cert_file, &tls.key_file].iter().any(|file| !file.as_os_str().is_empty());
        let first = set.then(|| pair(&tls.cert_file, &tls.key_file));
        let further = tls.certificates.iter().map(|files| pair(&files.cert_file, &files.key_file));
        self.certificates.set(&first.into_iter().chain(further).collect::<Vec<_>>())
    }

    /// HTTP/3 is to be had at this port, or nowhere.
    pub(super) fn tell(&self, port: Option<u16>) {
        let value =
            port.and_then(|port| HeaderValue::from_str(&format!("h3=\":{port}\"; ma={REMEMBERED}")).ok());
        self.alternative.store(value.map(Arc::new));
    }

    /// Answers a request that came by TLS, and says where HTTP/3 is (RFC 7838).
    pub(super) async fn answer<B: Readable>(
        &self,
        (public, webrtc): (&Public, &Webrtc),
        request: Request<B>,
    ) -> Response<Body> {
        let mut response = webrtc.answer(public, request).await;
        if let Some(value) = &*self.alternative.load() {
            response.headers_mut().insert(ALT_SVC, HeaderValue::clone(value));
        }
        response
    }
}
