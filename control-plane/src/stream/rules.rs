//! What a stream key is made of.

use std::fmt;

use rand::RngCore;
use zeroize::Zeroizing;

/// A stream key. Wiped from memory when dropped, never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(Zeroizing<String>);

impl StreamKey {
    /// Longer texts are no key of ours: they are not even looked up.
    pub const MAX_BYTES: usize = 1024;

    const ALPHABET: &'static [u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

    /// A new one: `sk_` and 160 random bits in letters that survive being read aloud and typed.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::rng().fill_bytes(&mut *bytes);
        let mut text = Zeroizing::new(String::with_capacity(35));
        text.push_str("sk_");
        for byte in bytes.iter() {
            // 256 is a multiple of 32: every letter is as likely as every other.
            text.push(char::from(*Self::ALPHABET.get(usize::from(byte % 32)).unwrap_or(&b'a')));
        }
        Self(text)
    }

    /// What someone presents as a key.
    pub fn presented(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= Self::MAX_BYTES).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself: for the owner, and for the key ring.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its last four characters.
    pub fn hint(&self) -> String {
        let start = self.0.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        self.0.get(start..).unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_differ_and_are_never_printed() {
        let key = StreamKey::generate();
        assert!(key.expose().starts_with("sk_") && key.expose().len() == 35, "{}", key.expose());
        assert_ne!(key, StreamKey::generate());
        assert_eq!(format!("{key:?}"), "StreamKey(redacted)");
        assert!(key.expose().ends_with(&key.hint()) && key.hint().len() == 4);
    }

    #[test]
    fn what_cannot_be_a_key_is_not_looked_up() {
        assert!(StreamKey::presented("").is_none());
        assert!(StreamKey::presented(&"k".repeat(1025)).is_none());
        assert_eq!(StreamKey::presented("é").unwrap().hint(), "é");
    }
}
