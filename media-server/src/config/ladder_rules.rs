//! What is wrong with a ladder, key by key.

use std::collections::HashSet;

use super::ladder::{AudioCodec, AudioRung, Codec, Fps, Profile, Rung, When};
use super::validate::{NAME_RULE, Problems, is_name, say};

/// x264's own names.
pub(super) const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];
/// Folders that a stream has beside its rungs.
const TAKEN: [&str; 2] = ["source", "audio"];
/// How folders of further sounds, and of rungs of sound, begin.
const OF_SOUND: [&str; 2] = ["audio-", "audio_"];
/// Most of a ladder.
const MOST_RUNGS: usize = 16;
/// Most rungs of sound: players are shown every rung with each.
const MOST_AUDIO: usize = 4;
/// What frames may wait for: two seconds of a usual source.
const MOST_LOOKAHEAD: u16 = 60;
const MOST_B_FRAMES: u8 = 8;

/// What is wrong with a ladder that is not the file's, if anything is. `encoder`: what `[transcode]` names.
pub fn ladder_problem(profile: &Profile, encoder: &str) -> Option<String> {
    let mut problems = Vec::new();
    ladder("answered", profile, encoder, &mut problems);
    problems.into_iter().next().map(|(key, text)| {
        let key = key.strip_prefix("profiles.answered").unwrap_or(&key).trim_start_matches('.');
        format!("{key} {text}").trim_start().to_owned()
    })
}

/// `encoder`: what `[transcode]` names.
pub(super) fn ladder(name: &str, profile: &Profile, encoder: &str, problems: &mut Problems) {
    let base = format!("profiles.{name}");
    if !is_name(name) {
        say(problems, base.clone(), format!("a profile's name {NAME_RULE}"));
    }
    if profile.rungs.is_empty() && !profile.passthrough {
        say(problems, base.clone(), "has no rung at all: set passthrough = true, or give rungs");
    }
    if profile.rungs.len() > MOST_RUNGS {
        say(problems, format!("{base}.rungs"), "has more than 16 rungs");
    }
    let mut seen = HashSet::new();
    for (at, rung) in profile.rungs.iter().enumerate() {
        let mut say = |field: &str, text: &str| say(problems, format!("{base}.rungs[{at}].{field}"), text);
        if !is_name(&rung.name) {
            say("name", NAME_RULE);
        } else if TAKEN.contains(&rung.name.as_str()) {
            say("name", &format!("\"{}\" is the name of another rendition", rung.name));
        } else if OF_SOUND.iter().any(|begins| rung.name.starts_with(begins)) {
            say("name", "may not begin as those of sounds do (\"audio-\", \"audio_\")");
        }
        if !seen.insert(&rung.name) {
            say("name", &format!("\"{}\" is there twice", rung.name));
        }
        picture(rung, &mut say);
        rates(rung, &mut say);
        coding(rung, encoder, &mut say);
    }
    sounds(&base, &profile.audio, problems);
}

fn sounds(base: &str, rungs: &[AudioRung], problems: &mut Problems) {
    if rungs.len() > MOST_AUDIO {
        say(problems, format!("{base}.audio"), "has more than 4 rungs");
    }
    let mut seen = HashSet::new();
    for (at, rung) in rungs.iter().enumerate() {
        let mut say = |field: &str, text: &str| say(problems, format!("{base}.audio[{at}].{field}"), text);
        if !is_name(&rung.name) {
            say("name", NAME_RULE);
        } else if TAKEN.contains(&rung.name.as_str()) {
            say("name", &format!("\"{}\" is the name of what the publisher sends", rung.name));
        }
        if !seen.insert(&rung.name) {
            say("name", &format!("\"{}\" is there twice", rung.name));
        }
        let (bits, text) = match rung.codec {
            AudioCodec::Aac => (16_000..=512_000, "is 16k to 512k bits a second of aac"),
            AudioCodec::HeAac => (16_000..=128_000, "is 16k to 128k bits a second of he-aac"),
            AudioCodec::Opus => (8_000..=510_000, "is 8k to 510k bits a second of opus"),
        };
        if !bits.contains(&rung.bitrate.0) {
            say("bitrate", text);
        }
        if !(1..=2).contains(&rung.channels) {
            say("channels", "is 1 or 2: sound of more is mixed down");
        }
    }
}

