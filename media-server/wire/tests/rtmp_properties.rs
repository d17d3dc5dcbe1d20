//! For every valid stream and every way to cut it, the same events; for any bytes at all, no panic and bounded
//! memory.

mod peer;

use bytes::Bytes;
use peer::*;
use proptest::prelude::*;
use wire::Traced;
use wire::amf0::Value;
use wire::rtmp::{Event, Limits, Session};

#[derive(Clone, Debug)]
struct Frame {
    audio: bool,
    delta: u32,
    length: usize,
    chunk: Option<usize>,
}

fn frame() -> impl Strategy<Value = Frame> {
    let chunk = proptest::option::weighted(0.2, prop_oneof![1usize..300, Just(4096), Just(60_000)]);
    (any::<bool>(), 0u32..100, 1usize..3000, chunk).prop_map(|(audio, delta, length, chunk)| Frame {
        audio,
        delta,
        length,
        chunk,
    })
}

/// Writes frames in chunks that take turns, and says what they are.
fn write(frames: &[Frame], start: u32, dialect: Dialect) -> (Wire, Vec<Event>) {
    let mut wire = Wire::default();
    let mut expected = Vec::new();
    let mut time = start;
    let mut size = 128;
    for pair in frames.chunks(2) {
        if let Some(chunk) = pair[0].chunk {
            // The message that sets it still comes in chunks of the old size.
            wire.message(2, 0, 1, &(chunk as u32).to_be_bytes(), size);
            size = chunk;
        }
        // Two frames at most are under way at once, on chunk streams of their own.
        let mut open = Vec::new();
        for (number, frame) in pair.iter().enumerate() {
            time = time.wrapping_add(frame.delta);
            let (kind, id) = (if frame.audio { AUDIO } else { VIDEO }, 4 + number as u32 * 300);
            open.push((kind, id, time, body(frame.length, time as u8), 0));
        }
        while !open.is_empty() {
            for (kind, id, time, body, done) in &mut open {
                if *done == 0 {
                    wire.header(0, *id, *time, body.len(), *kind);
                } else {
                    wire.basic(3, *id);
                    if *time >= 0xFF_FFFF && dialect == Dialect::Repeats {
                        wire.raw(&time.to_be_bytes());
                    }
                }
                let end = body.len().min(*done + size);
                wire.raw(&body[*done..end]);
                *done = end;
                if end == body.len() {
                    expected.push(if *kind == AUDIO { audio(*time, body) } else { video(*time, body) });
                }
            }
            open.retain(|(_, _, _, body, done)| *done < body.len());
        }
    }
    (wire, expected)
}

fn start() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(0xFF_FFFF - 300), Just(u32::MAX - 300), any::<u32>()]
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Repeats), Just(Dialect::Omits)]
}

