//! The flight recorder at work: one publish session is recorded, and saved where so much has to be repaired that
//! somebody should look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use wire::Traced;

use crate::flight::{Folder, Header, Recorder, Storm};
use crate::metrics::{Cause, Metrics};

/// Length of a segment.
const SEGMENT: Duration = Duration::from_secs(1);

/// Records one publish session.
pub(super) struct BlackBox {
    recorder: Arc<Recorder>,
    /// When the next segment begins.
    due: Instant,
    storm: Storm,
    header: Header,
    folder: Folder,
    metrics: Metrics,
    /// The disk may take long; media does not wait for it.
    saving: JoinSet<()>,
}

impl BlackBox {
    /// `header` says who is recorded; `storm` repairs within ten seconds have it saved.
    pub(super) fn new(
        recorder: Arc<Recorder>,
        storm: u64,
        header: Header,
        folder: Folder,
        metrics: Metrics,
    ) -> Self {
        Self {
            recorder,
            due: Instant::now(),
            storm: Storm::new(storm),
            header,
            folder,
            metrics,
            saving: JoinSet::new(),
        }
    }

    /// The session's state is wanted before the next read is fed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Begins a second with the session's state, and what there is of bodies that are not yet whole.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        state: Vec<u8>,
        unfinished: impl Iterator<Item = (u32, Bytes)>,
    ) {
        self.due = now + SEGMENT;
        self.recorder.turn(now, state, unfinished);
    }

    /// Takes in what was read, and what the session made of it.
    pub(super) fn read(&mut self, at: Instant, bytes: &[u8], traced: impl Iterator<Item = Traced>) {
        if self.recorder.read(at, bytes, traced) {
            self.due = at;
        }
    }

    /// What has come in part names the key.
    pub(super) fn forget_unfinished(&self) {
        self.recorder.forget_unfinished();
    }

    /// Looks at the count of all that was put right or dropped so far, about once a second.
    pub(super) fn look(&mut self, now: Instant, repairs: u64) {
        let Some(repairs) = self.storm.look(now, repairs) else { return };
        while self.saving.try_join_next().is_some() {}
        let (recorder, header, folder) =
            (Arc::clone(&self.recorder), self.header.clone(), self.folder.clone());
        let metrics = self.metrics.clone();
        self.saving.spawn_blocking(move || {
            let stream = &header.stream;
            match folder.save(&header, &recorder.excerpt()) {
                Ok(saved) => {
                    metrics.flight_saved.get_or_create(&Cause { cause: "storm" }).inc();
                    tracing::warn!(
                        %stream, repairs, file = %saved.file.display(), seconds = saved.seconds,
                        "much of what the publisher sends has to be repaired; what it sent is saved: \
                         `media-server replay FILE` shows what is wrong with it"
                    );
                }
                Err(error) => tracing::warn!(
                    %stream, repairs, %error,
                    "much of what the publisher sends has to be repaired, and what it sent could not be saved"
                ),
            }
        });
    }

    /// Waits for what is being written.
    pub(super) async fn close(self) {
        self.saving.join_all().await;
    }
}
