//! How fast a publish session reads: `cargo run --release -p wire --example throughput`.
//!
//! 6 Mbit/s at 30 fps with 160 kbit/s of AAC, in reads of 64 KiB as a busy socket gives them.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a program")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use wire::amf0::{Value, encode_all};
use wire::rtmp::{Event, Limits, Session};

fn message(out: &mut BytesMut, id: u8, time: u32, kind: u8, body: &[u8], chunk: usize) {
    out.put_u8(id);
    out.put_uint(u64::from(time), 3);
    out.put_uint(body.len() as u64, 3);
    out.put_u8(kind);
    out.put_u32_le(1);
    for (number, part) in body.chunks(chunk).enumerate() {
        if number > 0 {
            out.put_u8(0xC0 | id);
        }
        out.put_slice(part);
    }
}

fn command(out: &mut BytesMut, values: &[Value]) {
    let mut body = BytesMut::new();
    encode_all(values, &mut body);
    message(out, 3, 0, 20, &body, 128);
}

fn live(chunk: usize) -> Session {
    let mut session = Session::new(Limits::default(), [0; 1528]);
    let mut out = BytesMut::new();
    out.put_u8(3);
    out.put_bytes(0, 3072);
    let app = Value::Object(vec![("app".into(), Value::string("live"))]);
    command(&mut out, &[Value::string("connect"), Value::Number(1.0), app]);
    let name = Value::string("key");
    command(&mut out, &[Value::string("publish"), Value::Number(2.0), Value::Null, name]);
    message(&mut out, 2, 0, 1, &(chunk as u32).to_be_bytes(), 128);
    session.feed(out.freeze()).unwrap();
    while session.next().is_some() {}
    assert!(session.accept_publish());
    session
}

fn main() {
    const READ: usize = 64 << 10;
    for (chunk, shared) in [128, 4096, 60_000].into_iter().flat_map(|chunk| [(chunk, true), (chunk, false)]) {
        let mut second = BytesMut::new();
        for frame in 0..30_u32 {
            let size = if frame == 0 { 150_000 } else { 21_000 };
            message(&mut second, 6, frame * 33, 9, &vec![frame as u8; size], chunk);
            message(&mut second, 4, frame * 33, 8, &[0xAF; 430], chunk);
        }
        let second = second.freeze();
        let mut session = live(chunk);
        let (mut bytes, mut frames) = (0_usize, 0_usize);
        let mut spent = std::time::Duration::ZERO;
        while bytes < 4 << 30 {
            // The read buffers are filled outside the measurement: that is the kernel's work.
            let reads: Vec<Bytes> = second.chunks(READ).map(Bytes::copy_from_slice).collect();
            let started = Instant::now();
            for read in reads {
                bytes += read.len();
                if shared {
                    session.feed(read).unwrap();
                } else {
                    session.feed_slice(&read).unwrap();
                }
                while let Some(event) = session.next() {
                    if let Event::Video { payload, .. } | Event::Audio { payload, .. } = event {
                        frames += 1;
                        black_box(payload);
                    }
                }
                black_box(session.output());
            }
            spent += started.elapsed();
        }
        let rate = bytes as f64 / spent.as_secs_f64() / 1e6;
        let how = if shared { "feed" } else { "feed_slice" };
        println!(
            "chunk {chunk:>6} {how:<10}: {rate:>7.0} MB/s, {frames} messages in {:.2} s",
            spent.as_secs_f64()
        );
    }
}
