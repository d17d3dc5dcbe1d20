//! `GET /api/v1/sources[/STREAM]`, `PUT` and `DELETE /api/v1/sources/STREAM`.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::json;
use crate::live::{SourceStart, SourceState, SourceWish};
use crate::web::body::Body;
use crate::web::respond::problem;

/// Bytes of a wish at most.
const LONGEST: usize = 16 << 10;

/// Why a source is not taken or not given up: what is wrong, in words, with its status and stable type.
pub struct Refused {
    /// Of the answer.
    pub status: StatusCode,
    /// Of the problem.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

/// The sources, as the API reaches them. What changes them blocks for the disk.
pub trait Sources: Send + Sync {
    /// Every one of them.
    fn list(&self) -> Vec<Arc<SourceState>>;
    /// Takes one in. True: it is a new one.
    fn put(&self, wish: SourceWish) -> Result<bool, Refused>;
    /// Gives one up.
    fn remove(&self, stream: &str) -> Result<(), Refused>;
}

#[derive(Serialize)]
struct List {
    items: Vec<Source>,
}

#[derive(Serialize)]
struct Source {
    stream: String,
    /// The address without its secrets.
    url: String,
    profile: String,
    start: SourceStart,
    /// It stands in the configuration file, and is changed there.
    configured: bool,
    /// `idle`, `connecting`, `live` or `waiting`.
    state: &'static str,
    since: String,
    attempts: u64,
    /// Why it last failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a client wishes; the stream is in the address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    url: String,
    #[serde(default = "default_profile")]
    profile: String,
    #[serde(default)]
    start: SourceStart,
}

fn default_profile() -> String {
    "default".into()
}

fn describe(state: &SourceState) -> Source {
    let now = state.now();
    Source {
        stream: state.stream.clone(),
        url: state.shown.clone(),
        profile: state.profile.clone(),
        start: state.start,
        configured: state.configured,
        state: now.phase.name(),
        since: OffsetDateTime::from(now.since).format(&Rfc3339).unwrap_or_default(),
        attempts: now.attempts,
        error: now.error,
    }
}

/// Every source, by its stream's name.
pub(super) fn list(door: &Arc<dyn Sources>) -> Response<Body> {
    json(StatusCode::OK, &List { items: door.list().iter().map(|state| describe(state)).collect() })
}

/// One source.
pub(super) fn show(door: &Arc<dyn Sources>, stream: &str) -> Response<Body> {
    match door.list().iter().find(|state| state.stream == stream) {
        Some(state) => json(StatusCode::OK, &describe(state)),
        None => problem(StatusCode::NOT_FOUND, "not-found", "there is no source of this stream"),
    }
}

/// Takes one in, or changes it.
pub(super) async fn put<B>(door: &Arc<dyn Sources>, stream: &str, request: Request<B>) -> Response<Body>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refuse = |text: &str| problem(StatusCode::BAD_REQUEST, "source", text);
    let Ok(body) = Limited::new(request.into_body(), LONGEST).collect().await else {
        return refuse("the body could not be read, or is longer than 16 KiB");
    };
    let body = body.to_bytes();
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => {
            let text = format!(
                "the body is {{\"url\":\"…\",\"profile\":\"default\",\"start\":\"always|on-demand\"}}: {error}"
            );
            return refuse(&text);
        }
    };
    let Wish { url, profile, start } = wish;
    let wish = SourceWish { stream: stream.to_owned(), url, profile, start };
    let sources = Arc::clone(door);
    match on_disk(move || sources.put(wish)).await {
        Ok(new) => {
            let mut response = show(door, stream);
            *response.status_mut() = if new { StatusCode::CREATED } else { StatusCode::OK };
            response
        }
        Err(refused) => problem(refused.status, refused.code, &refused.text),
    }
}

/// Gives one up.
pub(super) async fn delete(door: &Arc<dyn Sources>, stream: &str) -> Response<Body> {
    let (sources, name) = (Arc::clone(door), stream.to_owned());
    match on_disk(move || sources.remove(&name)).await {
        Ok(()) => json(StatusCode::OK, &serde_json::json!({ "stream": stream, "removed": true })),
        Err(refused) => problem(refused.status, refused.code, &refused.text),
    }
}

async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| {
        Err(Refused { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", text: error.to_string() })
    })
}
