//! Timeline torture: whole days of broken timestamps, through the timeline and through the segmenter and packager
//! behind it. Nothing ends a stream; sound and picture stay together; every EXTINF is sane.

mod days;
mod outputs;
mod pitfalls;
mod source;
mod stream;
mod watch;
