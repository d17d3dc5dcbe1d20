use proptest::prelude::*;

use super::rig::{Pictures, Stream, attribute, check, packager, samples, sound, video_format};
use crate::packager::tests::rig::bytes;
use crate::playlist::{MediaPlaylist, Wait};
use crate::segmenter::{Edge, GopClock, Targets};
use crate::time::{Span, Timestamp};

fn roomy() -> Targets {
    Targets { window: 1000, ..Targets::default() }
}

const START: Timestamp = Timestamp::from_flicks(crate::time::FLICKS_PER_SECOND);

#[test]
fn every_usual_rate_makes_full_parts() {
    for rate in
        [(24, 1), (24_000, 1001), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1), (15, 1)]
    {
        for millis in [false, true] {
            for b_frames in [0, 2] {
                let frames = usize::try_from(rate.0 / rate.1).unwrap();
                let pictures = Pictures { b_frames, millis, ..Pictures::steady(rate, frames * 2) };
                let mut stream = Stream::new(roomy(), 48_000);
                stream.feed(pictures.units(frames * 13), sound(48_000, START, Span::from_millis(13_000)));
                stream.end();
                for (name, packager) in [("source", &stream.source), ("encoded", &stream.encoded)] {
                    let list = packager.playlist();
                    let found = check(&list, 90_000, 85);
                    assert!(list.segments().len() >= 6, "{name} at {rate:?}: {}", list.segments().len());
                    assert_eq!(list.first_msn(), 7);
                    assert!(list.independent());
                    assert_eq!(found[0].offset, 0, "the first presentation time is the decode time");
                    let measured = list.frame_rate().unwrap();
                    let nominal = rate.0 as f64 / rate.1 as f64;
                    assert!((measured - nominal).abs() < 0.05, "{measured} for {nominal}");
                }
                check(&stream.sound.playlist(), 48_000, 85);
                assert_eq!(stream.source.dropped(), 0);
            }
        }
    }
}

#[test]
fn every_aac_rate_makes_full_parts() {
    for rate in [96_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000] {
        let mut stream = Stream::new(roomy(), rate);
        stream.feed(Pictures::steady((30, 1), 60).units(400), sound(rate, START, Span::from_millis(13_300)));
        stream.end();
        let (video, audio) = (stream.source.playlist(), stream.sound.playlist());
        let found = check(&audio, rate, 85);
        assert!(found.iter().all(|sample| sample.duration == 1024 && sample.offset == 0));
        for (a, v) in audio.segments().iter().zip(video.segments()) {
            assert_eq!(a.msn(), v.msn());
            let off = (a.start() - v.start()).abs();
            assert!(off <= Span::from_ticks(512, rate) || a.msn() == 7, "{rate}: {off:?} at {}", a.msn());
        }
    }
}

#[test]
fn presentation_times_stay_exact() {
    let pictures = Pictures {
        b_frames: 2,
        millis: true,
        jitter: vec![0, 700, -1300, 4000],
        ..Pictures::steady((30, 1), 60)
    };
    let units = pictures.units(300);
    let mut stream = Stream::new(roomy(), 48_000);
    stream.feed(units.clone(), Vec::new());
    stream.end();
    let found = check(&stream.source.playlist(), 90_000, 85);
    assert_eq!(found.len(), units.len());
    for (sample, unit) in found.iter().zip(&units) {
        assert_eq!(i64::try_from(sample.decode).unwrap() + sample.offset, unit.pts.ticks(90_000));
        assert_eq!(sample.bytes, unit.payload);
        assert_eq!(sample.sync, unit.keyframe);
    }
}

#[test]
fn a_part_comes_with_its_last_frame() {
    let targets = roomy();
    let mut clock = GopClock::new(targets, 0);
    let mut video = packager(targets, video_format());
    let mut came = Vec::new();
    for (index, unit) in Pictures::steady((30, 1), 60).units(61).into_iter().enumerate() {
        if let Some(edge) = clock.observe(&unit) {
            video.edge(edge);
        }
        if video.push(unit) {
            came.push(index);
        }
    }
    // Every tenth frame closes its part at once; the IDR of the next segment closes the segment.
    assert_eq!(came, [9, 19, 29, 39, 49, 59, 60]);
}

