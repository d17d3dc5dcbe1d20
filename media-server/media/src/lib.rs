//! Weir's media vocabulary and packaging. Pure: no tokio, no file system, no clock, no environment; time is an
//! argument.

// Whatever is parsed here came from a stranger. (Where lengths are added up, a module denies unchecked arithmetic too.)
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod aac;
pub mod ac3;
pub mod av1;
mod bits;
pub mod cmaf;
pub mod doctor;
pub mod elementary;
pub mod frames;
pub mod h264;
pub mod h265;
pub mod intake;
pub mod ladder;
pub mod language;
pub mod latm;
pub mod mpeg_audio;
pub mod opus;
pub mod packager;
pub mod playlist;
pub mod rtp_clock;
pub mod segmenter;
pub mod silence;
pub mod splice;
pub mod storyboard;
pub mod time;
pub mod timeline;
pub mod unit;
pub mod vpx;
pub mod window;

pub use language::Language;
pub use time::{Span, Timestamp};
pub use unit::{AccessUnit, AudioFormat, Format, Kind, VideoFormat};
