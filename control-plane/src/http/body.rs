//! JSON bodies whose errors are problems.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body of type `T`.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(error)) => {
                Err(Problem::new(error.status(), "unreadable-body", "The body is too large, or broke off."))
            }
            Err(JsonRejection::MissingJsonContentType(error)) => {
                Err(Problem::new(error.status(), "not-json", "The body must be application/json."))
            }
            // Serde's text can repeat a value, and the value may be a password.
            Err(JsonRejection::JsonDataError(_)) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "malformed",
                "A field is missing, unknown or of the wrong type.",
            )),
            Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed", "The body is not JSON.")),
        }
    }
}
