//! A recording that somebody sent us: read or refused; what a session takes up from it stays within its memory, and
//! can be recorded again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::rtmp::{Event, Limits, Session};

// Without the rest of media-server, which would bring GStreamer.
#[allow(dead_code)]
#[path = "../../media-server/src/flight/recording.rs"]
mod recording;

fuzz_target!(|data: &[u8]| {
    let Ok(recording) = recording::Recording::parse(Bytes::copy_from_slice(data)) else { return };
    assert!(recording.bytes() <= data.len());
    let limits = Limits { max_buffered: 1 << 20, max_media_message: 1 << 19, ..Limits::default() };
    let most = limits.max_buffered;
    let Ok(mut session) = Session::resume(limits.clone(), &recording.checkpoint) else { return };
    for read in &recording.reads {
        let result = session.feed_slice(&read.bytes);
        assert!(session.buffered() <= most);
        while let Some(event) = session.next() {
            assert!(!matches!(event, Event::Connect { .. }), "it is connected already");
        }
        drop(session.output());
        if result.is_err() {
            return;
        }
        if let Some(checkpoint) = session.checkpoint() {
            assert!(Session::resume(limits.clone(), &checkpoint).is_ok());
        }
    }
});
