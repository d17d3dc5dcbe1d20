//! The stream's own bits as they go on the air, for whoever sends them elsewhere. Nobody is waited for: who is too slow
//! loses units and finds the next keyframe.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use media::{AccessUnit, AudioFormat, Format, Language, VideoFormat};
use tokio::sync::broadcast;

use super::sound;

/// Units that may wait for a listener: some seconds of audio and video.
const WAITING: usize = 1024;

/// One unit of a track, with what it decodes by.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// Which of the sounds it belongs to; 0 of a picture.
    pub sound: u8,
    /// The sound's language, where it is known.
    pub language: Option<Language>,
    /// How it decodes.
    pub format: Arc<Format>,
    /// The unit.
    pub unit: AccessUnit,
}

/// Where a stream lets others listen.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    listeners: broadcast::Sender<Tapped>,
    /// Of what is beside the renditions.
    beside: broadcast::Sender<Tapped>,
    /// Somebody cannot go on without a keyframe.
    wish: Arc<AtomicBool>,
    video: Option<Arc<Format>>,
    /// By the sound.
    audio: [Option<Arc<Format>>; sound::MOST],
}

impl Tap {
    pub(super) fn new() -> Self {
        let (listeners, beside) = (broadcast::Sender::new(WAITING), broadcast::Sender::new(WAITING));
        Self { listeners, beside, wish: Arc::default(), video: None, audio: Default::default() }
    }

    pub(super) fn wish(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wish)
    }

    pub(super) fn listen_beside(&self) -> broadcast::Receiver<Tapped> {
        self.beside.subscribe()
    }

    pub(super) fn beside(&self, tapped: Tapped) {
        // Nobody may be there.
        let _heard = self.beside.send(tapped).is_ok();
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Tapped> {
        self.listeners.subscribe()
    }

    pub(super) fn video(&mut self, format: Option<&VideoFormat>, unit: &AccessUnit) {
        let Some(format) = format.filter(|_| self.listeners.receiver_count() > 0) else { return };
        let same = |kept: &Format| matches!(kept, Format::Video(kept) if kept == format);
        let shared = current(&mut self.video, same, || Format::Video(format.clone()));
        self.give(Tapped { sound: 0, language: None, format: shared, unit: unit.clone() });
    }

    pub(super) fn audio(
        &mut self,
        index: usize,
        language: Option<Language>,
        format: Option<&AudioFormat>,
        unit: &AccessUnit,
    ) {
        let Some(format) = format.filter(|_| self.listeners.receiver_count() > 0) else { return };
        let same = |kept: &Format| matches!(kept, Format::Audio(kept) if kept == format);
        let (Some(kept), Ok(sound)) = (self.audio.get_mut(index), u8::try_from(index)) else { return };
        let shared = current(kept, same, || Format::Audio(format.clone()));
        self.give(Tapped { sound, language, format: shared, unit: unit.clone() });
    }

    fn give(&self, tapped: Tapped) {
        // Nobody may be left meanwhile.
        let _heard = self.listeners.send(tapped).is_ok();
    }
}

/// The shared copy of a format, made anew where it changed.
fn current(
    kept: &mut Option<Arc<Format>>,
    same: impl Fn(&Format) -> bool,
    make: impl Fn() -> Format,
) -> Arc<Format> {
    match kept {
        Some(known) if same(known) => Arc::clone(known),
        _ => Arc::clone(kept.insert(Arc::new(make()))),
    }
}
