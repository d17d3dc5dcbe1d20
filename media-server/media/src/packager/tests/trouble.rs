use std::collections::VecDeque;

use proptest::prelude::*;

use super::rig::{Pictures, Stream, audio_format, check, packager, sound, unit, video_format};
use crate::packager::{Packager, PackagerConfig};
use crate::segmenter::{Edge, GopClock, Targets};
use crate::time::{Span, Timestamp};
use crate::unit::{AccessUnit, Format};

fn roomy() -> Targets {
    Targets { window: 1000, ..Targets::default() }
}

const START: Timestamp = Timestamp::from_flicks(crate::time::FLICKS_PER_SECOND);

#[test]
fn a_freeze_is_made_up_for_without_a_seam() {
    // 1 s without frames in the middle of a segment.
    let pictures = Pictures { gaps: vec![(75, 30)], ..Pictures::steady((30, 1), 60) };
    let units = pictures.units(400);
    let mut stream = Stream::new(roomy(), 48_000);
    stream.feed(units.clone(), Vec::new());
    stream.end();
    let list = stream.source.playlist();
    let found = check(&list, 90_000, 85);
    assert!(list.segments().iter().all(|segment| !segment.head.discontinuity));
    for (sample, unit) in found.iter().zip(&units) {
        assert_eq!(i64::try_from(sample.decode).unwrap() + sample.offset, unit.pts.ticks(90_000));
    }
    // The timeline is true again: the end is where the source's is.
    assert!(found.last().unwrap().offset.abs() < 90);
}

#[test]
fn a_long_silence_is_a_discontinuity_in_every_rendition() {
    let pictures = Pictures { gaps: vec![(100, 300)], ..Pictures::steady((30, 1), 60) };
    let units = pictures.units(400);
    let back = units[101].pts;
    let mut audio = sound(48_000, START, Span::from_millis(3300));
    audio.extend(sound(48_000, back, Span::from_millis(8000)));
    let mut stream = Stream::new(roomy(), 48_000);
    stream.feed(units, audio);
    stream.end();
    for (list, scale) in [
        (stream.source.playlist(), 90_000),
        (stream.encoded.playlist(), 90_000),
        (stream.sound.playlist(), 48_000),
    ] {
        check(&list, scale, 85);
        let marked: Vec<u64> =
            list.segments().iter().filter(|s| s.head.discontinuity).map(|s| s.msn()).collect();
        assert_eq!(marked, [9], "{}", list.render(&[], false));
        let after = list.segments().iter().find(|s| s.msn() == 9).unwrap();
        assert!((after.start() - back).abs() < Span::from_millis(35));
    }
}

#[test]
fn edges_missed_in_mid_stream_become_gaps() {
    let targets = roomy();
    let mut video = packager(targets, video_format());
    for (msn, times) in (0..8).zip(0..) {
        video.edge(Edge { msn, at: START + Span::from_millis(2000).times(times), independent: true });
    }
    // The worker dies in segment 1 and is back in segment 4 with an IDR.
    for (index, unit) in Pictures::steady((30, 1), 30).units(450).into_iter().enumerate() {
        if !(80..270).contains(&index) {
            video.push(unit);
        }
    }
    video.end();
    let list = video.playlist();
    let found = check(&list, 90_000, 85);
    let gaps: Vec<u64> = list.segments().iter().filter(|s| s.is_gap()).map(|s| s.msn()).collect();
    assert_eq!(gaps, [2, 3]);
    assert!(list.render(&[], false).contains("#EXT-X-GAP\n#EXTINF"));
    assert!(found.last().unwrap().offset.abs() < 2);
    assert!(list.segments().iter().all(|s| !s.head.discontinuity));
}

#[test]
fn a_new_format_gets_a_new_init_behind_a_discontinuity() {
    let targets = roomy();
    let mut clock = GopClock::new(targets, 0);
    let mut video = packager(targets, video_format());
    let mut other = video_format();
    if let Format::Video(video) = &mut other {
        video.width = 1280;
    }
    for (index, unit) in Pictures::steady((30, 1), 60).units(300).into_iter().enumerate() {
        if index == 120 {
            clock.restart();
            assert!(video.set_format(other.clone()));
            assert!(video.set_format(other.clone()), "the same again changes nothing");
        }
        if let Some(edge) = clock.observe(&unit) {
            video.edge(edge);
        }
        video.push(unit);
    }
    video.end();
    let list = video.playlist();
    check(&list, 90_000, 85);
    let text = list.render(&[], false);
    assert_eq!(text.matches("EXT-X-MAP").count(), 2);
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"e-i1.mp4\"\n").count(), 1);
    assert!(list.object("e-i0.mp4").is_some() && list.object("e-i1.mp4").is_some());
    assert_eq!(video.dropped(), 0);
}

