//! Which ladder a run follows: the one that its publisher was admitted with, or another that is chosen once its tracks are
//! known. `live` does not know who chooses: the wiring gives it a [`LadderHook`].
//!
//! Until the first answer the source goes out as it is, and its pictures are kept for the encoder: the rungs begin where the
//! source begins, and the multivariant playlist, which waits, has all of them. A later question, about other tracks, finds
//! a ladder in force, which goes on until there is an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::ladder::{self, Profile};
use media::{AccessUnit, AudioFormat, Format, Language, VideoFormat, h264};

use super::flow::READY_GRACE;
use super::rendition::Rendition;
use super::run::{Outcome, Run};
use super::snapshot::SessionInfo;
use super::sound::Sound;
use super::stream::Stream;

/// How long a question waits for sound of which nobody has said that it does not come.
const SOUND_WAIT: Duration = Duration::from_millis(500);
/// From one question of a publisher to the next, at least: a source that changes with every picture is not asked about so
/// often.
const PACE: Duration = Duration::from_secs(5);
/// Pictures kept for the encoder. If it takes more, the rungs begin with the first keyframe after the answer.
const MOST_KEPT: usize = 1024;
const MOST_KEPT_BYTES: usize = 32 << 20;

/// A track of a source, as far as a ladder can depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTrack {
    /// Its number among those of its kind.
    pub number: u8,
    /// How it decodes.
    pub format: Format,
    /// Of sound, where it is known.
    pub language: Option<Language>,
    /// Bits a second, measured, or else as announced.
    pub bitrate: Option<u64>,
    /// Frames a second, as the format says, or else measured.
    pub frame_rate: Option<f64>,
    /// Pictures are shown in another order than they are decoded in.
    pub b_frames: Option<bool>,
}

impl SourceTrack {
    /// The same to whoever chooses a ladder. What is measured moves all the time.
    fn is_like(&self, other: &Self) -> bool {
        let alike = match (&self.format, &other.format) {
            (Format::Video(a), Format::Video(b)) => {
                (&a.codec, a.width, a.height, a.frame_rate) == (&b.codec, b.width, b.height, b.frame_rate)
            }
            (Format::Audio(a), Format::Audio(b)) => {
                (&a.codec, a.sample_rate, a.channels) == (&b.codec, b.sample_rate, b.channels)
            }
            (Format::Video(_), Format::Audio(_)) | (Format::Audio(_), Format::Video(_)) => false,
        };
        alike && (self.number, self.language) == (other.number, other.language)
    }
}

/// Which ladder is this source to have?
#[derive(Clone, Debug)]
pub struct LadderQuestion {
    /// The stream's public name.
    pub stream: Arc<str>,
    /// The publish session.
    pub session: String,
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    pub protocol: &'static str,
    /// The ladder that it was admitted with, by its name.
    pub profile: String,
    /// The same, resolved.
    pub ladder: Profile,
    /// What it sends.
    pub tracks: Vec<SourceTrack>,
}

/// Who chose a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// It is the one that came with the admission; nobody else was asked.
    Admission,
    /// Whoever was asked.
    Hook,
    /// Whoever was asked gave no answer, or none in time.
    Unanswered,
    /// Whoever was asked refused the source, which goes on all the same.
    Refused,
    /// Whoever was asked gave an answer that is none.
    Unusable,
}

impl ChosenBy {
    /// Stable name for the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admission => "admitted",
            Self::Hook => "hook",
            Self::Unanswered => "fallback:unanswered",
            Self::Refused => "fallback:refused",
            Self::Unusable => "fallback:unusable",
        }
    }
}

/// The ladder in force, for the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderChoice {
    /// Its name; None where it has none of the configuration's.
    pub profile: Option<String>,
    /// Who chose it.
    pub by: ChosenBy,
}

/// What comes of a question.
#[derive(Clone, Debug)]
pub enum LadderAnswer {
    /// This ladder.
    Ladder(LadderChoice, Profile),
    /// None: the publisher is to go, and is told this.
    Refused(String),
}

/// An answer on its way. Whoever gives it keeps to a deadline.
pub type LadderAnswering = Pin<Box<dyn Future<Output = LadderAnswer> + Send>>;

/// Chooses ladders; given to the room by the wiring.
pub trait LadderHook: Send + Sync {
    /// Whether it is asked at all at present.
    fn is_on(&self) -> bool;
    /// Asks. Dropping the answer takes the question back.
    fn ask(&self, question: LadderQuestion) -> LadderAnswering;
}

/// Pictures of one format since the question, with the edges among them.
struct Kept {
    source: Option<VideoFormat>,
    units: Vec<(AccessUnit, bool)>,
    bytes: usize,
}

