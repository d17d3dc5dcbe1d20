//! `POST /api/v1/streams/NAME/recorder` saves what the publisher sent last, `GET` gives it at once.

use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

use super::{Admin, json};
use crate::flight::{Excerpt, Header, image};
use crate::metrics::Cause;
use crate::web::body::Body;
use crate::web::respond::problem;

/// What is recorded of a stream's publisher, or why there is nothing.
fn excerpt(admin: &Admin, name: &str, role: &str) -> Result<(Header, Excerpt), Box<Response<Body>>> {
    let refuse = |status, code, text: &str| Err(Box::new(problem(status, code, text)));
    let Some(handle) = admin.directory.get(name) else {
        return refuse(StatusCode::NOT_FOUND, "not-found", "no such stream");
    };
    let snapshot = handle.snapshot();
    let session = match role {
        "" | "primary" => &snapshot.session,
        "backup" => &snapshot.backup,
        _ => return refuse(StatusCode::BAD_REQUEST, "role", "role is \"primary\" or \"backup\""),
    };
    let Some(session) = session else {
        return refuse(StatusCode::NOT_FOUND, "not-found", "this stream has no such publisher");
    };
    let Some(recorder) = &session.recorder else {
        let text = "nothing is recorded: [recorder] seconds was 0 when this publisher came";
        return refuse(StatusCode::CONFLICT, "not-recorded", text);
    };
    let excerpt = recorder.excerpt();
    if excerpt.is_empty() {
        return refuse(StatusCode::CONFLICT, "nothing-yet", "the publisher has sent nothing yet");
    }
    Ok((session.flight_header(name, "asked"), excerpt))
}

/// Saves it; the answer says where.
pub(super) async fn save(admin: &Admin, name: &str, role: &str) -> Response<Body> {
    let (header, excerpt) = match excerpt(admin, name, role) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let folder = admin.flights.clone();
    let saved = tokio::task::spawn_blocking(move || folder.save(&header, &excerpt)).await;
    match saved.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(saved) => {
            admin.metrics.flight_saved.get_or_create(&Cause { cause: "asked" }).inc();
            tracing::info!(stream = name, file = %saved.file.display(), "what the publisher sent is saved");
            json(StatusCode::CREATED, &saved)
        }
        Err(error) => {
            let text = format!("the recording could not be written below data_dir: {error}");
            tracing::warn!(stream = name, %error, "a recording could not be written");
            problem(StatusCode::INSUFFICIENT_STORAGE, "disk", &text)
        }
    }
}

/// Gives it.
pub(super) fn download(admin: &Admin, name: &str, role: &str) -> Response<Body> {
    let (header, excerpt) = match excerpt(admin, name, role) {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let mut response = Response::new(Body::chunks(image(&header, &excerpt)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = format!("attachment; filename=\"{name}.weirflt\"");
    if let Ok(value) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}
