//! What users of other servers complain about, each as a test of what happens here.

use media::timeline::{Clock, Repair, Timeline, TimelineConfig};
use media::{Kind, Span, Timestamp};

use super::source::{HOUR, Source, Unit, ms, noise};
use super::stream::Stream;
use super::watch::{Report, TOGETHER, alone, run};

const MINUTE: i64 = 60_000;

/// Through the whole chain; every EXTINF and sequence number is checked on the way.
fn packaged(source: &Source, length: i64) -> (Report, Stream) {
    let mut stream = Stream::new();
    let report = run(source, length, |_| true, |sent, stamp| stream.unit(sent.kind, stamp, sent.keyframe));
    stream.end();
    (report, stream)
}

#[test]
fn sound_whose_clock_drifts_by_two_percent_stays_with_its_picture() {
    // "SRT audio drift via OBS; the restream runs at 98 % speed."
    let source = Source {
        clock: Clock::MPEG_TS,
        replace: Some(Box::new(|unit: Unit| match unit.kind {
            Kind::Video => unit.n * 3_000,
            Kind::Audio => unit.n * 1_920 * 98 / 100,
        })),
        ..Source::default()
    };
    let report = alone(&source, HOUR, |_| true);
    let picture = report.length - Span::from_millis(HOUR);
    assert!(picture.abs() < Span::from_millis(100), "the picture keeps its speed: {picture:?}");
    report.only(&[Repair::AudioMoved, Repair::AudioSlewed, Repair::BackStep]);
}

#[test]
fn sound_is_not_ahead_of_the_picture_after_a_reconnect() {
    // "Audio ahead of video with the offline slate." Each session begins its timestamps anew, sound first.
    let mut stream = Stream::new();
    let mut start = Timestamp::ZERO;
    for session in 0..20_i64 {
        let early = noise(session, 2_000);
        let source = Source {
            start,
            raw_start: noise(session, 1 << 32) as u64,
            lost: Box::new(move |unit| unit.kind == Kind::Video && unit.ms < early),
            ..Source::default()
        };
        let report =
            run(&source, 30_000, |_| true, |sent, stamp| stream.unit(sent.kind, stamp, sent.keyframe));
        assert!(report.apart_ever <= TOGETHER, "session {session}: {report:?}");
        start = report.end + Span::from_millis(3_000);
        stream.reconnect();
    }
    stream.end();
    let (video, audio) = stream.ends();
    assert!((video - audio).abs() < Span::from_millis(2_500), "{video:?} {audio:?}");
}

#[test]
fn two_seconds_of_sound_before_the_first_picture_keep_their_alignment() {
    // "Dahua cameras send 2 s of audio before the first video."
    let source = Source {
        raw_start: 123_456,
        lost: Box::new(|unit| unit.kind == Kind::Video && unit.ms < 2_000),
        ..Source::default()
    };
    let (report, stream) = packaged(&source, 10 * MINUTE);
    assert_eq!((report.apart_ever <= Span::from_millis(2), report.total()), (true, 0), "{report:?}");
    assert_eq!(stream.video.gaps + stream.audio.gaps, 0);
}

#[test]
fn pictures_that_take_turns_between_two_clocks_stay_with_their_sound() {
    // Found by a recording: each step back was a jump, each return was taken for lost time, half a second a pair.
    for off in [-1_900, -500, -250, 400, 1_500] {
        let wrong = move |unit: Unit| unit.kind == Kind::Video && unit.ms > 3_000 && unit.n % 2 == 0;
        let source =
            Source { error: Box::new(move |unit| if wrong(unit) { off } else { 0 }), ..Source::default() };
        let (report, stream) = packaged(&source, HOUR);
        // What leads the other is believed once: pictures that were shown early cannot be taken back.
        let once = Span::from_millis(off.max(0)) + Span::from_millis(40);
        assert!(report.apart_ever <= once, "{off} ms: {report:?}");
        assert_eq!(stream.video.gaps + stream.audio.gaps, 0, "{off} ms");
    }
}