fn picture(rung: &Rung, say: &mut impl FnMut(&str, &str)) {
    if rung.height != 0 && !(64..=4320).contains(&rung.height) {
        say("height", "is 64 to 4320 pixels, or 0 for the source's");
    }
    if let Some(frame) = rung.size {
        let sides = 64..=8192;
        if !sides.contains(&frame.width) || !sides.contains(&frame.height) {
            say("size", "is 64 to 8192 pixels wide and high");
        }
        if rung.height != 0 {
            say("size", "and height both say how large the picture is: leave one of them out");
        }
    }
    match rung.fps {
        Fps::Most(most) if most == 0.0 || (1.0..=240.0).contains(&most) => {}
        Fps::Share(1..=16) => {}
        Fps::Most(_) | Fps::Share(_) => {
            say("fps", "is 1 to 240, 0 for the source's, or \"1/2\" to \"1/16\" of the source's");
        }
    }
    let When { min_height, max_height, min_fps, max_fps } = &rung.when;
    let empty = min_height.zip(*max_height).is_some_and(|(least, most)| least > most)
        || min_fps.zip(*max_fps).is_some_and(|(least, most)| least > most);
    let rates = [min_fps, max_fps].into_iter().flatten().all(|fps| (1.0..=1000.0).contains(fps));
    if empty || !rates {
        say("when", "holds for no source: a least is above its most, or a rate is not 1 to 1000");
    }
}

fn rates(rung: &Rung, say: &mut impl FnMut(&str, &str)) {
    let bits = 16_000..=200_000_000;
    if !bits.contains(&rung.video_bitrate.0) {
        say("video_bitrate", "is 16k to 200M bits a second");
    }
    if let Some(most) = rung.max_bitrate
        && (!bits.contains(&most.0) || most.0 < rung.video_bitrate.0)
    {
        say("max_bitrate", "is video_bitrate to 200M bits a second");
    }
    if rung.buffer_ms.is_some_and(|buffer| !(100..=10_000).contains(&buffer)) {
        say("buffer_ms", "is 100 to 10000 milliseconds");
    }
    if !(8_000..=1_000_000).contains(&rung.audio_bitrate.0) {
        say("audio_bitrate", "is 8k to 1M bits a second");
    }
    if rung.crf.is_some_and(|crf| crf > 51) {
        say("crf", "is 0 (best) to 51");
    }
    if rung.crf.is_some() && rung.codec == Codec::Av1 {
        say("crf", "is of h264 and hevc: give an av1 rung video_bitrate, and max_bitrate for its peaks");
    }
}

