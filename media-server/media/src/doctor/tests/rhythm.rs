//! Keyframes, frame rates, B-frames.

use super::*;

#[test]
fn keyframes_eight_seconds_apart_are_found_before_the_second_one_comes() {
    let mut publisher = Publisher::new(OBS);
    publisher.gops = vec![200];
    publisher.run(30);
    assert!(publisher.first_listed("keyframe-interval-long") <= 6, "{:?}", publisher.ever);
    let finding = publisher.finding("keyframe-interval-long");
    assert!(finding.remedy.starts_with("OBS: Settings, Output, Keyframe Interval 2 s"), "{}", finding.remedy);
    assert!(finding.text.contains("8.0 s apart"), "{}", finding.text);
    assert_eq!((finding.value, finding.target), (Some(8.0), Some(4.0)));
    assert_eq!(finding.severity, Severity::Warning);
    // The encoder is set right.
    publisher.gops = vec![50];
    publisher.run(25);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn a_stream_that_has_one_keyframe_only_is_critical() {
    let mut publisher = Publisher::new("Lavf60.16.100");
    publisher.gops = vec![100_000];
    publisher.run(40);
    let finding = publisher.finding("keyframe-interval-long");
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.remedy.starts_with("ffmpeg: -g 50 -force_key_frames"), "{}", finding.remedy);
}

#[test]
fn intervals_must_divide_the_segment() {
    for (frames, uneven) in
        [(75, true), (37, true), (50, false), (25, false), (24, false), (12, false), (100, true)]
    {
        let mut publisher = Publisher::new(OBS);
        publisher.gops = vec![frames];
        publisher.run(40);
        let listed = publisher.codes().contains(&"keyframe-interval-uneven");
        assert_eq!(listed, uneven, "{frames} frames: {:?}", publisher.codes());
        assert_eq!(publisher.codes().len(), usize::from(uneven));
    }
}

#[test]
fn keyframes_at_every_change_of_scene_are_found() {
    let mut publisher = Publisher::new("Lavf60");
    publisher.gops = vec![50, 13, 50, 31];
    publisher.run(20);
    let finding = publisher.finding("keyframe-interval-varies");
    assert!(finding.remedy.contains("-sc_threshold 0"), "{}", finding.remedy);
    publisher.gops = vec![50];
    publisher.run(20);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn a_variable_frame_rate_is_found_and_an_irregular_step_is_not() {
    let mut publisher = Publisher::new("Larix/1.3");
    publisher.shift = |n| [0, 11, -9, 14, 3, -12][(n % 6) as usize];
    publisher.run(40);
    assert!(publisher.codes().contains(&"frame-rate-varies"), "{:?}", publisher.codes());
    assert!(publisher.finding("frame-rate-varies").remedy.contains("Larix"));
    publisher.shift = |_| 0;
    publisher.run(40);
    assert!(!publisher.codes().contains(&"frame-rate-varies"), "{:?}", publisher.codes());

    let mut publisher = Publisher::new(OBS);
    publisher.shift = |n| if n % 100 == 50 { 12 } else { 0 };
    publisher.run(60);
    assert_eq!(publisher.ever, []);
}

#[test]
fn frames_that_the_encoder_left_out_are_counted() {
    let mut publisher = Publisher::new(OBS);
    publisher.lost = |n| n % 12 == 5;
    publisher.doctor.announced(Announced { frame_rate: Some(25.0), ..Announced::default() });
    publisher.run(40);
    let finding = publisher.finding("frames-missing");
    assert!((7.0..=9.0).contains(&finding.value.unwrap()), "{finding:?}");
    assert!(finding.remedy.contains("View, Stats"));
    assert!(publisher.codes().contains(&"frame-rate-not-as-announced"));
    publisher.lost = |_| false;
    publisher.run(40);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn a_frame_rate_that_is_not_the_announced_one_is_found() {
    let mut publisher = Publisher::new(OBS);
    publisher.doctor.announced(Announced { frame_rate: Some(50.0), ..Announced::default() });
    publisher.run(30);
    let finding = publisher.finding("frame-rate-not-as-announced");
    assert_eq!((finding.value.map(f64::round), finding.target), (Some(25.0), Some(50.0)));
    publisher.doctor.announced(Announced { frame_rate: Some(25.0), ..Announced::default() });
    publisher.run(10);
    assert_eq!(publisher.codes(), Vec::<&str>::new());
}

#[test]
fn many_b_frames_are_worth_a_note_and_three_are_not() {
    let b_frames = |count: i64| {
        let mut publisher = Publisher::new("Lavf60");
        publisher.composition = match count {
            3 => |n| if n % 4 == 0 { 160 } else { 0 },
            _ => |n| if n % 8 == 0 { 320 } else { 0 },
        };
        publisher.run(25);
        publisher
    };
    assert_eq!(b_frames(3).ever, []);
    let publisher = b_frames(7);
    let finding = publisher.finding("many-b-frames");
    assert_eq!((finding.severity, finding.remedy.as_str()), (Severity::Info, "ffmpeg: -bf 2"));
}
