//! A worker that cannot keep up, or whose output nobody reads, never holds up its source.

#![allow(clippy::disallowed_methods, reason = "the test owns its task")]

mod transcode_source;

use std::time::{Duration, Instant};

use media::{Span, Timestamp};
use media_server::transcode::start;
use tokio_util::sync::CancellationToken;
use transcode_source::{Given, Wish, job, program, read_until, source};

#[tokio::test]
async fn a_stalled_reader_costs_frames_up_to_a_keyframe_and_is_counted() {
    let source = source(Wish { gop: 30, ..Wish::default() });
    let mut spec = job(&source);
    spec.limits.queue_span = Duration::from_secs(3);
    spec.limits.hang = Duration::from_millis(300);
    let (transcoder, mut events, driver) = start(spec, program(), CancellationToken::new());
    let driver = tokio::spawn(driver);
    let length = Span::from_millis(5000);
    let (mut overruns, mut slowest, mut last) = (0, Duration::ZERO, Timestamp::ZERO);
    // 50 s of media while nothing is read.
    for round in 0..10 {
        for (index, unit) in source.units.iter().enumerate() {
            let mut unit = unit.clone();
            unit.dts += length.times(round);
            unit.pts += length.times(round);
            last = unit.pts;
            let begin = Instant::now();
            overruns += u32::from(transcoder.push(unit, index % 60 == 0).is_err());
            slowest = slowest.max(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(overruns > 0);
    assert!(slowest < Duration::from_millis(100), "pushing waits: {slowest:?}");
    let dropped = transcoder.stats().dropped;
    assert!(dropped >= u64::from(overruns));
    assert!(transcoder.stats().lag > Span::from_millis(3000));

    // The reader is back: what is left comes, from keyframe to the end, and the worker was not taken for hung.
    drop(transcoder);
    let mut given = Given::new(2);
    read_until(&mut events, &mut given, |_| false).await;
    driver.await.unwrap();
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    for rung in 0..2 {
        assert!(given.pts(rung).is_sorted_by(|a, b| a < b));
        assert_eq!(given.pts(rung).last(), Some(&last));
        assert_eq!(given.units[rung].len() as u64 + dropped, 1500);
    }
}
