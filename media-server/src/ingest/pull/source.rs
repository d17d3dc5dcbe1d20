//! One source: when it is fetched, and what happens when it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wire::PullUrl;

use super::receive;
use crate::backoff::Backoff;
use crate::ingest::Desk;
use crate::live::{SourcePhase, SourceStart, SourceState, Want};

/// A source that has lived this long starts over with short pauses.
const STEADY: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Source {
    pub(super) desk: Desk,
    pub(super) url: PullUrl,
    pub(super) state: Arc<SourceState>,
    /// Where it is fetched only while somebody wants to see it.
    pub(super) want: Option<Arc<Want>>,
}

/// Why an attempt is over.
#[derive(Debug)]
pub(super) enum Over {
    /// Nobody wants to see it any more.
    Unwanted,
    /// In words.
    Failed(String),
}

impl Source {
    pub(super) fn new(desk: Desk, url: PullUrl, state: Arc<SourceState>) -> Self {
        let want = match state.start {
            SourceStart::Always => None,
            SourceStart::OnDemand => Some(desk.directory.wants().offer(&state.stream)),
        };
        Self { desk, url, state, want }
    }

    /// Until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            if let Some(want) = &self.want {
                self.state.set(SourcePhase::Idle, None);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = want.asked() => {}
                }
                // Asked while it was there already, and since then nobody.
                if self.is_unwanted() {
                    continue;
                }
            }
            while !stop.is_cancelled() {
                self.state.set(SourcePhase::Connecting, None);
                let began = Instant::now();
                // It ends by itself at a stop, so that the end of its session is told.
                let over = Box::pin(receive::attempt(&self, &stop)).await;
                if let Some(want) = &self.want {
                    want.set_live(false);
                }
                let Over::Failed(error) = over else { break };
                if stop.is_cancelled() {
                    break;
                }
                if began.elapsed() >= STEADY {
                    backoff.reset();
                }
                let pause = backoff.next(rand::random());
                tracing::warn!(stream = %self.state.stream, source = %self.url, error, again_in = ?pause, "source failed");
                self.state.set(SourcePhase::Waiting, Some(error));
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                if self.is_unwanted() {
                    break;
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        tracing::info!(stream = %self.state.stream, source = %self.url, "source ended");
    }

    /// Nobody has wanted to see it for a while.
    pub(super) fn is_unwanted(&self) -> bool {
        let idle = self.desk.rules.load().source_idle;
        self.want.as_ref().is_some_and(|want| !want.within(idle))
    }

    /// Something has come.
    pub(super) fn live(&self) {
        self.state.set(SourcePhase::Live, None);
        if let Some(want) = &self.want {
            want.set_live(true);
        }
        tracing::info!(stream = %self.state.stream, source = %self.url, "source is live");
    }
}
