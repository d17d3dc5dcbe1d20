//! Where a publisher wants to go: application, stream name and their queries.

use crate::address::query_pairs;

/// Pairs that are kept of one query.
pub(super) const MAX_PAIRS: usize = 32;

/// `name?query` apart.
pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// An application as people mean it: `/live/` is `live`.
pub(super) fn application(text: &str) -> (&str, &str) {
    let (path, query) = split(text);
    (path.trim_matches('/'), query)
}

/// Adds the pairs of `query` whose names are not in `pairs` yet. Values and names are percent-decoded; `+` stays
/// itself, since stream keys hold it.
pub(super) fn add_query(pairs: &mut Vec<(String, String)>, query: &str) {
    let known = pairs.len();
    for (name, value) in query_pairs(query, usize::MAX) {
        if pairs.iter().take(known).any(|(other, _)| *other == name) {
            continue;
        }
        if pairs.len() >= MAX_PAIRS {
            return;
        }
        pairs.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        add_query(&mut pairs, query);
        pairs
    }

    #[test]
    fn queries_are_decoded_and_odd_ones_survive() {
        let text = |pairs: Vec<(String, String)>| {
            pairs.into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(pairs("a=1&b=x%20y&c&&d=1=2")), "a:1 b:x y c: d:1=2");
        assert_eq!(text(pairs("a=%zz&b=%4&c=%&d=a+b")), "a:%zz b:%4 c:% d:a+b");
        assert_eq!(text(pairs("a=%ff")), "a:\u{FFFD}");
        assert_eq!(pairs(&"a=1&".repeat(1000)).len(), MAX_PAIRS);
    }

    #[test]
    fn the_nearer_query_wins() {
        let mut all = pairs("token=near");
        add_query(&mut all, "token=far&user=ada");
        assert_eq!(all, [("token".to_owned(), "near".to_owned()), ("user".to_owned(), "ada".to_owned())]);
    }

    #[test]
    fn applications_lose_their_slashes() {
        assert_eq!(application("/live/?a=b"), ("live", "a=b"));
        assert_eq!(application("live"), ("live", ""));
    }
}
