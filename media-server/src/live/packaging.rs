//! One run of a stream: the GOP clock and the packagers of all its renditions. From the first keyframe to the end,
//! over reconnects within the window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media::ladder::{self, Profile};
use media::packager::{Packager, PackagerConfig};
use media::segmenter::{Edge, GopClock};
use media::{AccessUnit, AudioFormat, Format, Kind, Span, Timestamp, VideoFormat};
use tokio::sync::mpsc;

use super::Settings;
use super::publisher::Expect;
use super::rendition::{Rendition, Track};
use super::rung::{RungEvent, RungFactory, RungRequest, RungSink, Rungs};
use crate::metrics::Metrics;

/// How long the multivariant playlist waits for a planned rendition before it goes out without it.
const READY_GRACE: Duration = Duration::from_millis(1500);
/// Audio alone for this long, with no word of a video track, is an audio-only stream.
const AUDIO_ONLY_AFTER: Span = Span::from_millis(1000);
/// Audio waits at most this long for the video that decides its segment edges.
const AUDIO_HOLD: Span = Span::from_millis(1500);
/// Edges kept for renditions that start late (an encoder on its way).
const EDGES_KEPT: usize = 32;

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
struct RungTrack {
    plan: ladder::Rung,
    track: Option<Track>,
}

pub(super) struct Run {
    name: Arc<str>,
    pub(super) epoch: Arc<str>,
    settings: Settings,
    zero: Instant,
    wall_zero_ms: i64,
    clock: GopClock,
    edges: VecDeque<Edge>,
    profile: Profile,
    expect: Expect,
    source: Option<Track>,
    rungs: Vec<RungTrack>,
    audio: Option<Track>,
    held_audio: VecDeque<(AccessUnit, Instant)>,
    /// Media flows; before, units wait for the first keyframe.
    open: bool,
    ready_by: Option<Instant>,
    pub(super) ready: bool,
    pub(super) missing: Vec<(String, String)>,
    pub(super) source_video: Option<VideoFormat>,
    pub(super) source_audio: Option<AudioFormat>,
    factory: RungFactory,
    pub(super) encoder: Option<Arc<dyn RungSink>>,
    pub(super) events: Option<mpsc::Receiver<RungEvent>>,
    aligned: bool,
    metrics: Metrics,
}

