//! `[profile_hook]`: who is asked which ladder a source is to have, once its tracks are known.

use serde::{Deserialize, Serialize};

/// `[profile_hook]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileHook {
    /// It is asked.
    pub enabled: bool,
    /// Where; `""` means `url` of `[admission]`.
    pub url: String,
    /// How long it may take.
    pub timeout_ms: u64,
    /// What is done where there is no connection, or no answer in time.
    pub unanswered: Fallback,
    /// What is done where it refuses the source.
    pub refused: Fallback,
    /// What is done where its answer is none: no ladder, an unknown one, or one that cannot be made.
    pub unusable: Fallback,
}

/// What is done without a ladder from the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The ladder that it was admitted with.
    UseAdmitted,
    /// The source as it comes.
    SourceOnly,
    /// The publisher is ended.
    Refuse,
}

impl Default for ProfileHook {
    fn default() -> Self {
        Self {
            enabled: false,
            url: String::new(),
            timeout_ms: 1500,
            unanswered: Fallback::UseAdmitted,
            refused: Fallback::Refuse,
            unusable: Fallback::UseAdmitted,
        }
    }
}