#[test]
fn drift_is_measured_and_never_reset() {
    // "A time drift reset every 13 s shreds recordings."
    for slow_ppm in [500, -500, 5_000] {
        let source = Source { slow_ppm, delay: Box::new(|unit| noise(unit.n, 60)), ..Source::default() };
        let (report, stream) = packaged(&source, 2 * HOUR);
        assert_eq!(report.total(), 0, "{report:?}");
        assert_eq!((stream.video.gaps, stream.video.segments), (0, 3_600));
        let expected = -1e6 * slow_ppm as f64 / (1e6 + slow_ppm as f64);
        assert!((report.slope.unwrap() - expected).abs() < 15.0, "{report:?}");
    }
}

#[test]
fn decoding_times_that_step_back_by_a_rounding_are_repaired_and_counted() {
    // "DTS is not monotonically increasing", by 0.3 ms from NVENC, destroys the muxer of others.
    let source = Source {
        clock: Clock::MPEG_TS,
        rate: (60, 1),
        gop: 120,
        error: Box::new(|unit| if unit.kind == Kind::Video && unit.n % 50 == 7 { -1_527 } else { 0 }),
        ..Source::default()
    };
    let (report, stream) = packaged(&source, 10 * MINUTE);
    assert_eq!(report.repairs(Repair::BackStep), 720, "{report:?}");
    assert!(report.apart_ever <= TOGETHER);
    assert_eq!((stream.video.gaps, stream.video.segments), (0, 300));
}

#[test]
fn presentation_before_decoding_and_eleven_reordered_frames_are_carried() {
    let before = Source { composition: Box::new(|unit| -(unit.n % 5) * 33), ..Source::default() };
    let (report, stream) = packaged(&before, 10 * MINUTE);
    report.only(&[Repair::Composition]);
    assert_eq!((report.repairs(Repair::Composition), stream.video.segments), (14_400, 300));
    // "Too many reordered frames (11)", on cameras that are right.
    let deep =
        Source { composition: Box::new(|unit| if unit.n % 12 == 0 { 400 } else { 0 }), ..Source::default() };
    let (report, stream) = packaged(&deep, 10 * MINUTE);
    assert_eq!((report.total(), stream.video.gaps), (0, 0));
}

#[test]
fn no_extinf_is_ever_the_length_of_a_wrap() {
    // "EXTINF:4294967.996". Each EXTINF is checked in `Stream`.
    for jump in [1_i64 << 32, (1 << 32) - 4, (1 << 31) + 5, -(1 << 31), -5, 0x00ff_ffff, -(1 << 32) + 1] {
        let error = move |unit: Unit| if unit.ms / MINUTE % 2 == 1 { jump } else { 0 };
        let (report, stream) = packaged(&Source { error: Box::new(error), ..Source::default() }, 5 * MINUTE);
        assert!(report.longest <= Span::from_millis(100), "{jump}: {report:?}");
        assert_eq!((stream.video.gaps, stream.audio.gaps), (0, 0), "{jump}");
        assert_eq!(stream.video.segments, 150, "{jump}");
    }
}

#[test]
fn two_sources_that_alternate_neither_loop_nor_stall() {
    // "hls timestamp jump" loops and drop storms: every frame jumps. Timestamps are of two clocks by turns.
    let source =
        Source { error: Box::new(|unit| if unit.n % 2 == 0 { 0 } else { 5_000_000 }), ..Source::default() };
    let (report, stream) = packaged(&source, 10 * MINUTE);
    let off = report.length - Span::from_millis(10 * MINUTE);
    assert!(off.abs() < Span::from_millis(5_000), "{report:?}");
    assert!((295..=305).contains(&stream.video.segments), "{}", stream.video.segments);
}

