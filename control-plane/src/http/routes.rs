//! All rooms' routes under one roof, with what every answer gets.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::metrics::HttpLabels;
use super::problem::Problem;
use super::{ops, pages};
use crate::app::App;
use crate::{access, account, channel, stream};

/// Bodies of the API, in bytes.
const BODY_LIMIT: usize = 256 * 1024;

/// What this program answers to.
pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .merge(account::http::router())
        .merge(channel::http::router())
        .merge(stream::http::router())
        .merge(access::http::router())
        .merge(ops::router())
        .merge(pages::router())
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(Arc::clone(app), around))
        .with_state(Arc::clone(app))
}

async fn nothing(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path.starts_with("/internal/") || request.method() != Method::GET {
        return Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here.").into_response();
    }
    pages::not_found(&app, request.headers())
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This address does not take that method.",
    )
}

/// Around every request: its deadline, its count, and the headers that keep browsers careful.
async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut response = match tokio::time::timeout(app.config.http.request_timeout.0, next.run(request)).await
    {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "The answer took too long.")
            .retry_after(2)
            .into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(pages::PERMISSIONS_POLICY) {
        let nothing = HeaderValue::from_static("camera=(), microphone=(), geolocation=()");
        headers.insert(pages::PERMISSIONS_POLICY, nothing);
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, nothing);
    }
    let status = response.status().as_u16();
    app.metrics.request(&HttpLabels { method, route, status }, began.elapsed());
    response
}