impl Kept {
    fn add(&mut self, source: Option<&VideoFormat>, unit: &AccessUnit, edge: bool) {
        if self.source.as_ref() != source {
            *self = Self { source: source.cloned(), units: Vec::new(), bytes: 0 };
        }
        self.bytes = self.bytes.saturating_add(unit.payload.len());
        if self.units.len() >= MOST_KEPT || self.bytes > MOST_KEPT_BYTES {
            self.units.clear();
            self.bytes = unit.payload.len();
        }
        if unit.keyframe || !self.units.is_empty() {
            self.units.push((unit.clone(), edge));
        }
    }
}

#[derive(Default)]
enum Stage {
    /// Nothing is asked.
    #[default]
    Idle,
    /// A question is due, and waits for sound since then.
    Gathering(Instant),
    Asked(LadderQuestion, LadderAnswering),
}

/// See the module.
pub(super) struct Choice {
    hook: Option<Arc<dyn LadderHook>>,
    /// The publisher on the air, with the ladder that it was admitted with; None where nobody is asked about it.
    who: Option<(SessionInfo, Profile)>,
    stage: Stage,
    asked_at: Option<Instant>,
    /// What was asked last, and answered with a ladder.
    answered: Option<LadderQuestion>,
    in_force: Option<LadderChoice>,
    /// There is no ladder yet: what the encoder will need.
    kept: Option<Kept>,
}

impl Choice {
    pub(super) fn new(hook: Option<Arc<dyn LadderHook>>) -> Self {
        Self {
            hook,
            who: None,
            stage: Stage::Idle,
            asked_at: None,
            answered: None,
            in_force: None,
            kept: None,
        }
    }

    /// A publisher is taken in. True: the ladder that it was admitted with is in force, at least until another is chosen.
    pub(super) fn join(&mut self, session: &SessionInfo, admitted: &Profile) -> bool {
        let is_on = self.hook.as_ref().is_some_and(|hook| hook.is_on());
        if self.who.as_ref().is_none_or(|(known, _)| known.session != session.session) {
            (self.stage, self.asked_at) = (Stage::Idle, None);
        }
        self.who = is_on.then(|| (session.clone(), admitted.clone()));
        if !is_on {
            (self.stage, self.kept) = (Stage::Idle, None);
        }
        let goes_on = |answered: &LadderQuestion| {
            is_on && answered.profile == session.profile && answered.ladder == *admitted
        };
        if self.answered.as_ref().is_some_and(goes_on) {
            return false;
        }
        self.answered = None;
        self.in_force =
            Some(LadderChoice { profile: Some(session.profile.clone()), by: ChosenBy::Admission });
        true
    }

    /// What comes is not a publisher's: nobody is asked about it.
    pub(super) fn leave(&mut self) {
        self.who = None;
    }

    /// Nothing is chosen any more.
    pub(super) fn end(&mut self) {
        (self.stage, self.kept, self.who) = (Stage::Idle, None, None);
    }

    /// There is no ladder before there is an answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.kept.is_some()
    }

    /// The ladder in force; None before there is one.
    pub(super) fn in_force(&self) -> Option<&LadderChoice> {
        self.in_force.as_ref().filter(|_| !self.is_awaited())
    }

    /// A picture that goes on the air.
    pub(super) fn keep(&mut self, source: Option<&VideoFormat>, unit: &AccessUnit, edge: bool) {
        if let Some(kept) = &mut self.kept {
            kept.add(source, unit, edge);
        }
    }

    /// The answer, where one is on its way.
    pub(super) fn answering(&mut self) -> Option<&mut LadderAnswering> {
        match &mut self.stage {
            Stage::Asked(_, answering) => Some(answering),
            Stage::Idle | Stage::Gathering(_) => None,
        }
    }

    /// A question may be asked at this moment.
    fn is_free(&self) -> bool {
        self.who.is_some() && self.asked_at.is_none_or(|at| at.elapsed() >= PACE)
    }

    /// These tracks have not been asked about.
    fn is_new(&self, tracks: &[SourceTrack]) -> bool {
        self.answered.as_ref().is_none_or(|answered| {
            let asked = &answered.tracks;
            asked.len() != tracks.len() || !asked.iter().zip(tracks).all(|(a, b)| a.is_like(b))
        })
    }
}

