//! A run's sounds in other codecs or with fewer bits: the rungs of sound that its profile wishes. Each is made of what goes
//! into its sound's own track, silence and all, by an encoder of its own. `live` does not know who encodes: the wiring gives
//! it a [`SoundRungFactory`].
//!
//! What is made comes a little after what it is made of. So its discontinuities are placed by media sequence number, where
//! the tracks that it is beside have theirs at once: nothing that is on its way then is lost.

use std::collections::VecDeque;
use std::sync::Arc;

use media::ladder::SoundWish;
use media::{AccessUnit, AudioFormat, Format};
use tokio::sync::mpsc;

use super::flow::push;
use super::rendition::{Offer, Rendition, Track};
use super::run::{Outcome, Run};
use super::stream::Stream;

/// What encoders made and the stream has not taken yet: some seconds of several rungs.
const WAITING: usize = 1024;
/// Frames of a sound that are kept for rungs that begin later: as many as wait for an encoder.
const MOST_KEPT: usize = 256;

/// What an encoder of sound is asked for.
#[derive(Clone, Debug)]
pub struct SoundRungRequest {
    /// The stream's public name, for logs.
    pub stream: String,
    /// How its frames are coded.
    pub source: AudioFormat,
    /// What is made of them.
    pub wish: SoundWish,
}

/// Starts an encoder, which gives what it makes to the outlet, and ends when the sender is dropped.
pub type SoundRungFactory =
    Arc<dyn Fn(SoundRungRequest, SoundRungOutlet) -> mpsc::Sender<AccessUnit> + Send + Sync>;

/// What comes of one encoder.
#[derive(Debug)]
enum Made {
    /// How its frames decode from here on.
    Format(AudioFormat),
    Frame(AccessUnit),
    /// It cannot begin, and is not tried again.
    Failed(String),
}

/// Where one encoder gives what it makes.
#[derive(Clone, Debug)]
pub struct SoundRungOutlet {
    encoder: u64,
    made: mpsc::Sender<(u64, Made)>,
}

impl SoundRungOutlet {
    /// How its frames decode from here on. False: the stream is gone.
    pub fn format(&self, format: AudioFormat) -> bool {
        self.send(Made::Format(format))
    }

    /// A frame. False: the stream is gone.
    pub fn frame(&self, unit: AccessUnit) -> bool {
        self.send(Made::Frame(unit))
    }

    /// The rung cannot be made. Why, in plain words.
    pub fn failed(&self, reason: String) {
        self.send(Made::Failed(reason));
    }

    /// Resolves when the stream has gone.
    pub async fn closed(&self) {
        self.made.closed().await;
    }

    fn send(&self, made: Made) -> bool {
        // A stream that takes nothing in for so long has other troubles.
        !matches!(self.made.try_send((self.encoder, made)), Err(mpsc::error::TrySendError::Closed(_)))
    }
}

/// Rungs of one wish, of all sounds in their order.
#[derive(Clone)]
pub struct SoundGroup {
    /// The wish's name.
    pub name: Arc<str>,
    /// Those with media.
    pub sounds: Vec<Rendition>,
    /// Each sound that is offered is among them: only then the group is.
    pub whole: bool,
}

/// A run's encoders of sound.
pub(super) struct SoundEncoders {
    factory: SoundRungFactory,
    sender: mpsc::Sender<(u64, Made)>,
    made: mpsc::Receiver<(u64, Made)>,
    /// Number of the newest.
    newest: u64,
}

impl SoundEncoders {
    pub(super) fn new(factory: SoundRungFactory) -> Self {
        let (sender, made) = mpsc::channel(WAITING);
        Self { factory, sender, made, newest: 0 }
    }

    /// Starts one; its number, and where its frames go.
    pub(super) fn start(&mut self, request: SoundRungRequest) -> (u64, mpsc::Sender<AccessUnit>) {
        self.newest = self.newest.saturating_add(1);
        let outlet = SoundRungOutlet { encoder: self.newest, made: self.sender.clone() };
        (self.newest, (self.factory)(request, outlet))
    }
}

