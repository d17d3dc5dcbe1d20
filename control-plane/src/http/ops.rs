//! For operators: `/healthz`, `/readyz`, `/metrics`, and the API's description.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::problem::Problem;
use crate::app::App;

/// The API's description, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route(
            "/api/v1/openapi.json",
            get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) }),
        )
}

/// Ready is: an event can be written. What cannot is said.
async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    match app.db.check_writable().await {
        Ok(()) => (StatusCode::OK, Json(json!({"ready": true, "checks": {"database": "ok"}}))),
        Err(error) => {
            tracing::error!(%error, "not ready: the database cannot be written");
            let checks =
                json!({"ready": false, "checks": {"database": "cannot be written; the log says why"}});
            (StatusCode::SERVICE_UNAVAILABLE, Json(checks))
        }
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    let text = app.metrics.render().map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
