//! `/live/STREAM/thumb.jpg`: the newest picture of each stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::web::body::Body;
use crate::web::respond::{self, problem};

/// One stream's.
#[derive(Debug)]
pub struct Poster {
    /// The picture.
    pub jpeg: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// When it was made.
    pub made: Instant,
    /// How long it may be kept by who asks for it.
    pub max_age: Duration,
    /// Unlike any other picture's: its entity tag.
    pub tag: String,
}

/// All of them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Posters(Arc<ArcSwap<HashMap<Arc<str>, Arc<Poster>>>>);

impl Posters {
    /// A stream's.
    pub fn get(&self, stream: &str) -> Option<Arc<Poster>> {
        self.0.load().get(stream).cloned()
    }

    /// In place of the one before.
    pub fn put(&self, stream: &Arc<str>, poster: Poster) {
        let poster = Arc::new(poster);
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(Arc::clone(stream), Arc::clone(&poster));
            all
        });
    }

    /// Those of streams that are gone are forgotten.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        if self.0.load().keys().all(|stream| is_there(stream)) {
            return;
        }
        self.0.rcu(|all| {
            let kept = all.iter().filter(|(stream, _)| is_there(stream));
            kept.map(|(stream, poster)| (Arc::clone(stream), Arc::clone(poster))).collect::<HashMap<_, _>>()
        });
    }

    /// Answers `GET` or `HEAD`. It may be kept for as long as it is new.
    pub(super) fn answer(&self, stream: &str, headers: &HeaderMap) -> Response<Body> {
        let Some(poster) = self.get(stream) else {
            let detail = "there is no picture of this stream, or not yet";
            return problem(StatusCode::NOT_FOUND, "not-found", detail);
        };
        let body = Body::from(poster.jpeg.clone());
        let mut response = respond::object(headers, &poster.tag, "image/jpeg", body);
        let rule = format!("public, max-age={}", poster.max_age.as_secs().max(1));
        if let Ok(rule) = HeaderValue::from_str(&rule) {
            response.headers_mut().insert(CACHE_CONTROL, rule);
        }
        response
    }
}
