//! The way in: each protocol reads its sockets into bytes, feeds a machine of `wire`, and hands access units to the
//! stream that admission named. Ingest never waits for a consumer.

mod black_box;
mod budget;
mod checkup;
mod further_tracks;
mod lanes;
mod loudness;
mod publishing;
pub mod pull;
mod replay;
pub mod rtmp;
mod sound_worker;
pub mod srt;
mod tracks;
mod transport_session;
mod transport_stream;
mod ts_metadata;
mod ts_sound;
pub mod whip;

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use media::ladder::Profile;
use tokio::sync::broadcast;
use wire::PushTarget;
use wire::srt::Passphrase;

pub use lanes::{Lanes, Threads};
pub use replay::{Found, ReplayError, Replayed, replay};
pub use sound_worker::{SoundFactory, SoundRequest};

use crate::admission::{Admission, Outbox};
use crate::flight::{Folder, Keep};
use crate::live::{Directory, Settings, StreamHandle};
use crate::metrics::Metrics;
use crate::transport::{Chunk, NoFeed};
use crate::web::pending::Pending;

/// Sends a stream on to these addresses and to no other, until it ends; what already goes there goes on.
pub type Forwarder = Arc<dyn Fn(&StreamHandle, &[PushTarget]) + Send + Sync>;

/// A stream's rung as a transport stream, for callers who ask to be sent one: by the stream's name and the rung's.
pub type Play = Arc<dyn Fn(&str, Option<&str>) -> Result<broadcast::Receiver<Chunk>, NoFeed> + Send + Sync>;

/// Where a stream is sent on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stream's name, `*` for every stream.
    pub stream: String,
    /// Where to.
    pub url: PushTarget,
}

/// What a new publish session is measured against. Replaced whole at a reload; running sessions keep theirs.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Ladder profiles by name.
    pub profiles: HashMap<String, Profile>,
    /// Packaging and reconnect settings.
    pub settings: Settings,
    /// Streams at a time.
    pub max_streams: usize,
    /// A connection that has not published by then, or a publisher that has sent no media for so long, is let go.
    pub idle_timeout: Duration,
    /// Where streams are sent on to.
    pub targets: Vec<Target>,
    /// Connections of one address at a time that have not published.
    pub max_pending_per_ip: usize,
    /// Kilobits a second of a publisher whose admission says nothing of it.
    pub max_bitrate_kbps: u32,
    /// Bytes of one RTMP audio or video message.
    pub max_message_bytes: usize,
    /// What is recorded of a publisher.
    pub recorder: Option<Keep>,
    /// Repairs within ten seconds that have it saved; 0 for never.
    pub storm: u64,
    /// SRT's own.
    pub srt: SrtRules,
    /// A stream that is fetched on demand is let go after nobody has wanted it for so long.
    pub source_idle: Duration,
    /// PEM file of authorities that other servers may be certified by, besides the public ones; empty for none.
    pub authorities: PathBuf,
}

/// Terms for SRT callers.
#[derive(Clone, Debug)]
pub struct SrtRules {
    /// What is held back at least, to get lost packets again; a caller may ask for more.
    pub latency: Duration,
    /// What every caller must encrypt with; none may where there is none.
    pub passphrase: Option<Passphrase>,
}

/// What every ingest needs. Clones share it.
#[derive(Clone)]
pub struct Desk {
    /// Asks whether a key may publish.
    pub admission: Admission,
    /// Tells the control plane what happened.
    pub outbox: Outbox,
    /// Where streams live.
    pub directory: Directory,
    /// Sends them on.
    pub forward: Forwarder,
    /// Gives them to players by SRT.
    pub play: Play,
    /// The rules of this moment.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Connections that have not published.
    pub pending: Pending,
    /// Where publishers live.
    pub lanes: Lanes,
    /// Encodes sound that players do not decode.
    pub sounds: SoundFactory,
    /// This program: what it has read by another process it reads itself.
    pub program: PathBuf,
    /// Where recordings are written.
    pub flights: Folder,
    /// Counters.
    pub metrics: Metrics,
}
