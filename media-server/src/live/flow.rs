//! The way of a unit through a run: spliced onto what was, cut by the GOP clock, into its packagers and the encoder.

use std::time::{Duration, Instant};

use media::segmenter::Edge;
use media::{AccessUnit, Span, Timestamp};

use super::publisher;
use super::rendition::Track;
use super::run::{Outcome, Run};

/// How long the multivariant playlist waits for a planned rendition before it goes out without it.
pub(super) const READY_GRACE: Duration = Duration::from_millis(1500);
/// Audio alone for this long, with no word of a video track, is an audio-only stream.
const AUDIO_ONLY_AFTER: Span = Span::from_millis(1000);
/// Audio waits at most this long for the video that decides its segment edges.
const AUDIO_HOLD: Span = Span::from_millis(1500);
/// Segments that begin without a further track before it is named as missing.
const MISSED: u32 = 5;
/// Why the source is left out beside rungs that are made of it.
const TOO_FAR_APART: &str = "the source's keyframes are too far apart for aligned segments: set the encoder's keyframe \
    interval to the segment length";
const NOT_TOGETHER: &str = "the publisher sends it, and its keyframes are not where the source's are: give all tracks one \
                            keyframe interval, begun together";
/// Edges kept for renditions that start late (an encoder on its way).
const EDGES_KEPT: usize = 32;

impl Run {
    /// A unit of the publisher on the air. `arrived`: None for what was held and made by ourselves.
    pub(super) fn unit(
        &mut self,
        track: publisher::Track,
        unit: AccessUnit,
        arrived: Option<Instant>,
    ) -> Outcome {
        match track {
            publisher::Track::Audio(number) => {
                let mut outcome = Outcome::default();
                for index in 0..self.sounds.len() {
                    if self.sounds[index].from == number {
                        outcome |= self.frame(index, unit.clone());
                    }
                }
                outcome
            }
            publisher::Track::Video(0) => {
                let placed = self.source.splice.place(unit);
                placed.map_or_else(Outcome::default, |unit| self.video(unit, arrived, false))
            }
            publisher::Track::Video(number) => self.other(number, unit),
        }
    }

    /// `held`: it stands in for the source's own.
    pub(super) fn video(&mut self, unit: AccessUnit, arrived: Option<Instant>, held: bool) -> Outcome {
        let mut outcome = Outcome::default();
        self.consult(unit.keyframe && !held);
        if unit.keyframe {
            outcome |= self.plan();
            outcome |= self.plan_sound_rungs();
            self.source.keyframe = Some(unit.clone());
        }
        if !self.open {
            if !unit.keyframe {
                return outcome;
            }
            self.start(unit.pts);
        }
        self.tap.video(self.source.format.as_ref(), &unit);
        let edge = if held { self.clock.observe_held(&unit) } else { self.clock.observe(&unit) };
        if let Some(edge) = edge {
            outcome |= self.edge(edge);
            outcome |= self.park();
        }
        self.choice.keep(self.source.format.as_ref(), &unit, edge.is_some());
        if let Some(encoder) = &self.encoder {
            encoder.push(unit.clone(), edge.is_some());
            self.pace.given(&unit);
            outcome |= self.keep_pace();
        }
        let pushed = push(self.passthrough.as_mut(), unit);
        if let (Some(shown), Some(arrived)) = (pushed.part, arrived) {
            self.metrics.part_latency.observe(shown.saturating_duration_since(arrived).as_secs_f64());
        }
        outcome |= pushed.outcome;
        outcome |= self.release_audio();
        outcome |= self.settle();
        outcome
    }

    /// A unit of a further video track: cut where the source is cut.
    fn other(&mut self, number: u8, unit: AccessUnit) -> Outcome {
        let Some(other) = self.others.iter_mut().find(|other| other.number == number) else {
            return Outcome::default();
        };
        let Some(unit) = other.source.splice.place(unit) else { return Outcome::default() };
        if unit.keyframe {
            other.source.keyframe = Some(unit.clone());
        }
        let mut outcome = push(Some(&mut other.track), unit).outcome;
        outcome |= self.settle();
        outcome
    }

    /// A frame for the sound at this place.
    pub(super) fn frame(&mut self, index: usize, unit: AccessUnit) -> Outcome {
        let at = unit.pts;
        let Some(unit) = self.sounds[index].defer(unit) else { return self.hold_sound(index, at) };
        if std::mem::take(&mut self.sounds[index].joins) {
            self.silence_until(index, unit.pts);
        }
        let placed = self.sounds[index].splice.place(unit);
        placed.map_or_else(Outcome::default, |unit| self.audio(index, unit))
    }

