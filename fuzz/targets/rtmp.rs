//! A publish session from behind the handshake. The first byte says how the rest is cut (0x3F), how it is fed
//! (0x40) and whether the publish is refused (0x80); memory and positions are held to their promises,
//! and the trace to the bodies that it speaks of.
#![no_main]

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use wire::Traced;
use wire::rtmp::{Event, Limits, Session};

fuzz_target!(|data: &[u8]| {
    let Some((&mode, rest)) = data.split_first() else { return };
    let limits = Limits { max_buffered: 1 << 20, max_media_message: 1 << 19, ..Limits::default() };
    let (most, most_output) = (limits.max_buffered, limits.max_output);
    let mut session = Session::new(limits, [0; 1528]);
    let mut hello = BytesMut::new();
    hello.put_u8(3);
    hello.put_bytes(0, 3072);
    assert!(session.feed(hello.freeze()).is_ok());
    let cut = match mode & 0x3F {
        0 => rest.len().max(1),
        cut => usize::from(cut),
    };
    let mut given = 0;
    session.trace();
    let mut open = HashMap::<u32, Vec<Option<u8>>>::new();
    for part in rest.chunks(cut) {
        let result = if mode & 0x40 == 0 {
            session.feed(Bytes::copy_from_slice(part))
        } else {
            session.feed_slice(part)
        };
        assert!(session.buffered() <= most);
        for traced in session.traced() {
            match traced {
                Traced::Body { id, at, offset, length } => {
                    let known = open.entry(id).or_default();
                    assert!(offset >= known.len());
                    known.resize(offset, None);
                    known.extend(part[at..at + length].iter().copied().map(Some));
                }
                Traced::Whole { id, body } => {
                    let known = open.remove(&id).unwrap_or_default();
                    assert!(known.len() <= body.len());
                    assert!(known.iter().zip(&body).all(|(known, byte)| known.is_none_or(|known| known == *byte)));
                }
                Traced::Lost { id, body } => {
                    let known = open.remove(&id).unwrap_or_default();
                    assert!(known.len() <= body.len());
                }
            }
        }
        while let Some(event) = session.next() {
            match event {
                Event::Publish { .. } => {
                    // Either is false where the peer has ended it in the same breath.
                    let accept = mode & 0x80 == 0;
                    if accept && session.accept_publish() {
                        assert!(!session.accept_publish());
                    } else if session.reject_publish("NetStream.Publish.Denied", "no") {
                        assert!(!session.fail("NetStream.Publish.Rejected", "no"));
                    }
                }
                Event::Video { payload, .. } | Event::Audio { payload, .. } => {
                    assert!(!payload.is_empty());
                    given += payload.len();
                }
                _ => {}
            }
        }
        assert!(session.output().len() <= most_output + (64 << 10));
        if let Err(error) = result {
            assert!(error.position() <= session.stats().bytes_in);
            break;
        }
    }
    assert!(given <= rest.len());
});
