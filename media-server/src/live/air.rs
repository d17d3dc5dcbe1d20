//! What of a stream's inputs goes on the air: the switch between them, the joining of the one that is chosen, and
//! what is held while none sends.

use std::time::{Duration, Instant};

use super::feed::{Arrived, Feed};
use super::publisher::{Input, Role, Track};
use super::run::Outcome;
use super::snapshot::Phase;
use super::sound::Missing;
use super::stream::Stream;
use super::switch::{self, GIVES_WAY, OnAir, State};
use super::timed::Timed;

/// The publisher is connected and sends nothing for so long: what it sent last is held. Less than players are behind.
const HELD_AFTER: Duration = Duration::from_secs(1);
/// One of its tracks has stopped for so long while the other goes on.
const TRACK_HELD_AFTER: Duration = Duration::from_secs(3);
/// Pictures that come seldom by nature are not held sooner than this many of their intervals, nor later than 5 s.
const INTERVALS: u32 = 3;
const SELDOM: Duration = Duration::from_secs(5);

/// The publisher that is on the air.
pub(super) fn on_air<'a>(
    on_air: OnAir,
    primary: Option<&'a Feed>,
    backup: Option<&'a Feed>,
) -> Option<&'a Feed> {
    match on_air {
        OnAir::Primary => primary,
        OnAir::Backup => backup,
        OnAir::Nothing | OnAir::Slate => None,
    }
}

impl Stream {
    fn role_on_air(&self) -> Option<Role> {
        match self.on_air {
            OnAir::Primary => Some(Role::Primary),
            OnAir::Backup => Some(Role::Backup),
            OnAir::Nothing | OnAir::Slate => None,
        }
    }

    fn feed_on_air(&self) -> Option<&Feed> {
        on_air(self.on_air, self.primary.as_ref(), self.backup.as_ref())
    }

    /// Takes one input of a publisher, and passes it on where that publisher is on the air.
    pub(super) fn input(&mut self, role: Role, input: Input) -> Outcome {
        let live = self.role_on_air() == Some(role);
        let interrupted = self.run.source.interrupted;
        let Some(feed) = self.slot(role).as_mut() else { return Outcome::default() };
        let through = live && feed.joined;
        match input {
            Input::Expect(expect) => {
                feed.announced.expect = expect;
                if through {
                    self.run.expect = expect;
                }
                Outcome::default()
            }
            Input::Timed(mut timed) => {
                timed.at += feed.offset();
                if timed.lasting {
                    feed.announced.said = Some(timed.clone());
                }
                if through {
                    self.run.timed(&timed);
                }
                Outcome::default()
            }
            Input::Beside(mut tapped) => {
                if through {
                    tapped.unit.dts += feed.offset();
                    tapped.unit.pts += feed.offset();
                    self.run.tap.beside(tapped);
                }
                Outcome::default()
            }
            Input::Voices(voices) => {
                let outcome = if through { self.run.voices(&voices) } else { Outcome::default() };
                if let Some(feed) = self.slot(role) {
                    feed.announced.voices = voices;
                }
                outcome
            }
            Input::Format { track, format } => {
                feed.format(track, &format);
                if through { self.run.format(track, &format) } else { Outcome::default() }
            }
            Input::Unit { track, unit, arrived } => {
                let arrived = Arrived { track, unit, at: arrived };
                feed.unit(&arrived);
                if !through {
                    return Outcome::default();
                }
                if matches!(track, Track::Video(_)) && interrupted {
                    return self.rejoin(role);
                }
                let placed = feed.placed(arrived);
                self.run.unit(track, placed.unit, Some(placed.at))
            }
        }
    }

    /// The one publisher that is there is on the air, and nothing stands in for it or is going to: more of its media
    /// changes nothing of that, and the bell tells when it stays away.
    pub(super) fn is_steady(&self) -> bool {
        self.phase == Phase::Live
            && self.on_air == OnAir::Primary
            && self.primary.as_ref().is_some_and(|feed| feed.joined)
            && self.backup.is_none()
            && self.run.ready
            && !self.holding
            && self.settings.slate.is_none()
    }

    /// Looks again at who should be on the air, and holds what is due.
    pub(super) fn look(&mut self) -> Outcome {
        if self.phase == Phase::Ended {
            return Outcome::default();
        }
        let now = Instant::now();
        let primary = State::of(self.primary.as_ref(), now);
        let backup = State::of(self.backup.as_ref(), now);
        self.prepare_slate(self.feed_on_air().filter(|feed| feed.joined).map(Feed::last_media));
        let chosen = switch::choose(self.on_air, primary, backup, self.slate_is_due(now));
        let mut outcome = Outcome::default();
        if chosen != self.on_air {
            tracing::info!(stream = %self.name, from = self.on_air.name(), to = chosen.name(), "input switched");
            for feed in [&mut self.primary, &mut self.backup].into_iter().flatten() {
                feed.joined = false;
            }
            self.on_air = chosen;
            self.standby.leave();
            if chosen == OnAir::Slate {
                outcome |= self.begin_slate();
            }
            outcome.changed = true;
        }
        if self.on_air == OnAir::Slate {
            outcome |= self.show_slate();
            self.holding = false;
            return outcome;
        }
        outcome |= self.join();
        let (video, sounds) = self.silent(now);
        let holding = (video || !sounds.is_empty()) && self.run.hold_due(video, sounds).is_some();
        outcome |= self.run.hold(video, sounds);
        outcome.changed |= holding != self.holding;
        self.holding = holding;
        outcome
    }

