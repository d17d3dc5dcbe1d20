//! What the control plane answers to `"type": "profile"`: a ladder by its name, a ladder, or no.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::plain;
use crate::config::{Profile, ladder_problem};

/// Longest name of a profile, in bytes: as the configuration has it.
const LONGEST_NAME: usize = 64;

/// Which ladder a source is to have.
#[derive(Clone, Debug, PartialEq)]
pub enum ProfileAnswer {
    /// The one of this name in the configuration.
    Named(String),
    /// This one, which has been checked as the configuration's are.
    Ladder(Box<Profile>),
    /// None: the publisher is not wanted with such a source.
    Refused {
        /// A stable word.
        reason: String,
        /// For the broadcaster.
        message: String,
    },
}

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAnswer {
    /// Not the JSON that was asked for.
    #[error("the answer is not a profile answer: {0}")]
    Json(String),
    /// Neither, or both.
    #[error("the answer has to have a profile or a ladder, one of them")]
    NotOne,
    /// A name that no profile has.
    #[error("the answer's profile name is empty or longer than 64 bytes")]
    Name,
    /// A ladder that the configuration would refuse.
    #[error("the answer's ladder: {0}")]
    Ladder(String),
}

/// By name: a list in their order is none. Fields that are not known are passed over, but for those of a ladder: what is not understood there would be made
/// otherwise than it is meant.
#[derive(Deserialize)]
struct Answer {
    #[serde(default = "yes")]
    allow: bool,
    #[serde(default)]
    profile: Option<String>,
    #[serde(default)]
    ladder: Option<Map<String, Value>>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

fn yes() -> bool {
    true
}

/// Reads a 2xx body. `encoder`: what makes the rungs, as the configuration names it.
pub(super) fn read(body: &[u8], encoder: &str) -> Result<ProfileAnswer, UnusableAnswer> {
    let answer: Map<String, Value> = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    let answer: Answer = serde_json::from_value(answer.into()).map_err(|error| unread(&error))?;
    if !answer.allow {
        let reason = Some(plain(&answer.reason)).filter(|reason| !reason.is_empty());
        let (reason, message) = (reason.unwrap_or_else(|| "refused".to_owned()), plain(&answer.message));
        return Ok(ProfileAnswer::Refused { reason, message });
    }
    match (answer.profile, answer.ladder) {
        (Some(name), None) if (1..=LONGEST_NAME).contains(&name.len()) => Ok(ProfileAnswer::Named(name)),
        (Some(_), None) => Err(UnusableAnswer::Name),
        (None, Some(ladder)) => read_ladder(ladder, encoder),
        (None, None) | (Some(_), Some(_)) => Err(UnusableAnswer::NotOne),
    }
}

fn read_ladder(ladder: Map<String, Value>, encoder: &str) -> Result<ProfileAnswer, UnusableAnswer> {
    let unusable = |text: &str| UnusableAnswer::Ladder(plain(text));
    let ladder: Profile =
        serde_json::from_value(ladder.into()).map_err(|error| unusable(&error.to_string()))?;
    match ladder_problem(&ladder, encoder) {
        None => Ok(ProfileAnswer::Ladder(Box::new(ladder))),
        Some(problem) => Err(unusable(&problem)),
    }
}

fn unread(error: &serde_json::Error) -> UnusableAnswer {
    UnusableAnswer::Json(plain(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(body: &[u8]) -> Result<ProfileAnswer, UnusableAnswer> {
        super::read(body, "auto")
    }

    #[test]
    fn the_fixtures_are_read_whole() {
        let named = read(include_bytes!("../../../fixtures/webhook/profile-named.json"));
        assert_eq!(named, Ok(ProfileAnswer::Named("uhd".into())));
        let Ok(ProfileAnswer::Ladder(ladder)) =
            read(include_bytes!("../../../fixtures/webhook/profile-ladder.json"))
        else {
            panic!("no ladder")
        };
        let rungs: Vec<_> =
            ladder.rungs.iter().map(|it| (&*it.name, it.height, it.video_bitrate.0)).collect();
        assert!(ladder.passthrough);
        assert_eq!(rungs, [("720p", 720, 2_800_000), ("360p", 360, 800_000)]);
        assert_eq!(
            read(include_bytes!("../../../fixtures/webhook/profile-refuse.json")),
            Ok(ProfileAnswer::Refused {
                reason: "unsupported-source".into(),
                message: "This channel takes pictures of 1080 lines at most.".into()
            })
        );
    }

    #[test]
    fn a_ladder_is_checked_as_the_configuration_is_and_what_is_wrong_is_named() {
        let rung = |height: i64| json!({"name": "a", "height": height, "video_bitrate": "800k"});
        let read = |ladder: Value| read(json!({"ladder": ladder}).to_string().as_bytes());
        assert!(read(json!({"passthrough": false, "rungs": [rung(360)]})).is_ok());
        let wrong = [
            (json!({"passthrough": false, "rungs": []}), "no rung"),
            (json!({"rungs": [rung(9)]}), "rungs[0].height"),
            (json!({"rungs": [rung(360), rung(240)]}), "twice"),
            (json!({"rungs": vec![rung(360); 17]}), "16 rungs"),
            (
                json!({"rungs": [{"name": "source", "height": 360, "video_bitrate": 1_000_000}]}),
                "another rendition",
            ),
            (json!({"rungs": [rung(360)], "rugs": 1}), "rugs"),
            (json!({"rungs": [{"name": "a", "height": 360, "video_bitrate": 1e300}]}), "did not match"),
            (json!({"rungs": [rung(-1)]}), "-1"),
            (json!({"rungs": [], "audio": [{"name": "audio", "bitrate": 64_000}]}), "audio[0].name"),
            (json!({"rungs": [], "audio": [{"name": "a", "bitrate": 64_000, "codec": "mp3"}]}), "opus"),
            (json!([]), "sequence"),
            (json!(true), "boolean"),
        ];
        for (ladder, named) in wrong {
            let error = read(ladder.clone()).map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|text| text.contains(named)), "{ladder}: {error:?}");
        }
    }

    #[test]
    fn what_says_neither_or_both_is_no_answer_and_a_refusal_is_one_whatever_else_it_says() {
        let deep = format!("{}1{}", "[".repeat(60_000), "]".repeat(60_000));
        let wrong = [
            "",
            "{}",
            "null",
            "[]",
            r#"{"allow":true}"#,
            r#"{"profile":null}"#,
            r#"{"profile":""}"#,
            r#"{"profile":7}"#,
            r#"{"profile":"a","ladder":{}}"#,
            r#"["true","a"]"#,
            "[false]",
            r#"{"allow":"no","profile":"a"}"#,
            r#"{"profile":"a"} and more"#,
            r#"{"ladder":{"rungs":[{"name":"a","fps":1e999,"video_bitrate":"1M"}]}}"#,
            &format!(r#"{{"profile":"a","x":{deep}}}"#),
            &format!(r#"{{"profile":"{}"}}"#, "x".repeat(65)),
        ];
        for body in wrong {
            let shown: String = body.chars().take(80).collect();
            assert!(read(body.as_bytes()).is_err(), "{shown}");
        }
        assert_eq!(read(br#"{"profile":"a","new":{}}"#), Ok(ProfileAnswer::Named("a".into())));
        let refused = read(br#"{"allow":false,"profile":"a","message":"no\r\nmore"}"#);
        let expected = ProfileAnswer::Refused { reason: "refused".into(), message: "no  more".into() };
        assert_eq!(refused, Ok(expected));
    }

    /// JSON of every shape with the keys that are known here.
    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop::sample::select(vec![
            "allow",
            "profile",
            "ladder",
            "rungs",
            "passthrough",
            "name",
            "height",
            "fps",
            "video_bitrate",
            "when",
            "audio",
            "codec",
            "bitrate",
            "x",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|n| json!(n)),
            "[a-z0-9M.k-]{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&body).is_err());
        }

        #[test]
        fn what_is_taken_is_a_name_a_refusal_or_a_ladder_that_the_configuration_takes(value in any_json()) {
            match read(value.to_string().as_bytes()) {
                Ok(ProfileAnswer::Named(name)) => prop_assert!(!name.is_empty() && name.len() <= 64),
                Ok(ProfileAnswer::Ladder(ladder)) => {
                    prop_assert_eq!(ladder_problem(&ladder, "auto"), None);
                    prop_assert!(ladder.rungs.len() <= 16);
                }
                Ok(ProfileAnswer::Refused { .. }) => prop_assert_eq!(&value["allow"], &json!(false)),
                Err(error) => prop_assert!(error.to_string().len() < 500),
            }
        }
    }
}
