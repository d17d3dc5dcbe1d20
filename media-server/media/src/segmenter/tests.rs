use super::{Edge, GopClock, Targets};
use crate::time::{Span, Timestamp};
use crate::unit::AccessUnit;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ticks(ms, 1000)
}

fn frame(ms: i64, keyframe: bool) -> AccessUnit {
    AccessUnit {
        dts: at(ms),
        pts: at(ms),
        duration: Span::from_millis(40),
        keyframe,
        payload: bytes::Bytes::new(),
    }
}

/// Frames every 40 ms from 0 to `until`, IDRs at the given times; answers the edges' times and whether on an IDR.
fn edges(clock: &mut GopClock, keys: &[i64], until: i64) -> Vec<(i64, bool)> {
    (0..until / 40)
        .filter_map(|n| clock.observe(&frame(n * 40, keys.contains(&(n * 40)))))
        .map(|edge| (edge.at.ticks(1000), edge.independent))
        .collect()
}

fn every(ms: i64, until: i64) -> Vec<i64> {
    (0..until).step_by(usize::try_from(ms).unwrap()).collect()
}

fn clock() -> GopClock {
    GopClock::new(Targets::default(), 0)
}

#[test]
fn segments_are_the_gops_nearest_to_the_target() {
    for (gop, segment) in [(2000, 2000), (1000, 2000), (480, 1920), (1240, 1240), (2400, 2400), (1600, 1600)]
    {
        let mut clock = clock();
        let found = edges(&mut clock, &every(gop, 20_000), 20_000);
        for (n, (time, independent)) in found.iter().enumerate() {
            assert_eq!((*time, *independent), (segment * i64::try_from(n).unwrap(), true), "{gop}");
        }
        assert!(clock.gop().aligned);
        assert_eq!(clock.gop().longest, Span::from_millis(gop));
    }
}

#[test]
fn a_scene_cut_does_not_make_a_tiny_segment() {
    let found = edges(&mut clock(), &[0, 2000, 4000, 4200, 6200, 8200], 10_000);
    assert_eq!(found, [(0, true), (2000, true), (4000, true), (6200, true), (8200, true)]);
}

#[test]
fn a_keyframe_that_was_lost_is_forgotten_with_the_segments_that_it_made() {
    let mut clock = clock();
    let lost: Vec<_> = every(2_000, 60_000).into_iter().filter(|at| *at != 4_000).collect();
    edges(&mut clock, &lost, 20_000);
    assert!(!clock.gop().aligned, "the segment at 4.4 s is listed");
    let mut clock = self::clock();
    edges(&mut clock, &lost, 60_000);
    assert!(clock.gop().aligned, "it is listed no more");
}

#[test]
fn long_gops_are_cut_at_the_target_once_they_are_known() {
    let mut clock = clock();
    let found = edges(&mut clock, &every(10_000, 30_000), 30_000);
    assert_eq!(found[0], (0, true));
    assert_eq!(found[1], (2400, false), "the last legal moment: an IDR might have come");
    assert_eq!(found[2], (4400, false));
    assert!(found.contains(&(10_000, true)) && found.contains(&(20_000, true)));
    for pair in found.windows(2) {
        let length = pair[1].0 - pair[0].0;
        assert!((500..2500).contains(&length), "{pair:?}");
    }
    assert!(!clock.gop().aligned);
    assert_eq!(clock.gop().longest, Span::from_millis(10_000));
}

#[test]
fn without_a_keyframe_nothing_begins() {
    let mut clock = clock();
    assert_eq!(edges(&mut clock, &[], 20_000), []);
    assert!(clock.known_until() < at(0));
    assert_eq!(clock.next_msn(), 0);
    let edge = clock.observe(&frame(20_000, true));
    assert_eq!(edge, Some(Edge { msn: 0, at: at(20_000), independent: true }));
    assert_eq!(clock.known_until(), at(20_000));
}

