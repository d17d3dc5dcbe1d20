//! Ladders for the sources that people publish.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::time::{Span, Timestamp};

fn source(width: u32, height: u32, frame_rate: Option<(u32, u32)>) -> VideoFormat {
    VideoFormat { codec: "avc1.64001f".into(), width, height, frame_rate, config: Bytes::new() }
}

fn wish(name: &str, height: u32, fps: f64, video_bitrate: u32) -> RungWish {
    let size = if height == 0 { Size::Source } else { Size::Lines(height) };
    let rate = if fps > 0.0 { Rate::Most(fps) } else { Rate::Source };
    RungWish {
        name: name.into(),
        size,
        rate,
        video_bitrate,
        audio_bitrate: 128_000,
        codec: RungCodec::H264,
        encoder: Encoder::Usual,
        when: When::default(),
        tuning: Tuning::default(),
    }
}

fn usual(passthrough: bool) -> Profile {
    let rungs = vec![
        wish("1080p", 1080, 0.0, 6_000_000),
        wish("720p", 720, 0.0, 3_000_000),
        wish("480p", 480, 30.0, 1_400_000),
        wish("360p", 360, 30.0, 700_000),
    ];
    Profile { rungs, passthrough, ..Profile::default() }
}

fn sizes(ladder: &Ladder) -> Vec<(&str, u32, u32)> {
    ladder.rungs.iter().map(|rung| (rung.name.as_str(), rung.width, rung.height)).collect()
}

#[test]
fn rungs_lie_below_a_pass_through_source() {
    let ladder = plan(&source(1920, 1080, Some((60, 1))), None, &usual(true));
    assert_eq!(sizes(&ladder), [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]);
    assert_eq!(ladder.dropped, [("1080p".into(), Dropped::SameAsSource)]);
    assert_eq!(
        ladder.rungs.iter().map(|r| (r.fps.unwrap(), r.every)).collect::<Vec<_>>(),
        [((60, 1), 1), ((30, 1), 2), ((30, 1), 2)]
    );
    assert!(ladder.passthrough);
}

#[test]
fn without_pass_through_the_sources_size_is_encoded_and_nothing_larger() {
    let ladder = plan(&source(1280, 720, None), Some((30_000, 1001)), &usual(false));
    assert_eq!(sizes(&ladder), [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)]);
    assert_eq!(ladder.dropped, [("1080p".into(), Dropped::Upscaled)]);
    assert!(ladder.rungs.iter().all(|rung| rung.fps == Some((30_000, 1001)) && rung.every == 1));
}

#[test]
fn a_source_below_all_wishes_still_gets_a_rung() {
    let ladder = plan(&source(320, 180, None), None, &usual(false));
    assert_eq!(sizes(&ladder), [("360p", 320, 180)]);
    assert_eq!(ladder.dropped.len(), 3);
    let ladder = plan(&source(320, 180, None), None, &usual(true));
    assert!(ladder.rungs.is_empty() && ladder.passthrough, "no worker is needed");
}

#[test]
fn what_no_player_takes_is_encoded_at_its_size() {
    let vp8 = VideoFormat { codec: "vp08.00.31.08".into(), ..source(1280, 720, None) };
    let ladder = plan(&vp8, None, &Profile::as_it_is());
    assert_eq!((sizes(&ladder), ladder.passthrough), (vec![("full", 1280, 720)], false));
    assert_eq!(ladder.rungs[0].video_bitrate, 2_764_800);
    let profile =
        Profile { rungs: vec![wish("480p", 480, 0.0, 1_000_000)], passthrough: true, ..Profile::default() };
    assert_eq!(sizes(&plan(&vp8, None, &profile)), [("full", 1280, 720), ("480p", 854, 480)]);
    let ladder = plan(&vp8, None, &usual(true));
    assert_eq!(
        sizes(&ladder),
        [("720p", 1280, 720), ("480p", 854, 480), ("360p", 640, 360)],
        "a wish has its size"
    );
    let like = like(&VideoFormat { codec: "hvc1.1.6.L93.90".into(), ..source(1281, 721, Some((60, 2))) });
    assert_eq!((like.name.as_str(), like.width, like.height, like.fps), ("full", 1280, 720, Some((30, 1))));
}

