//! What stands in while nothing comes: the last keyframe, again and again, and silence. The timeline goes on, so
//! players neither stall nor lose their place, and whoever publishes next is joined in the same playlists.
//!
//! A keyframe decodes on its own, so that it can be repeated without an encoder, at any size and in any codec; each
//! repetition fills a part. Renditions that are encoded get it through the encoder like everything else.

use std::time::Instant;

use media::{AccessUnit, Span, Timestamp};

use super::publisher::Track;
use super::run::{Outcome, Run};
use super::sound::Missing;

/// The most that is made up for at once; a machine that slept longer has a gap.
const MOST_AT_ONCE: Span = Span::from_millis(5_000);

impl Run {
    /// When the next held picture or silence is due. None: there is nothing to hold.
    pub(super) fn hold_due(&self, video: bool, sounds: Missing) -> Option<Instant> {
        let picture = self.source.splice.end().filter(|_| video && self.source.keyframe.is_some());
        let missing = self.sounds.iter().enumerate().filter(|(index, _)| sounds.contains(*index));
        let heard = missing.filter(|(_, sound)| sound.track.is_some());
        let due = heard.filter_map(|(_, sound)| sound.splice.end()).chain(picture).min();
        due.filter(|_| self.open).map(|at| self.instant(at))
    }

    /// Holds up to the stream's time of this moment.
    pub(super) fn hold(&mut self, video: bool, sounds: Missing) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.open {
            return outcome;
        }
        let now = self.now();
        if video {
            outcome |= self.hold_source(now);
            outcome |= self.hold_others(now);
        }
        outcome |= self.hold_sounds(sounds, now);
        outcome
    }

    /// Holds what a slate does not have: further tracks, and these sounds.
    pub(super) fn hold_beside_source(&mut self, sounds: Missing) -> Outcome {
        let now = self.now();
        let mut outcome = self.hold_others(now);
        outcome |= self.hold_sounds(sounds, now);
        outcome
    }

    fn hold_source(&mut self, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(keyframe) = self.source.keyframe.clone() else { return outcome };
        for held in repeat(&keyframe, self.source.splice.end(), now, self.settings.targets.part) {
            // What is held is not a keyframe to go back to: the real one stays.
            self.source.interrupted = true;
            if let Some(held) = self.source.splice.place(held) {
                outcome |= self.video(held, None, true);
            }
        }
        outcome
    }

    fn hold_others(&mut self, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let part = self.settings.targets.part;
        let due: Vec<_> = self
            .others
            .iter_mut()
            .filter_map(|other| {
                other.source.interrupted = true;
                let keyframe = other.source.keyframe.as_ref()?;
                Some((other.number, repeat(keyframe, other.source.splice.end(), now, part)))
            })
            .collect();
        for (number, units) in due {
            for unit in units {
                outcome |= self.unit(Track::Video(number), unit, None);
            }
        }
        outcome
    }

    fn hold_sounds(&mut self, sounds: Missing, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        for index in (0..self.sounds.len()).filter(|index| sounds.contains(*index)) {
            outcome |= self.hold_sound(index, now);
        }
        outcome
    }

    pub(super) fn hold_sound(&mut self, index: usize, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(sound) = self.sounds.get_mut(index) else { return outcome };
        let Some(frame) = sound.silent_frame() else { return outcome };
        let silence = repeat(&frame, sound.splice.end(), now, frame.duration);
        let placed: Vec<_> = silence.into_iter().filter_map(|silent| sound.splice.place(silent)).collect();
        for silent in placed {
            outcome |= self.audio(index, silent);
        }
        outcome
    }
}

/// `unit` from `end` to `now`, one after the other.
pub(super) fn repeat(
    unit: &AccessUnit,
    end: Option<Timestamp>,
    now: Timestamp,
    every: Span,
) -> Vec<AccessUnit> {
    let mut units = Vec::new();
    let Some(end) = end.filter(|_| every > Span::ZERO) else { return units };
    let mut at = if now - end > MOST_AT_ONCE { now } else { end };
    while at <= now {
        units.push(AccessUnit {
            dts: at,
            pts: at,
            duration: every,
            keyframe: true,
            payload: unit.payload.clone(),
        });
        at += every;
    }
    units
}
