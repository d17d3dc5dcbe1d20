//! What the line and the clocks do.

use super::*;

#[test]
fn a_bitrate_far_above_the_announced_one_is_found_and_one_near_it_is_not() {
    for (announced, code) in [
        (2_000_000, None),
        (1_700_000, None),
        (2_900_000, None),
        (1_000_000, Some(Severity::Warning)),
        (6_000_000, Some(Severity::Info)),
    ] {
        let mut publisher = Publisher::new(OBS);
        publisher.doctor.announced(Announced { video_bitrate: Some(announced), ..Announced::default() });
        publisher.run(30);
        let found = publisher.doctor.findings().first().map(|finding| finding.severity);
        assert_eq!(found, code, "{announced}: {:?}", publisher.codes());
        if code.is_some() {
            assert!(publisher.first_listed("video-bitrate-not-as-announced") <= 23);
        }
    }
}

#[test]
fn a_wrong_audio_bitrate_is_found() {
    let mut publisher = Publisher::new(OBS);
    publisher.doctor.announced(Announced { audio_bitrate: Some(64_000), ..Announced::default() });
    publisher.run(30);
    assert_eq!(publisher.codes(), ["audio-bitrate-not-as-announced"]);
}

#[test]
fn clocks_of_the_wrong_speed_are_critical_and_say_by_how_much() {
    for (speed, ppm) in [(980, -20_000.0), (1020, 20_000.0)] {
        let mut publisher = Publisher::new("Lavf60");
        publisher.speed = speed;
        publisher.run(120);
        assert_eq!(publisher.codes(), ["clock-speed"], "{speed}");
        let finding = publisher.finding("clock-speed");
        assert_eq!(finding.severity, Severity::Critical);
        assert!((finding.value.unwrap() - ppm).abs() < 1_000.0, "{finding:?}");
        assert!(finding.text.contains("29 minutes a day"), "{}", finding.text);
    }
}

#[test]
fn a_slope_of_some_hundred_ppm_is_a_warning_until_it_is_small() {
    let mut publisher = Publisher::new(OBS);
    for (ppm, listed) in [(100.0, false), (-290.0, false), (-310.0, true), (-270.0, true), (-200.0, false)] {
        publisher.doctor.slope_ppm(ppm);
        for second in 0..10 {
            publisher.doctor.tick(ms(second * 1000));
        }
        assert_eq!(publisher.codes().contains(&"clock-speed"), listed, "{ppm}");
        publisher.doctor = publisher.doctor.clone();
    }
    publisher.doctor.slope_ppm(f64::NAN);
    publisher.doctor.tick(ms(20_000));
}

#[test]
fn sound_with_a_fixed_offset_is_noted_at_forty_and_warned_of_at_a_hundred_and_fifty_milliseconds() {
    for (later, severity) in [
        (0, None),
        (30, None),
        (-30, None),
        (130, Some(Severity::Info)),
        (-400, Some(Severity::Warning)),
        (600, Some(Severity::Warning)),
    ] {
        let mut publisher = Publisher::new(OBS);
        publisher.sound_later = later;
        publisher.run(60);
        let found = publisher.doctor.findings().first();
        assert_eq!(found.map(|finding| finding.severity), severity, "{later}: {found:?}");
        if let Some(finding) = found {
            assert_eq!(finding.code, Code::SoundOffset);
            assert!((finding.value.unwrap() - later as f64).abs() < 50.0, "{finding:?}");
            assert!(publisher.first_listed("sound-offset") <= 20);
        }
    }
}

