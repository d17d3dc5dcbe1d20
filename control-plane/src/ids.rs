//! Identifiers: TypeIDs (typeid spec 0.3): a prefix that says what is named, and a UUIDv7 in Crockford base32.
//!
//! They sort by creation time, can be double-clicked, and a channel's id does not pass for a user's.

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text that is not the identifier that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier that starts with `{expected}_`")]
pub struct InvalidId {
    /// The prefix that was asked for, without its underscore.
    pub expected: &'static str,
}

/// 128 bits as 26 characters: the first carries three bits, the others five.
fn encode(value: u128) -> String {
    (0..26)
        .rev()
        .map(|place| {
            let digit = (value >> (place * 5)) & 31;
            char::from(*ALPHABET.get(digit as usize).unwrap_or(&b'0'))
        })
        .collect()
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != 26 || text.as_bytes().first()? > &b'7' {
        return None;
    }
    text.bytes().try_fold(0_u128, |value, byte| {
        let digit = ALPHABET.iter().position(|c| *c == byte)?;
        Some((value << 5) | digit as u128)
    })
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What its text starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new one, later than every earlier one of this machine.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}_{}", $prefix, encode(self.0.as_u128()))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .and_then(decode)
                    .map(|value| Self(Uuid::from_u128(value)))
                    .ok_or(InvalidId { expected: $prefix })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

typed_id!(
    /// An account.
    UserId, "usr"
);
typed_id!(
    /// A channel.
    ChannelId, "chn"
);
typed_id!(
    /// A stream key's row; not the key.
    KeyId, "key"
);
typed_id!(
    /// A line of the audit log.
    AuditId, "aud"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_own_example_holds() {
        let uuid = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").unwrap();
        assert_eq!(UserId(uuid).to_string(), "usr_01h455vb4pex5vsknk084sn02q");
        assert_eq!("usr_01h455vb4pex5vsknk084sn02q".parse(), Ok(UserId(uuid)));
    }

    #[test]
    fn one_kind_of_id_is_not_another() {
        let user = UserId::generate().to_string();
        assert_eq!(user.parse::<ChannelId>(), Err(InvalidId { expected: "chn" }));
        for wrong in
            ["", "usr", "usr_", "usr_8zzzzzzzzzzzzzzzzzzzzzzzzz", "usr_01H455VB4PEX5VSKNK084SN02Q", "usr_é"]
        {
            assert!(wrong.parse::<UserId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_sort_by_birth() {
        let ids: Vec<String> = (0..100).map(|_| KeyId::generate().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
