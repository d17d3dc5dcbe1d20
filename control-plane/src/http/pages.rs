//! The web pages, embedded: one shell for every address, and its assets.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};

use super::address::Addresses;
use super::problem::Problem;
use crate::app::App;
use crate::channel;

/// What a page may ask the browser for; what is not said here gets [`super::routes`]'s.
pub(super) const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

static PAGES: Dir<'_> = include_dir!("$OUT_DIR/web");

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(front))
        .route("/watch/{channel}", get(watch))
        .route("/studio", get(studio))
        .route("/assets/{*path}", get(asset))
        .route("/favicon.svg", get(favicon))
}

async fn front(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    shell(&app, StatusCode::OK, &headers)
}

/// The one page that may use cameras, microphones and screens.
async fn studio(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let mut response = shell(&app, StatusCode::OK, &headers);
    let devices = HeaderValue::from_static(
        "camera=(self), microphone=(self), display-capture=(self), screen-wake-lock=(self), geolocation=()",
    );
    response.headers_mut().insert(PERMISSIONS_POLICY, devices);
    response
}

/// The shell finds out by the API what to show. An unknown channel's page has the status of one, for robots and scripts.
async fn watch(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = channel::store::find(app.db.read(), &slug).await?.is_some();
    Ok(shell(&app, if known { StatusCode::OK } else { StatusCode::NOT_FOUND }, &headers))
}

/// The page for an address that there is nothing at.
pub(super) fn not_found(app: &App, headers: &HeaderMap) -> Response {
    shell(app, StatusCode::NOT_FOUND, headers)
}

fn shell(app: &App, status: StatusCode, headers: &HeaderMap) -> Response {
    let mut response = file("index.html", headers);
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    let addresses = Addresses::of_request(&app.config.media_server, headers);
    let origin = addresses.hls_origin();
    let webrtc = match addresses.webrtc_origin() {
        other if other != origin => format!(" {other}"),
        _ => String::new(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         worker-src 'self'; connect-src 'self' {origin}{webrtc}; media-src 'self' blob: {origin}; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let own = response.headers_mut();
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        own.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let mut response = file(&format!("assets/{path}"), &headers);
    if response.status() == StatusCode::OK {
        // The build puts a hash of the content into every name.
        let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, immutable);
    }
    response
}

async fn favicon(headers: HeaderMap) -> Response {
    file("favicon.svg", &headers)
}

/// An embedded file, compressed where the client takes it.
fn file(path: &str, headers: &HeaderMap) -> Response {
    let missing =
        || Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here.").into_response();
    // The compressed copies have no address of their own.
    let Some(plain) = PAGES.get_file(path).filter(|file| file.path().extension() != Some("gz".as_ref()))
    else {
        return missing();
    };
    let gzip = PAGES.get_file(format!("{path}.gz")).filter(|_| takes_gzip(headers));
    let mut response = gzip.unwrap_or(plain).contents().into_response();
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    own.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if gzip.is_some() {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|item| {
        let (coding, quality) = item.split_once(';').unwrap_or((item, ""));
        coding.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
