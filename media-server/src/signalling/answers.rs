//! Answers of the WHIP and WHEP endpoints, as RFC 9725 and RFC 9457 have them.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, LINK, LOCATION, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::{CHOICE, FRAGMENT, OFFER};
use crate::transport::rtc::OpenError;
use crate::web::body::Body;
use crate::web::respond::problem;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// RFC 9110 8.8.3.
pub(super) fn quoted(tag: &str) -> String {
    format!("\"{tag}\"")
}

fn with(status: StatusCode, kind: &'static str, tag: &str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(tag) = HeaderValue::from_str(&quoted(tag)) {
        headers.insert(ETAG, tag);
    }
    response
}

/// 201 with the answer to an offer.
pub(super) fn created(place: &str, tag: &str, answer: String, links: &[HeaderValue]) -> Response<Body> {
    let mut response = with(StatusCode::CREATED, OFFER, tag, answer);
    let headers = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(place) {
        headers.insert(LOCATION, place);
    }
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    link(headers, links);
    response
}

fn link(headers: &mut HeaderMap, links: &[HeaderValue]) {
    for link in links {
        headers.append(LINK, link.clone());
    }
}

/// 200 with the fragment that answers an ICE restart.
pub(super) fn restarted(tag: &str, fragment: String) -> Response<Body> {
    with(StatusCode::OK, FRAGMENT, tag, fragment)
}

/// What can be chosen.
pub(super) fn layers(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CHOICE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn no_layer() -> Response<Body> {
    let text = "there is no such layer: GET this address for those that there are";
    problem(StatusCode::NOT_FOUND, "no-layer", text)
}

pub(super) fn no_choice(error: &str) -> Response<Body> {
    let text = format!("send {{\"encodingId\": NAME}}, or null for the server's choice: {error}");
    problem(StatusCode::BAD_REQUEST, "no-choice", &text)
}

/// 204.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What a browser, or a client that wants to know the ICE servers first, asks before it posts.
pub(super) fn preflight(links: &[HeaderValue]) -> Response<Body> {
    let mut response = no_content();
    let headers = response.headers_mut();
    headers
        .insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PATCH, DELETE, OPTIONS"));
    let allowed = HeaderValue::from_static("authorization, content-type, if-match");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    headers.insert(ACCEPT_POST, HeaderValue::from_static(OFFER));
    link(headers, links);
    response
}

/// What pages may read of an answer.
pub(super) fn expose(headers: &mut HeaderMap) {
    if headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
        let exposed = HeaderValue::from_static("accept-patch, etag, link, location, retry-after");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

pub(super) fn unsupported(wanted: &str) -> Response<Body> {
    let text = format!("send {wanted}, and say so in Content-Type");
    problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", &text)
}

/// 401; `challenge` is of RFC 6750 3.
pub fn unauthorized(slug: &str, text: &str, challenge: &'static str) -> Response<Body> {
    let mut response = problem(StatusCode::UNAUTHORIZED, slug, text);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

pub(super) fn wrong_key() -> Response<Body> {
    unauthorized("wrong-key", "this session was begun with another key", "Bearer error=\"invalid_token\"")
}

/// 503: there is no room now.
pub fn busy(text: &str) -> Response<Body> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
}

pub(super) fn no_tag() -> Response<Body> {
    let text = "send If-Match: the session's ETag with candidates, \"*\" for an ICE restart";
    problem(StatusCode::PRECONDITION_REQUIRED, "no-if-match", text)
}

pub(super) fn other_tag() -> Response<Body> {
    let text = "this belongs to an ICE session that was restarted since";
    problem(StatusCode::PRECONDITION_FAILED, "other-ice-session", text)
}

pub(super) fn no_credentials() -> Response<Body> {
    let text = "an ICE restart names a=ice-ufrag and a=ice-pwd";
    problem(StatusCode::BAD_REQUEST, "no-credentials", text)
}

/// An offer that no session was made of.
pub fn unopened(error: &OpenError) -> Response<Body> {
    let (status, slug) = match error {
        OpenError::Syntax(_) => (StatusCode::BAD_REQUEST, "malformed-offer"),
        OpenError::Offer(_) => (StatusCode::UNPROCESSABLE_ENTITY, "offer"),
        OpenError::Closed | OpenError::Nowhere => (StatusCode::SERVICE_UNAVAILABLE, "closed"),
        OpenError::Library(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    problem(status, slug, &error.to_string())
}

/// None of the codecs of a track can be carried.
pub(super) fn no_codec(kind: &str) -> Response<Body> {
    let text = match kind {
        "video" => "none of the offer's video codecs can be carried: offer H.264, VP8, VP9 or AV1",
        "audio" => "none of the offer's audio codecs can be carried: offer Opus",
        _ => "offer video and audio alone",
    };
    problem(StatusCode::UNPROCESSABLE_ENTITY, "codec", text)
}
