//! Every source frame comes out of every rung once, at its own PTS, and keyframes are where the GOP clock says.

#![allow(clippy::disallowed_methods, reason = "the test owns its task")]

mod transcode_source;

use media::Timestamp;
use media_server::transcode::{RungSpec, start};
use tokio_util::sync::CancellationToken;
use transcode_source::{Given, Source, Wish, decode, job, presented, program, read_until, rung, source};

/// Pushes a source at once, with edges at the given places in decode order, and reads all that comes.
async fn transcode(source: &Source, rungs: Vec<RungSpec>, edges: &[usize]) -> Given {
    let mut spec = job(source);
    spec.rungs = rungs;
    let mut given = Given::new(spec.rungs.len());
    let (transcoder, mut events, driver) = start(spec, program(), CancellationToken::new());
    let driver = tokio::spawn(driver);
    for (index, unit) in source.units.iter().enumerate() {
        transcoder.push(unit.clone(), edges.contains(&index)).unwrap();
    }
    drop(transcoder);
    read_until(&mut events, &mut given, |_| false).await;
    driver.await.unwrap();
    given
}

fn edge_pts(source: &Source, edges: &[usize]) -> Vec<Timestamp> {
    edges.iter().map(|&index| source.units[index].pts).collect()
}

async fn is_exact(wish: Wish, edges: &[usize]) {
    let source = source(wish);
    let given = transcode(&source, job(&source).rungs, edges).await;
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    for (rung, size) in [(426, 240), (320, 180)].into_iter().enumerate() {
        assert_eq!(given.pts(rung), presented(&source.units));
        assert_eq!(given.keyframes(rung), edge_pts(&source, edges));
        let [format] = &given.formats[rung][..] else { panic!("{:?}", given.formats[rung]) };
        assert_eq!((format.width, format.height), size);
        assert_eq!(format.frame_rate, Some((30, 1)));
        assert!(format.codec.starts_with("avc1.64"), "{}", format.codec);
        assert!(given.units[rung].iter().all(|unit| unit.dts == unit.pts));
        assert_eq!(decode(format, &given.units[rung]), source.units.len());
    }
}

#[tokio::test]
async fn a_source_without_b_frames_keeps_every_frame_and_pts() {
    is_exact(Wish::default(), &[0, 60, 120]).await;
}

#[tokio::test]
async fn a_source_with_b_frames_keeps_every_frame_and_pts() {
    is_exact(Wish { b_frames: 3, ..Wish::default() }, &[0, 60, 120]).await;
}

#[tokio::test]
async fn edges_away_from_source_keyframes_are_honoured_too() {
    is_exact(Wish { gop: 150, ..Wish::default() }, &[0, 37, 74, 111]).await;
}

#[tokio::test]
async fn a_lower_frame_rate_leaves_frames_out_but_never_an_edge() {
    let source = source(Wish { fps: 60, seconds: 3, gop: 90, ..Wish::default() });
    let slow = RungSpec { fps: Some((30, 1)), ..rung("180p", 320, 180) };
    let edges = [0, 91];
    let given = transcode(&source, vec![rung("240p", 426, 240), slow], &edges).await;
    assert_eq!(given.pts(0), presented(&source.units));
    let expected: Vec<_> = presented(&source.units)
        .into_iter()
        .enumerate()
        .filter(|(index, _)| if *index < 91 { index % 2 == 0 } else { index % 2 == 1 })
        .map(|(_, pts)| pts)
        .collect();
    assert_eq!(given.pts(1), expected);
    for rung in 0..2 {
        assert_eq!(given.keyframes(rung), edge_pts(&source, &edges));
    }
    assert_eq!(given.formats[1][0].frame_rate, Some((30, 1)));
    assert_eq!(decode(&given.formats[1][0], &given.units[1]), expected.len());
}

#[tokio::test]
async fn a_source_that_begins_in_mid_gop_starts_at_its_first_keyframe() {
    let mut source = source(Wish::default());
    source.units.drain(..20);
    let given = transcode(&source, job(&source).rungs, &[40]).await;
    assert_eq!(given.pts(0), presented(&source.units[40..]));
}

#[tokio::test]
async fn times_far_from_zero_come_back_to_the_flick() {
    let mut source = source(Wish { seconds: 1, ..Wish::default() });
    let far = media::Span::from_flicks(-7_056_000_000_000_123);
    for unit in &mut source.units {
        unit.dts += far;
        unit.pts += far;
    }
    let given = transcode(&source, job(&source).rungs, &[0]).await;
    assert_eq!(given.pts(1), presented(&source.units));
}
