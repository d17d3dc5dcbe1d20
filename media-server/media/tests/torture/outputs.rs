//! The same faults, through the segmenter and the packagers: EXTINF within the target duration, sequence numbers
//! without a hole, and as much media in the playlists as there was.

use media::timeline::Clock;
use media::{Kind, Span};

use super::source::{HOUR, Source, Unit, noise};
use super::stream::Stream;
use super::watch::{Report, run};

/// Some hours through the whole chain; answers how much of the media each rendition lists.
fn package(name: &str, source: &Source, hours: i64) -> (Report, Stream) {
    let mut stream = Stream::new();
    let report =
        run(source, hours * HOUR, |_| true, |sent, stamp| stream.unit(sent.kind, stamp, sent.keyframe));
    stream.end();
    println!(
        "{name}: {} segments, {} gaps, longest {:?} and {:?}, {:?} and {:?} of {:?}",
        stream.video.segments,
        stream.video.gaps,
        stream.video.longest,
        stream.audio.longest,
        stream.video.length,
        stream.audio.length,
        report.length
    );
    assert!(stream.video.segments as i64 >= hours * 1_400, "{name}: {} segments", stream.video.segments);
    let (video, audio) = stream.ends();
    assert!((video - audio).abs() <= Span::from_millis(3_000), "{name}: {video:?} {audio:?}");
    (report, stream)
}

/// All of the media are listed, but for what lies between the publisher's last unit and the one before.
fn whole(name: &str, source: &Source, hours: i64) {
    let (report, stream) = package(name, source, hours);
    for rendition in [&stream.video, &stream.audio] {
        assert_eq!(rendition.gaps, 0, "{name}");
        assert!(
            (rendition.length - report.length).abs() <= Span::from_millis(3_000),
            "{name}: {:?}",
            rendition.length
        );
    }
}

fn every(period: i64, fault: impl Fn(i64, i64) -> i64 + 'static) -> Box<dyn Fn(Unit) -> i64> {
    Box::new(move |unit| if unit.ms < period { 0 } else { fault(unit.ms / period, unit.ms % period) })
}

#[test]
fn wraps_leave_no_trace_in_the_playlists() {
    let source = Source { raw_start: (1 << 32) - HOUR as u64, ..Source::default() };
    whole("32-bit wrap", &source, 2);
    let source = Source {
        clock: Clock::MPEG_TS,
        raw_start: (1 << 33) - 90 * HOUR as u64,
        rate: (25, 1),
        gop: 50,
        ..Source::default()
    };
    whole("33-bit wrap", &source, 2);
    let source =
        Source { replace: Some(Box::new(|unit| (unit.ms + 0x00f0_0000) & 0x00ff_ffff)), ..Source::default() };
    whole("24-bit wrap", &source, 2);
}

#[test]
fn jumps_leave_no_trace_in_the_playlists() {
    let error = every(60_000, |minute, _| match minute % 3 {
        0 => noise(minute, 2_000_000_000),
        1 => noise(minute, 20_000) + 2_500,
        _ => noise(minute, 100_000_000),
    });
    whole("jumps", &Source { error, ..Source::default() }, 4);
}

#[test]
fn freezes_leave_no_trace_in_the_playlists() {
    let error = every(60_000, |minute, within| if within < 200 + noise(minute, 8_000) { -within } else { 0 });
    whole("freezes", &Source { error, ..Source::default() }, 4);
}

#[test]
fn steps_back_leave_whole_playlists() {
    let error = every(60_000, |minute, _| -100 * minute);
    let (report, stream) = package("steps back", &Source { error, ..Source::default() }, 4);
    for rendition in [&stream.video, &stream.audio] {
        assert_eq!(rendition.gaps, 0);
        assert!(
            (rendition.length - report.length).abs() <= Span::from_millis(3_000),
            "{:?}",
            rendition.length
        );
    }
}

#[test]
fn absurd_composition_leaves_whole_playlists() {
    let source = Source {
        composition: Box::new(|unit| [0, -33, 70_000, i64::MIN, 33][(unit.n % 5) as usize]),
        ..Source::default()
    };
    whole("absurd composition", &source, 4);
}

#[test]
fn b_frames_and_variable_rates_leave_whole_playlists() {
    let composition = |unit: Unit| [100, 33, 0][(unit.n % 3) as usize];
    whole("b-frames", &Source { composition: Box::new(composition), ..Source::default() }, 4);
    let vary = |n| Span::from_millis(12 + noise(n, 60));
    whole("vfr", &Source { vary: Some(vary), gop: 48, ..Source::default() }, 4);
}

#[test]
fn clocks_of_the_wrong_speed_leave_whole_playlists() {
    for slow_ppm in [20_408, -19_608] {
        whole("wrong speed", &Source { slow_ppm, ..Source::default() }, 4);
    }
    for speed in [980, 1020] {
        let replace = move |unit: Unit| {
            let exact = if unit.kind == Kind::Video { unit.n * 100_000 / 3 } else { unit.n * 64_000 / 3 };
            exact * speed / 1_000_000
        };
        whole("wrong sample clock", &Source { replace: Some(Box::new(replace)), ..Source::default() }, 4);
    }
}

#[test]
fn sound_two_seconds_early_leaves_whole_playlists() {
    let lost = |unit: Unit| unit.kind == Kind::Video && unit.ms < 2_000;
    whole("sound first", &Source { lost: Box::new(lost), ..Source::default() }, 1);
}

#[test]
fn silences_become_gaps_of_the_right_length() {
    let lost = |unit: Unit| unit.ms > 60_000 && unit.ms % 60_000 < noise(unit.ms / 60_000, 6_000);
    let (report, stream) = package("silences", &Source { lost: Box::new(lost), ..Source::default() }, 4);
    assert!((report.length - Span::from_millis(4 * HOUR)).abs() < Span::from_millis(100));
    assert!(stream.video.longest <= Span::from_millis(2_500));
}
