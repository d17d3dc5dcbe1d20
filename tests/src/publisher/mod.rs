//! Publishers: a real encoder in a process of its own, and cheap or hostile ones inside the test.

pub mod chunks;
pub mod enhanced;
pub mod ffmpeg;
pub mod flv;
pub mod obs;
pub mod session;
pub mod sounds;
pub mod webrtc;
pub mod whip;

pub use ffmpeg::{Ffmpeg, Source, run};
pub use session::Session;
pub use whip::{Whip, webrtcbin};
