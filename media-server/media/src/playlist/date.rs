//! RFC 3339 dates for EXT-X-PROGRAM-DATE-TIME.

use std::fmt::Write;

const DAY: i64 = 86_400_000;

/// Appends `unix_ms` as `2026-11-20T20:00:00.000Z`.
pub(crate) fn append_date(out: &mut String, unix_ms: i64) {
    let (year, month, day) = civil(unix_ms.div_euclid(DAY));
    let ms = unix_ms.rem_euclid(DAY);
    let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    // Writing to a String cannot fail.
    let _infallible =
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
}

/// Days since 1970-01-01 to a Gregorian date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::append_date;

    fn date(ms: i64) -> String {
        let mut out = String::new();
        append_date(&mut out, ms);
        out
    }

    #[test]
    fn dates_are_rfc_3339() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(date(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(date(1_795_204_800_123), "2026-11-20T20:00:00.123Z");
        assert_eq!(date(-1), "1969-12-31T23:59:59.999Z");
    }
}
