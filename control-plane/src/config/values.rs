//! Setting values that check themselves, so that the error names the line they stand on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

/// An `http://` or `https://` address without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

impl HttpUrl {
    /// From a constant of this program.
    pub(super) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Checks and normalises.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("a URL here starts with http:// or https://");
        }
        if uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err("a URL here has a host, and no query");
        }
        // Quotes, semicolons and the like would end up in a Content-Security-Policy.
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b":/.-_~%[]".contains(&b)) {
            return Err("a URL here has letters, digits and `:/.-_~%[]` only");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// For an address that this program calls itself: it speaks no TLS there.
pub(super) fn plain_http<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HttpUrl, D::Error> {
    let url = HttpUrl::deserialize(deserializer)?;
    if url.as_str().starts_with("http://") {
        return Ok(url);
    }
    Err(D::Error::custom("the admin API is called by http:// only; put a tunnel in between"))
}

/// `sqlite://PATH` or `sqlite:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteUrl(PathBuf);

impl SqliteUrl {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SqliteUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = text
            .strip_prefix("sqlite:")
            .map(|rest| rest.strip_prefix("//").unwrap_or(rest))
            .ok_or_else(|| D::Error::custom("a database URL here is `sqlite://PATH`"))?;
        if path.is_empty() || path.contains(":memory:") || path.contains('?') {
            return Err(D::Error::custom(
                "a database URL here names a file: `sqlite:///var/lib/weir/control-plane.db`",
            ));
        }
        Ok(Self(path.into()))
    }
}

/// A positive number of seconds, at most a year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seconds(pub Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Number {
            Whole(i64),
            Fraction(f64),
        }
        let seconds = match Number::deserialize(deserializer) {
            Ok(Number::Whole(n)) => n as f64,
            Ok(Number::Fraction(n)) => n,
            Err(_) => return Err(D::Error::custom("a number of seconds is expected")),
        };
        if !(0.01..=31_536_000.0).contains(&seconds) {
            return Err(D::Error::custom("a number of seconds from 0.01 to 31536000 is expected"));
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}
