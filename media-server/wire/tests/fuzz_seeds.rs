//! The seeds in `fuzz/corpus`: written by `WRITE_SEEDS=1 cargo test -p wire --test fuzz_seeds`, and held to what
//! the parsers make of them, so that a seed that no longer gets past the first check is noticed.

mod peer;

use std::path::PathBuf;

use bytes::Bytes;
use peer::*;
use wire::amf0::{Limits, Value, decode_all};
use wire::flv::{AudioTag, VideoTag};
use wire::rtmp::Event;

type Seed = (&'static str, Vec<u8>);

fn open() -> Wire {
    let mut wire = Wire::default();
    wire.connect("live", "rtmp://host/live");
    wire.command(&[text("createStream"), Value::Number(4.0), Value::Null]).publish("key?token=x%20y");
    wire
}

fn metadata() -> Vec<u8> {
    let width = ("width".to_owned(), Value::Number(640.0));
    let encoder = ("encoder".to_owned(), text("Lavf59.27.100"));
    amf(&[text("@setDataFrame"), text("onMetaData"), Value::EcmaArray(vec![width, encoder])])
}

/// The first byte is the mode of the target: how the rest is cut (0x3F), how it is fed (0x40), and whether the
/// publish is refused (0x80).
fn rtmp() -> Vec<Seed> {
    let seed = |mode: u8, wire: &Wire| [&[mode], &wire.bytes[..]].concat();
    let mut plain = open();
    plain.message(4, 0, DATA, &metadata(), 128);
    plain.message(6, 0, VIDEO, &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F], 128);
    plain.message(4, 0, AUDIO, &[0xAF, 0, 0x12, 0x10], 128);
    plain.message(6, 0, VIDEO, &body(300, 1), 128).header(1, 4, 23, 30, AUDIO).raw(&body(30, 2));
    plain.header(2, 4, 23, 0, 0).raw(&body(30, 3)).basic(3, 4).raw(&body(30, 4));
    plain.command(&[text("FCUnpublish"), Value::Number(6.0), Value::Null, text("key")]);
    plain.command(&[text("deleteStream"), Value::Number(7.0), Value::Null, Value::Number(1.0)]);

    let mut interleaved = open();
    interleaved
        .header(0, 6, 40, 200, VIDEO)
        .raw(&body(128, 1))
        .header(0, 320, 41, 150, AUDIO)
        .raw(&body(128, 2));
    interleaved.basic(3, 6).raw(&body(72, 3)).basic(3, 320).raw(&body(22, 4));

    let late = |dialect| {
        let mut wire = open();
        wire.message_in(dialect, 6, 0xFF_FFFF, VIDEO, &body(300, 1), 128);
        wire.message_in(dialect, 4, 0x0100_0000, AUDIO, &body(140, 2), 128);
        wire
    };

    let mut control = open();
    control.message(2, 0, 5, &1000u32.to_be_bytes(), 128).message(2, 0, 4, &[0, 6, 0, 0, 0, 9], 128);
    control.header(0, 6, 0, 300, VIDEO).raw(&body(128, 1)).message(2, 0, 2, &6u32.to_be_bytes(), 128);
    control.chunk_size(4096).message(6, 0, VIDEO, &body(1500, 2), 4096);

    let mut changed = open();
    changed.header(0, 6, 0, 300, VIDEO).raw(&body(128, 1)).header(1, 6, 33, 200, VIDEO).raw(&body(128, 2));
    changed.header(1, 6, 0, 200, VIDEO).raw(&body(72, 3));

    let mut aggregate = open();
    let part =
        [9, 0, 0, 3, 0, 0, 5, 0, 0, 0, 0, 7, 1, 2, 0, 0, 0, 14, 8, 0, 0, 2, 0, 0, 9, 0, 0, 0, 0, 0xAF, 1];
    aggregate.message(6, 0, AGGREGATE, &part, 128);

    let mut envelopes = Wire::default();
    envelopes.connect("live?a=b", "rtmp://host/live?c=d");
    for values in [
        vec![text("publish"), Value::Number(0.0), Value::Null, text("key")],
        vec![text("play"), Value::Number(0.0), Value::Null, text("ada")],
        vec![text("makeCoffee"), Value::Number(3.0)],
    ] {
        envelopes.message(3, 0, 17, &[&[0], &amf(&values)[..]].concat(), 128);
    }
    envelopes.message(3, 0, 15, &[&[0], &metadata()[..]].concat(), 128);

    vec![
        ("plain", seed(0, &plain)),
        ("dripping", seed(7, &plain)),
        ("refused", seed(0x80, &plain)),
        ("interleaved", seed(0, &interleaved)),
        ("late-repeated", seed(100, &late(Dialect::Repeats))),
        ("late-omitted", seed(3, &late(Dialect::Omits))),
        ("control", seed(0, &control)),
        ("changed-size", seed(0, &changed)),
        ("aggregate", seed(0, &aggregate)),
        ("envelopes", seed(0, &envelopes)),
    ]
}

