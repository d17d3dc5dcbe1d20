//! Audio times, and what long sessions do to both tracks.

use proptest::prelude::*;

use super::*;

#[test]
fn audio_is_spaced_by_its_samples() {
    let mut timeline = rtmp();
    let stamps: Vec<Stamp> = (0..5000)
        .map(|n| {
            let time = Timestamp::from_ticks(n * 1024, 44_100);
            timeline.audio(cut(time + Span::from_flicks(399_999)), 1024, 44_100, time).0
        })
        .collect();
    assert!(steps(&stamps).iter().all(|step| *step == Span::from_ticks(1024, 44_100)));
    assert_eq!(timeline.repairs().total(), 0);
}

#[test]
fn lost_audio_moves_the_grid_once_and_drifting_audio_is_followed() {
    let mut timeline = rtmp();
    let mut worst = Span::ZERO;
    for n in (0..4000_i64).filter(|n| !(1000..1020).contains(n)) {
        let time = Timestamp::from_ticks(n * 1024, 48_000);
        let (stamp, _) = timeline.audio(cut(time), AAC.0, AAC.1, time);
        if n > 1022 {
            worst = worst.max((stamp.dts - time).abs());
        }
    }
    assert!(worst <= Span::from_millis(2), "{worst:?}");
    assert_eq!(timeline.repairs().get(Repair::AudioMoved), 1);

    // A sound card 150 ppm off its timestamps, for an hour.
    let mut timeline = rtmp();
    let mut worst = Span::ZERO;
    for n in 0..168_750_i64 {
        let time = Timestamp::from_flicks(n * 1024 * 14_700 / 100_000 * 100_015);
        worst = worst.max((timeline.audio(cut(time), AAC.0, AAC.1, time).0.dts - time).abs());
    }
    assert!(worst <= Span::from_millis(6), "{worst:?}");
    assert_eq!(timeline.repairs().get(Repair::AudioMoved), 0);
    assert!(timeline.repairs().get(Repair::AudioSlewed) > 0);
}

#[test]
fn frames_that_are_known_to_be_lost_leave_a_hole_of_their_length() {
    let mut timeline = rtmp();
    let mut worst = Span::ZERO;
    for n in 0..4000_i64 {
        if n % 100 < n / 1000 {
            timeline.lost_sound(0);
            continue;
        }
        let time = Timestamp::from_ticks(n * 1024, 48_000);
        let (stamp, _) = timeline.audio(cut(time), AAC.0, AAC.1, time);
        worst = worst.max((stamp.dts - time).abs());
    }
    assert!(worst <= Span::from_millis(2), "{worst:?}");
    assert_eq!(timeline.repairs().total(), 0);
}

#[test]
fn further_sounds_stay_with_the_first_and_with_the_picture_over_jumps() {
    for pictures in [true, false] {
        let mut timeline = rtmp();
        let mut worst = Span::ZERO;
        for n in 0..4000_i64 {
            let time = Timestamp::from_ticks(n * 1024, 48_000);
            // The source's clock steps forward by an hour, and back.
            let clock = if (1500..3000).contains(&n) { time + Span::from_millis(3_600_000) } else { time };
            if pictures && n % 2 == 0 {
                timeline.video(cut(clock), 0, time);
            }
            let (main, _) = timeline.audio(cut(clock), AAC.0, AAC.1, time);
            // Each is sent as much later.
            for number in [1, 2] {
                let (stamp, _) = timeline.sound(number, cut(clock), AAC.0, AAC.1, time);
                worst = worst.max((stamp.dts - main.dts).abs());
            }
        }
        assert!(worst <= Span::from_millis(25), "{worst:?}, pictures: {pictures}");
    }
}

#[test]
fn a_number_that_is_too_large_is_the_last_one() {
    let mut timeline = rtmp();
    for number in [3, 1000, usize::MAX] {
        timeline.sound(number, 0, AAC.0, AAC.1, Timestamp::ZERO);
    }
}

#[test]
fn a_change_of_the_sample_rate_goes_on_without_a_hole() {
    let mut timeline = rtmp();
    let mut end = Timestamp::ZERO;
    for n in 0..200_u64 {
        let rate = if n < 100 { 44_100 } else { 48_000 };
        let (stamp, _) = timeline.audio(end.ticks(1000) as u64, 1024, rate, end);
        assert_eq!(stamp.dts, end);
        end = stamp.dts + stamp.duration;
    }
}

#[test]
fn twenty_four_hours_of_jitter_leave_no_drift() {
    // Network jitter on arrival, rounding on timestamps. Frames of 128 ms keep the test short, the hours whole.
    let mut timeline = rtmp();
    let mut noise = Noise(99);
    let (mut off_v, mut off_a) = (Span::ZERO, Span::ZERO);
    for n in 0..675_000_i64 {
        let time = Timestamp::from_ticks(n * 1024, 8_000);
        let arrival = time + Span::from_millis(noise.around(40) + 40);
        off_a = timeline.audio(cut(time), 1024, 8_000, arrival).0.dts - time;
        if n % 5 == 0 {
            // 640 ms apart: no common frame rate.
            off_v = timeline.video(cut(time), 0, arrival).0.dts - time;
        }
    }
    assert!((off_v - off_a).abs() <= Span::from_millis(2), "{off_v:?} {off_a:?}");
    assert!(off_a.abs() <= Span::from_millis(2));
    assert!(timeline.slope_ppm().unwrap().abs() < 1.0, "{:?}", timeline.slope_ppm());
    assert_eq!(timeline.repairs().total(), 0);
}

#[test]
fn a_fast_source_clock_shows_as_a_slope() {
    for ppm in [-2_000_i64, -50, 100] {
        let mut timeline = rtmp();
        let mut noise = Noise(5);
        for n in 0..60_000_i64 {
            let time = frame(n, (30, 1));
            // A jump and a wrap in the middle change nothing about the slope.
            let raw = cut(time) + if n < 30_000 { 4_294_000_000 } else { 77 };
            let passed = Timestamp::from_flicks(time.flicks() / 1_000_000 * (1_000_000 - ppm));
            timeline.video(raw, 0, passed + Span::from_millis(20 + noise.around(20)));
        }
        let slope = timeline.slope_ppm().unwrap();
        assert!((slope - ppm as f64).abs() < 12.0, "{slope} {ppm}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn ten_minutes_of_jittery_timestamps_stay_within_forty_milliseconds(seed in 1_u64.., jitter in 0_i64..=15) {
        let mut timeline = rtmp();
        let mut noise = Noise(seed);
        let (mut last_v, mut off_v) = (Timestamp::from_flicks(i64::MIN), Span::ZERO);
        for n in 0..9_375_i64 {
            // 64 ms of audio and two frames of video.
            let time = Timestamp::from_ticks(n * 3072, 48_000);
            let raw = |time: Timestamp, noise: &mut Noise| (cut(time) as i64 + 1_000 + noise.around(jitter)) as u64;
            let audio = timeline.audio(raw(time, &mut noise), 3072, 48_000, time).0;
            for half in 0..2 {
                let video_time = time + Span::from_millis(32 * half);
                let video = timeline.video(raw(video_time, &mut noise), 0, video_time).0;
                prop_assert!(video.dts > last_v);
                last_v = video.dts;
                off_v = video.dts - video_time;
            }
            let apart = (off_v - (audio.dts - time)).abs();
            prop_assert!(apart <= Span::from_millis(40), "{apart:?} at {n}");
        }
    }
}
