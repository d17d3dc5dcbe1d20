//! Audio and video tags of any number of tracks: together they carry less than the message, and every codec has a
//! name.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::flv::{AudioTag, VideoPacket, VideoTag};

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let mut carried = 0;
    for tag in VideoTag::all(&body).flatten() {
        carried += tag.data.len();
        assert!(carried < body.len() && tag.nano_offset < 1_000_000);
        assert!(!tag.codec.name().is_empty());
        if let VideoPacket::CodedFrames { composition_time } = tag.packet {
            assert!((-(1 << 23)..1 << 23).contains(&composition_time));
        }
    }
    let mut carried = 0;
    for tag in AudioTag::all(&body).flatten() {
        carried += tag.data.len();
        assert!(carried < body.len() && tag.nano_offset < 1_000_000);
        assert!(!tag.codec.name().is_empty());
    }
});