impl Run {
    /// Before a picture of the source: asks for its ladder where that is due. `keyframe`: it begins with this picture.
    pub(super) fn consult(&mut self, keyframe: bool) {
        if keyframe && matches!(self.choice.stage, Stage::Idle) && self.choice.is_free() {
            let tracks = self.source_tracks();
            if self.choice.is_new(&tracks) {
                self.choice.stage = Stage::Gathering(Instant::now());
                if self.planned.is_none() {
                    let nothing = || Kept { source: None, units: Vec::new(), bytes: 0 };
                    self.choice.kept.get_or_insert_with(nothing);
                }
            }
        }
        let Stage::Gathering(since) = self.choice.stage else { return };
        let silent = self.expect.audio == Some(false) && self.first_sound().is_none();
        let heard = silent || self.sounds.iter().all(|sound| sound.format.is_some());
        if heard || since.elapsed() >= SOUND_WAIT {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let tracks = self.source_tracks();
        let choice = &mut self.choice;
        choice.stage = Stage::Idle;
        let (Some(hook), Some((session, ladder))) = (&choice.hook, &choice.who) else { return };
        let question = LadderQuestion {
            stream: Arc::clone(&self.name),
            session: session.session.clone(),
            protocol: session.protocol,
            profile: session.profile.clone(),
            ladder: ladder.clone(),
            tracks,
        };
        let answering = hook.ask(question.clone());
        choice.stage = Stage::Asked(question, answering);
        choice.asked_at = Some(Instant::now());
    }

    /// While there is no ladder: the source as it is, where players take it.
    pub(super) fn plan_meanwhile(&mut self, source: &VideoFormat) -> Outcome {
        let format = Format::Video(source.clone());
        let as_it_is = Profile::as_it_is();
        let known = self.passthrough.as_ref().is_some_and(|track| track.rendition.format == format);
        if known || !ladder::plan(source, None, &as_it_is).passthrough {
            return Outcome::default();
        }
        self.plan_passthrough(true, source);
        Outcome { changed: true }
    }

    /// The ladder is chosen.
    fn chosen(&mut self, question: LadderQuestion, choice: LadderChoice, ladder: Profile) -> Outcome {
        tracing::info!(
            stream = %self.name, session = question.session, profile = choice.profile, from = choice.by.name(),
            "ladder chosen"
        );
        self.choice.answered = Some(question);
        self.choice.in_force = Some(choice);
        self.profile = ladder;
        let mut outcome = Outcome { changed: true };
        // A ladder that is in force already gives way at the next keyframe.
        let Some(kept) = self.choice.kept.take() else { return outcome };
        if !self.ready {
            self.ready_by = None;
            self.begin_grace(READY_GRACE);
        }
        if kept.source == self.source.format {
            outcome |= self.plan();
            for (unit, edge) in kept.units {
                if let Some(encoder) = &self.encoder {
                    encoder.push(unit, edge);
                }
            }
        }
        outcome |= self.plan_sound_rungs();
        outcome |= self.settle();
        outcome
    }

    /// What the publisher on the air sends.
    fn source_tracks(&self) -> Vec<SourceTrack> {
        let announced = (self.expect.video_bitrate, self.expect.audio_bitrate);
        let shown = self.passthrough.as_ref().map(|track| &track.rendition);
        let source = self.source.format.as_ref().map(|format| picture(0, format, shown, announced.0));
        let others = self.others.iter().filter_map(|other| {
            Some(picture(other.number, other.source.format.as_ref()?, Some(&other.track.rendition), None))
        });
        let sounds = self.sound_formats.iter().map(|(number, format)| {
            let sound = self.sounds.iter().find(|sound| sound.from == *number);
            let shown = sound.and_then(|sound| sound.track.as_ref()).map(|track| &track.rendition);
            let language = sound.and_then(Sound::language);
            self::sound(*number, format, language, shown, announced.1.filter(|_| *number == 0))
        });
        let mut tracks: Vec<_> = source.into_iter().chain(others).chain(sounds).collect();
        // In one order, whatever became known first.
        tracks.sort_by_key(|track| (matches!(track.format, Format::Audio(_)), track.number));
        tracks
    }
}

fn measured(shown: Option<&Rendition>) -> Option<u64> {
    shown.and_then(|it| it.view().playlist.bandwidth()).map(|(_, average)| average)
}

fn picture(
    number: u8,
    format: &VideoFormat,
    shown: Option<&Rendition>,
    announced: Option<u32>,
) -> SourceTrack {
    let told = format.frame_rate.map(|(num, den)| f64::from(num) / f64::from(den.max(1)));
    let sps = || h264::Config::parse(&format.config).ok()?.sps().ok()?.reorder_frames;
    let reorders = format.codec.starts_with("avc").then(sps).flatten().map(|frames| frames > 0);
    let seen = shown.filter(|it| it.reorders()).map(|_| true);
    SourceTrack {
        number,
        format: Format::Video(format.clone()),
        language: None,
        bitrate: measured(shown).or(announced.map(u64::from)),
        frame_rate: told.or_else(|| shown?.view().playlist.frame_rate()),
        b_frames: seen.or(reorders),
    }
}

fn sound(
    number: u8,
    format: &AudioFormat,
    language: Option<Language>,
    shown: Option<&Rendition>,
    announced: Option<u32>,
) -> SourceTrack {
    SourceTrack {
        number,
        format: Format::Audio(format.clone()),
        language,
        bitrate: measured(shown).or(announced.map(u64::from)),
        frame_rate: None,
        b_frames: None,
    }
}

/// Waits for the answer where one is on its way, else for ever. Cancel safe.
pub(super) async fn next_answer(choice: &mut Choice) -> LadderAnswer {
    match choice.answering() {
        Some(answering) => answering.await,
        None => std::future::pending().await,
    }
}

impl Stream {
    /// What came of the question.
    pub(super) fn answered(&mut self, answer: LadderAnswer) {
        let Stage::Asked(question, _) = std::mem::take(&mut self.run.choice.stage) else { return };
        match answer {
            LadderAnswer::Ladder(choice, ladder) => {
                if self.run.chosen(question, choice, ladder).changed {
                    self.show();
                }
            }
            LadderAnswer::Refused(message) => self.refuse(&question.session, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media::{Span, Timestamp};

    use super::*;

    fn video(height: u32) -> VideoFormat {
        let codec = "avc1.64001f".to_owned();
        VideoFormat { codec, width: height * 16 / 9, height, frame_rate: None, config: Bytes::new() }
    }

    fn track(format: Format) -> SourceTrack {
        SourceTrack { number: 0, format, language: None, bitrate: None, frame_rate: None, b_frames: None }
    }

    #[test]
    fn what_is_measured_makes_no_other_source_and_what_is_told_does() {
        let told = track(Format::Video(video(720)));
        let measured = SourceTrack {
            bitrate: Some(1),
            frame_rate: Some(29.9),
            b_frames: Some(true),
            format: Format::Video(VideoFormat { config: Bytes::from_static(b"another"), ..video(720) }),
            ..told.clone()
        };
        assert!(told.is_like(&measured));
        assert!(!told.is_like(&track(Format::Video(video(1080)))));
        let language = Language::from_iso639_2(*b"spa");
        let sound = AudioFormat {
            codec: "mp4a.40.2".into(),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: 1024,
            config: Bytes::new(),
        };
        let sound = track(Format::Audio(sound));
        assert!(sound.is_like(&sound.clone()) && !sound.is_like(&told));
        assert!(!sound.is_like(&SourceTrack { language, ..sound.clone() }));
        assert!(!sound.is_like(&SourceTrack { number: 1, ..sound.clone() }));
    }

    fn unit(at: i64, keyframe: bool, bytes: usize) -> AccessUnit {
        let at = Timestamp::from_ticks(at, 25);
        let payload = Bytes::from(vec![0; bytes]);
        AccessUnit { dts: at, pts: at, duration: Span::from_millis(40), keyframe, payload }
    }

    fn kept() -> Kept {
        Kept { source: None, units: Vec::new(), bytes: 0 }
    }

    #[test]
    fn what_is_kept_for_the_encoder_begins_with_a_keyframe_of_the_newest_format() {
        let mut kept = kept();
        for at in 0..5 {
            kept.add(Some(&video(720)), &unit(at, at == 1, 10), at == 1);
        }
        assert_eq!(kept.units.iter().map(|(_, edge)| *edge).collect::<Vec<_>>(), [true, false, false, false]);
        kept.add(Some(&video(360)), &unit(5, false, 10), false);
        assert!(kept.units.is_empty(), "it needs what is gone");
        kept.add(Some(&video(360)), &unit(6, true, 10), true);
        assert_eq!((kept.units.len(), kept.source.as_ref()), (1, Some(&video(360))));
    }

    #[test]
    fn what_is_kept_is_bounded_in_pictures_and_in_bytes() {
        let mut many = kept();
        for at in 0..5000 {
            many.add(Some(&video(720)), &unit(at, at == 0, 1), false);
            assert!(many.units.len() <= MOST_KEPT);
        }
        assert!(many.units.is_empty(), "the rest of a group is of no use");
        let mut large = kept();
        for at in 0..100 {
            large.add(Some(&video(720)), &unit(at, true, 1 << 20), false);
            assert!(large.units.iter().map(|(unit, _)| unit.payload.len()).sum::<usize>() <= MOST_KEPT_BYTES);
        }
        assert!(!large.units.is_empty());
    }
}
