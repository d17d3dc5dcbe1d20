//! Low-Latency HLS: `/live/STREAM/…`. A request finds a snapshot and clones `Bytes`; blocking requests wait on the
//! rendition's own `watch`, bounded in number and in time (draft-pantos-hls-rfc8216bis 6.2.5.2, 6.2.6).

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use media::Format;
use media::playlist::{MediaPlaylist, Object, Report, Wait};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::directives::Directives;
use super::multivariant::multivariant;
use super::poster::Posters;
use crate::live::{Directory, Offer, Phase, Rendition, Snapshot, StreamHandle, View, gzip};
use crate::metrics::Metrics;
use crate::web::body::Body;
use crate::web::respond::{self, MPEGURL, cache, problem};

/// How long a request for the multivariant playlist waits for a stream that has just begun.
const FIRST_PLAYLIST_WAIT: Duration = Duration::from_secs(5);

const PAGE: &str = include_str!("../../player/dist/index.html");
const PLAYER: &[u8] = include_bytes!("../../player/dist/hls.min.js");

/// What the LL-HLS routes need.
#[derive(Clone)]
pub(super) struct Hls {
    pub(super) directory: Directory,
    pub(super) posters: Posters,
    /// One permit a blocked request.
    pub(super) blocked: Arc<Semaphore>,
    pub(super) metrics: Metrics,
}

/// What was asked for, for metrics.
pub(super) type Answer = (&'static str, Response<Body>);

impl Hls {
    /// Answers `GET` or `HEAD` of `path`, which begins behind `/live/`.
    pub(super) async fn answer(&self, path: &str, query: Option<&str>, headers: &HeaderMap) -> Answer {
        let Some((stream, rest)) = path.split_once('/') else {
            return ("page", respond::redirect(&format!("/live/{path}/")));
        };
        if rest == "hls.min.js" {
            let script = Body::from(bytes::Bytes::from_static(PLAYER));
            return (
                "page",
                respond::ok(script, "text/javascript", HeaderValue::from_static("public, max-age=3600")),
            );
        }
        if rest.is_empty() {
            let page = Body::from(bytes::Bytes::from_static(PAGE.as_bytes()));
            return (
                "page",
                respond::ok(page, "text/html; charset=utf-8", HeaderValue::from_static(cache::LIVE)),
            );
        }
        // Who looks at its pictures does not want a stream to be fetched.
        if let Some(answer) = self.posters.answer(stream, rest, headers) {
            return ("thumbnail", answer);
        }
        let handle = match self.wanted(stream).await {
            Ok(Some(handle)) => handle,
            Ok(None) => return ("other", not_found("no such stream is live")),
            Err(response) => return ("other", response),
        };
        if rest == "index.m3u8" {
            return ("multivariant", self.multivariant(&handle, headers).await);
        }
        let Some((rendition, file)) = rest.split_once('/') else {
            return ("other", not_found("no such object"));
        };
        let snapshot = handle.snapshot();
        let Some(rendition) = snapshot.rendition(rendition) else {
            return ("other", not_found("no such rendition"));
        };
        if file == "index.m3u8" {
            ("playlist", self.media(&snapshot, rendition, query, headers).await)
        } else {
            ("object", self.object(rendition, file, headers).await)
        }
    }

    /// A stream that is there, or that is fetched when it is wanted.
    async fn wanted(&self, stream: &str) -> Result<Option<StreamHandle>, Response<Body>> {
        let want = self.directory.wants().want(stream);
        let there = self.directory.get(stream);
        let Some(want) = want.filter(|_| there.as_ref().is_none_or(|it| it.snapshot().phase == Phase::Ended))
        else {
            return Ok(there);
        };
        let Ok(_permit) = self.blocked.try_acquire() else { return Err(overloaded()) };
        // It may not come: then what is left of it is shown.
        let _came = timeout(FIRST_PLAYLIST_WAIT, want.there()).await.is_ok();
        Ok(self.directory.get(stream))
    }

    async fn multivariant(&self, handle: &StreamHandle, headers: &HeaderMap) -> Response<Body> {
        let mut snapshot = handle.snapshot();
        if !snapshot.ready {
            if snapshot.phase != Phase::Live {
                return not_found("the stream is not live");
            }
            let Ok(_permit) = self.blocked.try_acquire() else { return overloaded() };
            let mut updates = handle.watch();
            let settled = updates.wait_for(|s| s.ready || s.phase == Phase::Ended);
            snapshot = match timeout(FIRST_PLAYLIST_WAIT, settled).await {
                Ok(Ok(s)) if s.ready => Arc::clone(&s),
                Ok(_) => return not_found("the stream has ended"),
                Err(_) => return unavailable("the publisher has sent no keyframe yet; try again"),
            };
        }
        let text = multivariant(&snapshot);
        let cache = HeaderValue::from_static(cache::LIVE);
        let bytes = bytes::Bytes::from(text);
        respond::text(headers, MPEGURL, || bytes.clone(), || gzip(&bytes), cache)
    }

    async fn media(
        &self,
        snapshot: &Snapshot,
        rendition: &Rendition,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Response<Body> {
        let directives = match Directives::parse(query.unwrap_or_default()) {
            Ok(directives) => directives,
            Err(error) => return problem(StatusCode::BAD_REQUEST, "hls-directive", &error.to_string()),
        };
        if directives.msn.is_some_and(|msn| is_too_far(snapshot, rendition, msn)) {
            return too_far();
        }
        let mut view = match self.begun(rendition).await {
            Ok(view) => view,
            Err(response) => return response,
        };
        let mut rule = HeaderValue::from_static(cache::LIVE);
        if let Some(msn) = directives.msn {
            match view.playlist.wait_for(msn, directives.part) {
                Wait::Ready => {}
                Wait::TooFar => return too_far(),
                Wait::Block => {
                    let ready = |v: &View| {
                        v.offer == Offer::Shed || v.playlist.wait_for(msn, directives.part) == Wait::Ready
                    };
                    view = match self.wait(rendition, longest_block(&view.playlist), ready).await {
                        Ok(view) if view.offer == Offer::Shed => return shed(),
                        Ok(view) => view,
                        Err(response) => return response,
                    };
                }
            }
            // The answer to a directive never has to change, so a CDN may collapse and keep it.
            let age = view.playlist.targets().target_duration().saturating_mul(6);
            rule = HeaderValue::from_str(&format!("public, max-age={age}")).unwrap_or(rule);
        }
        let text = view.text(directives.skip, || reports(snapshot, rendition));
        respond::text(headers, MPEGURL, || text.plain.clone(), || text.gzip(), rule)
    }

    /// A list with something in it. A rung that is not made for want of viewers is made now; players take a list without a
    /// whole segment for an error, so that is waited for.
    async fn begun(&self, rendition: &Rendition) -> Result<Arc<View>, Response<Body>> {
        rendition.want();
        let view = rendition.view();
        match view.offer {
            Offer::Shed => return Err(shed()),
            Offer::Made if !view.playlist.is_empty() => return Ok(view),
            Offer::Made | Offer::Parked => {}
        }
        let whole = |view: &View| view.playlist.has_segment() || view.offer == Offer::Shed;
        let first = self.wait(rendition, longest_block(&view.playlist), whole).await;
        match first {
            Ok(view) if view.offer == Offer::Shed => Err(shed()),
            first => first,
        }
    }

    async fn object(&self, rendition: &Rendition, name: &str, headers: &HeaderMap) -> Response<Body> {
        rendition.want();
        let mut view = rendition.view();
        if view.playlist.object(name).is_none() {
            if view.playlist.hinted() != Some(name) {
                return not_found("no such object, or it has left the window");
            }
            let settled = |v: &View| v.playlist.hinted() != Some(name);
            view = match self.wait(rendition, longest_block(&view.playlist), settled).await {
                Ok(view) => view,
                Err(response) => return response,
            };
        }
        let content_type = match &rendition.format {
            Format::Video(_) => "video/mp4",
            Format::Audio(_) => "audio/mp4",
        };
        match view.playlist.object(name) {
            Some(object) => respond::object(headers, name, content_type, body(&object)),
            None => not_found("the announced part was withdrawn"),
        }
    }

    /// Waits until `ready`, bounded in time and in how many wait.
    async fn wait(
        &self,
        rendition: &Rendition,
        longest: Duration,
        ready: impl Fn(&View) -> bool,
    ) -> Result<Arc<View>, Response<Body>> {
        let Ok(_permit) = self.blocked.try_acquire() else { return Err(overloaded()) };
        let _wanted = rendition.wait();
        let mut views = rendition.watch();
        self.metrics.blocked_requests.inc();
        let waited = timeout(longest, views.wait_for(|v| ready(v))).await;
        self.metrics.blocked_requests.dec();
        match waited {
            Ok(Ok(view)) => Ok(Arc::clone(&view)),
            Ok(Err(_)) => Err(not_found("the stream has ended")),
            Err(_) => Err(unavailable("the publisher has sent nothing for a while; try again")),
        }
    }
}

fn body(object: &Object) -> Body {
    Body::chunks(object.chunks())
}

/// Three target durations (6.2.5.2).
fn longest_block(playlist: &MediaPlaylist) -> Duration {
    Duration::from_secs(3 * u64::from(playlist.targets().target_duration()))
}

fn not_found(detail: &str) -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "not-found", detail)
}

