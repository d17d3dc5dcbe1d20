//! 24 hours of simulated time in each timestamp case.

use media::timeline::{Clock, Repair};
use media::{Kind, Span};

use super::source::{DAY, HOUR, Source, Unit, noise};
use super::watch::{Report, TOGETHER, alone};

/// A day of it, with sound and picture together at every moment that `calm` names.
fn day(name: &str, source: &Source, calm: impl Fn(i64) -> bool) -> Report {
    let report = alone(source, DAY, calm);
    println!("{name}: {report:?}");
    assert!(report.apart <= TOGETHER, "{name}: sound and picture {:?} apart", report.apart);
    assert!(report.units > 5_000_000);
    report
}

fn near_a_day(report: &Report, within: Span) {
    let off = report.length - Span::from_millis(DAY);
    assert!(off.abs() <= within, "a day became {:?}", report.length);
}

#[test]
fn a_day_over_the_wrap_of_the_32_bit_clock_at_49_7_days() {
    let source = Source { raw_start: (1 << 32) - 12 * HOUR as u64, ..Source::default() };
    let report = day("32-bit wrap", &source, |_| true);
    assert_eq!((report.total(), report.repairs(Repair::Wrap)), (0, 2));
    assert_eq!(report.frame_rate, Some((30, 1)));
    near_a_day(&report, Span::from_millis(50));
}

#[test]
fn a_day_over_the_end_of_24_bit_timestamps_at_4_h_39_min() {
    // The extended timestamp takes over at 0xFFFFFF: nothing happens.
    let report = day("24-bit passed", &Source::default(), |_| true);
    assert_eq!((report.total(), report.repairs(Repair::Wrap)), (0, 0));
    // And an encoder that has only 24 bits, and begins anew at zero: five times a day.
    let source = Source { replace: Some(Box::new(|unit| unit.ms & 0x00ff_ffff)), ..Source::default() };
    let report = day("24-bit wrap", &source, |at| (at & 0x00ff_ffff) > 100 || at < 0x00ff_ffff);
    report.only(&[Repair::Jump, Repair::Rephased]);
    assert_eq!(report.repairs(Repair::Jump), 10, "both tracks, five times");
    assert!(report.longest <= Span::from_millis(70), "{report:?}");
    near_a_day(&report, Span::from_millis(500));
}

#[test]
fn a_day_over_the_wrap_of_the_33_bit_clock_at_26_5_hours() {
    let source = Source {
        clock: Clock::MPEG_TS,
        raw_start: (1 << 33) - 12 * HOUR as u64 * 90,
        rate: (30_000, 1001),
        ..Source::default()
    };
    let report = day("33-bit wrap", &source, |_| true);
    // The first frames could be of 30 a second as well as of 29.97.
    assert_eq!((report.repairs(Repair::Rephased), report.total(), report.repairs(Repair::Wrap)), (1, 1, 2));
    near_a_day(&report, Span::from_millis(50));
}

#[test]
fn a_day_of_jumps() {
    // Every ten minutes to anywhere, forwards and backwards, from a fraction of a second to weeks.
    let source = Source {
        error: Box::new(|unit| {
            let period = unit.ms / 600_000;
            match period % 3 {
                _ if period == 0 => 0,
                0 => noise(period, 2_000_000_000),
                1 => noise(period, 20_000) + 2_500,
                _ => noise(period, 100_000_000),
            }
        }),
        ..Source::default()
    };
    let report = day("jumps", &source, |at| at % 600_000 > 1_000 || at < 600_000);
    report.only(&[Repair::Jump, Repair::Rephased, Repair::BackStep, Repair::Gap, Repair::AudioMoved]);
    assert!((200..=400).contains(&report.repairs(Repair::Jump)), "{report:?}");
    assert!(report.longest <= Span::from_millis(2_100), "{report:?}");
    near_a_day(&report, Span::from_millis(60_000));
}

#[test]
fn a_day_of_freezes() {
    // Every five minutes the clock stands still for up to eight seconds; then it shows the true time again.
    let frozen = |at: i64| {
        let (period, within) = (at / 300_000, at % 300_000);
        let length = 200 + noise(period, 8_000);
        if period > 0 && within < length { Some(within) } else { None }
    };
    let source = Source {
        error: Box::new(move |unit| frozen(unit.ms).map_or(0, |within| -within)),
        ..Source::default()
    };
    let report = day("freezes that catch up", &source, |_| true);
    report.only(&[
        Repair::Frozen,
        Repair::Jump,
        Repair::Gap,
        Repair::Rephased,
        Repair::BackStep,
        Repair::AudioMoved,
        Repair::AudioSlewed,
    ]);
    assert!(report.repairs(Repair::Frozen) > 10_000, "{report:?}");
    near_a_day(&report, Span::from_millis(5_000));
    // The same of a clock that trembles by a millisecond while it stands.
    let source = Source {
        error: Box::new(move |unit| frozen(unit.ms).map_or(0, |within| noise(unit.n, 2) - within)),
        ..Source::default()
    };
    let report = day("freezes that tremble", &source, |_| true);
    assert!(report.repairs(Repair::Frozen) > 10_000, "{report:?}");
    near_a_day(&report, Span::from_millis(5_000));
}

#[test]
fn a_day_of_freezes_that_lose_their_time() {
    let lost = |at: i64| {
        let (period, within) = (at / 300_000, at % 300_000);
        period * 1_500 + if period > 0 { within.min(1_500) - 1_500 } else { 0 }
    };
    let source = Source { error: Box::new(move |unit| -lost(unit.ms)), ..Source::default() };
    let report = day("freezes that do not", &source, |_| true);
    assert!(report.repairs(Repair::Frozen) > 10_000, "{report:?}");
    near_a_day(&report, Span::from_millis(600_000));
}