/// One rung of one sound.
pub(super) struct SoundRung {
    pub(super) wish: SoundWish,
    /// How what its encoder is given is coded.
    pub(super) source: AudioFormat,
    /// The newest encoder, and where its frames go, as long as more are to come.
    pub(super) encoder: u64,
    pub(super) frames: Option<mpsc::Sender<AccessUnit>>,
    /// The encoder whose frames the track gets: the one before, until the newest has said what it makes.
    pub(super) heard: u64,
    /// The media sequence number that it begins with: none that was begun without it.
    first: u64,
    pub(super) track: Option<Track>,
    failed: Option<String>,
}

impl SoundRung {
    /// A frame of its sound.
    pub(super) fn feed(&self, unit: &AccessUnit) {
        if self.frames.as_ref().is_some_and(|frames| frames.try_send(unit.clone()).is_err()) {
            tracing::debug!(rung = self.wish.name, "the encoder of sound is behind: a frame is left out");
        }
    }

    /// It has media, or never will, or not now.
    pub(super) fn is_settled(&self) -> bool {
        self.failed.is_some() || self.track.as_ref().is_some_and(Track::is_there)
    }

    /// Nothing more is to come: its encoder ends.
    pub(super) fn stop(&mut self) {
        self.frames = None;
    }

    fn end(&mut self) {
        self.stop();
        if let Some(mut track) = self.track.take() {
            track.packager.end();
            track.publish();
        }
    }

    /// It cannot be made any more: who hears it is sent away, to another one.
    fn give_up(&mut self, reason: String, discontinuities: u64) {
        self.stop();
        self.failed = Some(reason);
        if let Some(track) = &mut self.track {
            track.rest(Offer::Shed, discontinuities);
        }
    }
}

/// Frames of a sound that its rungs may have to begin with.
#[derive(Default)]
pub(super) struct Kept(pub(super) VecDeque<AccessUnit>);

impl Kept {
    pub(super) fn keep(&mut self, unit: &AccessUnit) {
        if self.0.len() >= MOST_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(unit.clone());
    }
}

impl Run {
    /// Every sound has the rungs that the profile wishes, made of what it is now. Asked at each keyframe, and where a sound
    /// becomes known or another.
    pub(super) fn plan_sound_rungs(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if self.choice.is_awaited() {
            for sound in &mut self.sounds {
                sound.undecided.get_or_insert_default();
            }
            return outcome;
        }
        for index in 0..self.sounds.len() {
            outcome |= self.plan_rungs_of(index);
        }
        outcome
    }

    fn plan_rungs_of(&mut self, index: usize) -> Outcome {
        let next = self.clock.next_msn();
        let Self { sounds, profile, encoders_of_sound: encoders, name, .. } = self;
        let Some(sound) = sounds.get_mut(index) else { return Outcome::default() };
        let Some(source) = sound.format.clone() else { return Outcome::default() };
        let mut outcome = Outcome::default();
        let undecided = sound.undecided.take();
        // Of what has begun without it a rung has the next segment at first, and none in part.
        let first = if sound.begun && undecided.is_none() { next } else { 0 };
        sound.rungs.retain_mut(|rung| {
            let wished = profile.sounds.contains(&rung.wish);
            if !wished {
                rung.end();
                outcome.changed = true;
            }
            wished
        });
        for wish in &profile.sounds {
            let known = sound.rungs.iter_mut().find(|rung| rung.wish == *wish);
            if known.as_ref().is_some_and(|rung| rung.source == source) {
                continue;
            }
            let start = |encoders: &mut SoundEncoders| {
                let (stream, source, wish) = (name.to_string(), source.clone(), wish.clone());
                encoders.start(SoundRungRequest { stream, source, wish })
            };
            if let Some(rung) = known {
                rung.source = source.clone();
                // The next encoder of what nobody hears is told.
                if !rung.is_parked() {
                    // What it has been given still comes out.
                    let (encoder, frames) = start(encoders);
                    (rung.encoder, rung.frames, rung.failed) = (encoder, Some(frames), None);
                }
                continue;
            }
            let (encoder, frames) = start(encoders);
            let rung = SoundRung {
                wish: wish.clone(),
                source: source.clone(),
                encoder,
                frames: Some(frames),
                heard: encoder,
                first,
                track: None,
                failed: None,
            };
            for unit in undecided.iter().flat_map(|kept| &kept.0) {
                rung.feed(unit);
            }
            sound.rungs.push(rung);
        }
        outcome
    }

