//! The chunk layer on the bytes that real encoders, old and broken ones among them, put on the wire.

mod peer;

use bytes::Bytes;
use peer::*;
use wire::rtmp::{Event, SessionError};

/// 4 h 39 min 37.215 s: from here on timestamps need their extension.
const LATE: u32 = 0xFF_FFFF;

#[test]
fn interleaved_audio_and_video_do_not_mix() {
    let mut session = live();
    let (picture, sound) = (body(300, 1), body(200, 2));
    let mut wire = Wire::default();
    wire.header(0, 6, 40, 300, VIDEO).raw(&picture[..128]);
    wire.header(0, 4, 41, 200, AUDIO).raw(&sound[..128]);
    wire.basic(3, 6).raw(&picture[128..256]);
    wire.basic(3, 4).raw(&sound[128..]);
    wire.basic(3, 6).raw(&picture[256..]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [audio(41, &sound), video(40, &picture)]);
    assert_eq!(session.stats().repairs.total(), 0);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn chunk_stream_ids_of_every_width_are_read() {
    let mut session = live();
    let picture = body(200, 3);
    for id in [2, 3, 63, 64, 319, 320, 65_599] {
        let mut wire = Wire::default();
        wire.message(id, 7, VIDEO, &picture, 128);
        feed(&mut session, &wire).unwrap();
        assert_eq!(events(&mut session), [video(7, &picture)], "{id}");
    }
}

#[test]
fn compressed_headers_continue_the_clock() {
    let mut session = live();
    let frame = body(50, 4);
    let mut wire = Wire::default();
    wire.message(6, 5000, VIDEO, &frame, 128);
    wire.header(1, 6, 33, 50, VIDEO).raw(&frame);
    wire.header(2, 6, 34, 0, 0).raw(&frame);
    wire.basic(3, 6).raw(&frame);
    wire.header(1, 6, 16, 20, AUDIO).raw(&frame[..20]);
    feed(&mut session, &wire).unwrap();
    let times: Vec<u32> = events(&mut session)
        .into_iter()
        .map(|event| match event {
            Event::Video { timestamp, .. } | Event::Audio { timestamp, .. } => timestamp,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [5000, 5033, 5067, 5101, 5117]);
}

#[test]
fn a_bare_header_after_a_full_one_repeats_small_times_only() {
    // ffmpeg: frames at 23 and 46 ms; librtmp: two messages at the same, late time.
    for (time, next) in [(23, 46), (0, 0), (7_200_000, 7_200_000)] {
        let mut session = live();
        let mut wire = Wire::default();
        wire.message(4, time, AUDIO, &[1, 2], 128).basic(3, 4).raw(&[3, 4]);
        feed(&mut session, &wire).unwrap();
        assert_eq!(events(&mut session), [audio(time, &[1, 2]), audio(next, &[3, 4])]);
    }
}

#[test]
fn both_dialects_of_extended_timestamps_play_on_after_four_hours_and_a_half() {
    for dialect in [Dialect::Repeats, Dialect::Omits] {
        for time in [LATE - 1, LATE, LATE + 1, u32::MAX] {
            for length in [100, 128, 129, 130, 131, 256, 257, 1000] {
                let picture = body(length, 5);
                let mut wire = Wire::default();
                wire.message_in(dialect, 6, time, VIDEO, &picture, 128);
                wire.message_in(dialect, 4, time, AUDIO, &body(200, 6), 128);
                wire.message_in(dialect, 6, time.wrapping_add(33), VIDEO, &picture, 128);
                let expected = [
                    video(time, &picture),
                    audio(time, &body(200, 6)),
                    video(time.wrapping_add(33), &picture),
                ];
                let mut whole = live();
                feed(&mut whole, &wire).unwrap();
                assert_eq!(events(&mut whole), expected, "{dialect:?} {time} {length}");
                let mut dripping = live();
                for byte in &wire.bytes {
                    dripping.feed(Bytes::copy_from_slice(&[*byte])).unwrap();
                }
                assert_eq!(events(&mut dripping), expected, "{dialect:?} {time} {length} byte by byte");
            }
        }
    }
}

#[test]
fn a_body_that_starts_like_the_timestamp_is_not_eaten() {
    // The second chunk starts with three of the four bytes of the expected timestamp.
    let mut picture = body(300, 7);
    picture[128..131].copy_from_slice(&LATE.to_be_bytes()[..3]);
    picture[131] = 0x12;
    let mut wire = Wire::default();
    wire.message_in(Dialect::Omits, 6, LATE, VIDEO, &picture, 128);
    for split in 0..wire.bytes.len() {
        let mut session = live();
        session.feed(Bytes::copy_from_slice(&wire.bytes[..split])).unwrap();
        session.feed(Bytes::copy_from_slice(&wire.bytes[split..])).unwrap();
        assert_eq!(events(&mut session), [video(LATE, &picture)], "{split}");
    }
}

#[test]
fn a_peer_that_leaves_timestamps_out_is_known_from_then_on() {
    // The second message's continuation is the expected timestamp to the byte, and ends with it.
    let mut picture = body(132, 7);
    picture[128..].copy_from_slice(&LATE.to_be_bytes());
    let mut wire = Wire::default();
    wire.message_in(Dialect::Omits, 6, LATE, VIDEO, &body(300, 8), 128);
    wire.message_in(Dialect::Omits, 6, LATE, VIDEO, &picture, 128);
    let mut session = live();
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [video(LATE, &body(300, 8)), video(LATE, &picture)]);
}

#[test]
fn a_bare_header_starts_a_message_after_an_extended_one_in_both_dialects() {
    for repeated in [&LATE.to_be_bytes()[..], &[]] {
        let mut session = live();
        let mut wire = Wire::default();
        wire.message(4, LATE, AUDIO, &[0xAF, 1, 9], 128);
        wire.basic(3, 4).raw(repeated).raw(&[0xAF, 1, 8]);
        feed(&mut session, &wire).unwrap();
        assert_eq!(events(&mut session), [audio(LATE, &[0xAF, 1, 9]), audio(LATE, &[0xAF, 1, 8])]);
    }
}

#[test]
fn time_wraps_at_32_bits() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.message(6, u32::MAX - 10, VIDEO, &[1, 2], 128).header(1, 6, 33, 2, VIDEO).raw(&[3, 4]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [video(u32::MAX - 10, &[1, 2]), video(22, &[3, 4])]);
}

