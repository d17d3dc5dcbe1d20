//! Gives streams their encoder: `live` asks for rungs, `transcode` makes them, neither knows the other.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use media::AccessUnit;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::live::{RungEvent, RungFactory, RungRequest, RungSink, Rungs, WorkerStatus};
use crate::transcode::{self, Limits, RungSpec, TranscodeSpec, Transcoder};

struct Sink {
    transcoder: Transcoder,
    /// Ends the worker when the stream lets go.
    _end: DropGuard,
}

impl RungSink for Sink {
    fn push(&self, unit: AccessUnit, edge: bool) {
        // An overrun has skipped to a keyframe and is counted in the status.
        if let Err(overrun) = self.transcoder.push(unit, edge) {
            tracing::debug!(%overrun, "encoder is behind");
        }
    }

    fn status(&self) -> WorkerStatus {
        let stats = self.transcoder.stats();
        WorkerStatus { pid: stats.pid, restarts: stats.restarts, dropped: stats.dropped }
    }
}

/// A factory whose workers are `program transcode-worker`, encode with `preset`, and live in `tasks` until `stop`.
pub(super) fn factory(
    program: PathBuf,
    preset: Arc<ArcSwap<String>>,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> RungFactory {
    Arc::new(move |request: RungRequest| {
        let spec = TranscodeSpec {
            stream: request.stream,
            video: request.source,
            rungs: request
                .rungs
                .into_iter()
                .map(|r| RungSpec {
                    name: r.name,
                    width: r.width,
                    height: r.height,
                    // Every frame is kept where the source's rate is low enough already.
                    fps: r.fps.filter(|_| r.every > 1),
                    video_bitrate: r.video_bitrate,
                })
                .collect(),
            preset: preset.load().to_string(),
            limits: Limits::default(),
        };
        let cancel = stop.child_token();
        let (transcoder, mut made, driver) = transcode::start(spec, program.clone(), cancel.clone());
        let (forward, events) = mpsc::channel(256);
        tasks.spawn(driver);
        tasks.spawn(async move {
            while let Some(event) = made.recv().await {
                if forward.send(translate(event)).await.is_err() {
                    return;
                }
            }
        });
        Rungs { sink: Arc::new(Sink { transcoder, _end: cancel.drop_guard() }), events }
    })
}

fn translate(event: transcode::RungEvent) -> RungEvent {
    match event {
        transcode::RungEvent::Format { rung, format } => RungEvent::Format { rung, format },
        transcode::RungEvent::Unit { rung, unit } => RungEvent::Unit { rung, unit },
        transcode::RungEvent::Restarted { reason } => RungEvent::Restarted { reason },
        transcode::RungEvent::Failed { reason } => RungEvent::Failed { reason },
    }
}
