//! The stream's own bits as they go on the air, for whoever sends them elsewhere. Nobody is waited for: who is too slow
//! loses units and finds the next keyframe.

use std::sync::Arc;

use media::{AccessUnit, AudioFormat, VideoFormat};
use tokio::sync::broadcast;

/// Units that may wait for a listener: some seconds of audio and video.
const WAITING: usize = 1024;

/// One unit on the air, with what it decodes by.
#[derive(Clone, Debug)]
pub enum Tapped {
    /// A picture of the source.
    Video(Arc<VideoFormat>, AccessUnit),
    /// Sound.
    Audio(Arc<AudioFormat>, AccessUnit),
}

/// Where a stream lets others listen.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    listeners: broadcast::Sender<Tapped>,
    video: Option<Arc<VideoFormat>>,
    audio: Option<Arc<AudioFormat>>,
}

impl Tap {
    pub(super) fn new() -> Self {
        Self { listeners: broadcast::Sender::new(WAITING), video: None, audio: None }
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Tapped> {
        self.listeners.subscribe()
    }

    pub(super) fn video(&mut self, format: Option<&VideoFormat>, unit: &AccessUnit) {
        if self.listeners.receiver_count() == 0 {
            return;
        }
        if let Some(format) = current(&mut self.video, format) {
            // Nobody may be left meanwhile.
            let _heard = self.listeners.send(Tapped::Video(format, unit.clone())).is_ok();
        }
    }

    pub(super) fn audio(&mut self, format: Option<&AudioFormat>, unit: &AccessUnit) {
        if self.listeners.receiver_count() == 0 {
            return;
        }
        if let Some(format) = current(&mut self.audio, format) {
            let _heard = self.listeners.send(Tapped::Audio(format, unit.clone())).is_ok();
        }
    }
}

/// The shared copy of a format, made anew where it changed.
fn current<F: Clone + PartialEq>(kept: &mut Option<Arc<F>>, format: Option<&F>) -> Option<Arc<F>> {
    if kept.as_deref() != format {
        *kept = format.map(|format| Arc::new(format.clone()));
    }
    kept.clone()
}