    /// Takes in the publisher on the air, as soon as it can be: at once while nothing was ever shown.
    fn join(&mut self) -> Outcome {
        let Some(role) = self.role_on_air() else { return Outcome::default() };
        let (begun, seam) = (self.run.open, self.run.source.splice.end());
        let Some(feed) = self.slot(role).as_mut() else { return Outcome::default() };
        if feed.joined || (begun && !feed.is_joinable()) {
            return Outcome::default();
        }
        feed.join(seam);
        let (announced, profile, session) =
            (feed.announced.clone(), feed.profile.clone(), feed.session.clone());
        let mut outcome = self.run.join((&session, &profile), announced.expect, &announced.voices);
        outcome.changed = true;
        if let (Some(said), true) = (announced.said, begun) {
            // From where it is shown on.
            let at = seam.unwrap_or(said.at).max(said.at);
            self.run.timed(&Timed { at, ..said });
        }
        let video = announced.video.map(|video| (Track::Video(0), media::Format::Video(video)));
        let others =
            announced.others.into_iter().map(|(n, video)| (Track::Video(n), media::Format::Video(video)));
        let sounds =
            announced.sounds.into_iter().map(|(n, audio)| (Track::Audio(n), media::Format::Audio(audio)));
        for (track, format) in video.into_iter().chain(others).chain(sounds) {
            outcome |= self.run.format(track, &format);
        }
        outcome |= self.replay(role);
        outcome
    }

    /// The publisher's pictures follow on held ones: they need their keyframe again.
    fn rejoin(&mut self, role: Role) -> Outcome {
        let joinable = self.slot(role).as_ref().is_some_and(Feed::is_joinable);
        if !joinable {
            // Its group of pictures is too long to be kept: held until the next keyframe.
            if let Some(feed) = self.slot(role) {
                feed.joined = false;
            }
            return Outcome::default();
        }
        self.run.rejoin();
        self.replay(role)
    }

    fn replay(&mut self, role: Role) -> Outcome {
        let kept = self.slot(role).as_ref().map(Feed::kept).unwrap_or_default();
        let mut outcome = Outcome::default();
        for arrived in kept {
            outcome |= self.run.unit(arrived.track, arrived.unit, None);
        }
        outcome
    }

    /// Whether pictures and sound are to be held now.
    fn silent(&self, now: Instant) -> (bool, Missing) {
        let Some(feed) = self.feed_on_air().filter(|feed| feed.joined) else { return (true, Missing::ALL) };
        let since = |at: Instant| now.saturating_duration_since(at);
        let all = since(feed.last_media()) >= self.held_after();
        let video = feed.announced.video.is_none()
            || since(feed.last_video) >= TRACK_HELD_AFTER.max(self.held_after());
        if all {
            return (true, Missing::ALL);
        }
        let mut sounds = Missing::default();
        for (index, sound) in self.run.sounds.iter().enumerate() {
            if !feed.has_sound(sound.from) || since(feed.last_sound(sound.from)) >= TRACK_HELD_AFTER {
                sounds.insert(index);
            }
        }
        (video, sounds)
    }

    /// There is an input besides the one on the air.
    fn has_another(&self) -> bool {
        self.primary.is_some() && self.backup.is_some()
    }

    fn held_after(&self) -> Duration {
        let interval = self.run.interval().saturating_mul(INTERVALS);
        HELD_AFTER.max(interval.min(SELDOM))
    }

    /// When there is something to look at again without anything having come.
    pub(super) fn next_look(&self) -> Option<Instant> {
        if self.phase == Phase::Ended {
            return None;
        }
        let now = Instant::now();
        if self.on_air == OnAir::Slate {
            return self.next_of_slate();
        }
        let held = {
            let (video, sounds) = self.silent(now);
            self.run.hold_due(video, sounds)
        };
        let feed = self.feed_on_air().filter(|feed| feed.joined);
        let silences = feed.into_iter().flat_map(|feed| {
            let all = feed.last_media() + self.held_after();
            let video = feed.last_video + TRACK_HELD_AFTER.max(self.held_after());
            let gives_way = self.has_another().then(|| feed.last_media() + GIVES_WAY);
            let sounds = self.run.sounds.iter().map(|sound| feed.last_sound(sound.from) + TRACK_HELD_AFTER);
            [all, video].into_iter().chain(sounds).chain(gives_way)
        });
        silences.chain(self.slate_due_at()).filter(|at| *at > now).chain(held).min()
    }
}