/// `bytes` in parts of these lengths, again and again.
fn parts(bytes: Vec<u8>, cuts: &[usize]) -> impl Iterator<Item = Bytes> {
    let (mut rest, mut cuts) = (Bytes::from(bytes), cuts.iter().cycle());
    std::iter::from_fn(move || {
        let cut = rest.len().min(*cuts.next()?);
        (cut > 0).then(|| rest.split_to(cut))
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(prop_oneof![1usize..5, 1usize..200, 1usize..20_000], 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_of_a_stream_gives_the_same_events(
        frames in proptest::collection::vec(frame(), 1..16),
        start in start(),
        dialect in dialect(),
        shared in any::<bool>(),
        cuts in cuts(),
    ) {
        let (mut wire, mut expected) = write(&frames, start, dialect);
        // The end of a body may look like the start of a timestamp until more comes.
        wire.message(5, 0, VIDEO, &[1], 1);
        expected.push(video(0, &[1]));
        let mut session = live();
        let mut got = Vec::new();
        for part in parts(wire.bytes, &cuts) {
            if shared { session.feed(part).unwrap() } else { session.feed_slice(&part).unwrap() }
            got.extend(events(&mut session));
        }
        prop_assert_eq!(got, expected);
        prop_assert_eq!(session.buffered(), 0);
        prop_assert_eq!(session.stats().repairs.total(), 0);
    }

    #[test]
    fn a_session_goes_on_from_a_checkpoint_taken_anywhere(
        frames in proptest::collection::vec(frame(), 1..12),
        start in start(),
        dialect in dialect(),
        cuts in cuts(),
    ) {
        let (mut wire, mut expected) = write(&frames, start, dialect);
        wire.message(5, 0, VIDEO, &[1], 1);
        expected.push(video(0, &[1]));
        let mut session = live();
        let mut got = Vec::new();
        for part in parts(wire.bytes, &cuts) {
            session.feed_slice(&part).unwrap();
            got.extend(events(&mut session));
            let checkpoint = session.checkpoint().unwrap();
            let buffered = session.buffered();
            session = Session::resume(Limits::default(), &checkpoint).unwrap();
            prop_assert!(session.buffered() <= buffered);
            // What it begins with was said before.
            events(&mut session);
        }
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn the_trace_says_where_every_body_lies(
        frames in proptest::collection::vec(frame(), 1..12),
        start in start(),
        dialect in dialect(),
        shared in any::<bool>(),
        cuts in cuts(),
    ) {
        let (wire, _) = write(&frames, start, dialect);
        let mut session = live();
        session.trace();
        // The bodies as the wire has them; bytes that might have been a timestamp are not traced.
        let mut open = std::collections::HashMap::<u32, Vec<Option<u8>>>::new();
        let mut whole = Vec::new();
        for part in parts(wire.bytes, &cuts) {
            if shared { session.feed(part.clone()).unwrap() } else { session.feed_slice(&part).unwrap() }
            for traced in session.traced() {
                match traced {
                    Traced::Body { id, at, offset, length } => {
                        let body = open.entry(id).or_default();
                        prop_assert!((body.len()..=body.len() + 4).contains(&offset));
                        body.resize(offset, None);
                        body.extend(part[at..at + length].iter().copied().map(Some));
                    }
                    Traced::Whole { id, body } => {
                        let known = open.remove(&id).unwrap_or_default();
                        prop_assert!((known.len()..=known.len() + 4).contains(&body.len()));
                        prop_assert!(known.iter().zip(&body).all(|(known, byte)| known.is_none_or(|known| known == *byte)));
                        whole.push(body);
                    }
                    Traced::Lost { .. } => prop_assert!(false, "nothing was lost"),
                }
            }
        }
        // Control messages are bodies, too.
        let mut whole = whole.into_iter();
        for event in events(&mut session) {
            if let Event::Video { payload, .. } | Event::Audio { payload, .. } = event {
                prop_assert!(whole.any(|body| body == payload && body.as_ptr() == payload.as_ptr()));
            }
        }
    }

    #[test]
    fn no_bytes_are_taken_for_a_checkpoint_that_breaks_a_session(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        real in any::<bool>(),
    ) {
        if real {
            let mut session = live();
            let mut wire = Wire::default();
            wire.message(4, 0, DATA, &amf(&[text("onMetaData"), Value::Object(vec![])]), 128);
            wire.message(6, 0, VIDEO, &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F], 128);
            wire.header(0, 6, 40, 200, VIDEO).raw(&body(100, 1));
            session.feed_slice(&wire.bytes).unwrap();
            bytes = session.checkpoint().unwrap();
        }
        for (place, value) in damage {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
        }
        if let Ok(mut session) = Session::resume(Limits::default(), &bytes) {
            for _ in 0..4 {
                if session.feed_slice(&body(300, 0xC4)).is_err() {
                    break;
                }
                prop_assert!(session.buffered() <= 16 << 20);
            }
        }
    }

    #[test]
    fn no_bytes_break_a_session(
        bytes in proptest::collection::vec(prop_oneof![3 => 0u8..24, 2 => any::<u8>(), 1 => Just(0xC3)], 0..3000),
        cut in 1usize..600,
        accepted in any::<bool>(),
    ) {
        let mut session = if accepted { live() } else { shaken() };
        for part in bytes.chunks(cut) {
            let result = session.feed(Bytes::copy_from_slice(part));
            prop_assert!(session.buffered() <= 16 << 20);
            session.output();
            for event in events(&mut session) {
                if matches!(event, Event::Publish { .. }) {
                    session.accept_publish();
                }
            }
            if let Err(error) = result {
                prop_assert!(error.position() <= session.stats().bytes_in);
                break;
            }
        }
    }

    #[test]
    fn a_damaged_stream_does_not_break_a_session(
        frames in proptest::collection::vec(frame(), 1..8),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (mut wire, _) = write(&frames, 0, Dialect::Repeats);
        for (place, value) in damage {
            let place = place.index(wire.bytes.len());
            wire.bytes[place] = value;
        }
        let mut session = live();
        for part in wire.bytes.chunks(700) {
            if session.feed(Bytes::copy_from_slice(part)).is_err() {
                break;
            }
            prop_assert!(session.buffered() <= 16 << 20);
        }
    }
}
