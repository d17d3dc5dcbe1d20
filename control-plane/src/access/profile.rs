//! Which ladder a source is to have: asked by the media server once the tracks are known (`"type": "profile"`), answered
//! by the operator's rules, the first that fits.

use serde::{Deserialize, Serialize};

use super::message::False;
use crate::config::{LadderRule, Then};

/// The question, as far as it matters here. What is not known is passed over.
#[derive(Clone, Debug, Deserialize)]
pub struct ProfileRequest {
    /// The publisher's connection, as the media server names it.
    #[serde(default)]
    pub session: String,
    /// The stream's public name.
    #[serde(default)]
    pub stream: String,
    /// The profile that it was admitted with.
    pub profile: String,
    /// What it sends.
    #[serde(default)]
    pub tracks: Vec<Track>,
}

/// One track.
#[derive(Clone, Debug, Deserialize)]
pub struct Track {
    /// `video` or `audio`.
    #[serde(default)]
    pub kind: String,
    /// Pixels.
    #[serde(default)]
    pub width: u32,
    /// Pixels.
    #[serde(default)]
    pub height: u32,
}

impl ProfileRequest {
    /// Lines of the picture: its shorter side, as the media server's profiles count them.
    fn lines(&self) -> Option<u32> {
        let picture = self.tracks.iter().find(|track| track.kind == "video")?;
        Some(picture.width.min(picture.height)).filter(|lines| *lines > 0)
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ProfileAnswer {
    /// This profile of the media server's configuration.
    Named {
        /// Its name.
        profile: String,
    },
    /// The publisher is to go.
    Refused {
        /// `false`
        allow: False,
        /// A stable word.
        reason: &'static str,
        /// For the broadcaster.
        message: String,
    },
}

fn fits(rule: &LadderRule, request: &ProfileRequest) -> bool {
    // Bounds say nothing of a source whose size is not known.
    let bounded = rule.min_height > 0 || rule.max_height < u32::MAX;
    let size = request.lines().map_or(!bounded, |lines| (rule.min_height..=rule.max_height).contains(&lines));
    size && rule.channel.as_ref().is_none_or(|channel| *channel == request.stream)
}

/// The first rule that fits; where none does, what it was admitted with.
pub fn decide(request: &ProfileRequest, rules: &[LadderRule]) -> ProfileAnswer {
    match rules.iter().find(|rule| fits(rule, request)).map(|rule| &rule.then) {
        None => ProfileAnswer::Named { profile: request.profile.clone() },
        Some(Then::Profile(profile)) => ProfileAnswer::Named { profile: profile.clone() },
        Some(Then::Refuse(message)) => {
            ProfileAnswer::Refused { allow: False, reason: "unsupported-source", message: message.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Publish;

    const REQUEST: &str = include_str!("../../../fixtures/webhook/profile-request.json");

    fn rules(toml: &str) -> Vec<LadderRule> {
        toml::from_str::<Publish>(toml).unwrap().ladders
    }

    fn answer(rules: &[LadderRule], request: &ProfileRequest) -> String {
        serde_json::to_string(&decide(request, rules)).unwrap()
    }

    #[test]
    fn our_answers_are_byte_for_byte_what_the_media_server_reads() {
        let request: ProfileRequest = serde_json::from_str(REQUEST).unwrap();
        let named = rules("ladders = [{ min_height = 2160, profile = \"uhd\" }]");
        assert_eq!(answer(&named, &request), include_str!("../../../fixtures/webhook/profile-named.json"));
        let refuse = rules(
            "ladders = [{ channel = \"ada\", min_height = 1081, refuse = \"This channel takes pictures of 1080 lines at most.\" }]",
        );
        assert_eq!(answer(&refuse, &request), include_str!("../../../fixtures/webhook/profile-refuse.json"));
    }

    #[test]
    fn without_a_rule_that_fits_nothing_changes_and_the_first_that_fits_wins() {
        let request: ProfileRequest = serde_json::from_str(REQUEST).unwrap();
        let told = |toml: &str, request: &ProfileRequest| answer(&rules(toml), request);
        let admitted = r#"{"profile":"default"}"#;
        assert_eq!(told("", &request), admitted);
        let others =
            "ladders = [{ channel = \"bob\", profile = \"a\" }, { max_height = 1080, profile = \"b\" }]";
        assert_eq!(told(others, &request), admitted);
        let two = "ladders = [{ channel = \"ada\", profile = \"a\" }, { profile = \"b\" }]";
        assert_eq!(told(two, &request), r#"{"profile":"a"}"#);
        let portrait = ProfileRequest {
            tracks: vec![Track { kind: "video".into(), width: 1080, height: 1920 }],
            ..request.clone()
        };
        assert_eq!(told(others, &portrait), r#"{"profile":"b"}"#);
        // A source whose size is not known fits no rule with a bound.
        let unknown = ProfileRequest { tracks: Vec::new(), ..request };
        assert_eq!(told(others, &unknown), admitted);
    }
}
