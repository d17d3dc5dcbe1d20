//! `/api/v1/channels/{id}/stream-keys`: for the channel's owner.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::rotation;
use super::store::{self, KeyError, KeyRow};
use crate::account::http::{Caller, authenticate};
use crate::app::App;
use crate::channel;
use crate::clock;
use crate::http::body::JsonBody;
use crate::http::problem::Problem;

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/channels/{channel}/stream-keys", get(list))
        .route("/api/v1/channels/{channel}/stream-keys/{key}/reveal", post(reveal))
        .route("/api/v1/channels/{channel}/stream-keys/{key}/rotate", post(rotate))
        .merge(super::publisher::router())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyListing {
    id: String,
    /// Its last characters.
    hint: String,
    created_at: String,
    last_used_at: Option<String>,
}

#[derive(Serialize)]
struct Listing<T> {
    data: Vec<T>,
}

async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(channel): Path<String>,
) -> Result<Json<Listing<KeyListing>>, Problem> {
    let channel = owned(&app, &caller, &channel).await?;
    let key = store::current(app.db.read(), &channel.id).await?;
    let data = key
        .into_iter()
        .map(|key| KeyListing {
            id: key.id,
            hint: key.hint,
            created_at: clock::rfc3339(key.created_at),
            last_used_at: key.last_used_at.map(clock::rfc3339),
        })
        .collect();
    Ok(Json(Listing { data }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reauthentication {
    password: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevealedKey {
    id: String,
    key: String,
    /// Whether the live session of the former key was ended; only after a rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_dropped: Option<bool>,
}

/// Shows the key itself: the password is asked for again, and the audit log gets a line.
async fn reveal(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    caller: Caller,
    Path((channel, key)): Path<(String, String)>,
    JsonBody(again): JsonBody<Reauthentication>,
) -> Result<impl IntoResponse, Problem> {
    let channel = owned(&app, &caller, &channel).await?;
    let row = current(&app, &channel.id, &key).await?;
    authenticate(&app, &caller.user.username, &again.password, client).await?;
    let revealed = row.open(&app.key_ring)?;
    let mut tx = app.db.write().await?;
    let ip = client.ip().to_string();
    crate::account::store::audit(
        &mut tx,
        &caller.user.id,
        "stream-key.reveal",
        &row.id,
        Some(&ip),
        clock::now(),
    )
    .await?;
    tx.commit().await?;
    let body = RevealedKey { id: row.id, key: revealed.expose().to_owned(), session_dropped: None };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

async fn rotate(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    caller: Caller,
    Path((channel, key)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let channel = owned(&app, &caller, &channel).await?;
    current(&app, &channel.id, &key).await?;
    let ip = client.ip().to_string();
    let rotated =
        rotation::rotate(&app.db, &app.key_ring, &app.media_server, &channel, &caller.user.id, Some(&ip))
            .await?;
    let body = RevealedKey {
        id: rotated.key_id,
        key: rotated.key.expose().to_owned(),
        session_dropped: Some(rotated.dropped.is_ok()),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

/// The channel, for its owner only.
pub(super) async fn owned(
    app: &App,
    caller: &Caller,
    channel: &str,
) -> Result<channel::store::Channel, Problem> {
    let channel = channel::http::require(app, channel).await?;
    if channel.owner_id == caller.user.id {
        return Ok(channel);
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "not-the-owner", "Only the channel's owner may see this."))
}

async fn current(app: &App, channel_id: &str, key_id: &str) -> Result<KeyRow, Problem> {
    store::current(app.db.read(), channel_id).await?.filter(|row| row.id == key_id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "unknown-key", "The channel has no such key in force.")
    })
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Db(error) => error.into(),
            KeyError::KeyRing(error) => Self::internal(&error),
        }
    }
}