impl Run {
    pub(super) fn new(
        name: &Arc<str>,
        settings: Settings,
        first_msn: u64,
        factory: RungFactory,
        metrics: Metrics,
    ) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            name: Arc::clone(name),
            epoch: format!("{:016x}", rand::random::<u64>()).into(),
            clock: GopClock::new(settings.targets, first_msn),
            settings,
            zero: Instant::now(),
            wall_zero_ms: i64::try_from(wall.as_millis()).unwrap_or_default(),
            edges: VecDeque::new(),
            profile: Profile::default(),
            expect: Expect::default(),
            source: None,
            rungs: Vec::new(),
            audio: None,
            held_audio: VecDeque::new(),
            open: false,
            ready_by: None,
            ready: false,
            missing: Vec::new(),
            source_video: None,
            source_audio: None,
            factory,
            encoder: None,
            events: None,
            aligned: true,
            metrics,
        }
    }

    /// The stream's time of this moment: where a session that starts now places its first unit.
    pub(super) fn now(&self) -> Timestamp {
        let ns = i64::try_from(self.zero.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Timestamp::from_ticks(ns, 1_000_000_000)
    }

    pub(super) fn next_msn(&self) -> u64 {
        self.clock.next_msn()
    }

    pub(super) fn ready_by(&self) -> Option<Instant> {
        self.ready_by.filter(|_| !self.ready)
    }

    /// A publish session begins; `profile` is its ladder. A later session of the same run goes on after a
    /// DISCONTINUITY.
    pub(super) fn attach(&mut self, profile: Profile) {
        self.stop_encoder();
        self.profile = profile;
        self.expect = Expect::default();
        self.held_audio.clear();
        self.open = false;
        self.source_video = None;
        self.source_audio = None;
        self.clock.restart();
        for track in self.tracks_mut() {
            track.packager.discontinuity();
        }
    }

    /// The publish session is over: what is on its way is closed and shown. The encoder's last units still come.
    pub(super) fn detach(&mut self) -> Outcome {
        self.encoder = None;
        let held = std::mem::take(&mut self.held_audio);
        let mut outcome = Outcome::default();
        if self.open {
            for (unit, arrived) in held {
                outcome |= push(self.audio.as_mut(), unit, arrived, None);
            }
        }
        let draining = self.events.is_some();
        let rungs = self.rungs.iter_mut().filter_map(|r| r.track.as_mut()).filter(|_| !draining);
        for track in self.source.iter_mut().chain(&mut self.audio).chain(rungs) {
            outcome |= flush(track);
        }
        outcome
    }

    /// The encoder has given its last unit.
    pub(super) fn rungs_ended(&mut self) -> Outcome {
        self.events = None;
        let mut outcome = Outcome::default();
        if self.encoder.is_none() {
            for track in self.rungs.iter_mut().filter_map(|r| r.track.as_mut()) {
                outcome |= flush(track);
            }
        }
        outcome
    }

    /// The run is over for good.
    pub(super) fn end(&mut self) {
        self.detach();
        self.stop_encoder();
        for track in self.tracks_mut() {
            track.packager.end();
            track.publish();
        }
    }

    pub(super) fn expect(&mut self, expect: Expect) {
        self.expect = expect;
    }

    pub(super) fn format(&mut self, format: Format) -> Outcome {
        match format {
            Format::Video(video) => self.video_format(video),
            Format::Audio(audio) => self.audio_format(audio),
        }
        Outcome { changed: true }
    }

    pub(super) fn unit(&mut self, kind: Kind, unit: AccessUnit, arrived: Instant) -> Outcome {
        match kind {
            Kind::Video => self.video(unit, arrived),
            Kind::Audio => self.audio(unit, arrived),
        }
    }

    pub(super) fn rung(&mut self, event: RungEvent) -> Outcome {
        match event {
            RungEvent::Format { rung, format } => self.rung_format(rung, format),
            RungEvent::Unit { rung, unit } => {
                let track = self.rungs.get_mut(rung).and_then(|r| r.track.as_mut());
                let mut outcome = push(track, unit, Instant::now(), None);
                outcome |= self.settle();
                outcome
            }
            RungEvent::Restarted { reason } => {
                self.metrics.worker_restarts.inc();
                tracing::warn!(stream = %self.name, reason, "encoder worker replaced; playback goes on");
                Outcome::default()
            }
            RungEvent::Failed { reason } => {
                tracing::error!(stream = %self.name, reason, "encoder worker cannot be kept alive; the encoded rungs end");
                self.stop_encoder();
                for rung in std::mem::take(&mut self.rungs) {
                    self.missing.push((rung.plan.name.clone(), reason.clone()));
                }
                let mut outcome = self.settle();
                outcome.changed = true;
                outcome
            }
        }
    }

    /// Video renditions with media that new viewers are offered, best first.
    pub(super) fn video_renditions(&self) -> Vec<Rendition> {
        let encoded: Vec<_> = self.rungs.iter().filter_map(|r| r.track.as_ref()).collect();
        let offer_source = self.aligned || !encoded.iter().any(|t| t.published);
        let source = self.source.as_ref().filter(|_| offer_source);
        source.into_iter().chain(encoded).filter(|t| t.published).map(|t| t.rendition.clone()).collect()
    }

    /// A pass-through rung that is no longer offered, kept for those who watch it.
    pub(super) fn retired(&self) -> Option<Rendition> {
        let offered = self.video_renditions();
        self.source
            .as_ref()
            .filter(|s| s.published)
            .map(|s| &s.rendition)
            .filter(|s| offered.iter().all(|o| o.name != s.name))
            .cloned()
    }

    pub(super) fn audio_rendition(&self) -> Option<Rendition> {
        self.audio.as_ref().filter(|t| t.published).map(|t| t.rendition.clone())
    }

    pub(super) fn aligned(&self) -> bool {
        self.aligned
    }

    /// Checks whether the multivariant playlist may go out: everything planned has media, or has had its time.
    pub(super) fn settle(&mut self) -> Outcome {
        if self.ready || !self.open {
            return Outcome::default();
        }
        let audio_settled = match (&self.audio, self.expect.audio) {
            (Some(track), _) => track.published,
            (None, expected) => expected == Some(false),
        };
        let source_settled = self.source.as_ref().is_none_or(|t| t.published);
        let rungs_settled = self.rungs.iter().all(|r| r.track.as_ref().is_some_and(|t| t.published));
        let anything = self.tracks().any(|t| t.published);
        let late = self.ready_by.is_some_and(|by| Instant::now() >= by);
        self.ready = anything && (late || (audio_settled && source_settled && rungs_settled));
        Outcome { changed: self.ready }
    }

    fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.source.iter().chain(self.rungs.iter().filter_map(|r| r.track.as_ref())).chain(&self.audio)
    }

    fn tracks_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        self.source
            .iter_mut()
            .chain(self.rungs.iter_mut().filter_map(|r| r.track.as_mut()))
            .chain(&mut self.audio)
    }

    fn packager(&self) -> Packager {
        let mut packager = Packager::new(PackagerConfig {
            targets: self.settings.targets,
            epoch: self.epoch.to_string(),
            wall_zero_ms: self.wall_zero_ms,
        });
        for edge in &self.edges {
            packager.edge(*edge);
        }
        packager
    }

    fn video_format(&mut self, video: VideoFormat) {
        if self.source_video.as_ref() == Some(&video) {
            return;
        }
        let ladder = ladder::plan(&video, video.frame_rate, &self.profile);
        self.missing = ladder.dropped.iter().map(|(name, why)| (name.clone(), why.to_string())).collect();
        self.source_video = Some(video.clone());
        let format = Format::Video(video.clone());
        if ladder.passthrough {
            if let Some(track) = &mut self.source {
                track.set_format(format);
            } else {
                let declared = self.expect.video_bitrate.unwrap_or(0);
                self.source = Some(Track::new("source", self.packager(), format, declared, true));
            }
        }
        // A rung that is still wanted keeps its track, and with it its playlist; the others end.
        let mut old = std::mem::take(&mut self.rungs);
        for plan in &ladder.rungs {
            let kept = old.iter_mut().find(|r| r.plan.name == plan.name).and_then(|r| r.track.take());
            self.rungs.push(RungTrack { plan: plan.clone(), track: kept });
        }
        for mut gone in old.into_iter().filter_map(|r| r.track) {
            gone.packager.end();
            gone.publish();
        }
        self.stop_encoder();
        if !ladder.rungs.is_empty() {
            let request = RungRequest { stream: self.name.to_string(), source: video, rungs: ladder.rungs };
            let Rungs { sink, events } = (self.factory)(request);
            self.encoder = Some(sink);
            self.events = Some(events);
        }
    }

    fn audio_format(&mut self, audio: AudioFormat) {
        self.source_audio = Some(audio.clone());
        let format = Format::Audio(audio);
        if let Some(track) = &mut self.audio {
            track.set_format(format);
        } else {
            let declared = self.expect.audio_bitrate.unwrap_or(0);
            self.audio = Some(Track::new("audio", self.packager(), format, declared, true));
        }
    }

    fn rung_format(&mut self, rung: usize, format: VideoFormat) -> Outcome {
        let fresh = self.packager();
        let Some(slot) = self.rungs.get_mut(rung) else { return Outcome::default() };
        let format = Format::Video(format);
        if let Some(track) = &mut slot.track {
            track.set_format(format);
        } else {
            let plan = &slot.plan;
            slot.track = Some(Track::new(&plan.name, fresh, format, plan.video_bitrate, false));
        }
        Outcome { changed: true }
    }

    fn stop_encoder(&mut self) {
        self.encoder = None;
        self.events = None;
    }

    fn video(&mut self, unit: AccessUnit, arrived: Instant) -> Outcome {
        if !self.open {
            if !unit.keyframe {
                return Outcome::default();
            }
            self.start(unit.pts);
        }
        let edge = self.clock.observe(&unit);
        let mut outcome = Outcome::default();
        if let Some(edge) = edge {
            outcome |= self.edge(edge);
        }
        if let Some(encoder) = &self.encoder {
            encoder.push(unit.clone(), edge.is_some());
        }
        outcome |= push(self.source.as_mut(), unit, arrived, Some(&self.metrics));
        outcome |= self.release_audio();
        outcome |= self.settle();
        outcome
    }

    fn audio(&mut self, unit: AccessUnit, arrived: Instant) -> Outcome {
        let pts = unit.pts;
        self.held_audio.push_back((unit, arrived));
        let first = self.held_audio.front().map_or(pts, |(u, _)| u.pts);
        if !self.open {
            let no_video = self.expect.video == Some(false) || self.source_video.is_none();
            let waited = pts - first >= AUDIO_ONLY_AFTER;
            if no_video && (self.expect.video == Some(false) || waited) {
                self.start(first);
            } else {
                // Video is on its way: keep only what could still be beside its first keyframe.
                while self.held_audio.front().is_some_and(|(u, _)| pts - u.pts > AUDIO_HOLD) {
                    self.held_audio.pop_front();
                }
                return Outcome::default();
            }
        }
        let mut outcome = self.release_audio();
        outcome |= self.settle();
        outcome
    }

    /// Media flows from `at` on.
    fn start(&mut self, at: Timestamp) {
        self.open = true;
        self.ready_by.get_or_insert_with(|| Instant::now() + READY_GRACE);
        while self.held_audio.front().is_some_and(|(u, _)| u.pts + u.duration.half() < at) {
            self.held_audio.pop_front();
        }
    }

    fn edge(&mut self, edge: Edge) -> Outcome {
        self.edges.push_back(edge);
        if self.edges.len() > EDGES_KEPT {
            self.edges.pop_front();
        }
        for track in self.tracks_mut() {
            track.packager.edge(edge);
        }
        let aligned = self.clock.gop().aligned;
        if aligned == self.aligned {
            return Outcome::default();
        }
        self.aligned = aligned;
        let longest = self.clock.gop().longest.seconds();
        tracing::warn!(
            stream = %self.name,
            keyframe_interval_s = longest,
            "the source's keyframes are too far apart for aligned segments: set the encoder's keyframe interval to \
             the segment length"
        );
        if !self.rungs.is_empty() {
            let reason =
                "keyframes too far apart for aligned segments; set the encoder's keyframe interval to 2 s";
            self.missing.push(("source".into(), reason.into()));
        }
        Outcome { changed: true }
    }

    /// Audio goes on as far as the edges are decided; where video is absent or stalls, audio drives the clock.
    fn release_audio(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.open {
            return outcome;
        }
        let newest = self.held_audio.back().map(|(u, _)| u.pts);
        if let (Some(newest), true) = (newest, self.source_video.is_some()) {
            while let Some(edge) = self.clock.idle(newest) {
                outcome |= self.edge(edge);
            }
        }
        while let Some((unit, _)) = self.held_audio.front() {
            if self.source_video.is_none() {
                if let Some(edge) = self.clock.observe(unit) {
                    outcome |= self.edge(edge);
                }
            } else if unit.pts + unit.duration > self.clock.known_until() {
                // Bounded: where video stays away, `idle` above moves the clock on.
                break;
            }
            let Some((unit, arrived)) = self.held_audio.pop_front() else { break };
            outcome |= push(self.audio.as_mut(), unit, arrived, None);
        }
        outcome
    }
}

/// Closes what is open in a track and shows it.
fn flush(track: &mut Track) -> Outcome {
    Outcome { changed: track.packager.flush() && track.publish() }
}

/// Pushes a unit into a track and shows what became available. `metrics` counts the pass-through rung's latency.
fn push(track: Option<&mut Track>, unit: AccessUnit, arrived: Instant, metrics: Option<&Metrics>) -> Outcome {
    let Some(track) = track else { return Outcome::default() };
    if !track.packager.push(unit) {
        return Outcome::default();
    }
    let first = track.publish();
    if let Some(metrics) = metrics {
        metrics.part_latency.observe(arrived.elapsed().as_secs_f64());
    }
    Outcome { changed: first }
}