#[test]
fn a_discontinuity_that_another_rendition_needs_costs_nothing_and_stands_where_it_was_told() {
    let targets = roomy();
    let mut clock = GopClock::new(targets, 0);
    // The second is late, as what an encoder makes is: it is told before it has reached the edge before.
    let (mut prompt, mut late) = (packager(targets, video_format()), packager(targets, video_format()));
    let units = Pictures::steady((30, 1), 60).units(300);
    for (index, unit) in units.iter().enumerate() {
        if let Some(edge) = clock.observe(unit) {
            prompt.edge(edge);
            late.edge(edge);
        }
        prompt.push(unit.clone());
        if let Some(unit) = index.checked_sub(5).and_then(|index| units.get(index)) {
            late.push(unit.clone());
        }
        if index == 122 {
            prompt.discontinuity_at(clock.next_msn());
            late.discontinuity_at(clock.next_msn());
        }
    }
    for mut packager in [prompt, late] {
        packager.end();
        let list = packager.playlist();
        check(&list, 90_000, 85);
        let breaks: Vec<u64> =
            list.segments().iter().filter(|s| s.head.discontinuity).map(|s| s.msn()).collect();
        assert_eq!((breaks, packager.dropped()), (vec![3], 0));
    }
}

#[test]
fn after_a_flush_the_stream_goes_on_at_the_next_edge() {
    let targets = roomy();
    let mut clock = GopClock::new(targets, 0);
    let mut video = packager(targets, video_format());
    let units = Pictures { gaps: vec![(100, 200)], ..Pictures::steady((30, 1), 30) }.units(300);
    for (index, unit) in units.into_iter().enumerate() {
        if index == 101 {
            video.discontinuity();
            assert_eq!(video.playlist().running_parts().len(), 0);
            clock.restart();
        }
        if let Some(edge) = clock.observe(&unit) {
            video.edge(edge);
        }
        video.push(unit);
    }
    assert!(video.end() && !video.end());
    let list = video.playlist();
    check(&list, 90_000, 85);
    assert_eq!(list.segments().iter().filter(|s| s.head.discontinuity).count(), 1);
    assert!(list.render(&[], false).ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn sound_alone_is_cut_at_its_nearest_frames() {
    for rate in [48_000, 44_100, 8_000] {
        let targets = roomy();
        let mut clock = GopClock::new(targets, 0);
        let mut audio = packager(targets, audio_format(rate));
        for unit in sound(rate, START, Span::from_millis(60_000)) {
            if let Some(edge) = clock.observe(&unit) {
                audio.edge(edge);
            }
            audio.push(unit);
        }
        audio.end();
        let list = audio.playlist();
        check(&list, rate, 85);
        assert_eq!(list.segments().len(), 30);
        for segment in list.segments() {
            let ideal = START + Span::from_millis(2000).times(i64::try_from(segment.msn()).unwrap());
            assert!((segment.start() - ideal).abs() <= Span::from_ticks(513, rate));
        }
    }
}

#[test]
fn sound_goes_on_while_pictures_freeze() {
    let targets = roomy();
    let mut clock = GopClock::new(targets, 0);
    let mut video = packager(targets, video_format());
    let mut audio = packager(targets, audio_format(48_000));
    // Pictures for 3 s, then none for 7 s, then on without an IDR at first.
    let mut pictures = Pictures { gaps: vec![(90, 210)], ..Pictures::steady((30, 1), 60) }.units(300);
    pictures.reverse();
    let mut held = VecDeque::new();
    for frame in sound(48_000, START, Span::from_millis(16_000)) {
        while pictures.last().is_some_and(|unit| unit.dts <= frame.dts) {
            let unit = pictures.pop().unwrap();
            if let Some(edge) = clock.observe(&unit) {
                video.edge(edge);
                audio.edge(edge);
            }
            video.push(unit);
        }
        while let Some(edge) = clock.idle(frame.pts) {
            video.edge(edge);
            audio.edge(edge);
        }
        held.push_back(frame);
        while held.front().is_some_and(|frame| frame.pts + frame.duration <= clock.known_until()) {
            audio.push(held.pop_front().unwrap());
        }
    }
    video.end();
    audio.end();
    let list = audio.playlist();
    let found = check(&list, 48_000, 85);
    assert!(found.iter().all(|sample| sample.duration == 1024), "no sound is lost or bent");
    assert!(list.segments().iter().all(|segment| !segment.head.discontinuity));
    let list = video.playlist();
    check(&list, 90_000, 85);
    assert!(list.segments().iter().any(|segment| segment.is_gap()));
}

#[test]
fn units_without_a_place_are_dropped_and_counted() {
    let mut packager = Packager::new(PackagerConfig {
        targets: roomy(),
        epoch: "a/b\"c".into(),
        wall_zero_ms: 0,
        discontinuity_sequence: 0,
    });
    let at = |ms| Timestamp::ZERO + Span::from_millis(ms);
    let make = |ms, key| unit(at(ms), at(ms), Span::from_millis(33), key, 0);
    assert!(!packager.push(make(0, true)), "no format");
    packager.set_format(video_format());
    assert!(!packager.push(make(33, true)), "no edge");
    packager.edge(Edge { msn: 5, at: at(66), independent: true });
    packager.push(make(66, false));
    packager.push(make(99, true));
    packager.push(make(90, false));
    assert_eq!(packager.dropped(), 4);
    packager.end();
    let list = packager.playlist();
    assert_eq!((list.first_msn(), list.last()), (5, (5, Some(0))));
    assert_eq!(list.segments()[0].name(), "abc-s5.m4s");
    let wide = Format::Video(crate::unit::VideoFormat {
        codec: String::new(),
        width: 70_000,
        height: 1,
        frame_rate: None,
        config: bytes::Bytes::new(),
    });
    assert!(!packager.set_format(wide));
}

#[test]
fn a_long_absence_leaves_the_list_consecutive() {
    let mut video = packager(roomy(), video_format());
    let times = |msn: u64| START + Span::from_millis(2000).times(i64::try_from(msn).unwrap());
    let frames = |from: u64| {
        (0..90).map(move |n| {
            let at = times(from) + Span::from_ticks(n, 30);
            unit(at, at, Span::from_ticks(1, 30), n % 60 == 0, 0)
        })
    };
    for from in [0, 5000] {
        video.edge(Edge { msn: from, at: times(from), independent: true });
        video.edge(Edge { msn: from + 1, at: times(from + 1), independent: true });
        for unit in frames(from) {
            video.push(unit);
        }
    }
    video.end();
    let list = video.playlist();
    check(&list, 90_000, 85);
    assert_eq!(list.next_msn(), 5002);
    assert!(list.object("e-s0.m4s").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// However wild the input, what is published obeys the rules.
    #[test]
    fn wild_input_is_published_by_the_rules(
        wild in prop::collection::vec((1i64..900, 0i64..700, 1i64..400, any::<u8>()), 1..400),
        video in any::<bool>(),
    ) {
        let (format, scale) = if video { (video_format(), 90_000) } else { (audio_format(48_000), 48_000) };
        let mut packager = packager(roomy(), format);
        let mut clock = GopClock::new(roomy(), 0);
        let mut now = 0;
        for (index, (step, ahead, duration, dice)) in wild.into_iter().enumerate() {
            now += if dice % 16 == 0 { step * 4 } else { step / 20 + 1 };
            match dice {
                0..3 => { clock.restart(); packager.discontinuity(); }
                3..5 => { packager.flush(); }
                _ => {}
            }
            let dts = Timestamp::from_ticks(now, 1000);
            let pts = if video { dts + Span::from_millis(ahead) } else { dts };
            let key = !video || dice % 7 == 0;
            let unit = unit(dts, pts, Span::from_millis(duration), key, index as u64);
            if let Some(edge) = clock.observe(&unit).filter(|_| dice % 5 != 1) {
                packager.edge(edge);
            }
            packager.push(unit);
        }
        packager.end();
        // Frames that do not last what they say cannot fill parts evenly.
        check(&packager.playlist(), scale, 0);
    }
}

#[test]
fn extreme_times_do_not_panic() {
    for format in [video_format(), audio_format(48_000)] {
        extremes(packager(roomy(), format));
    }
}

fn extremes(mut packager: Packager) {
    let mut clock = GopClock::new(roomy(), u64::MAX - 1);
    for time in [i64::MIN, -1, 0, 1, i64::MAX / 2, i64::MAX - 1, i64::MAX] {
        for (pts, duration) in [(time, 0), (i64::MAX, i64::MAX), (i64::MIN, -5)] {
            let unit = AccessUnit {
                dts: Timestamp::from_flicks(time),
                pts: Timestamp::from_flicks(pts),
                duration: Span::from_flicks(duration),
                keyframe: time % 2 == 0,
                payload: bytes::Bytes::new(),
            };
            if let Some(edge) = clock.observe(&unit) {
                packager.edge(edge);
            }
            clock.idle(unit.pts);
            packager.push(unit);
        }
    }
    packager.end();
    packager.playlist().render(&[], true);
}
