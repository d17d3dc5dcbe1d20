//! One signed POST to the control plane.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use time::OffsetDateTime;

use super::decision::Malformed;
use super::secret::Secrets;

/// No answer of the contract comes near this, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Between a failed connection and the second try: a program that restarts has its port again by then.
const BEFORE_RETRY: Duration = Duration::from_millis(200);
/// Connections kept for the next call.
const IDLE_CONNECTIONS: usize = 8;

/// Where the control plane takes questions and events.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `http://` or `https://` address.
    pub url: String,
    /// How long one call may take, its second try included.
    pub timeout: Duration,
    /// What calls are signed with.
    pub secret: Secrets,
}

/// Why a call brought no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not an address.
    #[error("{0:?} is not an http:// or https:// address")]
    Url(String),
    /// Nobody there, twice.
    #[error("no connection: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// An answer that refuses the call itself.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// An answer that says nothing.
    #[error("{0}")]
    Answer(#[from] Malformed),
}

impl CallError {
    /// The control plane is not running, or too slow: as against one that runs and cannot agree.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Broken(_) | Self::Timeout(_))
    }

    /// What an operator can do.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Url(_) => "correct [admission] url",
            Self::Connect(_) | Self::Broken(_) | Self::Timeout(_) => {
                "start the control plane, correct [admission] url, or set [admission] mode to \"static\" or \"open\""
            }
            Self::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                "both programs must have the same webhook secret, and clocks that agree within 5 minutes"
            }
            Self::Status(_) | Self::Answer(_) => {
                "is [admission] url the control plane's /internal/hooks/publish? its log says more"
            }
        }
    }
}

/// Makes calls; clones share the connections.
#[derive(Clone)]
pub(super) struct Caller {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Caller {
    /// Fails only where the TLS library has no safe protocol versions.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider)?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Self { client })
    }

    /// Posts `body` as message `id`, and gives the answer's body where its status is 2xx. A connection that fails is
    /// tried a second time; a request that was sent is not.
    pub(super) async fn post(&self, endpoint: &Endpoint, id: &str, body: Bytes) -> Result<Bytes, CallError> {
        let wrong = || CallError::Url(endpoint.url.clone());
        let uri: Uri = endpoint.url.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let twice = async {
            match self.once(endpoint, &uri, id, body.clone()).await {
                Err(CallError::Connect(_)) => {
                    tokio::time::sleep(BEFORE_RETRY.min(endpoint.timeout / 4)).await;
                    self.once(endpoint, &uri, id, body).await
                }
                other => other,
            }
        };
        tokio::time::timeout(endpoint.timeout, twice)
            .await
            .unwrap_or(Err(CallError::Timeout(endpoint.timeout)))
    }

    async fn once(&self, endpoint: &Endpoint, uri: &Uri, id: &str, body: Bytes) -> Result<Bytes, CallError> {
        let timestamp = OffsetDateTime::now_utc().unix_timestamp().to_string();
        let signature = endpoint.secret.sign(id, &timestamp, &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("weir-media-server/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Full::new(body))
            .map_err(|_| CallError::Url(endpoint.url.clone()))?;
        let response = self.client.request(request).await.map_err(|error| {
            let told = causes(&error);
            if error.is_connect() { CallError::Connect(told) } else { CallError::Broken(told) }
        })?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        if !status.is_success() {
            return Err(CallError::Status(status));
        }
        let answer = answer.map_err(|error| CallError::Broken(error.to_string()))?;
        Ok(answer.to_bytes())
    }
}

/// An error with what caused it, the root last.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        told = format!("{told}: {deeper}");
        cause = deeper.source();
    }
    told
}
