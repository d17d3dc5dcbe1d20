//! Which of a run's rungs are made: those that somebody watches, or all of them, and no more than the machine can.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{AccessUnit, Format, Span, Timestamp, ladder};

use super::rendition::{Offer, Rendition, Track};
use super::run::{Outcome, Run, RungTrack};
use super::shedding::{Shedding, Step};

/// Why a rung is not there.
const TOO_SLOW: &str = "left out for now: this machine cannot encode it in time beside the others";
/// A rung with viewers is worth more than one without: somebody asked within this time.
const WATCHED: Duration = Duration::from_secs(10);
/// Pictures that a source with B-frames, its decoder and the queues before an encoder hold.
const IN_HAND: u32 = 6;
/// An encoder that gives nothing at all for so long hangs, or begins: that is its supervisor's business.
const STANDS_STILL: Duration = Duration::from_millis(600);

fn time(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.millis()).unwrap_or(0))
}

/// What is known of how the encoder keeps up.
#[derive(Debug, Default)]
pub(super) struct Pace {
    shedding: Shedding,
    /// The newest picture of the source that it was given.
    front: Option<Timestamp>,
    /// How far apart its pictures are.
    frame: Span,
    /// When it last gave anything.
    gave: Option<Instant>,
}

impl Pace {
    /// A picture of the source went to the encoder.
    pub(super) fn given(&mut self, unit: &AccessUnit) {
        self.front = self.front.max(Some(unit.pts));
        self.frame = unit.duration;
    }

    /// A picture of a rung came back.
    pub(super) fn gave(&mut self) {
        self.gave = Some(Instant::now());
    }

    /// How far the slowest rung, with its newest picture, is behind the source. None: nothing can be said of it, because an
    /// encoder that should give something does not. Where no rung is made there is nothing to be late with.
    fn behind(&self, now: Instant, is_made: bool, slowest: Option<Timestamp>) -> Option<Duration> {
        if !is_made {
            return Some(Duration::ZERO);
        }
        if self.gave.is_none_or(|at| now.saturating_duration_since(at) > STANDS_STILL) {
            return None;
        }
        Some(slowest.map_or(Duration::ZERO, |last| time(self.front.map_or(Span::ZERO, |front| front - last))))
    }

    /// Another set of rungs.
    pub(super) fn forget(&mut self) {
        self.shedding.forget();
    }

    /// Another worker, which is given what the source sent before.
    pub(super) fn begins_late(&mut self) {
        self.shedding.begins_late();
    }
}

impl RungTrack {
    /// One that was planned; `kept`: the track that it had in the plan before.
    pub(super) fn new(plan: ladder::Rung, kept: Option<Track>) -> Self {
        Self { plan, track: kept, offer: Offer::Made, last: None }
    }

    pub(super) fn is_made(&self) -> bool {
        self.offer == Offer::Made
    }

    fn is_watched(&self, within: Duration) -> bool {
        self.track.as_ref().is_some_and(|track| track.is_wanted(within))
    }

    /// What is given up last is worth most: what is watched, and of that what costs least.
    fn worth(&self) -> (bool, Reverse<u64>) {
        (self.is_watched(WATCHED), Reverse(self.cost()))
    }

    /// What it costs to encode, beside others: pixels for each picture of the source.
    fn cost(&self) -> u64 {
        let pixels = u64::from(self.plan.width) * u64::from(self.plan.height);
        pixels / u64::from(self.plan.every.max(1))
    }

    fn rest(&mut self, offer: Offer, discontinuities: u64) {
        self.offer = offer;
        self.last = None;
        if let Some(track) = &mut self.track {
            track.rest(offer, discontinuities);
        }
    }
}

impl Run {
    /// What the encoder is to make, in the order of the plan.
    pub(super) fn wanted(&self) -> Vec<bool> {
        self.rungs.iter().map(RungTrack::is_made).collect()
    }

    /// `late`: nothing was made before, so that it begins with what the source sent then.
    fn choose(&mut self, late: bool) {
        if late {
            self.pace.begins_late();
        } else {
            self.pace.forget();
        }
        if let Some(encoder) = &self.encoder {
            encoder.choose(&self.wanted());
        }
        self.count_rungs();
    }

    pub(super) fn count_rungs(&self) {
        let count = |offer| self.rungs.iter().filter(|rung| rung.offer == offer).count();
        self.tally.set(count(Offer::Shed), count(Offer::Parked) + self.parked_sounds());
    }

