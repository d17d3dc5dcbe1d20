use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn video(bytes: &'static [u8]) -> VideoTag {
    VideoTag::parse(&Bytes::from_static(bytes)).unwrap()
}

fn audio(bytes: &'static [u8]) -> AudioTag {
    AudioTag::parse(&Bytes::from_static(bytes)).unwrap()
}

#[test]
fn h264_tags_read_with_a_signed_composition_time() {
    let tag = video(b"\x17\x00\x00\x00\x00\x01\x64");
    assert_eq!((tag.frame_type, tag.codec), (FrameType::Key, VideoCodec::H264));
    assert_eq!(tag.packet, VideoPacket::SequenceHeader);
    assert_eq!(&tag.data[..], b"\x01\x64");
    let tag = video(b"\x27\x01\x00\x00\x43NAL");
    assert_eq!(tag.packet, VideoPacket::CodedFrames { composition_time: 67 });
    assert!(!tag.frame_type.is_key());
    let tag = video(b"\x27\x01\xff\xff\xdfNAL");
    assert_eq!(tag.packet, VideoPacket::CodedFrames { composition_time: -33 });
    let tag = video(b"\x27\x01\x80\x00\x00");
    assert_eq!(tag.packet, VideoPacket::CodedFrames { composition_time: -8_388_608 });
    assert_eq!(video(b"\x17\x02\x00\x00\x00").packet, VideoPacket::EndOfSequence);
    assert_eq!(video(b"\x57\x00").packet, VideoPacket::Command);
}

#[test]
fn the_data_are_a_slice_of_the_message() {
    let body = Bytes::from(vec![0x17, 1, 0, 0, 0, 9, 9, 9]);
    let tag = VideoTag::parse(&body).unwrap();
    assert_eq!(tag.data.as_ptr(), body[5..].as_ptr());
    let body = Bytes::from(vec![0xAF, 1, 7, 7]);
    let tag = AudioTag::parse(&body).unwrap();
    assert_eq!(tag.data.as_ptr(), body[2..].as_ptr());
}

#[test]
fn enhanced_codecs_are_named() {
    for (bytes, name) in [
        (b"\x90hvc1....", "HEVC"),
        (b"\x91av01....", "AV1"),
        (b"\xA1vp09....", "VP9"),
        (b"\x90vvc1....", "VVC"),
        (b"\x90vp08....", "VP8"),
        (b"\x90zzz\n....", "codec 'zzz\\n'"),
    ] {
        assert_eq!(video(bytes).codec.name(), name);
    }
    assert_eq!(video(b"\x1c\x00").codec.name(), "HEVC");
    assert_eq!(video(b"\x12").codec.name(), "Sorenson H.263");
    assert_eq!(video(b"\x1f").codec.name(), "video codec id 15");
    assert_eq!(audio(b"\x90Opus").codec.name(), "Opus");
    assert_eq!(audio(b"\x90fLaC").codec.name(), "FLAC");
    assert_eq!(audio(b"\x91ec-3").codec.name(), "E-AC-3");
    assert_eq!(audio(b"\xB2").codec.name(), "Speex");
    assert_eq!(audio(b"\x2f").codec, AudioCodec::Mp3);
}

#[test]
fn h264_and_aac_in_enhanced_headers_are_the_same_codecs() {
    let tag = video(b"\x91avc1\xff\xff\xfeNAL");
    assert_eq!(tag.codec, VideoCodec::H264);
    assert_eq!(tag.packet, VideoPacket::CodedFrames { composition_time: -2 });
    assert_eq!(&tag.data[..], b"NAL");
    let tag = video(b"\xA3avc1NAL");
    assert_eq!((tag.packet, &tag.data[..]), (VideoPacket::CodedFrames { composition_time: 0 }, &b"NAL"[..]));
    let tag = audio(b"\x91mp4a\x21");
    assert_eq!((tag.codec, tag.packet, &tag.data[..]), (AudioCodec::Aac, AudioPacket::Raw, &b"\x21"[..]));
}

#[test]
fn modifiers_are_read_over() {
    // ModEx with a three-byte timestamp offset, then coded frames.
    let tag = video(b"\x97\x02\x03\x0d\x40\x01hvc1\0\0\0x");
    assert_eq!((tag.codec, tag.nano_offset, &tag.data[..]), (VideoCodec::Hevc, 200_000, &b"x"[..]));
    // One of an unknown type, of two bytes, before it.
    let tag = video(b"\x97\x01\xaa\xbb\x17\x02\0\0\x07\x03av01x");
    assert_eq!((tag.codec, tag.nano_offset, &tag.data[..]), (VideoCodec::Av1, 7, &b"x"[..]));
    let tag = audio(b"\x97\x02\xff\xff\xff\x01Opusx");
    assert_eq!((tag.codec, tag.nano_offset), (AudioCodec::Opus, 999_999));
}

