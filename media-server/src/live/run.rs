//! One run of a stream: the GOP clock and the packagers of all its renditions. From the first keyframe to the end,
//! over every reconnect, backup and slate within it: one timeline, one epoch, media sequence numbers that go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media::ladder::{self, Profile};
use media::packager::{Packager, PackagerConfig};
use media::playlist::DateRange;
use media::segmenter::{Edge, GopClock};
use media::splice::VideoSplice;
use media::{AccessUnit, AudioFormat, Timestamp, VideoFormat};
use tokio::sync::{Notify, mpsc};

use super::activity::Pace;
use super::choice::Choice;
use super::publisher::Expect;
use super::rendition::{Offer, Rendition, Track};
use super::rung::{RungEvent, RungFactory, RungSink};
use super::snapshot::SessionInfo;
use super::sound::{Sound, Voice};
use super::sound_rung::{SoundEncoders, SoundRung};
use super::tap::Tap;
use super::{Makers, Settings};
use crate::metrics::{Metrics, RungTally};

/// Every stream's time is UTC since 2026-01-01T00:00:00Z: `tfdt` and EXT-X-PROGRAM-DATE-TIME say the same, and a stream
/// that comes back after a restart of the daemon, or on another machine, goes on where players expect it. Unix seconds.
const ZERO: u64 = 1_767_225_600;
/// The same in milliseconds.
pub const WALL_ZERO_MS: i64 = 1_767_225_600_000;
/// A stream's first media sequence number is the time at which it begins, in half seconds since [`ZERO`]: segments last
/// longer than that, so numbers go on over a restart without anything having been written. Players keep them in 32
/// signed bits, which lasts until 2060.
const NUMBERS_A_SECOND: u64 = 2;
/// Seconds in which a stream may count one discontinuity, on average, and still be below the number that its next run
/// begins with. Not more often: hls.js walks through all numbers up to the present one.
const DISCONTINUITY_EVERY: u64 = 3600;

/// Where a run ended: the media sequence number and EXT-X-DISCONTINUITY-SEQUENCE that a run after it begins with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct After {
    msn: u64,
    discontinuities: u64,
}

/// What came out of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The set of renditions, or their readiness, changed: a new stream snapshot is due.
    pub(super) changed: bool,
}

impl std::ops::BitOrAssign for Outcome {
    fn bitor_assign(&mut self, rhs: Self) {
        self.changed |= rhs.changed;
    }
}

/// A rung that was planned, and its track once its format is known.
pub(super) struct RungTrack {
    pub(super) plan: ladder::Rung,
    pub(super) track: Option<Track>,
    /// Whether it is made.
    pub(super) offer: Offer,
    /// The newest of its pictures.
    pub(super) last: Option<Timestamp>,
}

/// The publisher's own video, whole: what the pass-through rung and the encoder get.
#[derive(Default)]
pub(super) struct Source {
    pub(super) format: Option<VideoFormat>,
    pub(super) splice: VideoSplice,
    /// The newest keyframe: what is held while nothing comes.
    pub(super) keyframe: Option<AccessUnit>,
    /// What was held lies between the last unit and the next: that one needs its references anew.
    pub(super) interrupted: bool,
}

/// What a ladder depends on, and what of it is encoded.
#[derive(PartialEq)]
pub(super) struct Planned {
    pub(super) source: VideoFormat,
    pub(super) profile: Profile,
    /// Names of the renditions that the publisher sends itself.
    pub(super) sent: Vec<Arc<str>>,
    pub(super) rungs: Vec<ladder::Rung>,
}

/// A further video track that the publisher sends itself.
pub(super) struct Other {
    pub(super) number: u8,
    pub(super) source: Source,
    pub(super) track: Track,
    /// Segments of the source that began without it.
    pub(super) missed: u32,
}

