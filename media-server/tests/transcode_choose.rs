//! Rungs begin and end while their source goes on: each time with an edge, and without any there is no worker.

#![allow(clippy::disallowed_methods, reason = "the test owns its task")]

mod transcode_source;

use std::time::Duration;

use media::Span;
use media_server::transcode::start;
use tokio_util::sync::CancellationToken;
use transcode_source::{Given, Wish, decode, job, program, read_until, source};

#[tokio::test]
async fn rungs_begin_and_end_with_edges_while_the_source_goes_on() {
    let source = source(Wish { seconds: 12, gop: 30, ..Wish::default() });
    let (transcoder, mut events, driver) = start(job(&source), program(), CancellationToken::new());
    transcoder.choose(&[false, false]);
    let driver = tokio::spawn(driver);
    let mut given = Given::new(2);
    let mut units = source.units.iter().enumerate();
    let mut push = |transcoder: &media_server::transcode::Transcoder, count: usize| {
        for (index, unit) in units.by_ref().take(count) {
            transcoder.push(unit.clone(), index % 30 == 0).unwrap();
        }
    };
    // Nobody wants anything: two seconds and a half go by.
    push(&transcoder, 75);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(transcoder.pid(), None);

    // The second rung: from the segment before the running one.
    transcoder.choose(&[false, true]);
    read_until(&mut events, &mut given, |given| given.units[1].len() == 45).await;
    assert_eq!(given.pts(1)[0], source.units[30].pts);
    let worker = transcoder.pid();
    assert!(worker.is_some() && given.units[0].is_empty());

    // The first one beside it: from the next edge on, by the same worker.
    transcoder.choose(&[true, true]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    push(&transcoder, 75);
    read_until(&mut events, &mut given, |given| given.pts(0).last() == Some(&source.units[149].pts)).await;
    assert_eq!(given.pts(0)[0], source.units[90].pts);
    assert!(given.units[0][0].keyframe);
    assert_eq!(transcoder.pid(), worker);

    // The second one ends, and begins again two edges later.
    transcoder.choose(&[true, false]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    push(&transcoder, 45);
    read_until(&mut events, &mut given, |given| given.pts(0).last() == Some(&source.units[194].pts)).await;
    transcoder.choose(&[true, true]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    push(&transcoder, 45);
    read_until(&mut events, &mut given, |given| given.pts(1).last() == Some(&source.units[239].pts)).await;
    let again: Vec<_> = given.pts(1).into_iter().filter(|pts| *pts > source.units[149].pts).collect();
    assert_eq!(again[0], source.units[210].pts);
    assert_eq!(again.len(), 30);
    assert!(given.keyframes(1).contains(&again[0]));

    // Nothing is wanted: the worker goes. Then all of it.
    transcoder.choose(&[false, false]);
    for _ in 0..100 {
        if transcoder.pid().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(transcoder.pid(), None);
    push(&transcoder, 75);
    transcoder.choose(&[true, true]);
    push(&transcoder, 75);
    drop(transcoder);
    read_until(&mut events, &mut given, |_| false).await;
    driver.await.unwrap();
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    for rung in 0..2 {
        let pts = given.pts(rung);
        assert!(pts.is_sorted_by(|a, b| a < b), "rung {rung}");
        assert_eq!(pts.last(), Some(&source.units.last().unwrap().pts));
        // No hole within a run of it: a frame is 33 ms or 34 ms after the one before, or begins anew with a keyframe.
        for (before, unit) in given.units[rung].iter().zip(given.units[rung].iter().skip(1)) {
            assert!(unit.pts - before.pts <= Span::from_millis(34) || unit.keyframe);
        }
        assert_eq!(decode(&given.formats[rung][0], &given.units[rung]), given.units[rung].len());
    }
}

#[tokio::test]
async fn a_rung_that_is_too_slow_ends_before_it_has_done_what_it_is_too_slow_for() {
    let source = source(Wish { seconds: 4, ..Wish::default() });
    let mut spec = job(&source);
    spec.preset = "veryslow".to_owned();
    let (transcoder, mut events, driver) = start(spec, program(), CancellationToken::new());
    let driver = tokio::spawn(driver);
    // More than any encoder has done by the time at which it is told.
    for (index, unit) in source.units.iter().enumerate() {
        transcoder.push(unit.clone(), index % 60 == 0).unwrap();
    }
    let mut given = Given::new(2);
    read_until(&mut events, &mut given, |given| !given.units[0].is_empty()).await;
    transcoder.choose(&[false, true]);
    read_until(&mut events, &mut given, |given| given.units[1].len() == source.units.len()).await;
    assert!(given.units[0].len() < source.units.len() / 2, "{} pictures of it", given.units[0].len());
    drop(transcoder);
    driver.await.unwrap();
}
