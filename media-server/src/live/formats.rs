//! How a run's tracks decode, and which rungs are made of them.

use media::ladder;
use media::{Format, VideoFormat};
use std::sync::Arc;
use std::time::Instant;

use super::flow::push;
use super::publisher;
use super::rendition::Track;
use super::run::{Other, Outcome, Planned, Run, RungTrack, Source};
use super::rung::{RungEvent, RungRequest, Rungs};

impl Run {
    /// How a track of the publisher on the air decodes from its next unit on.
    pub(super) fn format(&mut self, track: publisher::Track, format: &Format) -> Outcome {
        match (track, format) {
            (publisher::Track::Video(0), Format::Video(video)) => self.video_format(video),
            (publisher::Track::Video(number), Format::Video(video)) => self.other_format(number, video),
            (publisher::Track::Audio(number), Format::Audio(audio)) => self.audio_format(number, audio),
            (publisher::Track::Audio(_), Format::Video(_))
            | (publisher::Track::Video(_), Format::Audio(_)) => Outcome::default(),
        }
    }

    fn video_format(&mut self, video: &VideoFormat) -> Outcome {
        if self.source.format.as_ref() == Some(video) {
            return Outcome::default();
        }
        if self.source.format.is_some() {
            self.interrupt();
        }
        self.source.format = Some(video.clone());
        Outcome { changed: true }
    }

    fn other_format(&mut self, number: u8, video: &VideoFormat) -> Outcome {
        let known = self.others.iter_mut().position(|other| other.number == number);
        let format = Format::Video(video.clone());
        match known {
            Some(at) if self.others[at].source.format.as_ref() == Some(video) => return Outcome::default(),
            Some(at) => {
                self.interrupt();
                let other = &mut self.others[at];
                other.source.format = Some(video.clone());
                other.track.set_format(format);
            }
            None => {
                let name = self.free_name(video);
                let track = Track::new(&name, self.packager(), format, 0, true);
                let source = Source { format: Some(video.clone()), ..Source::default() };
                self.others.push(Other { number, source, track, missed: 0 });
                self.others.sort_by_key(|other| std::cmp::Reverse(short_side(other.source.format.as_ref())));
            }
        }
        Outcome { changed: true }
    }

    /// A name for a track that the publisher sends itself, as rungs are named.
    fn free_name(&self, video: &VideoFormat) -> String {
        let plain = format!("{}p", short_side(Some(video)));
        let taken = |name: &str| self.others.iter().any(|other| &*other.track.rendition.name == name);
        (1..=self.others.len() + 1)
            .map(|n| if n == 1 { plain.clone() } else { format!("{plain}-{n}") })
            .find(|n| !taken(n))
            .unwrap_or(plain)
    }

    /// What follows decodes otherwise than what was: EXT-X-DISCONTINUITY in every rendition, at the next keyframe.
    pub(super) fn interrupt(&mut self) {
        if self.tracks_mut().all(|track| !track.published) {
            return;
        }
        self.finish_sound();
        self.clock.restart();
        self.discontinuities = self.discontinuities.saturating_add(1);
        let next = self.clock.next_msn();
        for sound in &mut self.sounds {
            sound.recent = None;
            for track in sound.rungs.iter_mut().filter_map(|rung| rung.track.as_mut()) {
                // Some of what lies before is still on its way.
                track.packager.discontinuity_at(next);
            }
        }
        for track in self.own_tracks_mut() {
            track.packager.discontinuity();
        }
    }

    /// Sound beside the last pictures belongs before the discontinuity, silence where another's sound is to come.
    fn finish_sound(&mut self) {
        let Some(seam) = self.source.splice.end() else { return };
        for index in 0..self.sounds.len() {
            if self.sounds[index].joins {
                self.silence_until(index, seam);
            }
            self.sounds[index].finish(seam);
        }
    }

    /// Plans the ladder where the source, the profile or what the publisher sends itself has changed, and starts its
    /// encoder unless the one that runs makes the same. Asked at each keyframe, the first moment at which all is known.
    pub(super) fn plan(&mut self) -> Outcome {
        let Some(source) = self.source.format.clone() else { return Outcome::default() };
        if self.choice.is_awaited() {
            return self.plan_meanwhile(&source);
        }
        let sent: Vec<_> = self.others.iter().map(|other| Arc::clone(&other.track.rendition.name)).collect();
        if let Some(planned) = &self.planned
            && planned.source == source
            && planned.profile == self.profile
            && planned.sent == sent
        {
            return Outcome::default();
        }
        let mut ladder = ladder::plan(&source, source.frame_rate, &self.profile);
        self.missing = ladder.dropped.iter().map(|(name, why)| (name.clone(), why.to_string())).collect();
        ladder.rungs.retain(|rung| {
            let lines = rung.width.min(rung.height);
            let own = self.others.iter().any(|other| {
                *other.track.rendition.name == *rung.name || short_side(other.source.format.as_ref()) == lines
            });
            if own {
                self.missing.push((rung.name.clone(), "the publisher sends it itself".into()));
            }
            !own
        });
        self.plan_passthrough(ladder.passthrough, &source);
        let same = self.planned.as_ref().is_some_and(|old| old.source == source && old.rungs == ladder.rungs);
        self.planned = Some(Planned {
            source: source.clone(),
            profile: self.profile.clone(),
            sent,
            rungs: ladder.rungs.clone(),
        });
        if !same {
            self.replace_rungs(source, ladder.rungs);
        }
        Outcome { changed: true }
    }