#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other, not a mode")]
pub(super) struct Run {
    pub(super) name: Arc<str>,
    pub(super) epoch: Arc<str>,
    pub(super) settings: Settings,
    /// When the run began, by the machine's clock and by the stream's.
    began: Instant,
    began_at: Timestamp,
    pub(super) clock: GopClock,
    pub(super) edges: VecDeque<Edge>,
    /// EXT-X-DISCONTINUITY-SEQUENCE of a rendition that begins now.
    pub(super) discontinuities: u64,
    pub(super) profile: Profile,
    /// Who chooses it.
    pub(super) choice: Choice,
    /// What the ladder was planned for, and what the encoder makes.
    pub(super) planned: Option<Planned>,
    pub(super) expect: Expect,
    pub(super) source: Source,
    pub(super) passthrough: Option<Track>,
    pub(super) others: Vec<Other>,
    pub(super) rungs: Vec<RungTrack>,
    /// The first is there from the beginning.
    pub(super) sounds: Vec<Sound>,
    /// How the sounds of the publisher on the air decode, by number.
    pub(super) sound_formats: Vec<(u8, AudioFormat)>,
    pub(super) encoders_of_sound: SoundEncoders,
    /// Media flows; before, units wait for the first keyframe.
    pub(super) open: bool,
    pub(super) ready_by: Option<Instant>,
    pub(super) ready: bool,
    pub(super) missing: Vec<(String, String)>,
    pub(super) factory: RungFactory,
    pub(super) encoder: Option<Arc<dyn RungSink>>,
    pub(super) events: Option<mpsc::Receiver<RungEvent>>,
    /// How the encoder keeps up.
    pub(super) pace: Pace,
    /// Whoever wants to see what is not made is heard here.
    pub(super) wake: Arc<Notify>,
    pub(super) tally: RungTally,
    /// Why the publisher is to be ended: its rungs cannot be made.
    pub(super) refused: Option<String>,
    pub(super) aligned: bool,
    /// What was said beside the media, and how often anything was.
    pub(super) ranges: VecDeque<Arc<DateRange>>,
    pub(super) said: u64,
    pub(super) metrics: Metrics,
    /// Who sends the stream elsewhere listens here.
    pub(super) tap: Tap,
}

