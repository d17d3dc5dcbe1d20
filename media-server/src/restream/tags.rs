//! Access units → the bodies of RTMP media messages (FLV 10.1 annex E; Enhanced RTMP v2 where a codec needs it).

use bytes::{Bytes, BytesMut};
use media::{AccessUnit, AudioFormat, Span, VideoFormat};
use wire::amf0::{self, Value};

/// Packet types of both dialects.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;

/// The head of a message, in front of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    bytes: [u8; 8],
    length: usize,
}

impl Head {
    fn new(parts: &[&[u8]]) -> Self {
        let mut head = Self { bytes: [0; 8], length: 0 };
        for byte in parts.iter().copied().flatten() {
            if let Some(place) = head.bytes.get_mut(head.length) {
                *place = *byte;
                head.length += 1;
            }
        }
        head
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The head of a video message.
fn video(format: &VideoFormat, packet: u8, keyframe: bool, composition: Span) -> Head {
    let kind: u8 = if keyframe { 1 } else { 2 };
    let [_, a, b, c] = (composition.ticks(1000).clamp(-0x0080_0000, 0x007F_FFFF) as i32).to_be_bytes();
    match format.codec.get(..4) {
        Some(four @ ("hvc1" | "av01" | "vp09" | "vp08")) => {
            let first = 0x80 | kind << 4 | packet;
            // Of these only HEVC reorders pictures, and says so.
            let offset: &[u8] = if packet == CODED_FRAMES && four == "hvc1" { &[a, b, c] } else { &[] };
            Head::new(&[&[first], four.as_bytes(), offset])
        }
        _ => Head::new(&[&[kind << 4 | 7, packet, a, b, c]]),
    }
}

/// What the sequence start of a picture has behind its head. `vpcC` is a box with a version; the record has none.
pub(super) fn record(format: &VideoFormat) -> Bytes {
    let skipped = if format.codec.starts_with("vp0") { 4 } else { 0 };
    format.config.slice(skipped.min(format.config.len())..)
}

pub(super) fn video_header(format: &VideoFormat) -> Head {
    video(format, SEQUENCE_START, true, Span::ZERO)
}

pub(super) fn picture(format: &VideoFormat, unit: &AccessUnit) -> Head {
    video(format, CODED_FRAMES, unit.keyframe, unit.pts - unit.dts)
}

fn audio(format: &AudioFormat, packet: u8) -> Head {
    if format.codec == "opus" {
        Head::new(&[&[0x90 | packet], b"Opus"])
    } else {
        Head::new(&[&[0xAF, packet]])
    }
}

pub(super) fn audio_header(format: &AudioFormat) -> Head {
    audio(format, SEQUENCE_START)
}

pub(super) fn frame(format: &AudioFormat) -> Head {
    audio(format, CODED_FRAMES)
}

/// `@setDataFrame` with `onMetaData`: what comes.
pub(super) fn metadata(video: Option<&VideoFormat>, audio: Option<&AudioFormat>, agent: &str) -> Bytes {
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let mut all = Vec::new();
    if let Some(video) = video {
        let codec = match video.codec.get(..4) {
            Some(four @ ("hvc1" | "av01" | "vp09" | "vp08")) => {
                four.bytes().fold(0, |n: u32, byte| n << 8 | u32::from(byte))
            }
            _ => 7,
        };
        all.push(number("width", f64::from(video.width)));
        all.push(number("height", f64::from(video.height)));
        all.push(number("videocodecid", f64::from(codec)));
        if let Some((frames, seconds)) = video.frame_rate {
            all.push(number("framerate", f64::from(frames) / f64::from(seconds.max(1))));
        }
    }
    if let Some(audio) = audio {
        let codec = if audio.codec == "opus" { u32::from_be_bytes(*b"Opus") } else { 10 };
        all.push(number("audiocodecid", f64::from(codec)));
        all.push(number("audiosamplerate", f64::from(audio.sample_rate)));
        all.push(("stereo".to_owned(), Value::Boolean(audio.channels > 1)));
    }
    all.push(("encoder".to_owned(), Value::string(agent)));
    let mut out = BytesMut::new();
    let values = [Value::string("@setDataFrame"), Value::string("onMetaData"), Value::EcmaArray(all)];
    amf0::encode_all(&values, &mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use media::Timestamp;
    use wire::flv::{AudioTag, VideoPacket, VideoTag};

    use super::*;

    fn format(codec: &str) -> VideoFormat {
        VideoFormat { codec: codec.into(), width: 64, height: 64, frame_rate: None, config: Bytes::new() }
    }

    #[test]
    fn our_own_parser_reads_them_back() {
        let at = |ms| Timestamp::from_ticks(ms, 1000);
        let unit = AccessUnit {
            dts: at(40),
            pts: at(120),
            duration: Span::from_millis(40),
            keyframe: true,
            payload: Bytes::from_static(b"data"),
        };
        for (codec, offset) in [("avc1.64001f", 80), ("hvc1.1.6.L93.B0", 80), ("av01.0.04M.08", 0)] {
            let head = picture(&format(codec), &unit);
            let body = Bytes::from([head.as_slice(), &unit.payload[..]].concat());
            let tag = VideoTag::parse(&body).unwrap();
            assert_eq!(tag.packet, VideoPacket::CodedFrames { composition_time: offset }, "{codec}");
            assert_eq!(&tag.data[..], b"data");
            assert!(tag.frame_type.is_key());
            let header = Bytes::copy_from_slice(video_header(&format(codec)).as_slice());
            assert_eq!(VideoTag::parse(&header).unwrap().packet, VideoPacket::SequenceHeader, "{codec}");
        }
        for codec in ["mp4a.40.2", "opus"] {
            let format = AudioFormat {
                codec: codec.into(),
                sample_rate: 48_000,
                channels: 2,
                frame_samples: 1024,
                config: Bytes::new(),
            };
            let body = Bytes::from([frame(&format).as_slice(), b"data"].concat());
            assert_eq!(&AudioTag::parse(&body).unwrap().data[..], b"data");
        }
    }
}