    /// Rungs were planned. Where they are made when somebody asks for them, they are listed at once.
    pub(super) fn begin_rungs(&mut self) {
        let parks = self.settings.park.is_some();
        for index in 0..self.rungs.len() {
            let fresh = (parks && self.rungs[index].track.is_none()).then(|| self.packager());
            let RungTrack { plan, track, offer, .. } = &mut self.rungs[index];
            let foretold = Format::Video(ladder::foretell(plan));
            if let Some(packager) = fresh {
                *track =
                    Some(Track::parked(&plan.name, packager, foretold, plan.declared_bitrate(), &self.wake));
                *offer = Offer::Parked;
                continue;
            }
            // What was shed from another plan is tried in this one.
            match track {
                Some(track) if track.offered() == Offer::Shed && !parks => {
                    track.resume(self.discontinuities, &self.edges);
                }
                Some(track) if track.offered() != Offer::Made => {
                    track.foretell(foretold);
                    track.rest(Offer::Parked, self.discontinuities);
                    *offer = Offer::Parked;
                }
                _ => {}
            }
        }
        self.pace.forget();
        self.count_rungs();
    }

    /// Somebody wants to see or hear what is not made.
    pub(super) fn woken(&mut self) -> Outcome {
        let sounds = self.wake_sounds();
        let mut began = Vec::new();
        let late = !self.makes_any();
        for rung in &mut self.rungs {
            let called = rung.track.as_ref().is_some_and(Track::is_called);
            if rung.offer != Offer::Parked || !called {
                continue;
            }
            rung.offer = Offer::Made;
            if let Some(track) = &mut rung.track {
                track.resume(self.discontinuities, &self.edges);
            }
            began.push(rung.plan.name.clone());
        }
        if began.is_empty() {
            return sounds;
        }
        tracing::info!(stream = %self.name, rungs = began.join(" "), "somebody watches: these rungs are made");
        self.metrics.rungs_changed("woken", began.len());
        self.choose(late);
        Outcome { changed: true }
    }

    /// What nobody has watched for a while is not made. Asked once a segment.
    pub(super) fn park(&mut self) -> Outcome {
        let Some(within) = self.settings.park else { return Outcome::default() };
        let mut parked = Vec::new();
        for rung in &mut self.rungs {
            if !rung.is_made() || rung.is_watched(within) {
                continue;
            }
            rung.rest(Offer::Parked, self.discontinuities);
            // Who asked in this very moment was not heard.
            if rung.is_watched(within)
                && let Some(track) = &rung.track
            {
                track.rendition.want();
            }
            parked.push(rung.plan.name.clone());
        }
        if parked.is_empty() {
            return Outcome::default();
        }
        tracing::info!(stream = %self.name, rungs = parked.join(" "), "nobody watches: these rungs are not made");
        self.metrics.rungs_changed("parked", parked.len());
        self.choose(false);
        Outcome { changed: true }
    }

    /// Looks whether the encoder keeps up. Asked with every picture that it is given.
    pub(super) fn keep_pace(&mut self) -> Outcome {
        let now = Instant::now();
        let made = || self.rungs.iter().filter(|rung| rung.is_made());
        let slowest = made().filter_map(|rung| rung.last).min();
        let Some(behind) = self.pace.behind(now, made().next().is_some(), slowest) else {
            self.pace.forget();
            return Outcome::default();
        };
        let held = made().map(|rung| {
            let tuning = &rung.plan.tuning;
            (u32::from(tuning.b_frames) + u32::from(tuning.lookahead)) * rung.plan.every.max(1)
        });
        let frame = self.interval().max(time(self.pace.frame));
        let explained = frame * (IN_HAND + held.max().unwrap_or(0));
        match self.pace.shedding.look(now, behind, explained) {
            Some(Step::Shed { share }) => self.shed(now, behind, share),
            Some(Step::TakeBack) => self.take_back(now),
            None => Outcome::default(),
        }
    }

