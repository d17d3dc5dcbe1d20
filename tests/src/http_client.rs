//! An HTTP client for tests, of any version: one request, the whole answer, and when it came.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::{certificate::Trust, http3::Http3};

/// The longest answer that is read.
const LARGEST_BODY: usize = 256 << 20;
/// How long any answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// How it came.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body, `Content-Encoding: gzip` undone.
    pub body: Bytes,
    /// When the request was sent.
    pub sent: Instant,
    /// When the last byte was there.
    pub received: Instant,
}

impl Answer {
    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// A header field as text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Cache-Control: max-age`, seconds.
    pub fn max_age(&self) -> Option<u64> {
        let control = self.header(header::CACHE_CONTROL)?;
        control.split(',').find_map(|item| item.trim().strip_prefix("max-age=")?.parse().ok())
    }

    /// `Cache-Control` forbids a cache to reuse the answer unasked.
    pub fn uncached(&self) -> bool {
        self.header(header::CACHE_CONTROL).is_some_and(|c| c.contains("no-cache") || c.contains("no-store"))
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.received - self.sent
    }
}

/// A pool of connections.
#[derive(Clone)]
pub struct HttpClient {
    wire: Wire,
}

#[derive(Clone)]
enum Wire {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Quic(Arc<Http3>),
}

impl HttpClient {
    /// Over HTTP/1.1.
    pub fn new() -> Self {
        Self { wire: Wire::Plain(Client::builder(TokioExecutor::new()).build(connector())) }
    }

    /// Over HTTP/2 by prior knowledge (h2c), one connection.
    pub fn http2() -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector());
        Self { wire: Wire::Plain(client) }
    }

    /// By TLS, as HTTP/2 or HTTP/1.1: what ALPN says, of those that are offered.
    pub fn tls(trust: &Trust, http2: bool) -> Self {
        let mut tcp = connector();
        tcp.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(trust.config()).https_only();
        let connector = if http2 {
            builder.enable_all_versions().wrap_connector(tcp)
        } else {
            builder.enable_http1().wrap_connector(tcp)
        };
        Self { wire: Wire::Tls(Client::builder(TokioExecutor::new()).build(connector)) }
    }

    /// By QUIC, as HTTP/3.
    pub fn http3(trust: &Trust) -> Result<Self> {
        Ok(Self { wire: Wire::Quic(Arc::new(Http3::new(trust)?)) })
    }

    /// GET as a browser player does: from another origin, gzip accepted.
    pub async fn get(&self, uri: &str) -> Result<Answer> {
        let request = Request::get(uri)
            .header(header::ORIGIN, "http://player.example")
            .header(header::ACCEPT_ENCODING, "gzip")
            .body(Full::default())?;
        self.send(request).await
    }

    /// Any method with a JSON body (or none).
    pub async fn call(&self, method: Method, uri: &str, json: Option<&serde_json::Value>) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(uri);
        let body = match json {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(json)?)
            }
            None => Bytes::new(),
        };
        self.send(request.body(Full::new(body))?).await
    }

    /// Any request.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        let sent = Instant::now();
        let whole = async {
            let response = match &self.wire {
                Wire::Plain(client) => client.request(request).await?,
                Wire::Tls(client) => client.request(request).await?,
                Wire::Quic(client) => return client.request(request, LARGEST_BODY).await,
            };
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok((parts, body.to_bytes()))
        };
        // Boxed: a future of three clients is large, and is part of others.
        let (parts, body) = tokio::time::timeout(PATIENCE, Box::pin(whole))
            .await
            .with_context(|| format!("{what}: no whole answer within {PATIENCE:?}"))?
            .with_context(|| what.clone())?;
        let received = Instant::now();
        let gzip = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip");
        let body = if gzip { gunzip(&body).with_context(|| format!("{what}: gzip"))? } else { body };
        Ok(Answer {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body,
            sent,
            received,
        })
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new()
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector
}

fn gunzip(body: &[u8]) -> Result<Bytes> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).take(LARGEST_BODY as u64).read_to_end(&mut plain)?;
    Ok(Bytes::from(plain))
}
