//! Wraps, jumps, pauses and standstills of the source's clock, and where sessions begin.

use super::*;

#[test]
fn wraps_of_every_clock_are_unrolled() {
    for (clock, start) in [
        (Clock::RTMP, (1_u64 << 32) - 5_000),
        (Clock::MPEG_TS, (1_u64 << 33) - 450_000),
        (Clock { rate: 90_000, bits: 32 }, (1_u64 << 32) - 450_000),
        (Clock { rate: 48_000, bits: 64 }, u64::MAX - 240_000),
    ] {
        let mut timeline = timeline(clock);
        let (video, audio) = publish(&mut timeline, clock, start, 20);
        assert!(
            video <= Span::from_millis(2) && audio <= Span::from_millis(2),
            "{clock:?} {video:?} {audio:?}"
        );
        assert_eq!(timeline.repairs().get(Repair::Wrap), 2, "once a track");
        assert_eq!(timeline.repairs().total(), 0);
    }
}

#[test]
fn a_33_bit_clock_wraps_many_times_without_drift() {
    // 10 days at one unit a second: nine wraps.
    let mut timeline = timeline(Clock::MPEG_TS);
    for n in 0..864_000_u64 {
        let time = ms(n as i64 * 1000);
        let (stamp, _) = timeline.video(n * 90_000, 0, time);
        assert_eq!(stamp.dts, time);
    }
    assert_eq!(timeline.repairs().get(Repair::Wrap), 9);
}

#[test]
fn audio_that_begins_two_seconds_before_video_keeps_its_place() {
    let mut timeline = rtmp();
    let mut last = Timestamp::ZERO;
    for n in 0..94_i64 {
        let time = Timestamp::from_ticks(n * 1024, 48_000);
        last = timeline.audio(cut(time) + 50_000, AAC.0, AAC.1, time).0.dts;
    }
    let (stamp, repairs) = timeline.video(52_000, 0, ms(2_000));
    assert_eq!((stamp.dts, repairs.is_empty()), (ms(2_000), true));
    assert!(last < ms(2_001));
    // And the other way around: sound that truly belongs before the first picture.
    let mut timeline = Timeline::new(TimelineConfig { start: ms(60_000), clock: Clock::RTMP });
    assert_eq!(timeline.video(9_000, 0, ms(0)).0.dts, ms(60_000));
    assert_eq!(timeline.audio(8_980, AAC.0, AAC.1, ms(1)).0.dts, ms(59_980));
}

#[test]
fn a_session_begins_where_the_last_one_ended() {
    let mut first = rtmp();
    publish(&mut first, Clock::RTMP, 0, 3);
    let start = first.end().unwrap() + Span::from_millis(500);
    let mut second = Timeline::new(TimelineConfig { start, clock: Clock::RTMP });
    assert_eq!(second.video(0, 0, ms(9_000)).0.dts, start);
}

#[test]
fn jumps_of_the_source_leave_no_trace_and_no_offset_between_sound_and_picture() {
    for jump in [3_600_000, -4_000, 2_500, 4_000_000_000, -3_000_000_000, 86_400_000, i64::from(u32::MAX) - 9]
    {
        let mut timeline = rtmp();
        let (apart, longest) =
            shifted(&mut timeline, 12, 0, |at| if at < 5_000 { 10_000 } else { 10_000 + jump });
        assert!(apart <= Span::from_millis(24), "jump {jump}: {apart:?}");
        assert!(longest <= Span::from_millis(70), "jump {jump}: {longest:?}");
    }
}

#[test]
fn a_restarted_source_stays_in_sync_also_where_sound_was_sent_ahead() {
    for ahead in [300, 900, 1_900] {
        let mut timeline = rtmp();
        let (mut video, mut audio) = (ms(0), ms(0));
        for run in 0..2_u64 {
            for n in 0..100_i64 {
                // Two audio units of 20 ms to each frame of 40 ms; sound runs ahead of picture, at first.
                let at = n * 40;
                let early = if run == 0 { ahead } else { 0 };
                let arrival = ms(at + 4_000 * run as i64);
                let raw = 7_000_000 * (1 - run) + at as u64;
                let stamp = timeline.video(raw, 0, arrival).0;
                video = stamp.dts - Span::from_millis(at);
                for half in [0, 20] {
                    let raw = raw + (early + half) as u64;
                    let stamp = timeline.audio(raw, 960, 48_000, arrival).0;
                    audio = stamp.dts - Span::from_millis(at + early + half);
                }
            }
            assert!((video - audio).abs() <= Span::from_millis(2), "{ahead} {run}: {:?}", video - audio);
        }
    }
}

