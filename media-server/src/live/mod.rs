//! The live room: one task owns one stream, which outlives its publisher. State leaves it as immutable snapshots;
//! readers lock nothing. It knows no protocol, no HTTP and no encoder.
//!
//! `Live → Waiting (reconnect window) → Ended`, and on a new publish back to `Live`: within the window in the same
//! playlists, afterwards in a new run whose media sequence numbers go on.

mod activity;
mod air;
mod choice;
mod demand;
mod directory;
mod feed;
mod flow;
mod formats;
mod health;
mod hold;
mod link;
mod publisher;
mod push_state;
mod rendition;
mod run;
mod rung;
mod shedding;
mod slate;
mod snapshot;
mod sound;
mod sound_demand;
mod sound_rung;
mod source;
mod standby;
mod stream;
mod switch;
mod tap;
mod timed;
mod wants;

use std::sync::Arc;
use std::time::Duration;

use media::segmenter::Targets;

pub use choice::{
    ChosenBy, LadderAnswer, LadderAnswering, LadderChoice, LadderHook, LadderQuestion, SourceTrack,
};
pub use demand::Waiting;
pub use directory::{Directory, DropOutcome, PublishError, StreamHandle};
pub use health::Health;
pub use link::{Link, LinkState};
pub use publisher::{Expect, Inlet, PublishSpec, Publisher, Role, Track};
pub use push_state::{PushPhase, PushState};
pub use rendition::{Offer, Rendition, Text, View, gzip};
pub use run::WALL_ZERO_MS;
pub use rung::{RungEvent, RungFactory, RungRequest, RungSink, Rungs, WorkerStatus};
pub use slate::{Slate, SlateCell, SlateFactory, SlateRequest};
pub use snapshot::{Counters, Phase, SessionInfo, Snapshot};
pub use sound::Voice;
pub use sound_rung::{SoundGroup, SoundRungFactory, SoundRungOutlet, SoundRungRequest};
pub use source::{SourceNow, SourcePhase, SourceStart, SourceState, SourceWish};
pub use switch::OnAir;
pub use tap::Tapped;
pub use timed::Timed;
pub use wants::{Want, Wants};

/// What the wiring gives the room: makers and choosers of what it does not know itself.
#[derive(Clone)]
pub struct Makers {
    /// Encoders of rungs.
    pub rungs: RungFactory,
    /// Encoders of rungs of sound.
    pub sound_rungs: SoundRungFactory,
    /// What stands in for publishers.
    pub slates: SlateFactory,
    /// Who is asked which ladder a source is to have; nobody where there is none.
    pub ladders: Option<Arc<dyn LadderHook>>,
}

/// How a run is packaged and how long a stream waits for its publisher. Fixed for a run, read anew at each.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Part, segment and window lengths.
    pub targets: Targets,
    /// How long the same key may come back and go on in the same playlists.
    pub reconnect_window: Duration,
    /// A publisher silent for this long gives way to a newcomer with its key, whatever the policy.
    pub silence: Duration,
    /// What a newcomer meets while the publisher with its key really sends.
    pub policy: Policy,
    /// A slate is shown once nobody has sent for so long; `None` where there is none.
    pub slate: Option<Duration>,
    /// A rung that nobody has watched for so long is not made until somebody asks for it; `None`: all are made always.
    pub park: Option<Duration>,
}

/// What happens to a newcomer whose key is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is refused.
    #[default]
    Reject,
    /// It replaces the publisher, which is disconnected.
    Takeover,
}
