//! The multivariant playlist (rfc8216bis 4.4.6).

use std::fmt::Write;

/// One variant stream: a video rung with its sound, or sound alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its media playlist, relative to the multivariant one.
    pub uri: String,
    /// Peak bits a second, with the sound.
    pub bandwidth: u64,
    /// Mean bits a second, with the sound.
    pub average: u64,
    /// RFC 6381 codec strings, the sound's among them.
    pub codecs: Vec<String>,
    /// Pixels.
    pub resolution: Option<(u32, u32)>,
    /// Frames a second.
    pub frame_rate: Option<f64>,
    /// The audio group that goes with it.
    pub audio_group: Option<String>,
}

/// One rendition of a group of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioRendition {
    /// Its group.
    pub group: String,
    /// Its name, for people.
    pub name: String,
    /// RFC 5646 language tag.
    pub language: Option<String>,
    /// Channels.
    pub channels: Option<u16>,
    /// Played unless the viewer says otherwise. At most one in a group.
    pub default: bool,
    /// Its media playlist, relative to the multivariant one.
    pub uri: String,
}

/// Writes the multivariant playlist. `independent`: every segment of every rendition decodes on its own.
pub fn multivariant(variants: &[Variant], audio: &[AudioRendition], independent: bool) -> String {
    let mut out = String::with_capacity(1024);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    if independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for rendition in audio {
        out.push_str("#EXT-X-MEDIA:TYPE=AUDIO");
        quoted(&mut out, ",GROUP-ID", &rendition.group);
        quoted(&mut out, ",NAME", &rendition.name);
        if let Some(language) = &rendition.language {
            quoted(&mut out, ",LANGUAGE", language);
        }
        out.push_str(if rendition.default {
            ",DEFAULT=YES,AUTOSELECT=YES"
        } else {
            ",DEFAULT=NO,AUTOSELECT=YES"
        });
        if let Some(channels) = rendition.channels {
            append(&mut out, format_args!(",CHANNELS=\"{channels}\""));
        }
        quoted(&mut out, ",URI", &rendition.uri);
        out.push('\n');
    }
    for variant in variants {
        append(
            &mut out,
            format_args!(
                "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}",
                variant.bandwidth.max(1),
                variant.average.max(1)
            ),
        );
        quoted(&mut out, ",CODECS", &variant.codecs.join(","));
        if let Some((width, height)) = variant.resolution {
            append(&mut out, format_args!(",RESOLUTION={width}x{height}"));
        }
        if let Some(rate) = variant.frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
            append(&mut out, format_args!(",FRAME-RATE={rate:.3}"));
        }
        if let Some(group) = &variant.audio_group {
            quoted(&mut out, ",AUDIO", group);
        }
        out.push_str(",CLOSED-CAPTIONS=NONE\n");
        out.extend(variant.uri.chars().filter(|c| !c.is_control()));
        out.push('\n');
    }
    out
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = out.write_fmt(text);
}

/// A quoted-string holds neither quotes nor line ends (rfc8216bis 4.2).
fn quoted(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push_str("=\"");
    out.extend(value.chars().filter(|c| *c != '"' && !c.is_control()));
    out.push('"');
}
