//! Delivery directives: the `_HLS_*` query parameters (draft-pantos-hls-rfc8216bis 6.2.5).

/// What a client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `_HLS_msn`: answer once this media sequence number is there.
    pub(super) msn: Option<u64>,
    /// `_HLS_part`: … or this part of it.
    pub(super) part: Option<u64>,
    /// `_HLS_skip=YES|v2`: a delta update will do.
    pub(super) skip: bool,
}

/// Why a query was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectiveError {
    #[error("_HLS_msn is not a decimal number")]
    Msn,
    #[error("_HLS_part is not a decimal number")]
    Part,
    #[error("_HLS_part needs _HLS_msn")]
    PartWithoutMsn,
}

impl Directives {
    /// Reads a query string. Other parameters, and directives of later drafts, are let pass.
    pub(super) fn parse(query: &str) -> Result<Self, DirectiveError> {
        let mut directives = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "_HLS_msn" => directives.msn = Some(decimal(value).ok_or(DirectiveError::Msn)?),
                "_HLS_part" => directives.part = Some(decimal(value).ok_or(DirectiveError::Part)?),
                "_HLS_skip" => directives.skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err(DirectiveError::PartWithoutMsn);
        }
        Ok(directives)
    }
}

/// Digits only: `u64::from_str` would take a sign.
fn decimal(value: &str) -> Option<u64> {
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directives_in_any_order_beside_other_parameters() {
        let want = Directives { msn: Some(7), part: Some(2), skip: true };
        assert_eq!(Directives::parse("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"), Ok(want));
        assert_eq!(Directives::parse("token=x&_HLS_skip=v2&_HLS_part=2&_HLS_msn=7&_HLS_later=1"), Ok(want));
        assert_eq!(Directives::parse(""), Ok(Directives::default()));
    }

    #[test]
    fn malformed_directives_are_refused() {
        assert_eq!(Directives::parse("_HLS_part=0"), Err(DirectiveError::PartWithoutMsn));
        for bad in ["abc", "", "-1", "+1", "1.0", "99999999999999999999999"] {
            assert_eq!(Directives::parse(&format!("_HLS_msn={bad}")), Err(DirectiveError::Msn), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_answered(query in ".*") {
            let _answered = Directives::parse(&query).is_ok();
        }
    }
}
