//! The transcode room: reads the source's access units, gives back those of each rung.
//!
//! A child process a stream (`media-server transcode-worker`) runs GStreamer: it decodes once, scales and encodes
//! each rung. The daemon never initialises GStreamer, so a crash, leak or hang of a codec costs one stream well
//! under a second and no other stream anything. What travels between the two is in [`protocol`]; what makes a
//! dead worker's replacement continue without a gap is the [`journal`] of units since the last needed keyframe.
//!
//! Not here: which rungs a stream gets (`media::ladder`) and where their segments end (the GOP clock in `live`).

mod attempt;
mod backend;
mod dialect;
mod journal;
mod one_off;
mod placement;
mod plan;
mod poster;
mod process;
mod protocol;
mod remux;
mod slate;
mod sound;
mod spec;
mod supervisor;
mod survey;
mod worker;
mod workers;

pub use crate::live::RungEvent;
pub use backend::{BACKENDS, Backend, Coding, Family};
pub use journal::Overrun;
pub use one_off::OneOffError;
pub use placement::{Device, Elements, Load, Place, Placement, Wish};
pub use poster::{Made, make_poster};
pub use remux::remux_main;
pub use slate::make_slate;
pub use sound::{Hearer, encode_sound};
pub use spec::{
    InvalidSpec, Limits, PRESETS, PosterSpec, RungSpec, SheetSpec, SlateSpec, SoundCodec, SoundMade,
    SoundSpec, TranscodeSpec, X264,
};
pub use supervisor::{Stats, Transcoder, start};
pub use survey::{Part, Row, Run, Seen, Survey, has_devices, installed, survey};
pub use worker::{plugin_main, trial_main, worker_main};
pub use workers::Workers;