#[test]
fn the_hint_always_names_the_next_part() {
    let mut stream = Stream::new(roomy(), 44_100);
    stream.feed(Pictures::steady((25, 1), 50).units(500), sound(44_100, START, Span::from_millis(20_000)));
    let newest = |list: &MediaPlaylist| {
        let parts =
            list.running_parts().last().or_else(|| list.segments().last().and_then(|s| s.parts().last()));
        parts.map(|part| part.name().to_owned())
    };
    // Snapshots of the three renditions are told apart by their constants.
    let mut hints: Vec<(*const (), String)> = Vec::new();
    for list in &stream.snapshots {
        let who = std::sync::Arc::as_ptr(&list.constants).cast::<()>();
        let before = hints.iter().rev().find(|(other, _)| *other == who);
        if let Some((_, hint)) = before
            && newest(list).as_deref() != Some(hint)
        {
            // No new part: the hint must not have moved.
            assert_eq!(list.hinted(), Some(hint.as_str()));
        }
        hints.push((who, list.hinted().unwrap().to_owned()));
    }
}

#[test]
fn a_rung_that_starts_late_takes_the_right_number() {
    let targets = roomy();
    let mut video = packager(targets, video_format());
    let second = |n: i64| Timestamp::from_ticks(n, 1);
    for msn in 0..6 {
        video.edge(Edge { msn, at: second(1 + 2 * i64::try_from(msn).unwrap()), independent: true });
    }
    for unit in Pictures::steady((30, 1), 60).units(330).into_iter().skip(100) {
        video.push(unit);
    }
    video.end();
    let list = video.playlist();
    assert_eq!(list.first_msn(), 2);
    assert_eq!(list.segments()[0].start(), second(5));
    check(&list, 90_000, 85);
}

#[test]
fn requests_wait_as_the_specification_says() {
    let mut stream = Stream::new(Targets::default(), 48_000);
    stream.feed(Pictures::steady((30, 1), 60).units(60 * 20 + 25), Vec::new());
    let list = stream.source.playlist();
    let (msn, part) = list.last();
    assert_eq!((msn, part, list.next_msn()), (27, Some(1), 27));
    assert_eq!(list.segments().len(), 10);
    for (msn, part, want) in [
        (27, Some(0), Wait::Ready),
        (27, Some(1), Wait::Ready),
        (27, Some(2), Wait::Block),
        (27, Some(10), Wait::Block),
        (27, Some(12), Wait::TooFar),
        (27, None, Wait::Block),
        (26, None, Wait::Ready),
        (26, Some(5), Wait::Ready),
        (26, Some(6), Wait::Ready),
        (25, Some(99), Wait::Ready),
        (3, Some(0), Wait::Ready),
        (28, None, Wait::Block),
        (28, Some(0), Wait::Block),
        (29, None, Wait::TooFar),
        (127, None, Wait::TooFar),
    ] {
        assert_eq!(list.wait_for(msn, part), want, "{msn} {part:?}");
    }
    stream.end();
    let list = stream.source.playlist();
    assert_eq!(list.wait_for(500, Some(3)), Wait::Ready);
    assert!(list.ended() && list.hinted().is_none());
}

#[test]
fn old_media_stay_as_long_as_they_are_owed() {
    let mut stream = Stream::new(Targets::default(), 48_000);
    stream
        .feed(Pictures::steady((30, 1), 60).units(60 * 60), sound(48_000, START, Span::from_millis(120_000)));
    let mut seen: Vec<(String, Timestamp)> = Vec::new();
    for list in &stream.snapshots {
        let text = list.render(&[], false);
        assert!(list.segments().len() <= 10 && list.retired.len() <= 13, "{}", list.retired.len());
        let listed: Span = list.segments().iter().fold(Span::ZERO, |sum, s| sum + s.duration());
        assert!(list.first_msn() == 7 || listed >= Span::from_millis(6000));
        if !list.constants.epoch.is_empty()
            && list.running_parts().last().is_some_and(|p| p.duration() > Span::ZERO)
        {
            check_parts_near_the_end(list, &text);
        }
    }
    // The newest snapshot still has what left its list less than a list's length ago.
    let list = stream.source.playlist();
    let oldest = list.segments()[0].clone();
    for back in 1..=10 {
        let name = format!("e-s{}.m4s", oldest.msn() - back);
        assert!(list.object(&name).is_some(), "{name}");
        seen.push((name, oldest.start()));
    }
    assert!(list.object("e-s7.m4s").is_none());
    for wrong in [
        "e-s007.m4s",
        "e-p1.mp4",
        "x-p1.m4s",
        "e-i9.mp4",
        "e-",
        "e-p",
        "",
        "e-p99999999999999999999.m4s",
        "e-i0.m4s",
    ] {
        assert!(list.object(wrong).is_none(), "{wrong}");
    }
    assert!(list.object("e-i0.mp4").is_some());
}