    /// What an encoder of sound made.
    fn sound_made(&mut self, encoder: u64, made: Made) -> Outcome {
        let of = |rung: &SoundRung| rung.encoder == encoder || rung.heard == encoder;
        let found = self.sounds.iter().enumerate().find_map(|(index, sound)| {
            let at = sound.rungs.iter().position(of)?;
            Some((index, at, sound.rungs.get(at)?.first))
        });
        let Some((index, at, first)) = found else { return Outcome::default() };
        let fresh = matches!(made, Made::Format(_)).then(|| self.packager_from(first));
        let discontinuities = self.discontinuities;
        let Some(sound) = self.sounds.get_mut(index) else { return Outcome::default() };
        let (language, base) = (sound.language(), sound.track.as_ref().map(|it| it.rendition.name.clone()));
        let Some(rung) = sound.rungs.get_mut(at) else { return Outcome::default() };
        let mut outcome = Outcome::default();
        match (made, fresh, base) {
            (Made::Format(format), Some(packager), Some(base)) => {
                rung.heard = encoder;
                let format = Format::Audio(format);
                if let Some(track) = rung.track.as_mut().filter(|track| track.offered() == Offer::Shed) {
                    // It was given up, and can be made of what the sound is now.
                    track.resume(discontinuities, []);
                }
                match &mut rung.track {
                    Some(track) if track.rendition.format == format => return outcome,
                    Some(track) => track.set_format(format),
                    None => {
                        let name = format!("{base}_{}", rung.wish.name);
                        let track = Track::new(&name, packager, format, rung.wish.bitrate, false);
                        let mut track = track.waking(&self.wake);
                        track.rendition.language = language;
                        rung.track = Some(track);
                    }
                }
                outcome.changed = true;
            }
            (Made::Frame(unit), ..) if rung.heard == encoder => {
                outcome |= push(rung.track.as_mut(), unit).outcome;
            }
            (Made::Failed(reason), ..) if rung.encoder == encoder => {
                tracing::warn!(stream = %self.name, rung = rung.wish.name, reason, "a rung of sound cannot be made");
                rung.give_up(reason, discontinuities);
                outcome.changed = true;
            }
            _ => {}
        }
        outcome |= self.settle();
        outcome
    }

    /// The rungs of sound with media, by wish.
    pub(super) fn sound_groups(&self) -> Vec<SoundGroup> {
        let shown = |track: &Option<Track>| {
            track.as_ref().filter(|track| track.is_there()).map(|track| track.rendition.clone())
        };
        let wishes = self.profile.sounds.iter();
        let groups = wishes.map(|wish| {
            let rung = |rungs: &[SoundRung]| shown(&rungs.iter().find(|rung| rung.wish == *wish)?.track);
            let offered = self.sounds.iter().filter(|sound| shown(&sound.track).is_some()).count();
            let sounds: Vec<_> = self.sounds.iter().filter_map(|sound| rung(&sound.rungs)).collect();
            SoundGroup { name: wish.name.as_str().into(), whole: sounds.len() == offered, sounds }
        });
        groups.filter(|group| !group.sounds.is_empty()).collect()
    }

    /// Wished rungs that are not there, with the reason.
    pub(super) fn all_missing(&self) -> Vec<(String, String)> {
        let mut missing = self.missing.clone();
        for rung in self.sounds.iter().flat_map(|sound| &sound.rungs) {
            let Some(reason) = &rung.failed else { continue };
            if !missing.iter().any(|(name, _)| *name == rung.wish.name) {
                missing.push((rung.wish.name.clone(), reason.clone()));
            }
        }
        missing
    }
}

/// What the encoders of sound made since.
#[derive(Default)]
pub(super) struct SoundBatch(Vec<(u64, Made)>);

/// Waits for some of it. Cancel safe.
pub(super) async fn next_sounds(encoders: &mut SoundEncoders, batch: &mut SoundBatch) {
    encoders.made.recv_many(&mut batch.0, 64).await;
}

impl Stream {
    /// Takes it in.
    pub(super) fn sounds_made(&mut self, batch: &mut SoundBatch) {
        let mut outcome = Outcome::default();
        for (encoder, made) in batch.0.drain(..) {
            outcome |= self.run.sound_made(encoder, made);
        }
        if outcome.changed {
            self.show();
        }
    }
}
