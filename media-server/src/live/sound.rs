//! A run's sounds: the first, which is played unless a viewer says otherwise, and those in other languages. Each is a
//! rendition. It gets the publisher's sound of its language, and where that publisher has none its first: a viewer of a
//! language that a backup does not have hears something.

use std::collections::VecDeque;

use media::segmenter::Edge;
use media::splice::AudioSplice;
use media::timeline::MOST_FURTHER;
use media::{AccessUnit, AudioFormat, Format, Language, Span, Timestamp, silence};

use super::flow::push;
use super::hold::repeat;
use super::rendition::{Rendition, Track};
use super::run::{Outcome, Run};
use super::sound_rung::{Kept, SoundRung};

/// Sounds of one publisher, and of one run.
pub(super) const MOST: usize = MOST_FURTHER + 1;
/// Frames of a further sound that wait for the edges of the picture.
const MOST_HELD: usize = 512;

/// One of a publisher's sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// 0 is the first.
    pub number: u8,
    /// In which language it is, where that is said.
    pub language: Option<Language>,
}

/// What tells one sound from another: its language, and the how manieth of that language it is.
type Kind = (Option<Language>, usize);

/// What each voice is, with its number.
fn kinds(voices: &[Voice]) -> Vec<(u8, Kind)> {
    let nth =
        |before: &[Voice], voice: &Voice| before.iter().filter(|it| it.language == voice.language).count();
    let each = voices.iter().enumerate();
    each.map(|(at, voice)| (voice.number, (voice.language, nth(voices.get(..at).unwrap_or_default(), voice))))
        .collect()
}

/// See the module.
#[derive(Default)]
pub(super) struct Sound {
    /// The number of the publisher's sound that it gets.
    pub(super) from: u8,
    /// None until somebody has said what it is.
    kind: Option<Kind>,
    pub(super) format: Option<AudioFormat>,
    pub(super) track: Option<Track>,
    /// The same sound in other codecs or with fewer bits.
    pub(super) rungs: Vec<SoundRung>,
    /// Some of it is in its rendition.
    pub(super) begun: bool,
    /// Which rungs it has is not known yet.
    pub(super) undecided: Option<Kept>,
    /// What rungs begin with that nobody hears now.
    pub(super) recent: Option<Kept>,
    pub(super) splice: AudioSplice,
    /// Frames that wait for the edges of the picture.
    pub(super) held: VecDeque<AccessUnit>,
    /// Another publisher's sound is to come: up to its first frame there is silence.
    pub(super) joins: bool,
    /// What it turns into at the next edge.
    next: Option<Next>,
}

/// A sound that decodes otherwise from the next edge on. Pictures go on meanwhile, so that until then there is silence.
struct Next {
    format: AudioFormat,
    /// Its frames so far; those before the edge have no place.
    frames: VecDeque<AccessUnit>,
}

/// Which sounds are missing, by their place in the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing(u8);