fn too_far() -> Response<Body> {
    problem(StatusCode::BAD_REQUEST, "hls-directive", "_HLS_msn or _HLS_part lies too far in the future")
}

/// A rung that is not made will begin where the others are: what is too far for them is too far for it.
fn is_too_far(snapshot: &Snapshot, rendition: &Rendition, msn: u64) -> bool {
    let others = || snapshot.renditions().map(Rendition::view).filter(|view| !view.playlist.is_empty());
    rendition.view().playlist.is_empty()
        && others().next().is_some()
        && others().all(|view| view.playlist.wait_for(msn, None) == Wait::TooFar)
}

/// Players that get this for a rung go to another one at once.
fn shed() -> Response<Body> {
    not_found("this rung is left out for now: the machine cannot encode it in time")
}

fn unavailable(detail: &str) -> Response<Body> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
}

fn overloaded() -> Response<Body> {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "too many requests are waiting for media; try again",
    )
}

/// Where every other rendition stands (EXT-X-RENDITION-REPORT, 4.4.5.4).
fn reports<'a>(snapshot: &'a Snapshot, own: &Rendition) -> Vec<Report<'a>> {
    let others = snapshot.renditions().filter(|r| r.name != own.name);
    others
        .filter_map(|r| {
            let view = r.view();
            // What is not made stands nowhere.
            let (last_msn, last_part) = Some(view.playlist.last()).filter(|_| !view.playlist.is_empty())?;
            Some(Report { uri: &r.report_uri, last_msn, last_part })
        })
        .collect()
}

/// `Some` for the methods that these routes take.
pub(super) fn method(method: &Method) -> Option<Response<Body>> {
    match *method {
        Method::GET | Method::HEAD => None,
        Method::OPTIONS => Some(respond::Cors::preflight()),
        _ => Some(respond::method_not_allowed("GET, HEAD, OPTIONS")),
    }
}

/// Adds a cache rule where an answer has none.
pub(super) fn default_cache(headers: &mut HeaderMap) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(cache::NEVER));
}
