//! One push: connects, publishes, sends what is on the air; after a failure waits, and tries again until the stream
//! is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::PushTarget;

use super::{rtmp, srt};
use crate::backoff::Backoff;
use crate::live::{Phase, PushState, StreamHandle};

/// A push that has lived this long starts over with short pauses.
const STEADY: Duration = Duration::from_secs(30);

pub(super) struct Push {
    name: Arc<str>,
    target: PushTarget,
    pub(super) stream: StreamHandle,
    pub(super) state: Arc<PushState>,
    pub(super) authorities: Arc<ArcSwap<PathBuf>>,
}

impl Push {
    pub(super) fn new(
        target: PushTarget,
        stream: StreamHandle,
        state: Arc<PushState>,
        authorities: Arc<ArcSwap<PathBuf>>,
    ) -> Self {
        let name = Arc::clone(&stream.snapshot().name);
        Self { name, target, stream, state, authorities }
    }

    /// Until the stream ends, or `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut snapshots = self.stream.watch();
        let over = async {
            // An error: the stream is gone.
            let _ended = snapshots.wait_for(|snapshot| snapshot.phase == Phase::Ended).await.is_ok();
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = over => {}
            () = self.again_and_again() => {}
        }
        self.state.stopped();
        tracing::info!(stream = %self.name, target = %self.target, bytes = self.state.bytes(), "push ended");
    }

    async fn again_and_again(&self) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let error = self.attempt().await;
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            let pause = backoff.next(rand::random());
            tracing::warn!(stream = %self.name, target = %self.target, error, again_in = ?pause, "push failed");
            self.state.failed(error);
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection; why it ended.
    async fn attempt(&self) -> String {
        self.state.attempt();
        let ended = match &self.target {
            PushTarget::Rtmp(url) => rtmp::send(self, url).await,
            PushTarget::Srt(url) => srt::send(self, url).await,
        };
        match ended {
            Ok(()) => "the stream has nothing more to send".into(),
            Err(error) => error,
        }
    }

    /// The other server takes it.
    pub(super) fn live(&self) {
        self.state.live();
        tracing::info!(stream = %self.name, target = %self.target, "push is live");
    }
}