#[test]
fn pixels_that_are_not_square_become_square_ones() {
    // 1918x1078 with samples of 4:3, as x264 writes it.
    let record = "01640028ffe1001a67640028acd940780227a9b0e100000303e90000ea600f18319601000468ef8fcbfdf8f800";
    let bytes = (0..record.len() / 2).map(|i| u8::from_str_radix(&record[2 * i..2 * i + 2], 16).unwrap());
    let wide = VideoFormat { config: bytes.collect::<Vec<_>>().into(), ..source(1918, 1078, None) };
    assert_eq!(sizes(&plan(&wide, None, &usual(true)))[1..], [("480p", 1138, 480), ("360p", 854, 360)]);
    assert_eq!((like(&wide).width, like(&wide).height), (2556, 1078));
}

#[test]
fn a_rung_may_be_for_some_sources_alone() {
    let mut profile = usual(true);
    profile.rungs[1].when = When { min_fps: Some(50.0), ..When::default() };
    profile.rungs[2].when = When { min_height: Some(1080), max_fps: Some(30.0), ..When::default() };
    let names = |source: &VideoFormat| -> Vec<String> {
        plan(source, None, &profile).rungs.into_iter().map(|rung| rung.name).collect()
    };
    assert_eq!(names(&source(1920, 1080, Some((60_000, 1001)))), ["720p", "360p"]);
    assert_eq!(names(&source(1920, 1080, Some((30_000, 1001)))), ["480p", "360p"]);
    assert_eq!(names(&source(1280, 720, Some((25, 1)))), ["360p"]);
    assert_eq!(names(&source(1920, 1080, None)), ["480p", "360p"], "30 where nothing is said");
    let dropped = plan(&source(1280, 720, Some((25, 1))), None, &profile).dropped;
    assert!(dropped.contains(&("480p".into(), Dropped::Unwanted)), "{dropped:?}");
    // A condition leaves no stream without a rung.
    profile.passthrough = false;
    for rung in &mut profile.rungs {
        rung.when.min_height = Some(2160);
    }
    let ladder = plan(&source(640, 360, None), None, &profile);
    assert_eq!(sizes(&ladder), [("full", 640, 360)]);
}

#[test]
fn portrait_counts_the_shorter_side() {
    let ladder = plan(&source(1080, 1920, Some((30, 1))), None, &usual(true));
    assert_eq!(sizes(&ladder), [("720p", 720, 1280), ("480p", 480, 854), ("360p", 360, 640)]);
}

#[test]
fn odd_sources_give_even_rungs_that_are_not_larger() {
    let profile =
        Profile { rungs: vec![wish("same", 0, 0.0, 1_000_000)], passthrough: false, ..Profile::default() };
    let ladder = plan(&source(1919, 1079, None), None, &profile);
    assert_eq!(sizes(&ladder), [("same", 1918, 1078)]);
}

#[test]
fn rates_are_whole_fractions_of_the_source() {
    for (source_fps, wish, every, fps) in [
        ((60, 1), 30.0, 2, (30, 1)),
        ((50, 1), 30.0, 2, (25, 1)),
        ((60_000, 1001), 30.0, 2, (30_000, 1001)),
        ((30_000, 1001), 29.97, 1, (30_000, 1001)),
        ((30, 1), 29.97, 1, (30, 1)),
        ((24, 1), 30.0, 1, (24, 1)),
        ((120, 1), 25.0, 5, (24, 1)),
    ] {
        let profile = Profile {
            rungs: vec![self::wish("a", 0, wish, 1_000_000)],
            passthrough: false,
            ..Profile::default()
        };
        let rung = plan(&source(640, 360, Some(source_fps)), None, &profile).rungs.remove(0);
        assert_eq!((rung.every, rung.fps), (every, Some(fps)), "{source_fps:?} {wish}");
    }
}

#[test]
fn wishes_that_come_out_alike_are_made_once() {
    let rungs =
        vec![wish("a", 0, 0.0, 1_000_000), wish("b", 360, 0.0, 900_000), wish("c", 360, 0.0, 500_000)];
    let ladder =
        plan(&source(640, 360, None), None, &Profile { rungs, passthrough: false, ..Profile::default() });
    assert_eq!(sizes(&ladder), [("a", 640, 360), ("c", 640, 360)]);
    assert_eq!(ladder.dropped, [("b".into(), Dropped::Duplicate)]);
}

