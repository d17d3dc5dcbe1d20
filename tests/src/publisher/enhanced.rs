//! What encoders of Enhanced RTMP v2 send: HEVC, AV1 and Opus, and several video tracks.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::ffmpeg::run;
use super::flv::{AUDIO, Tag, VIDEO};
use crate::llhls::boxes::{find, number, walk};

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const MULTITRACK: u8 = 6;
/// Frames a second of every picture here.
const RATE: u32 = 30;

/// A codec that only Enhanced RTMP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// Opus, stereo at 48 kHz.
    Opus,
}

impl Codec {
    fn four(self) -> &'static [u8; 4] {
        match self {
            Self::Hevc => b"hvc1",
            Self::Av1 => b"av01",
            Self::Opus => b"Opus",
        }
    }

    /// ffmpeg's input and encoder.
    fn arguments(self) -> &'static str {
        match self {
            Self::Hevc => {
                "-f lavfi -i testsrc2=size=640x360:rate=30 -c:v libx265 -preset ultrafast -pix_fmt yuv420p -tag:v hvc1 \
                 -x265-params log-level=none:bframes=0:keyint=60:min-keyint=60:scenecut=0 -b:v 800k"
            }
            Self::Av1 => {
                "-f lavfi -i testsrc2=size=640x360:rate=30 -c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p \
                 -lag-in-frames 0 -g 60 -keyint_min 60 -b:v 800k"
            }
            Self::Opus => "-f lavfi -i sine=frequency=440:sample_rate=48000 -ac 2 -c:a libopus -b:a 96k",
        }
    }

    /// Milliseconds of sample `n`.
    fn time(self, n: usize) -> u32 {
        if self == Self::Opus { n as u32 * 20 } else { n as u32 * 1000 / RATE }
    }

    /// Where the decoder's configuration lies in a sample entry.
    fn record(self) -> &'static [u8; 4] {
        match self {
            Self::Hevc => b"hvcC",
            Self::Av1 => b"av1C",
            Self::Opus => b"dOps",
        }
    }
}

/// So many seconds of it, as the messages of an encoder.
pub async fn tags(codec: Codec, seconds: u32) -> Result<Vec<Tag>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("track.mp4");
    encode(codec, seconds, &file).await?;
    let bytes = std::fs::read(&file)?;
    let table = find(&bytes, &[b"moov", b"trak", b"mdia", b"minf", b"stbl"]);
    let table = *table.first().context("no sample table")?;
    let body = |kind: &[u8; 4]| find(table, &[kind]).first().copied();
    let config = configuration(codec, body(b"stsd").context("no stsd")?)?;
    let sizes = body(b"stsz").context("no stsz")?;
    let count = number(sizes, 8, 4).context("stsz")? as usize;
    let fixed = number(sizes, 4, 4).context("stsz")?;
    let keys: Option<Vec<u64>> = body(b"stss").map(|keys| {
        (0..number(keys, 4, 4).unwrap_or_default() as usize)
            .filter_map(|n| number(keys, 8 + n * 4, 4))
            .collect()
    });
    // One track alone: its samples lie one after the other.
    let data =
        walk(&bytes).unwrap_or_default().into_iter().find(|b| &b.kind == b"mdat").context("no mdat")?.body;
    let mut all = vec![message(codec, SEQUENCE_START, true, 0, &config)];
    let mut at = 0;
    for n in 0..count {
        let size = if fixed > 0 { fixed } else { number(sizes, 12 + n * 4, 4).context("stsz")? } as usize;
        let key = keys.as_ref().is_none_or(|keys| keys.contains(&(n as u64 + 1)));
        let sample = data.get(at..at + size).context("mdat is short")?;
        all.push(message(codec, CODED_FRAMES, key, codec.time(n), sample));
        at += size;
    }
    Ok(all)
}

async fn encode(codec: Codec, seconds: u32, file: &Path) -> Result<()> {
    let length = seconds.to_string();
    run(codec.arguments().split_whitespace().chain(["-t", &length]), file).await?;
    Ok(())
}

fn configuration(codec: Codec, description: &[u8]) -> Result<Vec<u8>> {
    let name = codec.record();
    let at = description.windows(4).position(|four| four == name).context("no decoder configuration")?;
    let size = number(description, at - 4, 4).context("cut")? as usize;
    let record = description.get(at + 4..at - 4 + size).context("cut")?;
    if codec != Codec::Opus {
        return Ok(record.to_vec());
    }
    // On the wire it is the Ogg header (RFC 7845 5.1): the same fields, the other way round.
    let [_, channels, skip_high, skip_low, rate @ ..] = record else { anyhow::bail!("dOps is short") };
    let mut head = b"OpusHead\x01".to_vec();
    head.extend([*channels, *skip_low, *skip_high]);
    head.extend(rate.iter().take(4).rev());
    head.extend([0, 0, 0]);
    Ok(head)
}

fn message(codec: Codec, packet: u8, key: bool, timestamp: u32, data: &[u8]) -> Tag {
    let (kind, first) = match codec {
        Codec::Opus => (AUDIO, 0x90 | packet),
        _ => (VIDEO, 0x80 | if key { 0x10 } else { 0x20 } | packet),
    };
    let offset: &[u8] = if codec == Codec::Hevc && packet == CODED_FRAMES { &[0, 0, 0] } else { &[] };
    Tag { kind, timestamp, body: Bytes::from([&[first], &codec.four()[..], offset, data].concat()) }
}

/// An H.264 tag of the old kind as one of video track `track` (Enhanced RTMP v2, multitrack, one track a message).
pub fn on_track(tag: &Tag, track: u8) -> Option<Tag> {
    let (&first, rest) = tag.body.split_first()?;
    let (&packet, rest) = rest.split_first()?;
    // A sequence header has no composition time here.
    let rest = if packet == SEQUENCE_START { rest.get(3..)? } else { rest };
    let head = [0x80 | first & 0x70 | MULTITRACK, packet];
    let body = [&head[..], b"avc1", &[track], rest].concat();
    (tag.kind == VIDEO && packet <= CODED_FRAMES).then(|| Tag { body: body.into(), ..tag.clone() })
}

/// Several tracks in the order of their times.
pub fn together(tracks: impl IntoIterator<Item = Vec<Tag>>) -> Vec<Tag> {
    let mut all: Vec<Tag> = tracks.into_iter().flatten().collect();
    all.sort_by_key(|tag| tag.timestamp);
    all
}
