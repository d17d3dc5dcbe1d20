//! What the admin API reaches the fetched streams by.

use std::sync::Arc;

use http::StatusCode;

use crate::admin::{Refused, Sources};
use crate::ingest::pull::{Pulls, SourceError};
use crate::live::{SourceState, SourceWish};

impl Sources for Pulls {
    fn list(&self) -> Vec<Arc<SourceState>> {
        Self::list(self)
    }

    fn put(&self, wish: SourceWish) -> Result<bool, Refused> {
        Ok(Self::put(self, wish)?)
    }

    fn remove(&self, stream: &str) -> Result<(), Refused> {
        Ok(Self::remove(self, stream)?)
    }
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        let (status, code) = match &error {
            SourceError::Configured => (StatusCode::CONFLICT, "configured"),
            SourceError::Missing => (StatusCode::NOT_FOUND, "not-found"),
            SourceError::Store(_) => (StatusCode::INSUFFICIENT_STORAGE, "disk"),
            SourceError::Stream | SourceError::Url(_) | SourceError::Profile(_) | SourceError::TooMany => {
                (StatusCode::BAD_REQUEST, "source")
            }
        };
        Self { status, code, text: error.to_string() }
    }
}