#[test]
fn a_picture_fits_into_a_frame_with_its_aspect_kept() {
    let within = |width, height, (w, h): (u32, u32)| {
        let wish = RungWish { size: Size::Within(width, height), ..wish("a", 0, 0.0, 1_000_000) };
        let ladder = plan(
            &source(w, h, None),
            None,
            &Profile { rungs: vec![wish], passthrough: true, ..Profile::default() },
        );
        ladder.rungs.first().map(|rung| (rung.width, rung.height)).ok_or_else(|| ladder.dropped[0].1)
    };
    assert_eq!(within(1280, 720, (1920, 1080)), Ok((1280, 720)));
    assert_eq!(within(1280, 720, (1440, 1080)), Ok((960, 720)), "4:3");
    assert_eq!(within(1280, 720, (2560, 1080)), Ok((1280, 540)), "21:9");
    assert_eq!(within(1280, 720, (1080, 1920)), Ok((406, 720)), "portrait");
    assert_eq!(within(721, 721, (1081, 1923)), Ok((406, 720)), "even, and within");
    assert_eq!(within(1280, 720, (1280, 640)), Err(Dropped::SameAsSource));
    assert_eq!(within(1280, 720, (640, 360)), Err(Dropped::Upscaled));
}

#[test]
fn a_rung_may_have_a_share_of_the_sources_frames() {
    let rung = |fps, share| {
        let wish = RungWish { rate: Rate::Share(share), ..wish("a", 180, 0.0, 1_000_000) };
        let profile = Profile { rungs: vec![wish], passthrough: true, ..Profile::default() };
        plan(&source(640, 360, fps), None, &profile).rungs.remove(0)
    };
    let half = rung(Some((60_000, 1001)), 2);
    assert_eq!((half.every, half.fps), (2, Some((30_000, 1001))));
    let third = rung(Some((50, 1)), 3);
    assert_eq!((third.every, third.fps), (3, Some((50, 3))));
    assert_eq!((rung(None, 2).every, rung(None, 2).fps), (1, None), "none is left out by guess");
}

#[test]
fn another_codec_may_have_the_sources_size() {
    let hevc = RungWish { codec: RungCodec::Hevc, ..wish("hevc", 1080, 0.0, 3_000_000) };
    let mut profile = usual(true);
    profile.rungs.push(RungWish { name: "hevc-480p".into(), size: Size::Lines(480), ..hevc.clone() });
    profile.rungs.push(hevc);
    let names = |source: &VideoFormat| -> Vec<String> {
        plan(source, None, &profile).rungs.into_iter().map(|rung| rung.name).collect()
    };
    let full = source(1920, 1080, Some((30, 1)));
    assert_eq!(names(&full), ["hevc", "720p", "hevc-480p", "480p", "360p"]);
    let full = VideoFormat { codec: "hvc1.1.6.L120.90".into(), ..full };
    assert_eq!(names(&full), ["720p", "hevc-480p", "480p", "360p"]);
}

#[test]
fn a_rung_that_nothing_encodes_is_left_out_and_a_stream_has_one_nevertheless() {
    let av1 = RungWish { codec: RungCodec::Av1, encoder: Encoder::Nothing, ..wish("av1", 480, 0.0, 900_000) };
    let named = Encoder::Named("x265enc".into());
    let hevc = RungWish { codec: RungCodec::Hevc, encoder: named, ..wish("hevc", 360, 0.0, 500_000) };
    let ladder = |rungs| {
        plan(&source(640, 480, None), None, &Profile { rungs, passthrough: false, ..Profile::default() })
    };
    let both = ladder(vec![av1.clone(), hevc]);
    assert_eq!(sizes(&both), [("hevc", 480, 360)]);
    assert_eq!(both.rungs[0].encoder.as_deref(), Some("x265enc"));
    assert_eq!(both.dropped, [("av1".into(), Dropped::NoEncoder)]);
    let one = ladder(vec![av1]);
    assert_eq!((sizes(&one), one.rungs[0].codec), (vec![("full", 640, 480)], RungCodec::H264));
}

