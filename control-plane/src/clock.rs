//! The wall clock, as the database and the API write it.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// Now.
pub fn now() -> Millis {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// As RFC 3339, UTC, with milliseconds: `2026-11-20T20:00:00.000Z`.
pub fn rfc3339(at: Millis) -> String {
    let clamped = at.clamp(0, 253_402_300_799_999);
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(clamped) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&format).ok())
        .unwrap_or_default()
}

/// From RFC 3339, any offset.
pub fn parse(text: &str) -> Option<Millis> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_survive_the_text() {
        assert_eq!(super::rfc3339(1_795_204_800_000), "2026-11-20T20:00:00.000Z");
        assert_eq!(super::parse("2026-11-20T20:00:00.000Z"), Some(1_795_204_800_000));
        assert_eq!(super::parse("2026-11-20T21:00:00+01:00"), Some(1_795_204_800_000));
        assert_eq!(super::parse("yesterday"), None);
        assert_eq!(super::rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
