//! `POST /internal/hooks/publish`: the media server's one address here, for questions and for events.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::event::{Event, Kind};
use super::message::{Answer, Request};
use super::profile::{self, ProfileAnswer, ProfileRequest};
use super::rules;
use super::signature::{Headers, Unsigned};
use super::store::{self, Delivery, Recorded};
use crate::app::App;
use crate::clock;
use crate::http::metrics::{AdmissionLabels, EventLabels, ProfileLabels};
use crate::http::problem::Problem;
use crate::stream::rules::StreamKey;
use crate::stream::store as keys;

/// No message of the contract comes near this, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// The routes of this room.
pub fn router() -> Router<Arc<App>> {
    Router::new().route("/internal/hooks/publish", post(receive)).layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn receive(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let received = clock::now();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = match (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature")) {
        (Some(id), Some(timestamp), Some(signatures)) => Headers { id, timestamp, signatures },
        _ => return Err(unsigned(&app, Unsigned::Headers)),
    };
    app.webhook_secrets.verify(signed, &body, received).map_err(|error| unsigned(&app, error))?;
    // From here on the sender is the media server. What it says may still be of a newer version, or wrong.
    let malformed = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "malformed", detail);
    let message: Value = serde_json::from_slice(&body).map_err(|_| malformed("The body is not JSON."))?;
    let kind = message
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| malformed("`type` is missing.").field("type"))?;
    let redacted = without_secrets(&message).to_string();
    let delivery = Delivery { webhook_id: signed.id, received, kind, body: &redacted };
    match kind {
        "publish" | "play" => {
            let request: Request = serde_json::from_value(message.clone())
                .map_err(|_| malformed("A field has the wrong type."))?;
            let answer = if kind == "publish" {
                admit(&app, &delivery, &request).await?
            } else {
                admit_viewer(&app, &request).await?
            };
            Ok(Json(answer).into_response())
        }
        "profile" => {
            let request = serde_json::from_value(message)
                .map_err(|_| malformed("A field is missing or has the wrong type."))?;
            Ok(Json(choose(&app, &request)).into_response())
        }
        _ => record(&app, &delivery, &message).await,
    }
}

fn unsigned(app: &App, error: Unsigned) -> Problem {
    let word = match error {
        Unsigned::Headers => "headers",
        Unsigned::Timestamp => "timestamp",
        Unsigned::Signature => "signature",
    };
    app.metrics.admission(&AdmissionLabels { result: "unsigned", reason: word });
    tracing::warn!(reason = word, "webhook refused: {error}");
    Problem::new(StatusCode::UNAUTHORIZED, "unsigned", &format!("The webhook is refused: {error}."))
}

async fn admit(app: &App, delivery: &Delivery<'_>, request: &Request) -> Result<Answer, Problem> {
    let mut tx = app.db.write().await?;
    let holder = match StreamKey::presented(&request.key) {
        Some(key) => keys::find_holder(&mut tx, &app.key_ring, &key).await?,
        None => None,
    };
    let answer = rules::decide(holder.as_ref(), &app.config.publish);
    let (result, reason) = match &answer {
        Answer::Allow(_) => ("allow", "allow"),
        Answer::Deny(deny) => ("deny", deny.reason.as_str()),
    };
    let stream = holder.as_ref().map(|h| h.slug.as_str());
    if store::record_admission(&mut tx, delivery, stream, &request.session, reason).await?
        == Recorded::Repeated
    {
        // A question is asked once. The same one again is someone else's copy of it.
        tx.rollback().await?;
        app.metrics.admission(&AdmissionLabels { result: "replayed", reason: "replayed" });
        tracing::warn!(webhook_id = delivery.webhook_id, "admission request replayed");
        return Err(Problem::new(StatusCode::CONFLICT, "replayed", "This request was answered before."));
    }
    if let (Some(holder), Answer::Allow(_)) = (&holder, &answer) {
        keys::mark_used(&mut tx, &holder.key_id, delivery.received).await?;
    }
    tx.commit().await?;
    app.metrics.admission(&AdmissionLabels { result, reason });
    tracing::info!(
        result,
        reason,
        stream,
        key_id = holder.as_ref().map(|h| h.key_id.as_str()),
        session = request.session,
        protocol = request.protocol,
        client_ip = request.client.ip,
        "admission"
    );
    Ok(answer)
}

/// Changes nothing here, so that one who asks twice is answered twice.
fn choose(app: &App, request: &ProfileRequest) -> ProfileAnswer {
    let answer = profile::decide(request, &app.config.publish.ladders);
    let (result, profile) = match &answer {
        ProfileAnswer::Named { profile } if *profile == request.profile => ("admitted", profile.as_str()),
        ProfileAnswer::Named { profile } => ("changed", profile.as_str()),
        ProfileAnswer::Refused { .. } => ("refused", ""),
    };
    app.metrics.profile(&ProfileLabels { result });
    tracing::info!(result, profile, stream = request.stream, session = request.session, "profile");
    answer
}

/// Every stream is public in this release: a viewer is let in where the channel exists.
async fn admit_viewer(app: &App, request: &Request) -> Result<Answer, Problem> {
    let channel = crate::channel::store::find(app.db.read(), &request.stream).await?;
    let holder = channel.map(|channel| keys::Holder {
        key_id: String::new(),
        revoked: false,
        slug: channel.slug,
        owner_active: true,
    });
    Ok(rules::decide(holder.as_ref(), &app.config.publish))
}

/// Every signed event is taken, also one that says nothing to this version: refused, it would come again for
/// ever and hold up those behind it.
async fn record(app: &App, delivery: &Delivery<'_>, message: &Value) -> Result<Response, Problem> {
    let event = Event::read(delivery.kind, message);
    if event.kind != Kind::Other && (event.stream.is_none() || event.session.is_none()) {
        tracing::warn!(
            kind = delivery.kind,
            webhook_id = delivery.webhook_id,
            "event without stream or session"
        );
    }
    let recorded = store::record_event(&app.db, delivery, &event).await?;
    let kind = match event.kind {
        Kind::Started => "publish.started",
        Kind::Stopped => "publish.stopped",
        Kind::Other => "other",
    };
    app.metrics
        .event(&EventLabels { kind, repeated: if recorded == Recorded::Repeated { "yes" } else { "no" } });
    if recorded == Recorded::New {
        tracing::info!(
            kind = delivery.kind,
            stream = event.stream,
            session = event.session,
            seq = event.seq,
            "event"
        );
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The message without stream keys: an address that was published to can carry one too.
fn without_secrets(message: &Value) -> Value {
    let mut copy = message.clone();
    if let Some(fields) = copy.as_object_mut() {
        for name in ["key", "query", "url"] {
            if let Some(value) = fields.get_mut(name) {
                *value = Value::String("redacted".into());
            }
        }
    }
    copy
}
