//! What an account may be called, and what passes for an address and a password.

use std::fmt;

use zeroize::Zeroizing;

/// What is wrong with a field, in words for the person who filled it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// The field, as the API and the command line call it.
    pub field: &'static str,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// Names that would stand in addresses of the product itself.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "api",
    "assets",
    "auth",
    "chat",
    "dashboard",
    "discover",
    "healthz",
    "help",
    "hooks",
    "internal",
    "live",
    "login",
    "logout",
    "me",
    "metrics",
    "null",
    "readyz",
    "register",
    "root",
    "settings",
    "static",
    "support",
    "system",
    "undefined",
    "watch",
    "weir",
    "whep",
    "whip",
];

/// The rule that user names and channel slugs share: 3 to 25 of `a-z 0-9 _ -`, a letter or digit at both ends.
pub fn parse_name(field: &'static str, text: &str) -> Result<String, Rejected> {
    let name = text.trim().to_ascii_lowercase();
    let reject = |reason| Err(Rejected { field, reason });
    if !(3..=25).contains(&name.len()) {
        return reject("must have 3 to 25 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-') {
        return reject("may have letters a to z, digits, `_` and `-` only");
    }
    let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    if !edge(name.bytes().next()) || !edge(name.bytes().last()) {
        return reject("must begin and end with a letter or a digit");
    }
    if RESERVED.contains(&name.as_str()) {
        return reject("is reserved");
    }
    Ok(name)
}

/// A user name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

impl Username {
    /// See [`parse_name`].
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        parse_name("username", text).map(Self)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address, in lower case. Only mail that arrives proves one: this keeps out what cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Checks the outer form.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        let text = text.trim();
        let rejected = Rejected { field: "email", reason: "is not an e-mail address" };
        let (local, domain) = text.rsplit_once('@').ok_or(rejected)?;
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]\\,;:\"".contains(c);
        let labels = domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
        if text.len() > 254 || local.is_empty() || local.len() > 64 || !labels || !text.chars().all(plain) {
            return Err(rejected);
        }
        Ok(Self(text.to_lowercase()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password as typed. Wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Fewest characters (NIST SP 800-63B 3.1.1.2: at least 8; no rules on composition).
    pub const MIN_CHARS: usize = 8;
    /// Most bytes: bounds the work of hashing.
    pub const MAX_BYTES: usize = 512;

    /// For a new password.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        let reject = |reason| Err(Rejected { field: "password", reason });
        if text.chars().count() < Self::MIN_CHARS {
            return reject("must have at least 8 characters");
        }
        if text.len() > Self::MAX_BYTES {
            return reject("must have at most 512 bytes");
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// For the bytes to hash.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// What an account may do beyond its own channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Has a channel.
    Creator,
    /// Runs the place.
    Admin,
}

impl Role {
    /// As the database says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creator => "creator",
            Self::Admin => "admin",
        }
    }

    /// From the database's word. An unknown one gets the least.
    pub fn from_word(word: &str) -> Self {
        if word == "admin" { Self::Admin } else { Self::Creator }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_addresses_and_paths() {
        assert_eq!(Username::parse(" Ada_99 ").unwrap().as_str(), "ada_99");
        for wrong in [
            "ab",
            "-ada",
            "ada_",
            "a da",
            "ädä",
            "../etc",
            "a/b",
            "watch",
            "API",
            "x".repeat(26).as_str(),
            "",
        ] {
            assert!(Username::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_one_are_refused() {
        assert_eq!(Email::parse("Ada@Example.org").unwrap().as_str(), "ada@example.org");
        assert!(Email::parse("ada+tag@localhost").is_ok());
        for wrong in ["ada", "@x", "a@", "a@b..c", "a b@c.d", "a@b\r\nBcc: x@y.z", "<a@b.c>"] {
            assert!(Email::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_judged_by_length_only_and_never_printed() {
        assert!(Password::parse("1234567").is_err());
        assert!(Password::parse("pässwör").is_err(), "characters count, not bytes");
        assert!(Password::parse(&"x".repeat(513)).is_err());
        let password = Password::parse("correct horse").unwrap();
        assert_eq!(format!("{password:?}"), "Password(redacted)");
    }
}
