//! Streams that are fetched from elsewhere: what is wished, and how it fares, for API and metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// When a stream is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceStart {
    /// All the time.
    #[default]
    Always,
    /// While somebody wants to see it.
    OnDemand,
}

/// A stream to be fetched.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceWish {
    /// The stream's public name.
    pub stream: String,
    /// From where. It may hold secrets.
    pub url: String,
    /// Its ladder profile.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// When.
    #[serde(default)]
    pub start: SourceStart,
}

fn default_profile() -> String {
    "default".into()
}

/// Where a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePhase {
    /// Nobody wants to see it.
    Idle,
    /// The other side is asked.
    Connecting,
    /// It sends.
    Live,
    /// It did not, or does not any more; tried again soon.
    Waiting,
}

impl SourcePhase {
    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Waiting => "waiting",
        }
    }
}

/// What is known of a source now.
#[derive(Clone, Debug)]
pub struct SourceNow {
    /// Where it is.
    pub phase: SourcePhase,
    /// Since when.
    pub since: SystemTime,
    /// Connections tried.
    pub attempts: u64,
    /// Why it last failed.
    pub error: Option<String>,
}

/// One source. The ingest writes, the API reads.
#[derive(Debug)]
pub struct SourceState {
    /// The stream's public name.
    pub stream: String,
    /// The address without its secrets.
    pub shown: String,
    /// Its ladder profile.
    pub profile: String,
    /// When it is fetched.
    pub start: SourceStart,
    /// It is in the configuration file, and can be taken away only there.
    pub configured: bool,
    now: Mutex<SourceNow>,
}

impl SourceState {
    /// One that is about to begin.
    pub fn new(wish: &SourceWish, shown: String, configured: bool) -> Self {
        let phase = match wish.start {
            SourceStart::Always => SourcePhase::Connecting,
            SourceStart::OnDemand => SourcePhase::Idle,
        };
        Self {
            stream: wish.stream.clone(),
            shown,
            profile: wish.profile.clone(),
            start: wish.start,
            configured,
            now: Mutex::new(SourceNow { phase, since: SystemTime::now(), attempts: 0, error: None }),
        }
    }

    /// How it fares.
    pub fn now(&self) -> SourceNow {
        self.lock().clone()
    }

    /// It is there now; `error`: why it is not where it should be.
    pub fn set(&self, phase: SourcePhase, error: Option<String>) {
        let mut now = self.lock();
        now.phase = phase;
        now.since = SystemTime::now();
        now.attempts += u64::from(phase == SourcePhase::Connecting);
        // What went wrong is shown until it goes well.
        if error.is_some() || phase == SourcePhase::Live {
            now.error = error;
        }
    }

    fn lock(&self) -> MutexGuard<'_, SourceNow> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
