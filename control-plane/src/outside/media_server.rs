//! The media server's admin API, as far as this program needs it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use crate::config;

/// Why the media server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MediaServerError {
    /// It is not there, or broke off.
    #[error("the media server's admin API at {url} cannot be reached: {source}")]
    Unreachable {
        /// Its address.
        url: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer in time.
    #[error("the media server's admin API at {url} did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// Its address.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// It answered with something else than was asked for.
    #[error("the media server's answer cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered with an error.
    #[error("the media server answered {status}")]
    Refused {
        /// Its status.
        status: StatusCode,
    },
}

/// What became of a stream that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It was live, and is not any more.
    Live,
    /// There was nothing to drop.
    NotLive,
}

/// The longest description of a stream, bytes.
const LONGEST: usize = 1024 * 1024;

/// A client of the admin API.
#[derive(Clone, Debug)]
pub struct MediaServer {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: String,
    timeout: Duration,
}

impl MediaServer {
    /// For the server that the settings name. Connects when first asked.
    pub fn new(config: &config::MediaServer) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: config.admin_url.as_str().to_owned(), timeout: config.timeout.0 }
    }

    /// Ends the live session of a stream at once.
    pub async fn drop_stream(&self, stream: &str) -> Result<Dropped, MediaServerError> {
        match self.call(Method::DELETE, stream).await?.0 {
            status if status.is_success() => Ok(Dropped::Live),
            StatusCode::NOT_FOUND => Ok(Dropped::NotLive),
            status => Err(MediaServerError::Refused { status }),
        }
    }

    /// How a stream is, as the admin API has it; None where there is none.
    pub async fn stream(&self, stream: &str) -> Result<Option<serde_json::Value>, MediaServerError> {
        match self.call(Method::GET, stream).await? {
            (status, body) if status.is_success() => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| MediaServerError::Unreadable(error.into())),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, _) => Err(MediaServerError::Refused { status }),
        }
    }

    async fn call(&self, method: Method, stream: &str) -> Result<(StatusCode, Bytes), MediaServerError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| MediaServerError::Unreachable {
            url: self.url.clone(),
            source,
        };
        // Stream names are slugs: they need no escaping in a path.
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/streams/{stream}", self.url))
            .body(Empty::new())
            .map_err(|e| unreachable(e.into()))?;
        let whole = async {
            let reply = self.client.request(request).await.map_err(|e| unreachable(e.into()))?;
            let status = reply.status();
            let body = Limited::new(reply.into_body(), LONGEST).collect().await;
            Ok((status, body.map_err(MediaServerError::Unreadable)?.to_bytes()))
        };
        tokio::time::timeout(self.timeout, whole)
            .await
            .map_err(|_| MediaServerError::TimedOut { url: self.url.clone(), after: self.timeout })?
    }
}
