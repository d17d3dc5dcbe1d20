//! `/api/v1/channels/{slugOrId}`: what anyone may know of a channel.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::rules::OfflineReason;
use super::store;
use crate::app::App;
use crate::http::address::Addresses;
use crate::http::problem::Problem;

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new().route("/api/v1/channels/{channel}", get(show))
}

#[derive(Serialize)]
struct PublicChannel {
    id: String,
    slug: String,
    name: String,
    live: bool,
    /// When it went live, or, offline, when it ended.
    since: Option<String>,
    /// Why nothing is on.
    reason: Option<OfflineReason>,
    playback: Playback,
}

#[derive(Serialize)]
struct Playback {
    hls: String,
}

async fn show(
    State(app): State<Arc<App>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Result<Json<PublicChannel>, Problem> {
    let channel = require(&app, &channel).await?;
    let status = store::status(app.db.read(), &channel.slug).await?;
    let hls = Addresses::of_request(&app.config.media_server, &headers).hls(&channel.slug);
    Ok(Json(PublicChannel {
        live: status.live_since.is_some(),
        since: status.since(),
        reason: status.offline_reason(),
        id: channel.id,
        slug: channel.slug,
        name: channel.name,
        playback: Playback { hls },
    }))
}

/// The channel, or the 404 that says which one is missing.
pub(crate) async fn require(app: &App, slug_or_id: &str) -> Result<store::Channel, Problem> {
    store::find(app.db.read(), slug_or_id)
        .await?
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "unknown-channel", "There is no such channel."))
}