#[test]
fn players_are_told_of_what_a_rung_may_have() {
    let told = |max_bitrate, buffer_ms| {
        let tuning = Tuning { max_bitrate, buffer_ms, ..Tuning::default() };
        let wish = RungWish { tuning, ..wish("a", 180, 0.0, 600_000) };
        let profile = Profile { rungs: vec![wish], passthrough: true, ..Profile::default() };
        plan(&source(640, 360, None), None, &profile).rungs[0].declared_bitrate()
    };
    assert_eq!(told(None, None), 600_000);
    assert_eq!(told(None, Some(500)), 600_000);
    assert_eq!(told(Some(900_000), None), 900_000);
    assert_eq!(told(Some(900_000), Some(2500)), 1_350_000);
}

fn keeps(decimator: &mut Decimator, frames: impl IntoIterator<Item = i64>, fps: i64, edge: i64) -> Vec<i64> {
    let time = |n: i64| Timestamp::from_ticks(n * (90_000 / fps), 90_000);
    frames.into_iter().filter(|n| decimator.keep(time(*n), n % edge == 0)).collect()
}

#[test]
fn every_second_frame_is_kept_and_edges_always() {
    let mut decimator = Decimator::new((60, 1), 2);
    assert_eq!(keeps(&mut decimator, 0..12, 60, 120), [0, 2, 4, 6, 8, 10]);
    // An edge on an odd frame begins the pattern anew.
    let mut decimator = Decimator::new((60, 1), 2);
    assert_eq!(keeps(&mut decimator, 0..12, 60, 5), [0, 2, 4, 5, 7, 9, 10]);
    // A missing frame does not shift it.
    let mut decimator = Decimator::new((60, 1), 2);
    assert_eq!(keeps(&mut decimator, (0..12).filter(|n| *n != 4), 60, 120), [0, 2, 5, 6, 8, 10]);
    let mut all = Decimator::new((60, 1), 1);
    assert_eq!(keeps(&mut all, 0..5, 60, 120).len(), 5);
}

proptest! {
    #[test]
    fn no_rung_is_larger_faster_or_odd(
        width in 64_u32..8000, height in 64_u32..8000, fps in 1_u32..240,
        wishes in proptest::collection::vec(
            (0_u32..3000, 0_u32..3000, 0.0_f64..240.0, 50_000_u32..50_000_000), 0..6,
        ),
        passthrough in any::<bool>(),
    ) {
        let rungs: Vec<_> = wishes
            .iter()
            .enumerate()
            .map(|(i, (width, height, fps, bits))| {
                let plain = wish(&format!("r{i}"), *height, *fps, *bits);
                let framed = *width > 64 && *height > 64 && i % 2 == 1;
                RungWish { size: if framed { Size::Within(*width, *height) } else { plain.size }, ..plain }
            })
            .collect();
        let count = rungs.len();
        let ladder = plan(&source(width, height, None), Some((fps, 1)), &Profile { rungs, passthrough, ..Profile::default() });
        prop_assert_eq!(ladder.rungs.len() + ladder.dropped.len(), count);
        prop_assert!(passthrough || count == 0 || !ladder.rungs.is_empty());
        for rung in &ladder.rungs {
            prop_assert!(rung.width <= width && rung.height <= height);
            prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0);
            let (numerator, denominator) = rung.fps.unwrap();
            prop_assert_eq!(numerator * rung.every, fps * denominator);
            if rung.width.min(rung.height) > 64 {
                let shape = f64::from(rung.width) / f64::from(rung.height);
                let truth = f64::from(width) / f64::from(height);
                prop_assert!((shape / truth - 1.0).abs() < 0.05, "{shape} {truth}");
            }
        }
    }

    #[test]
    fn a_decimator_keeps_about_one_of_every_and_every_edge(
        every in 1_u32..6, edge in 20_i64..100, jitter in proptest::collection::vec(-1_i64..=1, 600),
    ) {
        let mut decimator = Decimator::new((30, 1), every);
        let mut kept = 0_u32;
        for (n, jitter) in (0_i64..).zip(&jitter) {
            let pts = Timestamp::from_ticks(n * 3000, 90_000) + Span::from_millis(*jitter);
            let keep = decimator.keep(pts, n % edge == 0);
            prop_assert!(keep || n % edge != 0);
            kept += u32::from(keep);
        }
        prop_assert!(kept >= 600 / every && kept <= 600 / every + 32, "{kept}");
    }
}
