//! `/api/v1/auth`: logging in and out; `/api/v1/me`; and who is asking, for the other rooms.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::rules::{Password, Role};
use super::store::{self, User};
use super::{login, password::HashError};
use crate::app::App;
use crate::channel;
use crate::clock;
use crate::http::body::JsonBody;
use crate::http::problem::Problem;

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/auth/login", post(log_in))
        .route("/api/v1/auth/logout", post(log_out))
        .route("/api/v1/me", get(me))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    /// User name or e-mail address.
    login: String,
    password: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoginReply {
    token: String,
    expires_at: String,
    user: PublicUser,
}

#[derive(Serialize)]
struct PublicUser {
    id: String,
    username: String,
    role: Role,
}

async fn log_in(
    State(app): State<Arc<App>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Json<LoginReply>, Problem> {
    let now = clock::now();
    let user = authenticate(&app, &request.login, &request.password, client).await?;
    let token = login::new_token();
    let lifetime = i64::try_from(app.config.http.login_lifetime.0.as_millis()).unwrap_or(i64::MAX);
    let expires_at = now.saturating_add(lifetime);
    let mut tx = app.db.write().await?;
    store::insert_login(&mut tx, &login::token_hash(&token), &user.id, now, expires_at).await?;
    tx.commit().await?;
    tracing::info!(user = user.id, "logged in");
    Ok(Json(LoginReply {
        token: token.to_string(),
        expires_at: clock::rfc3339(expires_at),
        user: PublicUser { id: user.id, username: user.username, role: user.role },
    }))
}

/// Whose login and password these are. One answer for an unknown account and for a wrong password.
pub(crate) async fn authenticate(
    app: &App,
    name: &str,
    password: &str,
    client: SocketAddr,
) -> Result<User, Problem> {
    let now = clock::now();
    let name = name.trim().to_lowercase();
    let wrong =
        || Problem::new(StatusCode::UNAUTHORIZED, "wrong-login", "The login or the password is wrong.");
    if let Some(seconds) = app.login_brake.wait(&name, client.ip(), now) {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-logins",
            "Too many wrong passwords. Try again later.",
        )
        .retry_after(seconds));
    }
    let Ok(password) = Password::parse(password) else {
        app.login_brake.failed(&name, client.ip(), now);
        return Err(wrong());
    };
    let user = store::find_by_login(app.db.read(), &name).await?;
    let right = app.hasher.verify(&password, user.as_ref().map(|u| u.password_hash.as_str())).await.map_err(
        |error| match error {
            HashError::Busy | HashError::Stopping => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many logins at once.")
                    .retry_after(2)
            }
            HashError::Argon2(_) => Problem::internal(&error),
        },
    )?;
    match user.filter(|_| right) {
        Some(user) if user.active => Ok(user),
        Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "account-blocked", "This account is blocked.")),
        None => {
            app.login_brake.failed(&name, client.ip(), now);
            Err(wrong())
        }
    }
}

async fn log_out(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode, Problem> {
    let mut tx = app.db.write().await?;
    store::delete_login(&mut tx, &caller.token_hash).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct Me {
    #[serde(flatten)]
    user: PublicUser,
    /// The account's channel, where it has one.
    channel: Option<OwnChannel>,
}

#[derive(Serialize)]
struct OwnChannel {
    id: String,
    slug: String,
    name: String,
}

async fn me(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Me>, Problem> {
    let User { id, username, role, .. } = caller.user;
    let channel = channel::store::of_owner(app.db.read(), &id).await?;
    let channel = channel.map(|it| OwnChannel { id: it.id, slug: it.slug, name: it.name });
    Ok(Json(Me { user: PublicUser { id, username, role }, channel }))
}

/// Who is asking: the owner of the `Authorization: Bearer` token.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) user: User,
    token_hash: [u8; 32],
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| {
                Problem::new(StatusCode::UNAUTHORIZED, "not-logged-in", "A login token is needed.")
            })?;
        let token_hash = login::token_hash(token);
        let user =
            store::find_by_login_token(app.db.read(), &token_hash, clock::now()).await?.ok_or_else(|| {
                Problem::new(StatusCode::UNAUTHORIZED, "not-logged-in", "The login token is unknown or over.")
            })?;
        Ok(Self { user, token_hash })
    }
}