    /// The least valuable rungs are not made any more, until the others cost no more than `share` of what is made. The last
    /// one only where the source itself is there to be watched.
    fn shed(&mut self, now: Instant, behind: Duration, share: f64) -> Outcome {
        let source = self.aligned && self.passthrough.as_ref().is_some_and(|track| track.published);
        let most = self.made_cost() as f64 * share;
        let (mut gone, mut parked) = (Vec::new(), 0);
        while gone.is_empty() || self.made_cost() as f64 > most {
            if !source && self.rungs.iter().filter(|rung| rung.is_made()).count() <= 1 {
                break;
            }
            let made = self.rungs.iter_mut().filter(|rung| rung.is_made());
            let Some(rung) = made.min_by_key(|rung| rung.worth()) else { break };
            let name = rung.plan.name.clone();
            // What nobody watches need not be taken from anybody.
            let parks = self.settings.park.is_some() && !rung.is_watched(WATCHED);
            rung.rest(if parks { Offer::Parked } else { Offer::Shed }, self.discontinuities);
            if parks {
                parked += 1;
            } else {
                self.missing.push((name.clone(), TOO_SLOW.into()));
            }
            gone.push(name);
        }
        if gone.is_empty() {
            return Outcome::default();
        }
        self.pace.shedding.shed(now);
        let left: Vec<_> =
            self.rungs.iter().filter(|rung| rung.is_made()).map(|r| r.plan.name.as_str()).collect();
        tracing::warn!(
            stream = %self.name,
            rungs = gone.join(" "),
            behind_ms = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX),
            still_made = left.join(" "),
            "this machine cannot encode all rungs in time: some are left out until it can"
        );
        for (kind, count) in [("parked", parked), ("shed", gone.len() - parked)] {
            self.metrics.rungs_changed(kind, count);
        }
        if let Some(encoder) = &self.encoder {
            encoder.is_short();
        }
        self.choose(false);
        Outcome { changed: true }
    }

    fn makes_any(&self) -> bool {
        self.rungs.iter().any(RungTrack::is_made)
    }

    fn made_cost(&self) -> u64 {
        self.rungs.iter().filter(|rung| rung.is_made()).map(RungTrack::cost).sum()
    }

    /// The encoder has kept up for a while: it gets the most valuable of what it gave up, if the machine has room.
    fn take_back(&mut self, now: Instant) -> Outcome {
        let late = !self.makes_any();
        let shed = self.rungs.iter_mut().filter(|rung| rung.offer == Offer::Shed);
        let Some(rung) = shed.max_by_key(|rung| rung.worth()) else { return Outcome::default() };
        if self.encoder.as_ref().is_none_or(|encoder| !encoder.has_room()) {
            return Outcome::default();
        }
        let name = rung.plan.name.clone();
        if self.settings.park.is_some() {
            rung.rest(Offer::Parked, self.discontinuities);
        } else {
            rung.offer = Offer::Made;
            if let Some(track) = &mut rung.track {
                track.resume(self.discontinuities, &self.edges);
            }
        }
        self.pace.shedding.taken_back(now);
        self.missing.retain(|(missing, reason)| *missing != name || reason != TOO_SLOW);
        tracing::info!(stream = %self.name, rung = name, "there is time for it again: this rung is made");
        self.metrics.rungs_changed("taken-back", 1);
        self.choose(late);
        Outcome { changed: true }
    }

    /// Rungs that were shed, for what was listed of them.
    pub(super) fn shed_renditions(&self) -> Vec<Rendition> {
        let pictures = self.rungs.iter().filter_map(|rung| rung.track.as_ref());
        let rungs_of_sounds = self.sounds.iter().flat_map(|sound| &sound.rungs);
        let tracks = pictures.chain(rungs_of_sounds.filter_map(|rung| rung.track.as_ref()));
        let shed = tracks.filter(|track| track.offered() == Offer::Shed);
        shed.map(|track| track.rendition.clone()).collect()
    }

    /// Their names.
    pub(super) fn shed_names(&self) -> Vec<Arc<str>> {
        let shed = self.rungs.iter().filter(|rung| rung.offer == Offer::Shed);
        shed.map(|rung| rung.plan.name.as_str().into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_that_makes_nothing_is_not_late_and_one_that_gives_nothing_says_nothing() {
        let (now, second) = (Instant::now(), Timestamp::from_ticks(1, 1));
        let mut pace = Pace { front: Some(Timestamp::from_ticks(3, 1)), ..Pace::default() };
        // All rungs were shed: nothing comes, and they are to be taken back all the same.
        assert_eq!(pace.behind(now, false, None), Some(Duration::ZERO));
        assert_eq!(pace.behind(now, true, Some(second)), None);
        pace.gave = Some(now);
        assert_eq!(pace.behind(now, true, Some(second)), Some(Duration::from_secs(2)));
        assert_eq!(pace.behind(now, true, None), Some(Duration::ZERO), "it has only just begun");
        assert_eq!(pace.behind(now + Duration::from_secs(1), true, Some(second)), None);
    }
}