#[test]
fn a_small_step_back_is_squeezed_in() {
    let mut timeline = rtmp();
    let (apart, longest) = shifted(&mut timeline, 12, 7, |at| if at < 5_000 { 1_000 } else { 850 });
    assert!(apart <= Span::from_millis(25), "{apart:?}");
    assert!(longest <= Span::from_millis(70), "{longest:?}");
    assert!(timeline.repairs().get(Repair::BackStep) > 0);
    assert_eq!(timeline.repairs().get(Repair::Jump), 0);
}

#[test]
fn a_real_silence_stays_a_gap_and_an_endless_one_is_shortened() {
    for (silence, kept) in [(5_000, 5_000), (3_600_000, 10_000)] {
        let mut timeline = rtmp();
        publish(&mut timeline, Clock::RTMP, 0, 3);
        let before = timeline.end().unwrap();
        let at = 3_000 + silence;
        let (video, _) = timeline.video(at as u64, 0, ms(at));
        let gap = video.dts - before;
        assert!((gap - Span::from_millis(kept)).abs() < Span::from_millis(60), "{silence}: {gap:?}");
        let (audio, _) = timeline.audio(at as u64 + 5, AAC.0, AAC.1, ms(at + 5));
        assert!((audio.dts - video.dts).abs() <= Span::from_millis(6), "{:?}", audio.dts - video.dts);
    }
}

#[test]
fn video_that_pauses_while_sound_goes_on_comes_back_in_place() {
    let mut timeline = rtmp();
    publish(&mut timeline, Clock::RTMP, 0, 2);
    for n in 94..400_i64 {
        let time = Timestamp::from_ticks(n * 1024, 48_000);
        timeline.audio(cut(time), AAC.0, AAC.1, time);
    }
    let (stamp, _) = timeline.video(8_533, 0, ms(8_533));
    assert!((stamp.dts - ms(8_533)).abs() <= Span::from_millis(2));
    assert_eq!(timeline.repairs().get(Repair::Jump), 0);
}

#[test]
fn a_single_wrong_timestamp_costs_one_frame() {
    let mut timeline = rtmp();
    for n in 0..300_i64 {
        let raw = if n == 100 { 3_999_999_999 } else { cut(frame(n, (30, 1))) };
        let (stamp, _) = timeline.video(raw, 0, frame(n, (30, 1)));
        assert!((stamp.dts - frame(n, (30, 1))).abs() <= Span::from_millis(1), "frame {n}: {stamp:?}");
    }
    assert_eq!(timeline.repairs().get(Repair::Jump), 2);
}

#[test]
fn a_frozen_clock_runs_on_by_durations_and_finds_back() {
    for (thaws_at_truth, frozen_ms) in [(true, 1_500), (true, 8_000), (false, 8_000)] {
        let mut timeline = rtmp();
        let shift = |at: i64| match at {
            ..3_000 => 1_000,
            at if at < 3_000 + frozen_ms => 1_000 - (at - 3_000),
            _ if thaws_at_truth => 1_000,
            _ => 1_000 - frozen_ms,
        };
        let (apart, longest) = shifted(&mut timeline, 20, 13, shift);
        assert!(longest <= Span::from_millis(300), "{frozen_ms} {thaws_at_truth}: {longest:?}");
        assert!(apart <= Span::from_millis(40), "{frozen_ms} {thaws_at_truth}: {apart:?}");
        assert!(timeline.repairs().get(Repair::Frozen) > 0);
    }
}

#[test]
fn tracks_with_clocks_of_their_own_stay_together() {
    let mut timeline = rtmp();
    for n in 0..300_i64 {
        let video = timeline.video(cut(frame(n, (25, 1))), 0, frame(n, (25, 1))).0;
        let audio = timeline.audio(1_000_000 + n as u64 * 40, 1920, 48_000, frame(n, (25, 1))).0;
        assert!((video.dts - audio.dts).abs() <= Span::from_millis(41));
    }
    assert_eq!(timeline.repairs().get(Repair::Jump), 1);
}
