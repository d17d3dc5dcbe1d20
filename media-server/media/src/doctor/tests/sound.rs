//! Levels.

use super::*;

fn levels(peak_dbfs: f32, rms_dbfs: f32) -> AudioLevels {
    AudioLevels { peak_dbfs, rms_dbfs, span: Span::from_millis(1000) }
}

fn listen(publisher: &mut Publisher, looks: usize, heard: AudioLevels) -> Vec<&'static str> {
    for _ in 0..looks {
        publisher.run(5);
        publisher.doctor.levels(heard);
    }
    publisher.run(1);
    publisher.codes()
}

#[test]
fn half_a_minute_of_silence_is_found_and_the_first_word_ends_it() {
    let mut publisher = Publisher::new(OBS);
    assert_eq!(listen(&mut publisher, 6, levels(f32::NEG_INFINITY, f32::NEG_INFINITY)), Vec::<&str>::new());
    assert_eq!(listen(&mut publisher, 1, levels(-70.0, -75.0)), ["audio-silent"]);
    assert!(publisher.finding("audio-silent").remedy.contains("Audio Mixer"));
    assert_eq!(listen(&mut publisher, 3, levels(-50.0, -58.0)), ["audio-silent"]);
    assert_eq!(listen(&mut publisher, 2, levels(-12.0, -24.0)), Vec::<&str>::new());
}

#[test]
fn sound_that_touches_full_scale_often_is_found_and_one_peak_is_not() {
    let mut publisher = Publisher::new("vMix 26");
    listen(&mut publisher, 6, levels(-3.0, -20.0));
    assert_eq!(listen(&mut publisher, 1, levels(0.0, -10.0)), Vec::<&str>::new());
    assert_eq!(listen(&mut publisher, 4, levels(0.4, -8.0)), ["audio-clipping"]);
    assert_eq!(listen(&mut publisher, 14, levels(-3.0, -20.0)), Vec::<&str>::new());
}

#[test]
fn levels_that_are_no_numbers_say_nothing() {
    let mut publisher = Publisher::new(OBS);
    assert_eq!(listen(&mut publisher, 20, levels(f32::NAN, -90.0)), Vec::<&str>::new());
}
