//! `/api/v1/channels/{id}/ingest` and `…/publisher`: where the channel's owner publishes to, and how that goes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;

use super::http::owned;
use crate::account::http::Caller;
use crate::app::App;
use crate::http::address::Addresses;
use crate::http::problem::Problem;

/// The routes of this file.
pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/channels/{channel}/ingest", get(ingest))
        .route("/api/v1/channels/{channel}/publisher", get(publisher))
}

/// Where to publish, without the key.
#[derive(Serialize)]
struct Ingest {
    rtmp: String,
    srt: String,
    whip: String,
}

async fn ingest(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Ingest>, Problem> {
    owned(&app, &caller, &channel).await?;
    let settings = &app.config.media_server;
    let addresses = Addresses::of_request(settings, &headers);
    let rtmp = settings.rtmp_url.clone().unwrap_or_else(|| format!("rtmp://{}/live", addresses.host()));
    let srt = format!("srt://{}:8890", addresses.host());
    Ok(Json(Ingest { rtmp, srt, whip: addresses.whip() }))
}

/// How the stream is, by the media server: its values are passed on as its API has them.
#[derive(Serialize)]
struct Publisher {
    /// Its media comes; while its return is waited for, the rest is how it was.
    live: bool,
    protocol: Value,
    since: Value,
    /// What the encoder doctor finds wrong, the gravest first.
    findings: Value,
    /// Its line, where the transport counts packets.
    link: Value,
    video: Value,
    audio: Value,
}

async fn publisher(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(channel): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let channel = owned(&app, &caller, &channel).await?;
    let mut stream = app.media_server.stream(&channel.slug).await.map_err(|error| {
        tracing::warn!(%error, "the publisher's state is not known");
        let detail = "The media server cannot be asked at the moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "media-server-unreachable", detail).retry_after(2)
    })?;
    let mut part =
        |path: &str| stream.as_mut().and_then(|it| it.pointer_mut(path)).map_or(Value::Null, Value::take);
    let (video, audio) = (part("/video"), part("/audio"));
    let publisher = Publisher {
        live: part("/state") == "live",
        protocol: part("/publisher/protocol"),
        since: part("/publisher/since"),
        findings: part("/publisher/findings"),
        link: part("/publisher/link"),
        video,
        audio,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(publisher)))
}
