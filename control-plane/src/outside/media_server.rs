//! The media server's admin API, as far as this program needs it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
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
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| MediaServerError::Unreachable {
            url: self.url.clone(),
            source,
        };
        // Stream names are slugs: they need no escaping in a path.
        let request = Request::builder()
            .method(Method::DELETE)
            .uri(format!("{}/api/v1/streams/{stream}", self.url))
            .body(Empty::new())
            .map_err(|e| unreachable(e.into()))?;
        let reply = tokio::time::timeout(self.timeout, self.client.request(request))
            .await
            .map_err(|_| MediaServerError::TimedOut { url: self.url.clone(), after: self.timeout })?
            .map_err(|e| unreachable(e.into()))?;
        match reply.status() {
            status if status.is_success() => Ok(Dropped::Live),
            StatusCode::NOT_FOUND => Ok(Dropped::NotLive),
            status => Err(MediaServerError::Refused { status }),
        }
    }
}
