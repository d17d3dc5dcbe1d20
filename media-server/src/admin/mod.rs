//! The operator's door on loopback: health, metrics, live streams, the last reload.

mod recorder;
mod sources;
mod streams;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;

pub use sources::{Refused, Sources};

use crate::flight::Folder;
use crate::live::Directory;
use crate::metrics::Metrics;
use crate::web::body::Body;
use crate::web::respond::{method_not_allowed, problem};

/// What a reload did, for the log and the API.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadReport {
    /// RFC 3339.
    pub time: String,
    /// `applied`, `unchanged`, `rejected` (the file is wrong) or `refused` (it would need a restart).
    pub outcome: &'static str,
    /// Why it was not applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// What it means for each live stream.
    pub streams: Vec<StreamVerdict>,
}

/// What a reload means for one live stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamVerdict {
    /// Public name.
    pub stream: String,
    /// `untouched`, `applied live`, `at next publish` or `would restart`.
    pub verdict: String,
    /// Why.
    pub reason: String,
}

/// What makes the daemon ready; empty reasons mean that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What is still missing, in plain words.
    pub missing: Vec<String>,
}

/// The admin service. Clones share it.
#[derive(Clone)]
pub struct Admin {
    /// Live streams.
    pub directory: Directory,
    /// Counters.
    pub metrics: Metrics,
    /// The last reload.
    pub last_reload: Arc<ArcSwapOption<ReloadReport>>,
    /// Where recordings are written.
    pub flights: Folder,
    /// Streams that are fetched.
    pub sources: Arc<dyn Sources>,
    /// What encoders there are, as JSON.
    pub encoders: Arc<ArcSwap<String>>,
    /// Whether the daemon is ready.
    pub readiness: watch::Receiver<Readiness>,
}

impl Admin {
    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !is_local(request.headers()) {
            // A page that a browser was lured to must not reach loopback under its own name (DNS rebinding).
            return problem(
                StatusCode::MISDIRECTED_REQUEST,
                "host",
                "the admin API answers to an IP address or localhost only",
            );
        }
        let path = request.uri().path().trim_end_matches('/');
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        if !get && request.headers().contains_key(http::header::ORIGIN) {
            let text = "changes are for programs: a web page may not make them";
            return problem(StatusCode::FORBIDDEN, "origin", text);
        }
        if let Some(rest) = path.strip_prefix("/api/v1/sources") {
            let stream = rest.trim_start_matches('/').to_owned();
            return match *request.method() {
                Method::GET | Method::HEAD if stream.is_empty() => sources::list(&self.sources),
                Method::GET | Method::HEAD => sources::show(&self.sources, &stream),
                Method::PUT if !stream.is_empty() => sources::put(&self.sources, &stream, request).await,
                Method::DELETE if !stream.is_empty() => sources::delete(&self.sources, &stream).await,
                _ if stream.is_empty() => method_not_allowed("GET, HEAD"),
                _ => method_not_allowed("GET, HEAD, PUT, DELETE"),
            };
        }
        match path.strip_prefix("/api/v1/streams") {
            Some("") if get => json(StatusCode::OK, &streams::list(&self.directory)),
            Some("") => method_not_allowed("GET, HEAD"),
            Some(rest) if rest.starts_with('/') => {
                let name = rest.trim_start_matches('/');
                if let Some(name) = name.strip_suffix("/recorder") {
                    return self.recorder(&request, name).await;
                }
                match *request.method() {
                    Method::GET | Method::HEAD => streams::show(&self.directory, name),
                    Method::DELETE => streams::delete(&self.directory, name).await,
                    _ => method_not_allowed("GET, HEAD, DELETE"),
                }
            }
            _ if !get => method_not_allowed("GET, HEAD"),
            _ => self.page(path),
        }
    }

    async fn recorder<B>(&self, request: &Request<B>, name: &str) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let role = query.split('&').find_map(|pair| pair.strip_prefix("role=")).unwrap_or_default();
        match *request.method() {
            Method::GET => recorder::download(self, name, role),
            Method::POST => recorder::save(self, name, role).await,
            _ => method_not_allowed("GET, POST"),
        }
    }

    fn page(&self, path: &str) -> Response<Body> {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => {
                let missing = self.readiness.borrow().missing.clone();
                if missing.is_empty() {
                    text(StatusCode::OK, "ready\n".into())
                } else {
                    problem(StatusCode::SERVICE_UNAVAILABLE, "not-ready", &missing.join("; "))
                }
            }
            "/metrics" => match self.metrics.render() {
                Ok(body) => {
                    let mut response = text(StatusCode::OK, body);
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
                    response
                }
                Err(_) => {
                    problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "metrics could not be rendered")
                }
            },
            "/api/v1/encoders" => {
                let mut response = text(StatusCode::OK, self.encoders.load().to_string());
                let kind = HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                response
            }
            "/api/v1/reload" => match &*self.last_reload.load() {
                Some(report) => json(StatusCode::OK, &**report),
                None => problem(StatusCode::NOT_FOUND, "not-found", "no reload has happened since the start"),
            },
            _ => problem(
                StatusCode::NOT_FOUND,
                "not-found",
                "see /healthz /readyz /metrics /api/v1/streams /api/v1/sources /api/v1/encoders /api/v1/reload",
            ),
        }
    }
}

/// The `Host` is an address or `localhost`.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(http::header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(n, _)| n);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => {
            let mut response = text(status, body);
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "json", "the answer could not be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_name_the_admin_api() {
        let local = |host: &'static str| {
            is_local(&HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static(host))]))
        };
        assert!(local("127.0.0.1:9600"));
        assert!(local("localhost"));
        assert!(local("[::1]:9600"));
        assert!(!local("evil.example:9600"));
        assert!(!local("localhost.evil.example"));
    }
}