#[test]
fn a_restart_cuts_at_the_next_keyframe() {
    let mut clock = clock();
    edges(&mut clock, &every(2000, 4200), 4200);
    clock.restart();
    assert_eq!(clock.observe(&frame(4240, false)), None);
    let edge = clock.observe(&frame(4280, true)).unwrap();
    assert_eq!((edge.msn, edge.at), (3, at(4280)));
}

#[test]
fn a_gap_ends_the_segment_and_says_nothing_of_the_gops() {
    let mut clock = clock();
    edges(&mut clock, &every(2000, 5000), 5000);
    let edge = clock.observe(&frame(15_000, false)).unwrap();
    assert_eq!((edge.at, edge.independent), (at(15_000), false));
    clock.observe(&frame(16_000, true));
    assert_eq!(clock.gop().longest, Span::from_millis(2000));
}

#[test]
fn edges_in_a_silence_come_from_the_other_track() {
    let mut clock = clock();
    edges(&mut clock, &every(2000, 5000), 5000);
    assert_eq!(clock.idle(at(7000)), None);
    let first = clock.idle(at(7600)).unwrap();
    assert_eq!((first.at, first.independent), (at(6000), false));
    assert_eq!(clock.idle(at(7600)), None);
    assert_eq!(clock.known_until(), at(6000));
    let second = clock.idle(at(8600)).unwrap();
    assert_eq!(second.at, at(8000));
    // Pictures that come after all do not undo what was decided.
    assert_eq!(clock.observe(&frame(5040, true)), None);
    assert_eq!(clock.known_until(), at(8000));
}

#[test]
fn part_targets_fit_what_fills_them() {
    let targets = Targets::default();
    assert_eq!(targets.part_target(), Span::from_millis(334));
    assert_eq!(targets.part_hold_back(), Span::from_millis(1002));
    assert_eq!((targets.target_duration(), targets.longest_segment()), (2, Span::from_millis(2499)));
    let sound = |rate| targets.part_target_for(Span::from_ticks(1024, rate), true).millis();
    assert_eq!([sound(48_000), sound(44_100), sound(8_000), sound(11_025)], [299, 302, 256, 279]);
    // Opus.
    assert_eq!(targets.part_target_for(Span::from_millis(20), true).millis(), 300);
    assert_eq!(targets.part_target_for(Span::from_millis(1000), false).millis(), 1001);
    let slow = targets.fitting(Span::from_millis(1000));
    assert_eq!((slow.part_target().millis(), slow.target_duration()), (1001, 4));
    assert_eq!(targets.fitting(Span::from_millis(40)), targets);
    let odd = Targets { part: Span::from_flicks(i64::MIN), segment: Span::MAX, window: 0 };
    assert!(odd.part_target() > Span::ZERO && odd.target_duration() == 60);
}

#[test]
fn held_pictures_make_segments_of_the_target_length_and_leave_the_source_its_own() {
    let mut clock = GopClock::new(Targets::default(), 0);
    let unit = |ms: i64, length: i64, keyframe| AccessUnit {
        dts: Timestamp::ZERO + Span::from_millis(ms),
        pts: Timestamp::ZERO + Span::from_millis(ms),
        duration: Span::from_millis(length),
        keyframe,
        payload: bytes::Bytes::new(),
    };
    let source = |clock: &mut GopClock, from: i64| -> Vec<i64> {
        let frames = (0..150).map(|n| from + n * 40);
        frames
            .filter(|ms| clock.observe(&unit(*ms, 40, (ms - from) % 2000 == 0)).is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(source(&mut clock, 0), [0, 2000, 4000]);
    let held: Vec<_> = (0..30)
        .map(|n| 6000 + n * 333)
        .filter(|ms| clock.observe_held(&unit(*ms, 333, true)).is_some())
        .collect();
    assert_eq!(held, [6000, 6000 + 6 * 333, 6000 + 12 * 333, 6000 + 18 * 333, 6000 + 24 * 333]);
    let back = 6000 + 30 * 333;
    assert_eq!(source(&mut clock, back), [back, back + 2000, back + 4000]);
    assert!(clock.gop().aligned);
}
