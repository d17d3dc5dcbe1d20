//! `publish.ladders`: other profiles for some sources.

use serde::de::{Deserialize, Deserializer, Error as _};

/// One of `publish.ladders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderRule {
    /// The channel; every one where there is none.
    pub channel: Option<String>,
    /// Lines of the source at least.
    pub min_height: u32,
    /// Lines at most.
    pub max_height: u32,
    /// What is answered.
    pub then: Then,
}

/// What a rule answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// This profile.
    Profile(String),
    /// No, in these words.
    Refuse(String),
}

impl<'de> Deserialize<'de> for LadderRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            channel: Option<String>,
            #[serde(default)]
            min_height: u32,
            max_height: Option<u32>,
            profile: Option<String>,
            refuse: Option<String>,
        }
        let written = Written::deserialize(deserializer)?;
        let then = match (written.profile, written.refuse) {
            (Some(profile), None) if !profile.is_empty() => Then::Profile(profile),
            (None, Some(message)) if !message.is_empty() => Then::Refuse(message),
            _ => {
                return Err(D::Error::custom(
                    "a ladder rule has either `profile` or `refuse`, and it says something",
                ));
            }
        };
        let max_height = written.max_height.unwrap_or(u32::MAX);
        if written.min_height > max_height {
            return Err(D::Error::custom("`min_height` is above `max_height`: the rule fits no source"));
        }
        Ok(Self { channel: written.channel, min_height: written.min_height, max_height, then })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Publish;

    #[test]
    fn a_rule_says_one_thing_and_can_fit() {
        for wrong in [
            "{ channel = \"ada\" }",
            "{ profile = \"a\", refuse = \"b\" }",
            "{ profile = \"\" }",
            "{ profile = \"a\", min_height = 2, max_height = 1 }",
            "{ profile = \"a\", min_hight = 2 }",
        ] {
            assert!(toml::from_str::<Publish>(&format!("ladders = [{wrong}]")).is_err(), "{wrong}");
        }
    }
}
