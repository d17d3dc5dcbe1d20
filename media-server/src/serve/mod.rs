//! The way out: HTTP/1.1 and h2c, WebRTC, and transport streams for whoever takes them elsewhere. A viewer costs the stream nothing.

mod directives;
mod feeds;
mod hls;
mod multivariant;
mod poster;
mod whep;

pub use feeds::Feeds;
pub use poster::{Poster, Posters};
pub use whep::{Encoders, OpusFactory, Whep};

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use crate::live::Directory;
use crate::metrics::{self, Metrics};
use crate::web::body::Body;
use crate::web::respond::{self, Cors};

/// The public HTTP service. Clones share it.
#[derive(Clone)]
pub struct Public {
    hls: hls::Hls,
    cors: Arc<ArcSwap<Cors>>,
    metrics: Metrics,
}

impl Public {
    /// Serves the streams of `directory`; at most `max_blocked` requests wait for media at a time.
    pub fn new(
        (directory, posters): (Directory, Posters),
        cors: Arc<ArcSwap<Cors>>,
        max_blocked: usize,
        metrics: Metrics,
    ) -> Self {
        let blocked = Arc::new(Semaphore::new(max_blocked.min(Semaphore::MAX_PERMITS)));
        let hls = hls::Hls { directory, posters, blocked, metrics: metrics.clone() };
        Self { hls, cors, metrics }
    }

    /// Answers one request. Bodies of requests are never read.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        let (kind, mut response) = match (hls::method(request.method()), path.strip_prefix("/live/")) {
            (Some(answer), _) => ("other", answer),
            (None, Some(rest)) if !rest.is_empty() => {
                self.hls.answer(rest, request.uri().query(), request.headers()).await
            }
            (None, _) if path == "/" => (
                "page",
                respond::ok(
                    Body::from(String::from("Weir media server. Streams play at /live/STREAM/\n")),
                    "text/plain; charset=utf-8",
                    HeaderValue::from_static(respond::cache::LIVE),
                ),
            ),
            (None, _) => (
                "other",
                respond::problem(StatusCode::NOT_FOUND, "not-found", "streams play at /live/STREAM/"),
            ),
        };
        self.cors.load().apply(request.headers(), response.headers_mut());
        hls::default_cache(response.headers_mut());
        let label = metrics::Request { kind, status: response.status().as_u16() };
        self.metrics.requests.get_or_create(&label).inc();
        response
    }
}
