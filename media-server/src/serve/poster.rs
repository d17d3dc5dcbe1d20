//! `/live/STREAM/thumb.jpg`, the newest picture of each stream, and its storyboard: `storyboard.vtt` and the sheets that it names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use media::storyboard::Storyboard;

use crate::live::Text;
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
    /// The pictures until now.
    pub storyboard: Storyboard,
    /// Its file; None where there is none.
    pub vtt: Option<Text>,
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

    /// Answers `GET` or `HEAD` of a stream's `thumb.jpg`, `storyboard.vtt` or sheet; None: `name` is none of these.
    pub(super) fn answer(&self, stream: &str, name: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        // Behind a slash it would be an object of a rung of that name.
        let of_storyboard = name.starts_with("storyboard") && !name.contains('/');
        if !of_storyboard && name != "thumb.jpg" {
            return None;
        }
        let Some(poster) = self.get(stream) else {
            return Some(missing("there is no picture of this stream, or not yet"));
        };
        Some(match name {
            "thumb.jpg" => poster.answer(headers),
            "storyboard.vtt" => poster.file(headers),
            sheet => match poster.storyboard.sheet(sheet) {
                Some((jpeg, tag)) => respond::object(headers, &tag, JPEG, jpeg.into()),
                None => missing(
                    "no such sheet, or it has left the window: storyboard.vtt names those that are there",
                ),
            },
        })
    }
}

const JPEG: &str = "image/jpeg";

impl Poster {
    /// It may be kept for as long as it is new.
    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let mut response = respond::object(headers, &self.tag, JPEG, self.jpeg.clone().into());
        response.headers_mut().insert(CACHE_CONTROL, self.rule());
        response
    }

    fn file(&self, headers: &HeaderMap) -> Response<Body> {
        match &self.vtt {
            Some(vtt) => {
                let (plain, gzip) = (|| vtt.plain.clone(), || vtt.gzip());
                respond::text(headers, "text/vtt; charset=utf-8", plain, gzip, self.rule())
            }
            None => missing(
                "there is no storyboard of this stream: [thumbnails] storyboard_ms says how long one is",
            ),
        }
    }

    fn rule(&self) -> HeaderValue {
        let rule = format!("public, max-age={}", self.max_age.as_secs().max(1));
        HeaderValue::from_str(&rule).unwrap_or_else(|_| HeaderValue::from_static(respond::cache::LIVE))
    }
}

fn missing(detail: &str) -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "not-found", detail)
}
