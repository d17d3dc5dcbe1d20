//! What an operator writes: typed TOML in which every key has a default and no unknown key passes.
//!
//! `types` are the keys; `load` reads a file and finds everything wrong with it, with line and remedy; `plan` says
//! what a change from one configuration to another takes; `watch` tells when the file changed.

mod docs;
mod hook;
mod ladder;
mod ladder_rules;
mod load;
mod plan;
mod problem;
mod structure;
mod summary;
mod types;
mod validate;
mod watch;
mod webrtc;

pub use docs::{reference, sample};
pub use hook::{Fallback, ProfileHook};
pub use ladder::{
    AudioCodec, AudioRung, Codec, Encode, Fps, Frame, Profile, Rung, Shortage, Transcode, When,
};
pub use ladder_rules::ladder_problem;
pub use load::{load, parse};
pub use plan::{LiveStream, Plan, Step, Verdict, diff};
pub use problem::{ConfigError, Problem};
pub use summary::Summary;
pub use types::{
    Admin, Admission, Bitrate, CertificateFiles, Config, Hls, Http, Key, Log, LogFormat, Mode, Node, Policy,
    Pull, PullSource, PullStart, PushTarget, Rtmp, Secret, Tls,
};
pub use watch::{Watcher, watch};
pub use webrtc::{IceServer, Webrtc, advertised};
