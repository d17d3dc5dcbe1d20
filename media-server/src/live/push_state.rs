//! How a push fares, for API and metrics. Never with the other server's key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::metrics::Metrics;

/// Where a push is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushPhase {
    /// The other server is asked.
    Connecting,
    /// It takes the stream.
    Live,
    /// It did not, or does not any more; tried again soon.
    Waiting,
    /// Over: the stream has ended, or the push was taken away.
    Stopped,
}

impl PushPhase {
    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Clone, Debug)]
struct Now {
    phase: PushPhase,
    since: SystemTime,
    error: Option<String>,
}

/// The state of one push.
#[derive(Debug)]
pub struct PushState {
    target: String,
    now: Mutex<Now>,
    attempts: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    metrics: PushMetrics,
}

/// Hides the metrics, which have no `Debug`.
struct PushMetrics(Metrics);

impl std::fmt::Debug for PushMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl PushState {
    /// A push that is about to begin; `target` is its address without the key.
    pub fn new(target: String, metrics: Metrics) -> Self {
        let now = Now { phase: PushPhase::Connecting, since: SystemTime::now(), error: None };
        Self {
            target,
            now: Mutex::new(now),
            attempts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            metrics: PushMetrics(metrics),
        }
    }

    /// The address without its key.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Where it is.
    pub fn phase(&self) -> PushPhase {
        self.now().phase
    }

    /// Since when it is there.
    pub fn since(&self) -> SystemTime {
        self.now().since
    }

    /// Why it last failed.
    pub fn error(&self) -> Option<String> {
        self.now().error.clone()
    }

    /// Connections tried.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Bytes sent.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Units that were left out because the other server was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// It is not over.
    pub fn is_running(&self) -> bool {
        self.phase() != PushPhase::Stopped
    }

    /// The other server is being asked.
    pub fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.metrics.0.restream("attempt");
        self.enter(PushPhase::Connecting, None);
    }

    /// It takes the stream.
    pub fn live(&self) {
        self.metrics.0.restream("live");
        self.enter(PushPhase::Live, None);
    }

    /// It does not, or no longer.
    pub fn failed(&self, error: String) {
        self.metrics.0.restream("failed");
        self.enter(PushPhase::Waiting, Some(error));
    }

    /// The push is over.
    pub fn stopped(&self) {
        let error = self.error();
        self.enter(PushPhase::Stopped, error);
    }

    /// So many bytes went out.
    pub fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many units were left out.
    pub fn lost(&self, units: u64) {
        self.dropped.fetch_add(units, Ordering::Relaxed);
    }

    /// An error stays to be seen until the push is live again.
    fn enter(&self, phase: PushPhase, error: Option<String>) {
        let mut now = self.now();
        let was_live = now.phase == PushPhase::Live;
        let error = if phase == PushPhase::Connecting { now.error.take() } else { error };
        *now = Now { phase, since: SystemTime::now(), error };
        match (was_live, phase == PushPhase::Live) {
            (false, true) => drop(self.metrics.0.restreams_live.inc()),
            (true, false) => drop(self.metrics.0.restreams_live.dec()),
            _ => {}
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
