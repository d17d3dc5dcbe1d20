//! The door between a stream and whatever encodes its rungs. `live` knows neither GStreamer nor processes: the
//! wiring in `lib` gives it a [`RungFactory`].

use std::sync::Arc;
use std::time::Duration;

use media::{AccessUnit, Span, VideoFormat, ladder::Rung};
use tokio::sync::mpsc;

/// What an encoder is asked for.
#[derive(Clone, Debug)]
pub struct RungRequest {
    /// The stream's public name, for logs.
    pub stream: String,
    /// How to decode the source.
    pub source: VideoFormat,
    /// What to encode, in the order that [`RungEvent`] indexes.
    pub rungs: Vec<Rung>,
    /// Which of them are made at first ([`RungSink::choose`]).
    pub wanted: Vec<bool>,
}

/// What an encoder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RungEvent {
    /// How to decode a rung; comes before its first unit and whenever it changes.
    Format {
        /// Index into [`RungRequest::rungs`].
        rung: usize,
        /// The rung's format.
        format: VideoFormat,
    },
    /// One encoded access unit, its PTS that of the source unit it was made from.
    Unit {
        /// Index into [`RungRequest::rungs`].
        rung: usize,
        /// The unit.
        unit: AccessUnit,
    },
    /// The worker died and was replaced; nothing was lost.
    Restarted {
        /// Why, in plain words.
        reason: String,
    },
    /// There is no room for a rung: it is not made, and those behind it move up by one.
    Left {
        /// Index into the rungs as they are by then.
        rung: usize,
        /// Why, in plain words.
        reason: String,
    },
    /// There is no room for the stream's rungs, and it is not to go out without: its publisher is ended.
    Refused {
        /// Why, in plain words.
        reason: String,
    },
    /// No worker can be kept alive: the rungs are gone, the pass-through rung goes on.
    Failed {
        /// Why, in plain words.
        reason: String,
    },
}

/// How the encoder fares, for the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Process id of the live worker.
    pub pid: Option<u32>,
    /// Times it was replaced.
    pub restarts: u64,
    /// Source units it could not take (it was too slow).
    pub dropped: u64,
    /// Media time between the source's newest picture and the slowest rung's.
    pub behind: Span,
}

/// Takes the source's units; dropping it ends the encoder.
pub trait RungSink: Send + Sync {
    /// Hands over one source unit in decode order; `edge` asks for an IDR on every rung at its PTS. Never waits:
    /// an encoder that is too slow skips to the next keyframe and counts.
    fn push(&self, unit: AccessUnit, edge: bool);
    /// Makes these rungs from now on, by their places in the request. One that begins does so with an edge: with one that
    /// is past where no other rung is made, else with one to come. Where none is wanted, no worker is kept.
    fn choose(&self, wanted: &[bool]);
    /// It had to give up a rung: the machine is short of time.
    fn is_short(&self);
    /// Whether the machine has room for one more rung. Who is told so takes it: the next one has to wait.
    fn has_room(&self) -> bool;
    /// How it fares.
    fn status(&self) -> WorkerStatus;
}

/// A running encoder.
pub struct Rungs {
    /// Where source units go.
    pub sink: Arc<dyn RungSink>,
    /// What comes back.
    pub events: mpsc::Receiver<RungEvent>,
    /// How long its first units may take, where that is more than usual: the stream's first list waits for them.
    pub patience: Duration,
}

/// Starts encoders; given to the room by the wiring.
pub type RungFactory = Arc<dyn Fn(RungRequest) -> Rungs + Send + Sync>;
