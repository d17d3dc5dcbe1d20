//! Answers: problem documents, cache rules, CORS, ranges.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, LOCATION, ORIGIN, RANGE, RETRY_AFTER, VARY,
};
use http::{Response, StatusCode};
use serde_json::json;

use super::body::Body;

/// Cache rules for every kind of object (a run's epoch is in every media name, so media never changes).
pub(crate) mod cache {
    /// Segments, parts, init.
    pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
    /// A playlist asked for without directives, and the multivariant playlist.
    pub(crate) const LIVE: &str = "public, max-age=1";
    /// Not found: it may be there in a moment.
    pub(crate) const MISSING: &str = "public, max-age=1";
    /// What must not be kept.
    pub(crate) const NEVER: &str = "no-store";
}

/// `application/vnd.apple.mpegurl`, RFC 8216 section 4.
pub(crate) const MPEGURL: &str = "application/vnd.apple.mpegurl";

/// An RFC 9457 problem document. `slug` is the stable last part of its type.
pub fn problem(status: StatusCode, slug: &str, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"type": format!("urn:weir:problem:{slug}"), "title": title, "status": status.as_u16(), "detail": detail});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let rule = match status {
        StatusCode::NOT_FOUND => cache::MISSING,
        _ => cache::NEVER,
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(rule));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// 405 with what would be allowed.
pub fn method_not_allowed(allow: &'static str) -> Response<Body> {
    let mut response =
        problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &format!("use {allow} here"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// 308 to `path`.
pub(crate) fn redirect(path: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// 200 with a type and a cache rule.
pub(crate) fn ok(body: Body, content_type: &'static str, cache: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, cache);
    response
}

/// The answer to HEAD: what GET's says of itself, without its body (RFC 9110 9.3.2). hyper does this for HTTP/1.1 alone.
pub(crate) fn head_only(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().len();
    if !matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = Body::empty();
    response
}

/// A playlist or another text, compressed where the client takes gzip.
pub(crate) fn text(
    request: &HeaderMap,
    content_type: &'static str,
    plain: impl FnOnce() -> Bytes,
    gzip: impl FnOnce() -> Bytes,
    cache: HeaderValue,
) -> Response<Body> {
    let zipped = accepts_gzip(request);
    let body = if zipped { gzip() } else { plain() };
    let mut response = ok(body.into(), content_type, cache);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if zipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// RFC 9110 12.5.3: gzip is listed (or `*`) and not with weight zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(
        |item| {
            let mut pieces = item.split(';').map(str::trim);
            let coding = pieces.next().unwrap_or_default();
            let refused = pieces
                .any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)));
            (coding.eq_ignore_ascii_case("gzip") || coding == "*") && !refused
        },
    )
}

/// An immutable media object: entity tag, conditional and range requests (RFC 9110 13 and 14).
pub(crate) fn object(
    request: &HeaderMap,
    name: &str,
    content_type: &'static str,
    body: Body,
) -> Response<Body> {
    let total = body.len();
    let tag = format!("\"{name}\"");
    let mut response = ok(body, content_type, HeaderValue::from_static(cache::IMMUTABLE));
    let Ok(etag) = HeaderValue::from_str(&tag) else { return response };
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().insert(ETAG, etag.clone());
    if request.get(IF_NONE_MATCH).is_some_and(|v| lists_tag(v, &tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        return response;
    }
    let Some(range) = request.get(RANGE) else { return response };
    if request.get(IF_RANGE).is_some_and(|v| v != etag) {
        return response;
    }
    match parse_range(range, total) {
        Ranged::Whole => {}
        Ranged::Part(start, end) => {
            let whole = std::mem::take(response.body_mut());
            *response.body_mut() = whole.range(start, end);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            if let Ok(value) = HeaderValue::from_str(&format!("bytes {start}-{end}/{total}")) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
        }
        Ranged::Unsatisfiable => {
            response =
                problem(StatusCode::RANGE_NOT_SATISFIABLE, "range", "the range lies outside the object");
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{total}")) {
                response.headers_mut().insert(CONTENT_RANGE, value);
            }
        }
    }
    response
}

fn lists_tag(value: &HeaderValue, tag: &str) -> bool {
    value
        .to_str()
        .is_ok_and(|v| v.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag))
}

#[derive(Debug, PartialEq, Eq)]
enum Ranged {
    Whole,
    Part(u64, u64),
    Unsatisfiable,
}

/// One `bytes` range; several, or another unit, are answered with the whole (RFC 9110 14.2 allows it).
fn parse_range(value: &HeaderValue, total: u64) -> Ranged {
    let Some(spec) = value.to_str().ok().and_then(|v| v.strip_prefix("bytes=")) else { return Ranged::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Ranged::Whole };
    let (first, last) = (first.trim(), last.trim());
    match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(start), _) if start >= total => Ranged::Unsatisfiable,
        (Some(start), Some(end)) if end >= start => Ranged::Part(start, end.min(total - 1)),
        (Some(start), None) if last.is_empty() => Ranged::Part(start, total - 1),
        (None, Some(0)) if first.is_empty() => Ranged::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && total == 0 => Ranged::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => Ranged::Part(total.saturating_sub(suffix), total - 1),
        _ => Ranged::Whole,
    }
}

/// Which origins may read: `*`, or a list.
#[derive(Clone, Debug)]
pub struct Cors(Vec<HeaderValue>);

impl Cors {
    /// From the configured origins.
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()).collect())
    }

    /// Adds the CORS headers (Fetch standard, 3.2) to an answer.
    pub(crate) fn apply(&self, request: &HeaderMap, response: &mut HeaderMap) {
        let origin = if self.0.iter().any(|o| o == "*") {
            HeaderValue::from_static("*")
        } else {
            response.append(VARY, HeaderValue::from_static("origin"));
            match request.get(ORIGIN) {
                Some(origin) if self.0.contains(origin) => origin.clone(),
                _ => return,
            }
        };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("age, content-length, content-range, date, etag");
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }

    /// The answer to a preflight request.
    pub(crate) fn preflight() -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        headers
            .insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("range, if-none-match, if-range"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_rfc_9110_says() {
        let parse = |s: &'static str, total| parse_range(&HeaderValue::from_static(s), total);
        assert_eq!(parse("bytes=0-3", 10), Ranged::Part(0, 3));
        assert_eq!(parse("bytes=5-", 10), Ranged::Part(5, 9));
        assert_eq!(parse("bytes=5-99999999999", 10), Ranged::Part(5, 9));
        assert_eq!(parse("bytes=-4", 10), Ranged::Part(6, 9));
        assert_eq!(parse("bytes=-40", 10), Ranged::Part(0, 9));
        assert_eq!(parse("bytes=10-", 10), Ranged::Unsatisfiable);
        assert_eq!(parse("bytes=-0", 10), Ranged::Unsatisfiable);
        assert_eq!(parse("bytes=-1", 0), Ranged::Unsatisfiable);
        assert_eq!(parse("bytes=3-1", 10), Ranged::Whole);
        assert_eq!(parse("bytes=0-1,3-4", 10), Ranged::Whole);
        assert_eq!(parse("lines=0-1", 10), Ranged::Whole);
    }

    #[test]
    fn gzip_only_where_it_is_accepted() {
        let accepts = |v: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(v))]))
        };
        assert!(accepts("gzip, deflate, br"));
        assert!(accepts("br;q=1.0, gzip;q=0.5"));
        assert!(accepts("*"));
        assert!(!accepts("identity"));
        assert!(!accepts("gzip;q=0, br"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