fn coding(rung: &Rung, encoder: &str, say: &mut impl FnMut(&str, &str)) {
    let codec = rung.codec.name();
    let mut one_of = |field: &str, value: &Option<String>, known: &[&str]| {
        if let Some(value) = value.as_deref().filter(|value| !known.contains(value)) {
            let known = if known.is_empty() { "nothing: leave it out".into() } else { known.join(", ") };
            say(field, &format!("\"{value}\" is none; of {codec} it is one of {known}"));
        }
    };
    one_of("preset", &rung.preset, &PRESETS);
    let (profiles, tunes): (&[&str], &[&str]) = match rung.codec {
        Codec::H264 => (
            &["baseline", "main", "high"],
            &["zerolatency", "film", "animation", "grain", "stillimage", "fastdecode"],
        ),
        Codec::Hevc => (&["main"], &["zerolatency", "animation", "grain", "fastdecode"]),
        Codec::Av1 => (&["main"], &["zerolatency"]),
    };
    one_of("profile", &rung.profile, profiles);
    one_of("tune", &rung.tune, tunes);
    if rung.b_frames > MOST_B_FRAMES {
        say("b_frames", "is 0 to 8");
    } else if rung.b_frames > 0 {
        if rung.codec == Codec::Av1 {
            say("b_frames", "AV1 has none: leave it out; lookahead is how far the encoder looks ahead");
        } else if rung.profile.as_deref() == Some("baseline") {
            say("b_frames", "the profile baseline has none: leave it out, or take main or high");
        } else if rung.codec == Codec::H264 && encoder.starts_with("openh264") {
            say("b_frames", "openh264enc, which [transcode] encoder names, makes none: leave it out");
        }
    }
    if rung.lookahead > MOST_LOOKAHEAD {
        say("lookahead", "is 0 to 60 frames: the rung is as many late");
    }
    if rung.tune.as_deref() == Some("zerolatency") && (rung.b_frames > 0 || rung.lookahead > 0) {
        say("tune", "\"zerolatency\" is a rung without b_frames and lookahead: leave one of them out");
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::parse;

    /// What is said of a rung that has these keys.
    fn told(keys: &str) -> String {
        let text = format!("[profiles.x]\nrungs = [{{ name = \"a\", video_bitrate = \"800k\", {keys} }}]\n");
        parse(&text, "weir.toml").map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn every_key_of_a_rung_is_taken_where_it_makes_sense() {
        for keys in [
            "size = \"1280x720\", fps = \"1/2\", codec = \"hevc\", profile = \"main\", tune = \"grain\"",
            "height = 480, fps = 29.97, max_bitrate = \"1.2M\", buffer_ms = 1500, crf = 23",
            "fps = 30, profile = \"high\", tune = \"film\", b_frames = 3, lookahead = 20, preset = \"slow\"",
            "codec = \"av1\", lookahead = 10, max_bitrate = 900000",
            "profile = \"baseline\", tune = \"zerolatency\"",
        ] {
            assert_eq!(told(keys), "", "{keys}");
        }
    }

    #[test]
    fn what_makes_none_is_told_with_what_would() {
        for (keys, field, right) in [
            ("size = \"720p\"", "size", "\"1280x720\""),
            ("size = \"10x720\"", "size", "64 to 8192"),
            ("size = \"1280x720\", height = 720", "size", "leave one"),
            ("fps = \"2/3\"", "fps", "\"1/2\""),
            ("fps = \"1/40\"", "fps", "\"1/16\""),
            ("fps = true", "fps", "29.97"),
            ("codec = \"vp9\"", "codec", "av1"),
            ("max_bitrate = \"700k\"", "max_bitrate", "video_bitrate to"),
            ("buffer_ms = 5", "buffer_ms", "100 to"),
            ("codec = \"hevc\", profile = \"high\"", "profile", "one of main"),
            ("tune = \"music\"", "tune", "film"),
            ("b_frames = 9", "b_frames", "0 to 8"),
            ("b_frames = 2, profile = \"baseline\"", "b_frames", "main or high"),
            ("b_frames = 2, codec = \"av1\"", "b_frames", "lookahead"),
            ("b_frames = 2, tune = \"zerolatency\"", "tune", "leave one"),
            ("lookahead = 61", "lookahead", "0 to 60"),
            ("crf = 30, codec = \"av1\"", "crf", "max_bitrate"),
        ] {
            let text = told(keys);
            assert!(text.contains(&format!("rungs[0].{field}: ")) && text.contains(right), "{keys}: {text}");
        }
    }

    #[test]
    fn rungs_of_sound_are_taken_where_they_make_sense_and_what_is_wrong_is_named() {
        let told = |audio: &str| {
            let text = format!("[profiles.x]\naudio = [{audio}]\n");
            parse(&text, "weir.toml").map_or_else(|error| error.to_string(), |_| String::new())
        };
        let opus = "{ name = \"opus\", codec = \"opus\", bitrate = \"96k\" }";
        let low = "{ name = \"low\", bitrate = 32000, channels = 1 }";
        let he = "{ name = \"he\", codec = \"he-aac\", bitrate = \"48k\" }";
        assert_eq!(told(&[opus, low, he].join(", ")), "");
        for (audio, field, right) in [
            ("{ name = \"audio\", bitrate = 64000 }", "[0].name", "the publisher sends"),
            ("{ name = \"a b\", bitrate = 64000 }", "[0].name", "letters"),
            (&[opus, opus].join(", "), "[1].name", "twice"),
            (&[opus; 5].join(", "), "", "more than 4"),
            ("{ name = \"a\", bitrate = 1000 }", "[0].bitrate", "16k to 512k"),
            ("{ name = \"a\", codec = \"he-aac\", bitrate = \"192k\" }", "[0].bitrate", "128k"),
            ("{ name = \"a\", bitrate = 64000, channels = 6 }", "[0].channels", "1 or 2"),
            ("{ name = \"a\", codec = \"mp3\", bitrate = 64000 }", "[0].codec", "opus"),
            ("{ name = \"a\" }", "[0]", "bitrate"),
        ] {
            let text = told(audio);
            assert!(text.contains(&format!("audio{field}")) && text.contains(right), "{audio}: {text}");
        }
        let rung = "[profiles.x]\nrungs = [{ name = \"audio_a\", video_bitrate = 800000 }]\n";
        let text = parse(rung, "weir.toml").map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("rungs[0].name"), "{text}");
    }

    #[test]
    fn what_the_encoder_that_is_named_cannot_do_is_said() {
        let text = "[transcode]\nencoder = \"openh264enc\"\n[profiles.x]\nrungs = [{ name = \"a\", video_bitrate = 800000, b_frames = 1 }]\n";
        let told = parse(text, "weir.toml").map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("weir.toml:4: profiles.x.rungs[0].b_frames: openh264enc"), "{told}");
    }
}