#[test]
fn a_day_of_steps_back() {
    // The source's clock is set back every minute, by less than what counts as a jump.
    let mut sums = vec![0_i64];
    for n in 0..DAY / 60_000 {
        sums.push(sums[n as usize] - (20 + n % 160));
    }
    let error = Box::new(move |unit: Unit| sums[(unit.ms / 60_000) as usize]);
    let source = Source { error, ..Source::default() };
    let report = day("steps back", &source, |at| at % 60_000 > 1_000 || at < 60_000);
    report.only(&[Repair::BackStep, Repair::Rephased, Repair::AudioMoved, Repair::AudioSlewed]);
    assert!(report.repairs(Repair::BackStep) > 1_000, "{report:?}");
    near_a_day(&report, Span::from_millis(300_000));
}

#[test]
fn a_day_of_single_frames_out_of_order() {
    // NVENC's rounding by 0.3 ms, and whole milliseconds too early, on one frame in thirty.
    let source = Source {
        clock: Clock::MPEG_TS,
        error: Box::new(|unit| match (unit.kind, noise(unit.n, 30)) {
            (Kind::Video, 0) => -3_030,
            (Kind::Video, 1) => -27,
            (Kind::Audio, 0) => -30,
            _ => 0,
        }),
        ..Source::default()
    };
    let report = day("out of order", &source, |_| true);
    report.only(&[Repair::BackStep, Repair::Rephased]);
    near_a_day(&report, Span::from_millis(50));
}

#[test]
fn a_day_of_presentation_before_decoding() {
    let source =
        Source { composition: Box::new(|unit| if unit.n % 3 == 0 { 0 } else { -33 }), ..Source::default() };
    let report = day("dts > pts", &source, |_| true);
    report.only(&[Repair::Composition]);
    assert_eq!(report.repairs(Repair::Composition), 2 * 864_000);
    near_a_day(&report, Span::from_millis(50));
}

#[test]
fn a_day_of_b_frames() {
    let source =
        Source { composition: Box::new(|unit| [100, 33, 0][(unit.n % 3) as usize]), ..Source::default() };
    let report = day("b-frames", &source, |_| true);
    report.only(&[]);
    near_a_day(&report, Span::from_millis(50));
}

#[test]
fn a_day_of_a_variable_frame_rate() {
    let source =
        Source { vary: Some(|n| Span::from_millis(12 + noise(n, 60))), gop: 48, ..Source::default() };
    let report = day("vfr", &source, |_| true);
    report.only(&[Repair::Rephased]);
    near_a_day(&report, Span::from_millis(100));
}

#[test]
fn a_day_that_began_with_two_seconds_of_sound_alone() {
    let source =
        Source { lost: Box::new(|unit| unit.kind == Kind::Video && unit.ms < 2_000), ..Source::default() };
    let report = day("sound first", &source, |_| true);
    assert_eq!(report.total(), 0);
    near_a_day(&report, Span::from_millis(50));
    // The picture's own clock starts when its camera does: two seconds late, and at zero.
    let source = Source {
        lost: Box::new(|unit| unit.kind == Kind::Video && unit.ms < 2_000),
        error: Box::new(|unit| if unit.kind == Kind::Video { -2_000 } else { 0 }),
        ..Source::default()
    };
    let report = alone(&source, 60_000, |_| true);
    // By its timestamps the picture belongs two seconds earlier: the timeline says what the source says.
    assert_eq!(report.apart_ever.millis(), 2_000);
}

#[test]
fn a_day_at_98_and_at_102_percent() {
    for slow_ppm in [20_408, -19_608] {
        let source = Source { slow_ppm, ..Source::default() };
        let report = day("wrong speed", &source, |_| true);
        assert_eq!(report.total(), 0, "{report:?}");
        near_a_day(&report, Span::from_millis(50));
        let slope = report.slope.unwrap();
        assert!((slope.abs() - 20_000.0).abs() < 200.0, "{slope}");
        // 29 minutes a day, as the source has it: no more, and to one side.
        let drift = report.ahead.max(-report.behind).seconds();
        assert!(
            (1_690.0..1_770.0).contains(&drift) && report.ahead.min(-report.behind) < Span::from_millis(10)
        );
    }
}

#[test]
fn a_day_of_timestamps_at_98_and_at_102_percent_of_the_samples() {
    for speed in [980, 1020] {
        let source = Source {
            replace: Some(Box::new(move |unit| {
                let rate = if unit.kind == Kind::Video { unit.n * 100_000 / 3 } else { unit.n * 64_000 / 3 };
                rate * speed / 1_000_000
            })),
            ..Source::default()
        };
        let report = day("wrong sample clock", &source, |_| true);
        report.only(&[Repair::AudioMoved, Repair::AudioSlewed, Repair::BackStep, Repair::Rephased]);
    }
}

#[test]
fn a_day_of_silences() {
    // Every ten minutes nothing comes for up to six seconds.
    let source = Source {
        lost: Box::new(|unit| unit.ms > 600_000 && unit.ms % 600_000 < noise(unit.ms / 600_000, 6_000)),
        ..Source::default()
    };
    let report = day("silences", &source, |at| at % 600_000 > 7_000 || at < 600_000);
    report.only(&[Repair::Gap, Repair::AudioMoved, Repair::Rephased, Repair::AudioSlewed, Repair::BackStep]);
    near_a_day(&report, Span::from_millis(100));
}
