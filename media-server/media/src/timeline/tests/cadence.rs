//! Video times: constant rates on their grid, variable rates as they come.

use super::*;

#[test]
fn millisecond_video_comes_out_on_the_exact_grid_from_the_second_frame() {
    for (rate, ticks) in [((30, 1), 3000), ((60, 1), 1500), ((25, 1), 3600), ((50, 1), 1800), ((24, 1), 3750)]
    {
        for hint in [None, Some((rate.0 as u32, rate.1 as u32))] {
            let mut timeline = rtmp();
            timeline.set_frame_rate_hint(hint);
            let offset = ms(777) + Span::from_flicks(123_457);
            let stamps: Vec<Stamp> = (0..2000)
                .map(|n| {
                    let time = frame(n, rate) + offset.since_zero();
                    timeline.video(cut(time), 0, time).0
                })
                .collect();
            assert_eq!(stamps[0].dts, Timestamp::ZERO);
            for (n, step) in steps(&stamps).into_iter().enumerate() {
                if rate.0 != 48 {
                    assert_eq!(
                        step,
                        Span::from_ticks(ticks, 90_000),
                        "rate {rate:?} hint {hint:?} frame {n}"
                    );
                }
            }
            assert!(stamps[1..].iter().all(|stamp| stamp.duration == Span::from_ticks(ticks, 90_000)));
            assert_eq!(timeline.repairs().total(), 0);
            assert_eq!(timeline.frame_rate(), Some((rate.0 as u32, 1)));
        }
    }
}

#[test]
fn ntsc_rates_are_recognized_without_a_visible_step() {
    for rate in [(30_000, 1001), (60_000, 1001), (24_000, 1001)] {
        let mut timeline = rtmp();
        let stamps: Vec<Stamp> =
            (0..3000).map(|n| timeline.video(cut(frame(n, rate)), 0, frame(n, rate)).0).collect();
        let interval = frame(1, rate).since_zero();
        for (n, stamp) in stamps.iter().enumerate() {
            assert!(
                (stamp.dts - frame(n as i64, rate)).abs() <= Span::from_millis(2),
                "{rate:?} {n} {stamp:?}"
            );
        }
        for step in steps(&stamps) {
            assert!((step - interval).abs() <= Span::from_millis(2), "{step:?}");
        }
        assert!(steps(&stamps[1000..]).iter().filter(|step| **step == interval).count() > 1990, "{rate:?}");
        assert_eq!(timeline.frame_rate(), Some((rate.0 as u32, 1001)));
    }
}

#[test]
fn a_right_hint_puts_ntsc_rates_on_the_grid_at_once() {
    for rate in [(30_000, 1001), (60_000, 1001), (24_000, 1001)] {
        let mut timeline = rtmp();
        timeline.set_frame_rate_hint(Some((rate.0 as u32, 1001)));
        for n in 0..3000 {
            let (stamp, repairs) = timeline.video(cut(frame(n, rate)), 0, frame(n, rate));
            assert_eq!((stamp.dts, repairs.is_empty()), (frame(n, rate), true));
            assert_eq!(stamp.duration, frame(1, rate).since_zero());
        }
    }
}

#[test]
fn a_wrong_hint_is_dropped() {
    for (hint, rate) in [((60, 1), (30, 1)), ((30, 1), (60, 1)), ((25, 1), (30, 1)), ((1000, 1), (24, 1))] {
        let mut timeline = rtmp();
        timeline.set_frame_rate_hint(Some(hint));
        let stamps: Vec<Stamp> =
            (0..300).map(|n| timeline.video(cut(frame(n, rate)), 0, frame(n, rate)).0).collect();
        let interval = frame(1, rate).since_zero();
        assert_eq!(timeline.frame_rate(), Some((rate.0 as u32, 1)), "hint {hint:?}");
        assert!(
            steps(&stamps).iter().all(|step| (*step - interval).abs() <= Span::from_millis(2)),
            "{hint:?}"
        );
        assert!(stamps[64..].iter().all(|stamp| stamp.duration == interval));
    }
}

#[test]
fn variable_frame_rate_is_followed_as_it_comes() {
    let mut noise = Noise(7);
    let mut timeline = rtmp();
    let (mut raw, mut sum) = (0_i64, Vec::new());
    for _ in 0..2000 {
        raw += 30 + noise.around(12);
        let (stamp, _) = timeline.video(raw as u64, 0, ms(raw));
        sum.push((raw, stamp));
    }
    let first = sum[0].0;
    for (raw, stamp) in &sum[100..] {
        assert!(
            (stamp.dts - ms(raw - first)).abs() <= Span::from_flicks(FLICKS_PER_SECOND / 1000 * 3 / 2 + 1)
        );
    }
    assert!(sum.windows(2).all(|pair| pair[1].1.dts > pair[0].1.dts));
}

#[test]
fn frames_missing_at_the_source_leave_a_hole_on_the_grid() {
    let mut timeline = rtmp();
    let interval = Span::from_ticks(3000, 90_000);
    for n in (0..300).filter(|n| n % 7 != 3) {
        let (stamp, _) = timeline.video(cut(frame(n, (30, 1))), 0, frame(n, (30, 1)));
        assert_eq!(stamp.dts, Timestamp::ZERO + interval.times(n));
        assert!(n == 0 || stamp.duration == interval);
    }
    assert_eq!(timeline.repairs().total(), 0);
}

#[test]
fn a_slow_slide_of_the_frame_clock_is_followed_in_small_steps() {
    // 200 ppm: a camera's own crystal under a millisecond clock.
    let mut timeline = rtmp();
    let mut last = Timestamp::ZERO;
    for n in 0..36_000 {
        let time = Timestamp::from_flicks(n * (FLICKS_PER_SECOND / 30) / 10_000 * 10_002);
        let (stamp, _) = timeline.video(cut(time), 0, time);
        assert!((stamp.dts - time).abs() <= Span::from_millis(3), "frame {n}");
        assert!(n == 0 || ((stamp.dts - last) - Span::from_ticks(1, 30)).abs() <= Span::from_millis(2));
        last = stamp.dts;
    }
}

#[test]
fn b_frames_keep_their_order_on_the_grid() {
    let mut timeline = rtmp();
    let interval = Span::from_ticks(3000, 90_000);
    for n in 0..300_i64 {
        // I/P three frames ahead, B one frame ahead or none: presentation in whole frames.
        let ahead = [3, 1, 0][(n % 3) as usize];
        let dts = frame(n, (30, 1));
        let pts = frame(n + ahead, (30, 1));
        let (stamp, repairs) = timeline.video(cut(dts), cut(pts) as i64 - cut(dts) as i64, dts);
        if n > 0 {
            assert_eq!(stamp.pts - stamp.dts, interval.times(ahead));
        }
        assert!(repairs.is_empty());
    }
}

#[test]
fn presentation_before_decoding_and_absurd_offsets_are_clamped_and_counted() {
    let mut timeline = rtmp();
    for (n, composition) in [(0, 0), (1, -33), (2, i64::MIN), (3, 8_388_607), (4, i64::MAX)] {
        let (stamp, repairs) = timeline.video(n * 33, composition, ms(n as i64 * 33));
        assert_eq!(stamp.pts, stamp.dts);
        assert_eq!(repairs.contains(Repair::Composition), n > 0);
    }
    assert_eq!(timeline.repairs().get(Repair::Composition), 4);
}
