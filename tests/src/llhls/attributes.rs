//! Attribute lists (RFC 8216bis 4.2): `NAME=value,NAME="quoted, value"`.

use std::collections::BTreeMap;

/// The attributes of one tag, by name; quotes are taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Reads what follows a tag's colon. Pairs without a `=` are left out.
    pub fn parse(text: &str) -> Self {
        let mut pairs = BTreeMap::new();
        let mut rest = text.trim();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
                let (value, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                (value, after.strip_prefix(',').unwrap_or(""))
            } else {
                after.split_once(',').unwrap_or((after, ""))
            };
            pairs.insert(name.trim().to_owned(), value.trim().to_owned());
            rest = next;
        }
        Self(pairs)
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }

    /// The value as a whole number.
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Whether the attribute is `YES`.
    pub fn yes(&self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }

    /// Whether the attribute stands there.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_do_not_split() {
        let list = Attributes::parse(r#"BANDWIDTH=1280000,CODECS="avc1.64001f,mp4a.40.2",AUDIO="aac",X=YES"#);
        assert_eq!(list.get("CODECS"), Some("avc1.64001f,mp4a.40.2"));
        assert_eq!(list.integer("BANDWIDTH"), Some(1_280_000));
        assert_eq!(list.get("AUDIO"), Some("aac"));
        assert!(list.yes("X") && !list.has("Y"));
    }
}
