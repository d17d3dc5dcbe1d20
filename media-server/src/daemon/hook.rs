//! Which ladder a source is to have: `live` asks, the control plane answers, and where it does not, the configuration says
//! what is done.

use std::sync::Arc;

use arc_swap::ArcSwap;
use media::Format;
use media::ladder::Profile;

use super::codecs::Codecs;
use super::settings;
use crate::admission::{Admission, NoProfile, ProfileAnswer, ProfileHook, ProfileRequest, TrackData};
use crate::config::Fallback;
use crate::ingest::Rules;
use crate::live::{
    ChosenBy, LadderAnswer, LadderAnswering, LadderChoice, LadderHook, LadderQuestion, SourceTrack,
};
use crate::metrics::Metrics;

/// What a broadcaster reads where no reason was given.
const REFUSED: &str = "the server does not take this stream as it is sent";
const NOT_NOW: &str = "the server cannot decide at the moment how to show this stream; try again";

/// See the module.
struct Hook {
    admission: Admission,
    rules: Arc<ArcSwap<Rules>>,
    codecs: Arc<Codecs>,
    metrics: Metrics,
}

/// Whom `live` asks.
pub(super) fn ladders(
    admission: &Admission,
    (rules, codecs): (&Arc<ArcSwap<Rules>>, Codecs),
    metrics: &Metrics,
) -> Arc<dyn LadderHook> {
    let (admission, rules, metrics) = (admission.clone(), Arc::clone(rules), metrics.clone());
    Arc::new(Hook { admission, rules, codecs: Arc::new(codecs), metrics })
}

impl LadderHook for Hook {
    fn is_on(&self) -> bool {
        self.admission.profile_hook().is_some()
    }

    fn ask(&self, question: LadderQuestion) -> LadderAnswering {
        let (hook, metrics) = (self.admission.profile_hook(), self.metrics.clone());
        let (rules, codecs) = (Arc::clone(&self.rules), Arc::clone(&self.codecs));
        Box::pin(async move {
            // It was switched off between two pictures.
            let Some(hook) = hook else { return admitted(question, ChosenBy::Admission) };
            let (outcome, answer) = answer(&hook, question, (&rules, &codecs)).await;
            metrics.ladder_answer(outcome);
            answer
        })
    }
}

/// What comes of it, with a stable word for the metrics.
async fn answer(
    hook: &ProfileHook,
    question: LadderQuestion,
    (rules, codecs): (&ArcSwap<Rules>, &Codecs),
) -> (&'static str, LadderAnswer) {
    let settings = &hook.settings;
    let unusable = |question, why: &str| {
        ("unusable", fall_back(settings.unusable, question, (ChosenBy::Unusable, why), NOT_NOW))
    };
    match hook.ask(&request(&question)).await {
        // What it has already does not change in mid-stream, though the file may have.
        Ok(ProfileAnswer::Named(name)) if name == question.profile => {
            ("chosen", admitted(question, ChosenBy::Hook))
        }
        Ok(ProfileAnswer::Named(name)) => match rules.load().profiles.get(&name).cloned() {
            Some(ladder) => ("chosen", chosen(Some(name), ladder)),
            None => unusable(question, &format!("[profiles] has no profile {name:?}")),
        },
        Ok(ProfileAnswer::Ladder(ladder)) => ("chosen", chosen(None, settings::ladder(&ladder, codecs))),
        Ok(ProfileAnswer::Refused { reason, message }) => {
            let message = if message.is_empty() { REFUSED } else { &message };
            ("refused", fall_back(settings.refused, question, (ChosenBy::Refused, &reason), message))
        }
        Err(NoProfile::Unanswered(error)) => {
            let why = error.to_string();
            let by = (ChosenBy::Unanswered, why.as_str());
            ("unanswered", fall_back(settings.unanswered, question, by, NOT_NOW))
        }
        Err(error) => unusable(question, &error.to_string()),
    }
}

fn chosen(profile: Option<String>, ladder: Profile) -> LadderAnswer {
    LadderAnswer::Ladder(LadderChoice { profile, by: ChosenBy::Hook }, ladder)
}

fn admitted(question: LadderQuestion, by: ChosenBy) -> LadderAnswer {
    LadderAnswer::Ladder(LadderChoice { profile: Some(question.profile), by }, question.ladder)
}

/// There is no ladder from the hook. `message` is for the broadcaster, if it is to go.
fn fall_back(
    fallback: Fallback,
    question: LadderQuestion,
    (by, why): (ChosenBy, &str),
    message: &str,
) -> LadderAnswer {
    tracing::warn!(stream = %question.stream, session = question.session, why, ?fallback, from = by.name(), "no ladder from the profile hook");
    match fallback {
        Fallback::UseAdmitted => admitted(question, by),
        Fallback::SourceOnly => {
            let as_it_is = Profile::as_it_is();
            LadderAnswer::Ladder(LadderChoice { profile: None, by }, as_it_is)
        }
        Fallback::Refuse => LadderAnswer::Refused(message.to_owned()),
    }
}

fn request(question: &LadderQuestion) -> ProfileRequest {
    ProfileRequest {
        session: question.session.clone(),
        stream: question.stream.to_string(),
        protocol: question.protocol,
        profile: question.profile.clone(),
        tracks: question.tracks.iter().map(track).collect(),
    }
}

fn track(track: &SourceTrack) -> TrackData {
    let common = TrackData {
        track: track.number,
        codec: track.format.codec().to_owned(),
        bitrate_kbps: track.bitrate.map(|bits| bits.div_ceil(1000)),
        ..TrackData::default()
    };
    match &track.format {
        Format::Video(video) => TrackData {
            kind: "video",
            width: Some(video.width),
            height: Some(video.height),
            fps: track.frame_rate.map(|fps| (fps * 1000.0).round() / 1000.0),
            b_frames: track.b_frames,
            ..common
        },
        Format::Audio(audio) => TrackData {
            kind: "audio",
            language: track.language.map(media::Language::tag),
            sample_rate: Some(audio.sample_rate),
            channels: Some(audio.channels),
            ..common
        },
    }
}
