//! What a stream shows of itself: immutable, swapped whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use media::{AudioFormat, VideoFormat};

use super::choice::LadderChoice;
use super::health::Health;
use super::link::Link;
use super::rendition::Rendition;
use super::rung::{RungSink, WorkerStatus};
use super::sound_rung::SoundGroup;
use super::switch::OnAir;
use crate::flight::{Header, Recorder};

/// Where a stream is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A publisher is connected, and media may be on its way.
    Live,
    /// The publisher is gone; the same key may come back within the reconnect window.
    Waiting,
    /// Over; what is listed can still be fetched for a while.
    Ended,
}

impl Phase {
    /// Stable lower-case name for API and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Waiting => "waiting",
            Self::Ended => "ended",
        }
    }
}

/// Who publishes, for API and logs. Never the key.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Unique id of the publish session.
    pub session: String,
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    pub protocol: &'static str,
    /// The publisher's address.
    pub client: std::net::SocketAddr,
    /// What software it says it is.
    pub agent: String,
    /// When it was admitted.
    pub since: SystemTime,
    /// Name of the ladder profile it was admitted with.
    pub profile: String,
    /// How it does.
    pub health: Arc<Health>,
    /// How its line does, where the transport counts that.
    pub link: Option<Arc<Link>>,
    /// What it sent last, where that is recorded.
    pub recorder: Option<Arc<Recorder>>,
}

impl SessionInfo {
    /// What a recording of it says of itself; `cause`: `asked` or `storm`.
    pub fn flight_header(&self, stream: &str, cause: &str) -> Header {
        Header {
            stream: stream.to_owned(),
            session: self.session.clone(),
            protocol: self.protocol.to_owned(),
            agent: self.agent.clone(),
            saved: String::new(),
            cause: cause.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Counters that the ingest writes and the API reads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Media bytes taken from the publisher.
    pub bytes: AtomicU64,
    /// Video access units.
    pub video_units: AtomicU64,
    /// Audio access units.
    pub audio_units: AtomicU64,
    /// Timeline repairs of every kind.
    pub repairs: AtomicU64,
    /// Units dropped: damaged, or the stream's queue was full.
    pub dropped: AtomicU64,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// One state of a stream.
#[derive(Clone)]
pub struct Snapshot {
    /// Public name.
    pub name: Arc<str>,
    /// Unguessable tag of this run, part of every object name.
    pub epoch: Arc<str>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The multivariant playlist may be handed out: every planned rendition has media, or has had its time.
    pub ready: bool,
    /// Video renditions with media, and those that are made when somebody asks; best first.
    pub video: Vec<Rendition>,
    /// A pass-through rung that new viewers are no longer offered, kept for those who watch it.
    pub retired: Option<Rendition>,
    /// Rungs that the machine could not make in time: nobody is offered them; what was listed can be fetched for a while.
    pub shed: Vec<Rendition>,
    /// Renditions of sound with media: the first is played unless a viewer says otherwise.
    pub audio: Vec<Rendition>,
    /// The same sounds in other codecs or with fewer bits.
    pub sound_groups: Vec<SoundGroup>,
    /// Every listed segment starts with an IDR.
    pub independent: bool,
    /// Wished rungs that are not there, with the reason.
    pub missing: Vec<(String, String)>,
    /// The source's own formats.
    pub source_video: Option<VideoFormat>,
    /// See `source_video`.
    pub source_audio: Option<AudioFormat>,
    /// The present or last publisher.
    pub session: Option<SessionInfo>,
    /// The publisher that is held warm.
    pub backup: Option<SessionInfo>,
    /// Which of them viewers are shown.
    pub on_air: OnAir,
    /// The last picture is held: nobody sends.
    pub holding: bool,
    /// Running counters of this run.
    pub counters: Arc<Counters>,
    /// The ladder in force; None before there is one.
    pub ladder: Option<LadderChoice>,
    /// The encoder, where one runs.
    pub encoder: Option<Arc<dyn RungSink>>,
}

impl Snapshot {
    /// Looks a rendition up by the folder in its address.
    pub fn rendition(&self, name: &str) -> Option<&Rendition> {
        self.renditions().chain(&self.shed).find(|r| &*r.name == name)
    }

    /// Every rendition that is offered.
    pub fn renditions(&self) -> impl Iterator<Item = &Rendition> {
        let groups = self.sound_groups.iter().flat_map(|group| &group.sounds);
        self.video.iter().chain(&self.retired).chain(&self.audio).chain(groups)
    }

    /// How the encoder fares, where one runs.
    pub fn worker(&self) -> Option<WorkerStatus> {
        self.encoder.as_ref().map(|e| e.status())
    }
}