#[test]
fn a_message_that_changes_its_size_in_the_middle_is_dropped_and_the_stream_goes_on() {
    let mut session = live();
    let (old, new) = (body(400, 8), body(300, 9));
    let mut wire = Wire::default();
    wire.header(0, 6, 100, 400, VIDEO).raw(&old[..128]);
    wire.header(1, 6, 33, 300, VIDEO).raw(&new[..128]);
    wire.basic(3, 6).raw(&new[128..256]).basic(3, 6).raw(&new[256..]);
    wire.header(1, 6, 33, 300, VIDEO).raw(&new[..128]);
    wire.basic(3, 6).raw(&new[128..256]).basic(3, 6).raw(&new[256..]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [video(133, &new), video(166, &new)]);
    assert_eq!(session.stats().repairs.partial_messages, 1);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn a_header_repeated_within_a_message_continues_it() {
    let mut session = live();
    let picture = body(300, 10);
    let mut wire = Wire::default();
    wire.header(0, 6, 100, 300, VIDEO).raw(&picture[..128]);
    wire.header(1, 6, 0, 300, VIDEO).raw(&picture[128..256]);
    wire.header(0, 6, 100, 300, VIDEO).raw(&picture[256..]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [video(100, &picture)]);
    assert_eq!(session.stats().repairs.restated_headers, 2);
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut session = live();
    let picture = body(300, 11);
    let mut wire = Wire::default();
    wire.header(0, 6, 1, 300, VIDEO).raw(&picture[..128]);
    wire.message(2, 0, 2, &6u32.to_be_bytes(), 128);
    wire.message(6, 2, VIDEO, &picture, 128);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [video(2, &picture)]);
    assert_eq!(session.stats().repairs.aborted_messages, 1);
}

#[test]
fn chunk_sizes_change_when_they_are_set() {
    for size in [1, 2, 127, 4096, 65_536, 0xFF_FFFF] {
        let mut session = live();
        let picture = body(70_000, 12);
        let mut wire = Wire::default();
        wire.chunk_size(size).message(6, 3, VIDEO, &picture, size as usize);
        feed(&mut session, &wire).unwrap();
        assert_eq!(events(&mut session), [video(3, &picture)], "{size}");
    }
    for size in [0, 0x8000_0000] {
        let mut wire = Wire::default();
        wire.chunk_size(size);
        let error = feed(&mut live(), &wire).unwrap_err();
        assert!(matches!(error, SessionError::ChunkSize { size: s, .. } if s == size));
    }
}