fn videos(bytes: &'static [u8]) -> Vec<Result<VideoTag, TruncatedTag>> {
    VideoTag::all(&Bytes::from_static(bytes)).collect()
}

#[test]
fn each_track_of_a_message_is_read() {
    let one = videos(b"\x96\x00av01\x03data");
    let [Ok(tag)] = &one[..] else { panic!("{one:?}") };
    assert_eq!((tag.track, tag.codec, &tag.data[..]), (3, VideoCodec::Av1, &b"data"[..]));

    // Many tracks of one codec, coded frames: each has its composition time within its size.
    let many = videos(b"\xA6\x11avc1\x00\x00\x00\x05\x00\x00\x21AB\x02\x00\x00\x04\x00\x00\x00C");
    let [Ok(first), Ok(second)] = &many[..] else { panic!("{many:?}") };
    assert_eq!((first.track, first.packet), (0, VideoPacket::CodedFrames { composition_time: 33 }));
    assert_eq!((second.track, second.packet), (2, VideoPacket::CodedFrames { composition_time: 0 }));
    assert_eq!((&first.data[..], &second.data[..]), (&b"AB"[..], &b"C"[..]));

    let own = videos(b"\x96\x20hvc1\x00\x00\x00\x01xav01\x01\x00\x00\x02yz");
    let [Ok(first), Ok(second)] = &own[..] else { panic!("{own:?}") };
    assert_eq!((first.codec, second.codec), (VideoCodec::Hevc, VideoCodec::Av1));
    assert_eq!((first.packet, second.packet), (VideoPacket::SequenceHeader, VideoPacket::SequenceHeader));

    let sounds: Vec<_> =
        AudioTag::all(&Bytes::from_static(b"\x95\x11Opus\x00\x00\x00\x01a\x01\x00\x00\x00")).collect();
    let [Ok(first), Ok(second)] = &sounds[..] else { panic!("{sounds:?}") };
    assert_eq!((first.track, first.packet, &first.data[..]), (0, AudioPacket::Raw, &b"a"[..]));
    assert_eq!((second.track, second.data.len()), (1, 0));
}

#[test]
fn what_comes_before_a_track_that_is_cut_off_is_kept() {
    let cut = videos(b"\x96\x10avc1\x00\x00\x00\x01x\x01\x00\x00\x09y");
    assert!(matches!(&cut[..], [Ok(_), Err(_)]), "{cut:?}");
    assert!(matches!(videos(b"\x96\x10avc1")[..], [Err(_)]));
    assert!(
        matches!(videos(b"\x96\x11avc1\x00\x00\x00\x01x")[..], [Err(_)]),
        "no room for the composition time"
    );
}

#[test]
fn aac_tags_read() {
    let tag = audio(b"\xAF\x00\x12\x10");
    assert_eq!((tag.codec, tag.packet), (AudioCodec::Aac, AudioPacket::SequenceHeader));
    assert_eq!(&tag.data[..], b"\x12\x10");
    assert_eq!(audio(b"\xAF\x01").packet, AudioPacket::Raw);
}

#[test]
fn tags_that_end_within_their_header_are_refused() {
    for bytes in [&b""[..], b"\x17", b"\x17\x01\x00\x00", b"\x90hvc", b"\x97", b"\x97\xff\xff"] {
        assert_eq!(
            VideoTag::parse(&Bytes::copy_from_slice(bytes)),
            Err(TruncatedTag { length: bytes.len() })
        );
    }
    for bytes in [&b""[..], b"\xAF", b"\x90Opu"] {
        assert!(AudioTag::parse(&Bytes::copy_from_slice(bytes)).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_tag_readers(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let body = Bytes::from(bytes);
        if let Ok(tag) = VideoTag::parse(&body) {
            prop_assert!(tag.data.len() < body.len());
            prop_assert!(!tag.codec.name().is_empty());
        }
        prop_assert!(VideoTag::all(&body).count() <= body.len().max(1));
        prop_assert!(AudioTag::all(&body).count() <= body.len().max(1));
        let carried: usize = VideoTag::all(&body).filter_map(Result::ok).map(|tag| tag.data.len()).sum();
        prop_assert!(carried <= body.len());
        if let Ok(tag) = AudioTag::parse(&body) {
            prop_assert!(tag.data.len() < body.len());
            prop_assert!(!tag.codec.name().is_empty());
        }
    }
}