#[test]
fn sound_keeps_its_place_over_the_wrap_of_mpeg_ts() {
    // "Audio PTS off after minutes on SRT", with its own wrap a moment before or after the picture's.
    for before in [0, 45, 89, 3_000, 90_000] {
        let source = Source {
            clock: Clock::MPEG_TS,
            raw_start: (1 << 33) - 90 * 5 * MINUTE as u64 - before,
            ..Source::default()
        };
        let report = alone(&source, 10 * MINUTE, |_| true);
        assert_eq!((report.repairs(Repair::Wrap), report.total()), (2, 0), "{before}");
        assert!(report.apart_ever <= Span::from_millis(2), "{report:?}");
    }
}

#[test]
fn losses_do_not_add_up_to_delay() {
    // "Latency only grows after packet loss, and never catches up."
    let lost = |unit: Unit| noise(unit.ms / 700, 9) == 0 && unit.ms % 700 < 40 + noise(unit.ms / 700, 500);
    let (report, stream) = packaged(&Source { lost: Box::new(lost), ..Source::default() }, HOUR);
    assert!((report.length - Span::from_millis(HOUR)).abs() < Span::from_millis(600), "{report:?}");
    assert!(report.ahead < Span::from_millis(50) && report.behind > Span::from_millis(-600), "{report:?}");
    assert!(stream.video.longest < Span::from_millis(2_500));
}

#[test]
fn sound_that_changes_its_sample_rate_goes_on_without_a_hole() {
    // "Audio frame properties change in mid-stream: choppy, 404 parts."
    let mut timeline = Timeline::new(TimelineConfig { start: Timestamp::ZERO, clock: Clock::RTMP });
    let mut truth = Timestamp::ZERO;
    for n in 0..30_000_i64 {
        let rate = [48_000_u32, 44_100, 32_000][(n / 500 % 3) as usize];
        let (stamp, _) = timeline.audio(truth.ticks(1_000) as u64, 1024, rate, truth);
        assert!((stamp.dts - truth).abs() <= Span::from_millis(2), "{n}: {stamp:?} {truth:?}");
        assert_eq!(stamp.duration, Span::from_ticks(1024, rate));
        truth += stamp.duration;
    }
    assert_eq!(timeline.repairs().total(), 0);
}

#[test]
fn decode_times_of_segments_are_64_bit() {
    // A 32-bit tfdt ends after 13 h 15 min at 90 kHz.
    let start = Timestamp::ZERO + Span::from_millis(14 * HOUR);
    let (report, stream) = packaged(&Source { start, ..Source::default() }, MINUTE);
    assert_eq!(report.total(), 0);
    let (video, audio) = stream.ends();
    assert!(video > start && audio > start);
    assert!(video.ticks(90_000) > i64::from(u32::MAX));
    let decode = stream.video.last_decode_time();
    assert!(decode > u64::from(u32::MAX), "{decode}");
}

#[test]
fn a_session_begins_beside_its_arrival_whatever_the_first_timestamps_are() {
    // Headers with timestamp 0 before the clock is set, the two tracks from different clocks, garbage first.
    for case in 0..2_000_i64 {
        let start = ms(3_600_000);
        let mut timeline = Timeline::new(TimelineConfig { start, clock: Clock::RTMP });
        let base = noise(case, 1 << 32);
        let junk = noise(case + 7, 8);
        let other = if case % 3 == 0 { noise(case + 1, 1 << 32) } else { 0 };
        for n in 0..300_i64 {
            let at = n * 40;
            let wild = if n < junk { noise(case * 31 + n, 1 << 32) } else { base + at };
            let video = timeline.video(wild as u64, 0, ms(at)).0;
            let audio = timeline.audio((wild + other) as u64, 1920, 48_000, ms(at)).0;
            for stamp in [video, audio] {
                let lead = (stamp.dts - start) - Span::from_millis(at);
                // Tracks may begin up to 10 s apart, and a jump may be 2 s.
                assert!(lead.abs() <= Span::from_millis(13_000), "case {case} unit {n}: {lead:?}");
            }
        }
    }
}
