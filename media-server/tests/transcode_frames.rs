//! Every source frame comes out of every rung once, at its own PTS, and keyframes are where the GOP clock says.

#![allow(clippy::disallowed_methods, reason = "the test owns its task")]

mod transcode_source;

use media::Timestamp;
use media::ladder::Tuning;
use media_server::transcode::{Coding, RungSpec, start};
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

fn hevc(rung: RungSpec) -> RungSpec {
    RungSpec { codec: Coding::Hevc, encoder: Some("x265enc".into()), ..rung }
}

#[tokio::test]
async fn a_rung_of_hevc_keeps_every_frame_and_pts_beside_one_of_h264() {
    let source = source(Wish::default());
    let edges = [0, 37, 60, 120];
    let rungs = vec![rung("240p", 426, 240), hevc(rung("hevc", 426, 240))];
    let given = transcode(&source, rungs, &edges).await;
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    for rung in 0..2 {
        assert_eq!(given.pts(rung), presented(&source.units));
        assert_eq!(given.keyframes(rung), edge_pts(&source, &edges));
        assert_eq!(decode(&given.formats[rung][0], &given.units[rung]), source.units.len());
    }
    let [format] = &given.formats[1][..] else { panic!("{:?}", given.formats[1]) };
    assert!(format.codec.starts_with("hvc1.1.6.L"), "{}", format.codec);
    assert_eq!((format.width, format.height, format.frame_rate), (426, 240, Some((30, 1))));
}

#[tokio::test]
async fn a_rung_with_b_frames_and_lookahead_keeps_every_frame_pts_and_keyframe() {
    let source = source(Wish { fps: 60, seconds: 3, ..Wish::default() });
    let tuning = Tuning { b_frames: 2, lookahead: 10, ..Tuning::default() };
    let tuned = |name: &str, fps| RungSpec { tuning: tuning.clone(), fps, ..rung(name, 426, 240) };
    let rungs = vec![tuned("fast", None), tuned("slow", Some((30, 1))), hevc(tuned("hevc", None))];
    let edges = [0, 38, 60, 120];
    let given = transcode(&source, rungs, &edges).await;
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    let presented = presented(&source.units);
    let half: Vec<_> = presented.iter().copied().step_by(2).collect();
    for (rung, expected) in [&presented, &half, &presented].into_iter().enumerate() {
        let units = &given.units[rung];
        let mut pts = given.pts(rung);
        assert!(!pts.is_sorted(), "no B-frame in rung {rung}");
        pts.sort_unstable();
        assert_eq!(&pts, expected, "rung {rung}");
        assert!(units.windows(2).all(|pair| pair[0].dts < pair[1].dts), "rung {rung}");
        assert!(units.iter().all(|unit| unit.dts <= unit.pts), "rung {rung}");
        // Exact, but for what would be decoded before the first frame is shown.
        assert!(units.iter().skip(2).all(|unit| presented.contains(&unit.dts)), "rung {rung}");
        assert_eq!(given.keyframes(rung), edge_pts(&source, &edges));
        assert_eq!(decode(&given.formats[rung][0], units), expected.len());
    }
}

#[tokio::test]
async fn av1_has_its_configuration_beside_the_pictures() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let av1 = RungSpec { codec: Coding::Av1, encoder: Some("av1enc".into()), ..rung("av1", 426, 240) };
    let given = transcode(&source, vec![av1], &[0]).await;
    assert_eq!((&given.restarts[..], &given.failed), (&[][..], &None));
    let [format] = &given.formats[0][..] else { panic!("{:?}", given.formats[0]) };
    assert!(format.codec.starts_with("av01.0."), "{}", format.codec);
    assert_eq!((format.width, format.height), (426, 240));
    assert_eq!(given.pts(0), presented(&source.units));
    assert_eq!(given.keyframes(0), edge_pts(&source, &[0]));
    // No temporal delimiter (OBU type 2) among them.
    assert!(given.units[0].iter().all(|unit| unit.payload[0] >> 3 & 0x0f != 2));
}

#[tokio::test]
async fn a_profile_is_made_as_it_was_wished_for() {
    let source = source(Wish { seconds: 1, ..Wish::default() });
    let of = |profile: &str| {
        let tuning = Tuning { profile: Some(profile.to_owned()), ..Tuning::default() };
        RungSpec { tuning, ..rung(profile, 426, 240) }
    };
    let rungs = vec![of("baseline"), of("main"), of("high"), hevc(of("main"))];
    let given = transcode(&source, rungs, &[0]).await;
    for (rung, begins) in ["avc1.42c0", "avc1.4d", "avc1.64", "hvc1.1."].into_iter().enumerate() {
        let codec = &given.formats[rung][0].codec;
        assert!(codec.starts_with(begins), "{codec}");
        assert_eq!(given.units[rung].len(), source.units.len());
    }
}
