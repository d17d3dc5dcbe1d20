//! Rungs of sound that nobody hears are not made. Each is made until it has media, which shows that it can be, and is listed all the
//! time; who asks for it gets it at once, since the last frames of its sound are kept for it.

use media::segmenter::Edge;
use media::{AccessUnit, Span};

use super::rendition::{Offer, Track};
use super::run::{Outcome, Run};
use super::sound_rung::{Kept, SoundRung, SoundRungRequest};

/// What a decoder and an encoder are given before the first segment, to have begun with it.
const WARM_UP: Span = Span::from_millis(150);

impl SoundRung {
    pub(super) fn is_parked(&self) -> bool {
        self.track.as_ref().is_some_and(|track| track.offered() == Offer::Parked)
    }

    fn is_called(&self) -> bool {
        self.is_parked() && self.track.as_ref().is_some_and(Track::is_called)
    }
}

impl Run {
    /// How many are not made for want of anybody who hears them.
    pub(super) fn parked_sounds(&self) -> usize {
        self.sounds.iter().flat_map(|sound| &sound.rungs).filter(|rung| rung.is_parked()).count()
    }

    /// What nobody has heard for a while is not made. Asked at each edge.
    pub(super) fn park_sounds(&mut self) -> Outcome {
        let Some(within) = self.settings.park else { return Outcome::default() };
        let mut parked = Vec::new();
        for rung in self.sounds.iter_mut().flat_map(|sound| &mut sound.rungs) {
            let Some(track) = rung.track.as_mut().filter(|track| track.published) else { continue };
            if track.is_wanted(within) {
                continue;
            }
            track.rest(Offer::Parked, self.discontinuities);
            // Who asked in this very moment was not heard.
            if track.is_wanted(within) {
                track.rendition.want();
            }
            parked.push(track.rendition.name.to_string());
            // What its encoder still gives goes nowhere.
            (rung.encoder, rung.heard, rung.frames) = (0, 0, None);
        }
        // A segment and what there is of the next one: a player begins with a whole one.
        let since = self.edges.iter().rev().nth(1).map(|edge| edge.at);
        for sound in &mut self.sounds {
            if sound.rungs.is_empty() {
                continue;
            }
            let Kept(recent) = sound.recent.get_or_insert_default();
            let is_old = |unit: &AccessUnit| since.is_some_and(|since| unit.pts + WARM_UP < since);
            while recent.front().is_some_and(is_old) {
                recent.pop_front();
            }
        }
        if parked.is_empty() {
            return Outcome::default();
        }
        tracing::info!(stream = %self.name, rungs = parked.join(" "), "nobody hears them: these rungs are not made");
        self.metrics.rungs_changed("parked", parked.len());
        self.count_rungs();
        Outcome { changed: true }
    }

    /// Somebody wants to hear what is not made.
    pub(super) fn wake_sounds(&mut self) -> Outcome {
        let Self { sounds, encoders_of_sound: encoders, edges, discontinuities, name, .. } = self;
        let mut began = Vec::new();
        for sound in sounds {
            let recent = sound.recent.as_ref().map(|Kept(frames)| frames);
            // Of the segment in whose middle the kept frames begin nothing is made.
            let begins =
                recent.and_then(|frames| frames.front()).map(|first| first.pts - first.duration.half());
            let known = |edge: &&Edge| begins.is_some_and(|begins| begins <= edge.at);
            for rung in sound.rungs.iter_mut().filter(|rung| rung.is_called()) {
                let (source, wish) = (rung.source.clone(), rung.wish.clone());
                let (encoder, frames) =
                    encoders.start(SoundRungRequest { stream: name.to_string(), source, wish });
                (rung.encoder, rung.heard, rung.frames) = (encoder, encoder, Some(frames));
                if let Some(track) = &mut rung.track {
                    track.resume(*discontinuities, edges.iter().filter(known));
                    began.push(track.rendition.name.to_string());
                }
                recent.into_iter().flatten().for_each(|unit| rung.feed(unit));
            }
        }
        if began.is_empty() {
            return Outcome::default();
        }
        tracing::info!(stream = %self.name, rungs = began.join(" "), "somebody listens: these rungs are made");
        self.metrics.rungs_changed("woken", began.len());
        self.count_rungs();
        Outcome { changed: true }
    }
}