    pub(super) fn plan_passthrough(&mut self, wanted: bool, source: &VideoFormat) {
        let format = Format::Video(source.clone());
        match &mut self.passthrough {
            Some(track) if wanted => track.set_format(format),
            Some(track) => {
                track.packager.end();
                track.publish();
                self.passthrough = None;
            }
            None if wanted => {
                let declared = self.expect.video_bitrate.unwrap_or(0);
                self.passthrough = Some(Track::new("source", self.packager(), format, declared, true));
            }
            None => {}
        }
    }

    /// A rung that is still wanted keeps its track, and with it its playlist; the others end.
    fn replace_rungs(&mut self, video: VideoFormat, rungs: Vec<ladder::Rung>) {
        let mut old = std::mem::take(&mut self.rungs);
        for plan in &rungs {
            let kept = old.iter_mut().find(|r| r.plan.name == plan.name).and_then(|r| r.track.take());
            self.rungs.push(RungTrack::new(plan.clone(), kept));
        }
        for mut gone in old.into_iter().filter_map(|r| r.track) {
            gone.packager.end();
            gone.publish();
        }
        self.stop_encoder();
        self.begin_rungs();
        if !rungs.is_empty() {
            let wanted = self.wanted();
            let request = RungRequest { stream: self.name.to_string(), source: video, rungs, wanted };
            let Rungs { sink, events, patience } = (self.factory)(request);
            self.encoder = Some(sink);
            self.events = Some(events);
            if !self.ready && !patience.is_zero() {
                self.ready_by = self.ready_by.max(Some(Instant::now() + patience));
            }
        }
    }

    /// What the encoder says.
    pub(super) fn rung(&mut self, event: RungEvent) -> Outcome {
        match event {
            RungEvent::Format { rung, format } => self.rung_format(rung, format),
            RungEvent::Unit { rung, unit } => {
                self.pace.gave();
                // What was on its way when it was laid to rest is not wanted any more.
                let Some(rung) = self.rungs.get_mut(rung).filter(|rung| rung.is_made()) else {
                    return Outcome::default();
                };
                rung.last = rung.last.max(Some(unit.pts));
                let mut outcome = push(rung.track.as_mut(), unit).outcome;
                outcome |= self.settle();
                outcome
            }
            RungEvent::Restarted { reason } => {
                self.metrics.worker_restarts.inc();
                self.pace.begins_late();
                tracing::warn!(stream = %self.name, reason, "encoder worker replaced; playback goes on");
                Outcome::default()
            }
            RungEvent::Left { rung, reason } => {
                if rung < self.rungs.len() {
                    let left = self.rungs.remove(rung);
                    tracing::warn!(stream = %self.name, rung = left.plan.name, reason, "a rung is left out");
                    if let Some(mut track) = left.track {
                        track.packager.end();
                        track.publish();
                    }
                    self.missing.push((left.plan.name.clone(), reason));
                    self.count_rungs();
                    if let Some(encoder) = &self.encoder {
                        // By the places that they have now.
                        encoder.choose(&self.wanted());
                    }
                }
                self.settle();
                Outcome { changed: true }
            }
            RungEvent::Refused { reason } => {
                self.stop_encoder();
                self.refused = Some(reason);
                Outcome::default()
            }
            RungEvent::Failed { reason } => {
                tracing::error!(stream = %self.name, reason, "encoder worker cannot be kept alive; the encoded rungs end");
                self.stop_encoder();
                for rung in std::mem::take(&mut self.rungs) {
                    self.missing.push((rung.plan.name.clone(), reason.clone()));
                }
                self.count_rungs();
                let mut outcome = self.settle();
                outcome.changed = true;
                outcome
            }
        }
    }

    fn rung_format(&mut self, rung: usize, format: VideoFormat) -> Outcome {
        let fresh = self.packager();
        let Some(slot) = self.rungs.get_mut(rung) else { return Outcome::default() };
        let format = Format::Video(format);
        match &mut slot.track {
            Some(track) if track.rendition.format == format => return Outcome::default(),
            // The source's format changed too, or it would be the same encoder: every rendition has its discontinuity.
            Some(track) => track.set_format(format),
            None => {
                let plan = &slot.plan;
                slot.track = Some(Track::new(&plan.name, fresh, format, plan.declared_bitrate(), false));
            }
        }
        Outcome { changed: true }
    }

    /// When the multivariant playlist goes out at the latest.
    pub(super) fn begin_grace(&mut self, grace: std::time::Duration) {
        self.ready_by.get_or_insert_with(|| Instant::now() + grace);
    }
}

fn short_side(video: Option<&VideoFormat>) -> u32 {
    video.map_or(0, |video| video.width.min(video.height))
}
