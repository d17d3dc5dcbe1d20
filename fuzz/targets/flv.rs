//! Audio and video tags: the data are the end of the message, and every codec has a name.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::flv::{AudioTag, VideoPacket, VideoTag};

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    if let Ok(tag) = VideoTag::parse(&body) {
        assert!(body.ends_with(&tag.data) && tag.data.len() < body.len());
        assert!(!tag.codec.name().is_empty());
        if let VideoPacket::CodedFrames { composition_time } = tag.packet {
            assert!((-(1 << 23)..1 << 23).contains(&composition_time));
        }
    }
    if let Ok(tag) = AudioTag::parse(&body) {
        assert!(body.ends_with(&tag.data) && tag.data.len() < body.len());
        assert!(!tag.codec.name().is_empty());
    }
});