#[test]
fn a_whole_message_in_one_buffer_is_not_copied() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.chunk_size(65_536).message(6, 3, VIDEO, &body(30_000, 13), 65_536);
    let fed = wire.into_bytes();
    session.feed(fed.clone()).unwrap();
    let Some(Event::Video { payload, .. }) = session.next() else { panic!("no video") };
    assert!(fed.as_ptr_range().contains(&payload.as_ptr()));
    // A small one would keep the whole buffer alive.
    let mut wire = Wire::default();
    wire.message(4, 3, AUDIO, &body(300, 14), 65_536).message(6, 3, VIDEO, &body(30_000, 15), 65_536);
    let fed = wire.into_bytes();
    session.feed(fed.clone()).unwrap();
    let Some(Event::Audio { payload, .. }) = session.next() else { panic!("no audio") };
    assert!(!fed.as_ptr_range().contains(&payload.as_ptr()));
}

#[test]
fn a_message_of_two_to_the_24_bytes_is_refused_by_its_header() {
    for kind in [VIDEO, COMMAND, AGGREGATE, DATA] {
        let mut wire = Wire::default();
        wire.header(0, 6, 0, 0xFF_FFFF, kind);
        let mut session = live();
        let error = feed(&mut session, &wire).unwrap_err();
        assert!(matches!(error, SessionError::MessageTooLarge { length: 0xFF_FFFF, .. }), "{error}");
        assert!(error.is_limit());
        assert_eq!(error.position(), session.stats().bytes_in - wire.bytes.len() as u64);
        assert_eq!(session.feed(Bytes::from_static(b"more")), Err(error));
    }
}

#[test]
fn a_stranger_cannot_send_a_large_command() {
    let mut wire = Wire::default();
    wire.header(0, 3, 0, (64 << 10) + 1, COMMAND);
    let error = feed(&mut shaken(), &wire).unwrap_err();
    assert!(matches!(error, SessionError::MessageTooLarge { limit: 65_536, .. }));
}

#[test]
fn declared_lengths_alone_take_no_memory() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.chunk_size(65_536);
    wire.header(0, 6, 0, 8 << 20, VIDEO).raw(&[1]);
    feed(&mut session, &wire).unwrap();
    assert!(session.buffered() <= 256 << 10, "{}", session.buffered());
}

#[test]
fn unfinished_messages_are_bounded_together() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.chunk_size(0xF_0000);
    for id in 3..60 {
        wire.header(0, id, 0, 8 << 20, VIDEO).raw(&vec![0; 0xF_0000]);
    }
    let mut most = 0;
    let mut result = Ok(());
    for part in wire.bytes.chunks(10_000) {
        result = session.feed(Bytes::copy_from_slice(part));
        most = most.max(session.buffered());
        if result.is_err() {
            break;
        }
    }
    assert!(matches!(result, Err(SessionError::TooMuchBuffered { .. })));
    assert!(most <= 16 << 20, "{most}");
}

#[test]
fn chunk_streams_are_bounded() {
    let mut session = live();
    let mut wire = Wire::default();
    for id in 100..200 {
        wire.message(id, 0, AUDIO, &[1, 2], 128);
    }
    let error = feed(&mut session, &wire).unwrap_err();
    assert!(matches!(error, SessionError::TooManyChunkStreams { limit: 64, .. }));
}

#[test]
fn a_chunk_stream_that_starts_compressed_is_refused() {
    for format in [2, 3] {
        let mut wire = Wire::default();
        wire.header(format, 9, 0, 0, 0);
        wire.raw(&[0; 8]);
        let error = feed(&mut live(), &wire).unwrap_err();
        assert!(matches!(error, SessionError::MissingHeader { chunk_stream: 9, .. }));
    }
}

#[test]
fn an_aggregate_falls_into_its_parts() {
    let mut session = live();
    let mut aggregate = Vec::new();
    for (kind, time, data) in [
        (VIDEO, 0x0103_0201_u32, &[7_u8, 1, 2][..]),
        (AUDIO, 0x0103_020B, &[0xAF, 1]),
        (DATA, 0x0103_020C, &[5]),
    ] {
        aggregate.push(kind);
        aggregate.extend(&(data.len() as u32).to_be_bytes()[1..]);
        aggregate.extend(&time.to_be_bytes()[1..]);
        aggregate.extend([time.to_be_bytes()[0], 0, 0, 0]);
        aggregate.extend(data);
        aggregate.extend((data.len() as u32 + 11).to_be_bytes());
    }
    let mut wire = Wire::default();
    wire.message(6, 500, AGGREGATE, &aggregate, 128);
    aggregate.truncate(20);
    wire.message(6, 600, AGGREGATE, &aggregate, 128);
    feed(&mut session, &wire).unwrap();
    assert_eq!(
        events(&mut session),
        [video(500, &[7, 1, 2]), audio(510, &[0xAF, 1]), video(600, &[7, 1, 2])]
    );
    let repairs = session.stats().repairs;
    assert_eq!((repairs.broken_aggregates, repairs.unreadable_amf0), (1, 1));
}