fn check_parts_near_the_end(list: &MediaPlaylist, text: &str) {
    let mut durations: Vec<f64> = Vec::new();
    for line in text.lines() {
        if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
            durations.push(attribute(part, "DURATION").unwrap().parse().unwrap());
            let name = attribute(part, "URI").unwrap();
            assert!(list.object(name).is_some());
        }
    }
    let listed: f64 = durations.iter().sum();
    assert!(listed <= 3.0 * 2.0 + 2.5, "{listed} s of parts are listed");
}

#[test]
fn a_playlist_reads_as_written() {
    let mut stream = Stream::new(Targets { window: 3, ..Targets::default() }, 48_000);
    stream.feed(Pictures::steady((25, 1), 50).units(50 * 2 + 17), Vec::new());
    let list = stream.source.playlist();
    let report = crate::playlist::Report { uri: "../audio/index.m3u8", last_msn: 9, last_part: Some(0) };
    let want = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000000,PART-HOLD-BACK=1.002000
#EXT-X-PART-INF:PART-TARGET=0.334000
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-MAP:URI=\"e-i0.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-20T20:00:01.000Z
#EXT-X-PART:DURATION=0.320000,URI=\"e-p0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.320000,URI=\"e-p1.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p2.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p3.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p4.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p5.m4s\"
#EXT-X-PART:DURATION=0.080000,URI=\"e-p6.m4s\"
#EXTINF:2.000000,
e-s7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-20T20:00:03.000Z
#EXT-X-PART:DURATION=0.320000,URI=\"e-p7.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.320000,URI=\"e-p8.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p9.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p10.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p11.m4s\"
#EXT-X-PART:DURATION=0.320000,URI=\"e-p12.m4s\"
#EXT-X-PART:DURATION=0.080000,URI=\"e-p13.m4s\"
#EXTINF:2.000000,
e-s8.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-20T20:00:05.000Z
#EXT-X-PART:DURATION=0.320000,URI=\"e-p14.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.320000,URI=\"e-p15.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"e-p16.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../audio/index.m3u8\",LAST-MSN=9,LAST-PART=0
";
    assert_eq!(list.render(&[report], false), want);
    assert_eq!(list.render(&[report], true), want);
}

#[test]
fn a_delta_update_leaves_out_what_is_old() {
    let mut stream = Stream::new(Targets::default(), 48_000);
    stream.feed(Pictures::steady((30, 1), 60).units(60 * 14 + 20), Vec::new());
    let list = stream.source.playlist();
    let delta = list.render(&[], true);
    assert!(delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n"), "{delta}");
    assert!(!delta.contains("EXT-X-MAP"));
    super::rig::check_delta(&list, &list.render(&[], false));
}

#[test]
fn bandwidth_is_measured_over_whole_segments() {
    let mut stream = Stream::new(roomy(), 48_000);
    stream.feed(Pictures::steady((30, 1), 60).units(301), Vec::new());
    let list = stream.source.playlist();
    let (peak, average) = list.bandwidth().unwrap();
    let sizes: Vec<f64> = list
        .segments()
        .iter()
        .map(|s| bytes(&list.object(s.name()).unwrap()).len() as f64 * 8.0 / s.duration().seconds())
        .collect();
    assert!(sizes.iter().all(|size| *size <= peak as f64));
    assert!(average <= peak && average > 0);
    assert!(!samples(&bytes(&list.object("e-s7.m4s").unwrap())).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the source does within reason, the rules hold in every rendition.
    #[test]
    fn any_source_is_cut_by_the_rules(
        rate in prop::sample::select(vec![(15i64, 1i64), (20, 1), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60, 1), (120, 1)]),
        gops in prop::collection::vec(4usize..400, 1..6),
        b_frames in 0usize..4,
        millis in any::<bool>(),
        jitter in prop::collection::vec(-6000i64..6000, 1..50),
        gaps in prop::collection::vec((0usize..600, 1usize..90), 0..4),
        audio in prop::sample::select(vec![48_000u32, 44_100, 22_050]),
    ) {
        let pictures = Pictures { rate, gops, b_frames, millis, jitter, gaps };
        let units = pictures.units(700);
        let length = units.last().unwrap().pts - units[0].pts;
        let mut stream = Stream::new(roomy(), audio);
        stream.feed(units, sound(audio, START, length));
        prop_assert_eq!(stream.source.dropped(), 0);
        let edges = stream.edges.clone();
        for (index, edge) in edges.iter().enumerate() {
            prop_assert_eq!(edge.msn, 7 + index as u64);
        }
        stream.end();
        let least = 85;
        check(&stream.source.playlist(), 90_000, least);
        check(&stream.encoded.playlist(), 90_000, least);
        check(&stream.sound.playlist(), audio, 85);
        for list in stream.snapshots.iter().step_by(17) {
            super::rig::check_delta(list, &list.render(&[], false));
        }
    }
}