fn amf0() -> Vec<Seed> {
    let every = [
        Value::Number(1.5),
        Value::Boolean(true),
        text("text"),
        Value::Object(vec![("a".into(), Value::Null), (String::new(), Value::Undefined)]),
        Value::EcmaArray(vec![("w".into(), Value::Number(640.0))]),
        Value::StrictArray(vec![Value::Null, text("x")]),
        Value::Date { millis: 1.5e12, zone: 0 },
        Value::LongString("long".into()),
    ];
    let mut deep = Value::Null;
    for _ in 0..8 {
        deep = Value::Object(vec![("a".into(), Value::StrictArray(vec![deep]))]);
    }
    vec![
        ("every-kind", amf(&every)),
        ("deep", amf(&[deep])),
        ("metadata", metadata()),
        ("odd-kinds", b"\x07\0\x01\x0d\x0f\0\0\0\x02<>\x10\0\x01C\0\x01a\x05\0\0\x09".to_vec()),
        ("not-utf8", b"\x02\0\x03a\xffb".to_vec()),
        ("no-end", b"\x08\0\0\0\x01\0\x01w\x05".to_vec()),
    ]
}

fn flv() -> Vec<Seed> {
    vec![
        ("avc-header", b"\x17\0\0\0\0\x01\x64\0\x1f".to_vec()),
        ("avc-frame", b"\x27\x01\xff\xff\xdf\0\0\0\x01\x41".to_vec()),
        ("avc-enhanced", b"\x91avc1\0\0\x21\0\0\0\x01\x65".to_vec()),
        ("hevc", b"\x90hvc1\x01".to_vec()),
        ("av1", b"\xA3av01\x0a".to_vec()),
        ("modified", b"\x97\x02\0\0\x01\x01hvc1\0\0\0x".to_vec()),
        ("video-tracks", b"\x96\x00av01\0x".to_vec()),
        ("video-many-tracks", b"\xA6\x11avc1\0\0\0\x05\0\0\x21AB\x02\0\0\x04\0\0\0C".to_vec()),
        ("video-many-codecs", b"\x96\x20hvc1\0\0\0\x01xav01\x01\0\0\x02yz".to_vec()),
        ("aac-header", b"\xAF\0\x12\x10".to_vec()),
        ("opus", b"\x90OpusOpusHead".to_vec()),
        ("audio-tracks", b"\x95\x20Opus\0\0\0\x01x".to_vec()),
    ]
}

/// A recording as `media-server` writes it: magic, header, checkpoint, reads.
fn recording(first: &Wire, second: &Wire) -> Vec<u8> {
    let mut session = live();
    session.feed_slice(&first.bytes).unwrap();
    let checkpoint = session.checkpoint().unwrap();
    let mut file = b"WEIRFLT1".to_vec();
    for block in [&b"{\"protocol\":\"rtmp\"}"[..], &checkpoint] {
        file.extend((block.len() as u32).to_le_bytes());
        file.extend(block);
    }
    for (number, read) in second.bytes.chunks(120).enumerate() {
        file.extend((number as u64 * 33_000).to_le_bytes());
        file.extend((read.len() as u32).to_le_bytes());
        file.extend(read);
    }
    file
}

fn flight() -> Vec<Seed> {
    let mut said = Wire::default();
    said.message(4, 0, DATA, &metadata(), 128);
    said.message(6, 0, VIDEO, &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F], 128);
    let mut media = Wire::default();
    media.message(6, 40, VIDEO, &body(300, 1), 128).message(4, 41, AUDIO, &body(20, 2), 128);
    let mut half = said.clone();
    half.header(0, 6, 0xFF_FFFF, 300, VIDEO).raw(&body(100, 1));
    let mut rest = Wire::default();
    rest.raw(&body(28, 1)).basic(3, 6).raw(&0xFF_FFFF_u32.to_be_bytes()).raw(&body(128, 1));
    vec![("whole", recording(&said, &media)), ("in-a-message", recording(&half, &rest))]
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn the_committed_seeds_are_the_ones_written_here() {
    for (target, seeds) in [("rtmp", rtmp()), ("amf0", amf0()), ("flv", flv()), ("flight", flight())] {
        for (name, bytes) in seeds {
            let path = folder(target).join(name);
            if std::env::var_os("WRITE_SEEDS").is_some() {
                std::fs::create_dir_all(folder(target)).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "{} differs", path.display());
        }
    }
}

#[test]
fn every_seed_gets_past_the_first_check() {
    for (name, seed) in rtmp() {
        let mut session = shaken();
        session.feed(Bytes::from(seed).slice(1..)).unwrap();
        assert!(events(&mut session).iter().any(|event| matches!(event, Event::Publish { .. })), "{name}");
    }
    for (name, seed) in amf0() {
        assert!(decode_all(&seed, &Limits::default()).is_ok(), "{name}");
    }
    for (name, seed) in flv() {
        let body = Bytes::from(seed);
        assert!(VideoTag::parse(&body).is_ok() || AudioTag::parse(&body).is_ok(), "{name}");
    }
}