impl Missing {
    pub(super) const ALL: Self = Self(u8::MAX);
    pub(super) const FURTHER: Self = Self(u8::MAX - 1);

    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= 1_u8.checked_shl(index as u32).unwrap_or(0);
    }

    pub(super) fn contains(self, index: usize) -> bool {
        self.0.checked_shr(index as u32).unwrap_or(0) & 1 == 1
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Sound {
    /// The number of the publisher's sound that fits best: of its kind, else the first.
    fn best_of(&self, kinds: &[(u8, Kind)]) -> u8 {
        kinds.iter().find(|(_, kind)| Some(*kind) == self.kind).map_or(0, |(number, _)| *number)
    }

    pub(super) fn language(&self) -> Option<Language> {
        self.kind.and_then(|(language, _)| language)
    }

    /// Nobody sends its kind.
    fn is_gone(&self, kinds: &[(u8, Kind)]) -> bool {
        kinds.iter().all(|(_, kind)| Some(*kind) != self.kind)
    }

    /// One frame of silence, at time zero.
    pub(super) fn silent_frame(&self) -> Option<AccessUnit> {
        let format = self.format.as_ref()?;
        let duration = Span::from_ticks(i64::from(format.frame_samples), format.sample_rate);
        let payload = silence::frame(format)?;
        Some(AccessUnit { dts: Timestamp::ZERO, pts: Timestamp::ZERO, duration, keyframe: true, payload })
    }

    /// Gives what is held up to `seam` to its rendition.
    pub(super) fn finish(&mut self, seam: Timestamp) {
        while self.held.front().is_some_and(|unit| unit.pts + unit.duration.half() <= seam) {
            let Some(unit) = self.held.pop_front() else { break };
            self.give(unit);
        }
    }

    /// A frame that has its place: into its rendition, and to the encoders of its rungs.
    pub(super) fn give(&mut self, unit: AccessUnit) -> Outcome {
        for rung in &self.rungs {
            rung.feed(&unit);
        }
        for kept in self.undecided.iter_mut().chain(&mut self.recent) {
            kept.keep(&unit);
        }
        self.begun |= self.track.is_some();
        push(self.track.as_mut(), unit).outcome
    }

    /// A frame that has its place now; None where it waits for the edge at which the sound turns into what it is.
    pub(super) fn defer(&mut self, unit: AccessUnit) -> Option<AccessUnit> {
        let Some(next) = &mut self.next else { return Some(unit) };
        if next.frames.len() >= MOST_HELD {
            next.frames.pop_front();
        }
        next.frames.push_back(unit);
        None
    }

    /// Gives out what it was, silence where it had ended already, and is empty from `at` on.
    fn close(&mut self, at: Timestamp) {
        if let Some(frame) = self.silent_frame() {
            let silence = repeat(&frame, self.splice.end(), at - frame.duration, frame.duration);
            self.held.extend(silence);
        }
        self.finish(at);
        self.held.clear();
        self.splice.begin(at);
    }

    /// Keeps no more than may be wanted.
    pub(super) fn bound(&mut self) {
        while self.held.len() > MOST_HELD {
            self.held.pop_front();
        }
    }
}

impl Run {
    /// The sound that is played unless a viewer says otherwise.
    pub(super) fn first_sound(&self) -> Option<&AudioFormat> {
        self.sounds.first().and_then(|sound| sound.format.as_ref())
    }

    /// Which sounds the publisher on the air has, from here on.
    pub(super) fn voices(&mut self, voices: &[Voice]) -> Outcome {
        let mut outcome = self.assign(voices);
        outcome |= self.tune();
        outcome
    }

    /// Another publisher's sounds follow. How they decode is told next.
    pub(super) fn join_sounds(&mut self, voices: &[Voice]) -> Outcome {
        self.sound_formats.clear();
        self.assign(voices)
    }

    /// Which of the publisher's sounds each gets.
    fn assign(&mut self, voices: &[Voice]) -> Outcome {
        let mut outcome = Outcome::default();
        let kinds = kinds(voices);
        for sound in &mut self.sounds {
            sound.from = sound.best_of(&kinds);
        }
        for (number, kind) in &kinds {
            if self.sounds.iter().any(|sound| sound.kind == Some(*kind)) {
                continue;
            }
            // The first sound is called after what it gets, where it has no name or one that is gone.
            let first = self.sounds.first().is_some_and(|it| it.from == *number && it.is_gone(&kinds));
            if first {
                outcome |= self.name_sound(0, *number, *kind);
            } else if self.sounds.len() < MOST {
                let (from, kind) = (*number, Some(*kind));
                self.sounds.push(Sound { from, kind, joins: true, ..Sound::default() });
            } else if let Some(index) = self.sounds.iter().skip(1).position(|it| it.is_gone(&kinds)) {
                // As many as there may be: one that nobody sends any more makes room.
                outcome |= self.name_sound(index.saturating_add(1), *number, *kind);
            }
        }
        outcome
    }

    fn name_sound(&mut self, index: usize, from: u8, kind: Kind) -> Outcome {
        let Some(sound) = self.sounds.get_mut(index) else { return Outcome::default() };
        // One without a language says nothing of the language that was.
        if kind.0.is_some() || index > 0 || sound.kind.is_none() {
            sound.kind = Some(kind);
        }
        sound.from = from;
        let language = sound.language();
        let rungs = sound.rungs.iter_mut().filter_map(|rung| rung.track.as_mut());
        for track in sound.track.iter_mut().chain(rungs) {
            track.rendition.language = language;
        }
        Outcome { changed: sound.track.is_some() }
    }

    /// How a sound of the publisher on the air decodes from its next frame on.
    pub(super) fn audio_format(&mut self, number: u8, format: &AudioFormat) -> Outcome {
        match self.sound_formats.iter_mut().find(|(known, _)| *known == number) {
            Some((_, known)) => *known = format.clone(),
            None => self.sound_formats.push((number, format.clone())),
        }
        self.tune()
    }

    /// Every sound decodes as what it gets.
    fn tune(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let begun = self.source.format.is_some() && self.tracks_mut().any(|track| track.published);
        for index in 0..self.sounds.len() {
            let Some(sound) = self.sounds.get(index) else { break };
            let told = self.sound_formats.iter().find(|(number, _)| *number == sound.from);
            let Some(format) = told.map(|(_, format)| format.clone()) else { continue };
            let next = sound.next.as_ref().map(|next| &next.format);
            if next.or(sound.format.as_ref()) == Some(&format) {
                continue;
            }
            if sound.format.is_some() && begun {
                self.announce_turn();
                self.sounds[index].next = Some(Next { format, frames: VecDeque::new() });
                continue;
            }
            if sound.format.is_some() {
                self.interrupt();
            }
            self.set_sound(index, format);
            outcome.changed = true;
        }
        outcome |= self.plan_sound_rungs();
        outcome
    }

    /// A sound decodes otherwise from the next edge on: EXT-X-DISCONTINUITY there in every rendition. Pictures go on.
    fn announce_turn(&mut self) {
        if self.sounds.iter().any(|sound| sound.next.is_some()) {
            return;
        }
        if self.sounds.iter().any(|sound| sound.joins) {
            // Another publisher's pictures begin with a keyframe: no need to wait.
            self.clock.restart();
        }
        self.discontinuities = self.discontinuities.saturating_add(1);
        let next = self.clock.next_msn();
        for track in self.tracks_mut() {
            track.packager.discontinuity_at(next);
        }
    }

    /// The next edge has come: sounds that waited for it are what they became.
    pub(super) fn turn_sounds(&mut self, edge: Edge) -> Outcome {
        let mut outcome = Outcome::default();
        for index in 0..self.sounds.len() {
            let Some(next) = self.sounds.get_mut(index).and_then(|sound| sound.next.take()) else { continue };
            self.sounds[index].close(edge.at);
            self.set_sound(index, next.format);
            outcome |= self.plan_sound_rungs();
            let sound = &mut self.sounds[index];
            for unit in next.frames {
                let Some(unit) = sound.splice.place(unit) else { continue };
                self.tap.audio(index, sound.language(), sound.format.as_ref(), &unit);
                sound.held.push_back(unit);
            }
            outcome.changed = true;
        }
        outcome
    }

    fn set_sound(&mut self, index: usize, format: AudioFormat) {
        let packager = self.packager();
        let declared = self.expect.audio_bitrate.unwrap_or(0);
        let name = self.sound_name(index);
        let Some(sound) = self.sounds.get_mut(index) else { return };
        sound.format = Some(format.clone());
        sound.recent = None;
        if let Some(track) = &mut sound.track {
            track.set_format(Format::Audio(format));
        } else {
            let mut track = Track::new(&name, packager, Format::Audio(format), declared, true);
            track.rendition.language = sound.language();
            sound.track = Some(track);
        }
    }

    /// `audio` is the first; others are called after their language, or numbered.
    fn sound_name(&self, index: usize) -> String {
        let language = self.sounds.get(index).and_then(Sound::language);
        let named = language.filter(|_| index > 0).map(|language| format!("audio-{}", language.tag()));
        let numbered = || format!("audio-{}", index.saturating_add(1));
        let plain = if index == 0 { "audio".to_owned() } else { named.unwrap_or_else(numbered) };
        let tracks = || self.sounds.iter().filter_map(|sound| sound.track.as_ref());
        if tracks().any(|track| *track.rendition.name == plain) { numbered() } else { plain }
    }

    /// Silence up to the sound of a publisher that is joined: what lies between, or it is a hole.
    pub(super) fn silence_until(&mut self, index: usize, joined: Timestamp) {
        let frame = self.sounds.get(index).and_then(Sound::silent_frame);
        if let Some(frame) = frame.filter(|_| self.open) {
            // Within half a frame of it.
            self.hold_sound(index, joined - frame.duration.half());
        }
    }

    /// Those that have media, the first first.
    pub(super) fn audio_renditions(&self) -> Vec<Rendition> {
        let tracks = self.sounds.iter().filter_map(|sound| sound.track.as_ref());
        tracks.filter(|track| track.published).map(|track| track.rendition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: [u8; 3]) -> Option<Language> {
        Language::from_iso639_2(code)
    }

    fn voice(number: u8, code: [u8; 3]) -> Voice {
        Voice { number, language: language(code) }
    }

    #[test]
    fn a_language_is_found_whatever_its_number_and_the_first_stands_in_for_it() {
        let spanish = Sound { kind: Some((language(*b"spa"), 0)), ..Sound::default() };
        let best = |voices: &[Voice]| spanish.best_of(&kinds(voices));
        assert_eq!(best(&[voice(0, *b"spa"), voice(1, *b"eng")]), 0);
        assert_eq!(best(&[voice(0, *b"eng"), voice(2, *b"spa")]), 2);
        assert_eq!(best(&[voice(0, *b"eng"), voice(1, *b"fra")]), 0);
    }

    #[test]
    fn several_of_one_language_and_several_without_one_are_told_apart_by_their_order() {
        let of = |code: [u8; 3]| {
            let voices = [voice(0, code), voice(3, *b"ita"), voice(5, code)];
            let second = Sound { kind: Some((language(code), 1)), ..Sound::default() };
            (second.best_of(&kinds(&voices)), second.best_of(&kinds(&voices[..2])))
        };
        assert_eq!(of(*b"eng"), (5, 0));
        assert_eq!(of(*b"und"), (5, 0));
        assert!(kinds(&[]).is_empty());
    }

    #[test]
    fn which_are_missing_is_told_by_place() {
        let mut missing = Missing::default();
        assert!(missing.is_empty());
        missing.insert(2);
        missing.insert(400);
        assert!(missing.contains(2) && !missing.contains(0) && !missing.contains(400));
        assert!(!Missing::FURTHER.contains(0) && Missing::FURTHER.contains(1) && Missing::ALL.contains(7));
    }
}