impl Run {
    /// `after`: where the stream's last run ended.
    pub(super) fn new(
        name: &Arc<str>,
        settings: Settings,
        after: After,
        makers: &Makers,
        metrics: Metrics,
        (tap, wake): (Tap, Arc<Notify>),
    ) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = wall.saturating_sub(Duration::from_secs(ZERO));
        let first = after.msn.max(since.as_secs().saturating_mul(NUMBERS_A_SECOND));
        Self {
            name: Arc::clone(name),
            epoch: format!("{:016x}", rand::random::<u64>()).into(),
            clock: GopClock::new(settings.targets, first),
            settings,
            began: Instant::now(),
            began_at: nanoseconds(since),
            edges: VecDeque::new(),
            discontinuities: after.discontinuities.max(since.as_secs() / DISCONTINUITY_EVERY),
            profile: Profile::default(),
            choice: Choice::new(makers.ladders.clone()),
            planned: None,
            expect: Expect::default(),
            source: Source::default(),
            passthrough: None,
            others: Vec::new(),
            rungs: Vec::new(),
            sounds: vec![Sound::default()],
            sound_formats: Vec::new(),
            encoders_of_sound: SoundEncoders::new(Arc::clone(&makers.sound_rungs)),
            open: false,
            ready_by: None,
            ready: false,
            missing: Vec::new(),
            factory: Arc::clone(&makers.rungs),
            encoder: None,
            events: None,
            pace: Pace::default(),
            wake,
            tally: metrics.rung_tally(),
            refused: None,
            aligned: true,
            ranges: VecDeque::new(),
            said: 0,
            metrics,
            tap,
        }
    }

    /// The stream's time of this moment: where a session that starts now places its first unit.
    pub(super) fn now(&self) -> Timestamp {
        self.began_at + nanoseconds(self.began.elapsed()).since_zero()
    }

    /// How far apart the source's pictures are.
    pub(super) fn interval(&self) -> Duration {
        let frames = self.source.format.as_ref().and_then(|video| video.frame_rate);
        frames.map_or(Duration::ZERO, |(n, d)| Duration::from_secs_f64(f64::from(d) / f64::from(n.max(1))))
    }

    /// The moment at which the stream's time is `at`.
    pub(super) fn instant(&self, at: Timestamp) -> Instant {
        let since = Timestamp::ZERO + (at - self.began_at);
        self.began + Duration::from_nanos(u64::try_from(since.ticks(1_000_000_000)).unwrap_or(0))
    }

    /// Where a run that follows goes on.
    pub(super) fn after(&self) -> After {
        After { msn: self.clock.next_msn(), discontinuities: self.discontinuities.saturating_add(1) }
    }

    pub(super) fn ready_by(&self) -> Option<Instant> {
        self.ready_by.filter(|_| !self.ready && !self.choice.is_awaited())
    }

    /// Another publisher is taken in, with its ladder and what it announced. Where its formats are those of before,
    /// the playlists go on as if nothing had happened.
    pub(super) fn join(
        &mut self,
        (session, profile): (&SessionInfo, &Profile),
        expect: Expect,
        voices: &[Voice],
    ) -> Outcome {
        self.expect = expect;
        let outcome = self.join_sounds(voices);
        if self.choice.join(session, profile) && self.profile != *profile {
            self.profile = profile.clone();
        }
        // An encoder that was given up is tried again.
        if self.encoder.is_none() {
            self.planned = None;
        }
        self.rejoin();
        outcome
    }

    /// The present publisher's pictures follow on something else: they begin with a keyframe.
    pub(super) fn rejoin(&mut self) {
        for sound in &mut self.sounds {
            sound.joins = true;
        }
        for source in self.sources_mut() {
            source.splice.join();
            source.interrupted = false;
        }
    }

    /// The encoder has given its last unit.
    pub(super) fn rungs_ended(&mut self) -> Outcome {
        self.events = None;
        self.encoder = None;
        let mut outcome = Outcome::default();
        for track in self.rungs.iter_mut().filter_map(|r| r.track.as_mut()) {
            outcome |= track.flush();
        }
        outcome
    }

    /// The run is over for good: what is on its way is closed and shown.
    pub(super) fn end(&mut self) {
        for sound in &mut self.sounds {
            for unit in std::mem::take(&mut sound.held) {
                if self.open {
                    sound.give(unit);
                }
            }
            sound.rungs.iter_mut().for_each(SoundRung::stop);
        }
        self.stop_encoder();
        self.choice.end();
        for track in self.tracks_mut() {
            track.packager.end();
            track.publish();
        }
    }

    /// Video renditions with media that new viewers are offered, and those that are made when one asks; best first.
    pub(super) fn video_renditions(&self) -> Vec<Rendition> {
        let sent = self.others.iter().map(|other| &other.track);
        let encoded: Vec<_> = sent.chain(self.rungs.iter().filter_map(|r| r.track.as_ref())).collect();
        // What the publisher sends beside it has its keyframes where the source has them: no reason to leave the source out.
        let mut made = self.rungs.iter().filter_map(|rung| rung.track.as_ref());
        let offer_source = self.aligned || !made.any(Track::is_there);
        let source = self.passthrough.as_ref().filter(|_| offer_source);
        source.into_iter().chain(encoded).filter(|t| t.is_there()).map(|t| t.rendition.clone()).collect()
    }

    /// A pass-through rung that is no longer offered, kept for those who watch it.
    pub(super) fn retired(&self) -> Option<Rendition> {
        let offered = self.video_renditions();
        self.passthrough
            .as_ref()
            .filter(|s| s.published)
            .map(|s| &s.rendition)
            .filter(|s| offered.iter().all(|o| o.name != s.name))
            .cloned()
    }

    /// Checks whether the multivariant playlist may go out: everything planned has media, or has had its time.
    pub(super) fn settle(&mut self) -> Outcome {
        if self.ready || !self.open || self.choice.is_awaited() {
            return Outcome::default();
        }
        let has_sound = |sound: &Sound| sound.track.as_ref().is_some_and(|track| track.published);
        let silent = self.expect.audio == Some(false) && self.first_sound().is_none();
        let audio_settled = silent || self.sounds.iter().all(has_sound);
        let source_settled = self.passthrough.as_ref().is_none_or(|t| t.published);
        let others_settled = self.others.iter().all(|other| other.track.published);
        let rungs_settled =
            self.rungs.iter().all(|r| !r.is_made() || r.track.as_ref().is_some_and(|t| t.published));
        let anything = self.tracks().any(|t| t.published);
        let late = self.ready_by.is_some_and(|by| Instant::now() >= by);
        let sound_rungs_settled = self.sounds.iter().flat_map(|it| &it.rungs).all(SoundRung::is_settled);
        let settled =
            audio_settled && source_settled && others_settled && rungs_settled && sound_rungs_settled;
        self.ready = anything && (late || settled);
        Outcome { changed: self.ready }
    }

    fn tracks(&self) -> impl Iterator<Item = &Track> {
        let others = self.others.iter().map(|other| &other.track);
        let rungs = self.rungs.iter().filter_map(|r| r.track.as_ref());
        let sounds = self.sounds.iter().filter_map(|sound| sound.track.as_ref());
        let of_sounds = self.sounds.iter().flat_map(|sound| &sound.rungs).filter_map(|r| r.track.as_ref());
        self.passthrough.iter().chain(others).chain(rungs).chain(sounds).chain(of_sounds)
    }

    pub(super) fn tracks_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        let others = self.others.iter_mut().map(|other| &mut other.track);
        let rungs = self.rungs.iter_mut().filter_map(|r| r.track.as_mut());
        let sounds = self.sounds.iter_mut().flat_map(|sound| {
            sound.track.iter_mut().chain(sound.rungs.iter_mut().filter_map(|r| r.track.as_mut()))
        });
        self.passthrough.iter_mut().chain(others).chain(rungs).chain(sounds)
    }

    /// The same without rungs of sound.
    pub(super) fn own_tracks_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        let others = self.others.iter_mut().map(|other| &mut other.track);
        let rungs = self.rungs.iter_mut().filter_map(|r| r.track.as_mut());
        let sounds = self.sounds.iter_mut().filter_map(|sound| sound.track.as_mut());
        self.passthrough.iter_mut().chain(others).chain(rungs).chain(sounds)
    }

    pub(super) fn sources_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        std::iter::once(&mut self.source).chain(self.others.iter_mut().map(|other| &mut other.source))
    }

    /// A packager for a rendition that begins now, and knows the edges of late.
    pub(super) fn packager(&self) -> Packager {
        self.packager_from(0)
    }

    /// The same, of which nothing lies before the segment of that number.
    pub(super) fn packager_from(&self, msn: u64) -> Packager {
        let mut packager = Packager::new(PackagerConfig {
            targets: self.settings.targets,
            epoch: self.epoch.to_string(),
            wall_zero_ms: WALL_ZERO_MS,
            discontinuity_sequence: self.discontinuities,
        });
        packager.set_date_ranges(self.ranges.iter().cloned().collect());
        for edge in self.edges.iter().filter(|edge| edge.msn >= msn) {
            packager.edge(*edge);
        }
        packager
    }

    pub(super) fn stop_encoder(&mut self) {
        self.encoder = None;
        self.events = None;
    }
}

fn nanoseconds(span: Duration) -> Timestamp {
    Timestamp::from_ticks(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX), 1_000_000_000)
}