#[test]
fn sound_two_seconds_before_the_picture_is_noted_for_a_minute() {
    let mut publisher = Publisher::new(OBS);
    publisher.has_video = false;
    publisher.run(2);
    publisher.has_video = true;
    publisher.run(30);
    assert_eq!(publisher.codes(), ["tracks-start-apart"]);
    assert!(publisher.finding("tracks-start-apart").text.starts_with("Sound began 2.0 s before"));
    publisher.run(40);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn silence_of_the_line_is_found_within_two_seconds_and_goes_when_media_return() {
    let mut publisher = Publisher::new(OBS);
    publisher.run(20);
    publisher.delay = |now| if now < 30_000 { 30_000 - now } else { 20 };
    publisher.run(3);
    assert_eq!(publisher.codes(), ["no-media"]);
    assert_eq!(publisher.finding("no-media").severity, Severity::Critical);
    assert!(publisher.first_listed("no-media") <= 22);
    publisher.run(13);
    assert!(!publisher.codes().contains(&"no-media"));
    publisher.run(60);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn a_publisher_that_never_sends_is_found() {
    let mut publisher = Publisher::new(OBS);
    (publisher.has_video, publisher.has_audio) = (false, false);
    publisher.run(12);
    assert_eq!(publisher.codes(), ["no-media"]);
}

#[test]
fn an_unsteady_line_is_found() {
    let mut publisher = Publisher::new(OBS);
    publisher.delay = |now| if now % 10_000 < 700 { 700 } else { 20 };
    publisher.run(30);
    assert_eq!(publisher.codes(), ["media-late"]);
    assert!(publisher.finding("media-late").remedy.contains("Dynamically change bitrate"));
    publisher.delay = |_| 20;
    publisher.run(40);
    assert_eq!(publisher.codes(), Vec::<&str>::new());

    let mut publisher = Publisher::new(OBS);
    publisher.delay = |now| if now % 12_000 < 1_600 { 1_600 - now % 12_000 } else { 20 };
    publisher.run(30);
    assert!(publisher.codes().contains(&"media-stalls"), "{:?}", publisher.codes());
}

#[test]
fn media_in_bursts_are_told_from_media_that_are_late_now_and_then() {
    let mut publisher = Publisher::new("Lavf60");
    publisher.delay = |now| 900 - now % 900;
    publisher.run(40);
    assert_eq!(publisher.codes(), ["media-in-bursts"]);
}

#[test]
fn a_missing_track_is_found_and_one_that_was_not_announced_is_only_noted() {
    for (announced, severity) in
        [(None, Severity::Warning), (Some(true), Severity::Warning), (Some(false), Severity::Info)]
    {
        let mut publisher = Publisher::new(OBS);
        publisher.has_audio = false;
        publisher.doctor.announced(Announced { audio: announced, ..Announced::default() });
        publisher.run(15);
        assert_eq!(publisher.codes(), ["no-audio"]);
        assert_eq!(publisher.finding("no-audio").severity, severity);
    }
    let mut publisher = Publisher::new(OBS);
    publisher.run(20);
    publisher.has_video = false;
    publisher.run(10);
    assert_eq!(publisher.codes(), ["no-video"]);
    assert!(publisher.finding("no-video").text.starts_with("Video has stopped"));
    publisher.has_video = true;
    publisher.run(20);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn a_storm_of_repairs_is_told_by_its_kind_and_one_repair_is_not() {
    let mut publisher = Publisher::new("Lavf60");
    publisher.composition = |n| if n % 10 == 0 { -40 } else { 0 };
    publisher.run(30);
    assert_eq!(publisher.codes(), ["timestamps-composition"]);
    publisher.composition = |_| 0;
    publisher.run(80);
    assert_eq!(publisher.codes(), Vec::<&str>::new());

    let mut publisher = Publisher::new(OBS);
    publisher.shift = |n| if n < 500 { 0 } else { 3_600_000 };
    publisher.run(60);
    assert!(publisher.ever.iter().all(|(code, _)| !code.starts_with("timestamps")), "{:?}", publisher.ever);

    let mut publisher = Publisher::new(OBS);
    publisher.shift = |n| if n % 50 < 25 { 0 } else { 3_600_000 };
    publisher.run(60);
    assert!(publisher.codes().contains(&"timestamps-jump"), "{:?}", publisher.codes());
}

#[test]
fn dropped_units_are_told_of() {
    let mut publisher = Publisher::new(OBS);
    publisher.run(5);
    publisher.doctor.dropped(Kind::Video, 2);
    publisher.run(1);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
    publisher.doctor.dropped(Kind::Audio, 5);
    publisher.run(1);
    assert!(publisher.finding("units-dropped").text.starts_with("2 video and 5 audio"));
    publisher.run(80);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}