    pub(super) fn audio(&mut self, index: usize, unit: AccessUnit) -> Outcome {
        let pts = unit.pts;
        let held = &mut self.sounds[index].held;
        held.push_back(unit);
        let first = held.front().map_or(pts, |u| u.pts);
        if index > 0 {
            self.sounds[index].bound();
        } else if !self.open {
            let no_video = self.expect.video == Some(false) || self.source.format.is_none();
            let waited = pts - first >= AUDIO_ONLY_AFTER;
            if no_video && (self.expect.video == Some(false) || waited) {
                self.start(first);
            } else {
                // Video is on its way: keep only what could still be beside its first keyframe.
                while self.sounds[0].held.front().is_some_and(|u| pts - u.pts > AUDIO_HOLD) {
                    self.sounds[0].held.pop_front();
                }
                return Outcome::default();
            }
        }
        let sound = &self.sounds[index];
        if let Some(unit) = sound.held.back().filter(|_| self.open) {
            self.tap.audio(index, sound.language(), sound.format.as_ref(), unit);
        }
        let mut outcome = self.release_audio();
        outcome |= self.settle();
        outcome
    }

    /// Media flows from `at` on.
    fn start(&mut self, at: Timestamp) {
        self.open = true;
        self.begin_grace(READY_GRACE);
        for sound in &mut self.sounds {
            while sound.held.front().is_some_and(|u| u.pts + u.duration.half() < at) {
                sound.held.pop_front();
            }
        }
    }

    fn edge(&mut self, edge: Edge) -> Outcome {
        self.edges.push_back(edge);
        if self.edges.len() > EDGES_KEPT {
            self.edges.pop_front();
        }
        // Behind what was, and before the packagers know of the edge.
        let turned = self.turn_sounds(edge);
        for track in self.tracks_mut() {
            track.packager.edge(edge);
        }
        let mut outcome = self.miss_others();
        outcome |= turned;
        outcome |= self.park_sounds();
        let aligned = self.clock.gop().aligned;
        if aligned == self.aligned {
            return outcome;
        }
        self.aligned = aligned;
        self.missing.retain(|(name, reason)| name != "source" || reason != TOO_FAR_APART);
        if aligned {
            tracing::info!(stream = %self.name, "the source's segments begin with keyframes again");
        } else {
            let keyframe_interval_s = self.clock.gop().longest.seconds();
            tracing::warn!(stream = %self.name, keyframe_interval_s, "{TOO_FAR_APART}");
            if !self.rungs.is_empty() {
                self.missing.push(("source".into(), TOO_FAR_APART.into()));
            }
        }
        outcome.changed = true;
        outcome
    }

    /// A further track that the publisher sends and that could never be cut with the source is named as missing.
    fn miss_others(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for other in self.others.iter_mut().filter(|other| !other.track.published) {
            other.missed = other.missed.saturating_add(1);
            if other.missed != MISSED {
                continue;
            }
            let (name, reason) = (other.track.rendition.name.to_string(), NOT_TOGETHER);
            tracing::warn!(stream = %self.name, track = other.number, rung = name, reason);
            self.missing.push((name, reason.into()));
            outcome.changed = true;
        }
        outcome
    }

    /// Audio goes on as far as the edges are decided; where video is absent or stalls, audio drives the clock.
    fn release_audio(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.open {
            return outcome;
        }
        let newest = self.sounds[0].held.back().map(|u| u.pts);
        if let (Some(newest), true) = (newest, self.source.format.is_some()) {
            while let Some(edge) = self.clock.idle(newest) {
                outcome |= self.edge(edge);
            }
        }
        while let Some(unit) = self.sounds[0].held.front() {
            if self.source.format.is_none() {
                if let Some(edge) = self.clock.observe(unit) {
                    outcome |= self.edge(edge);
                }
            } else if unit.pts + unit.duration > self.clock.known_until() {
                // Bounded: where video stays away, `idle` above moves the clock on.
                break;
            }
            let sound = &mut self.sounds[0];
            let Some(unit) = sound.held.pop_front() else { break };
            outcome |= sound.give(unit);
        }
        let known = self.clock.known_until();
        for sound in self.sounds.iter_mut().skip(1) {
            while sound.held.front().is_some_and(|unit| unit.pts + unit.duration <= known) {
                let Some(unit) = sound.held.pop_front() else { break };
                outcome |= sound.give(unit);
            }
        }
        outcome
    }
}

/// What pushing a unit did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    pub(super) outcome: Outcome,
    /// When something became available, if it did.
    pub(super) part: Option<Instant>,
}

/// Pushes a unit into a track and shows what became available.
pub(super) fn push(track: Option<&mut Track>, unit: AccessUnit) -> Pushed {
    let Some(track) = track else { return Pushed::default() };
    if !track.take(unit) {
        return Pushed::default();
    }
    let outcome = Outcome { changed: track.publish() };
    Pushed { outcome, part: Some(track.shown_at) }
}
