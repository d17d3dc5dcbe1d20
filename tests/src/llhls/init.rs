//! What an init segment says about its track.

use super::boxes::{find, number, walk};

/// Picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// `trex`: what a fragment means where it says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleDefaults {
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// ISO/IEC 14496-12 8.8.3.1.
    pub flags: u32,
}

/// An init segment.
#[derive(Clone, Debug)]
pub struct Init {
    /// Top-level boxes in order.
    pub boxes: Vec<[u8; 4]>,
    /// `trak` boxes.
    pub tracks: usize,
    /// Ticks a second.
    pub timescale: u32,
    /// What the first sample entry holds.
    pub track: Option<Track>,
    /// RFC 6381 codec string.
    pub codec: String,
    /// Pixels; 0 for sound.
    pub width: u32,
    /// Pixels; 0 for sound.
    pub height: u32,
    /// Bytes of a NAL unit's length, where samples are NAL units.
    pub nal_length: Option<usize>,
    /// `trex`, where there is one.
    pub defaults: Option<SampleDefaults>,
    /// `media_time` of the edit list's first entry.
    pub edit_media_time: i64,
}

impl Init {
    /// Reads an init segment; what is not there stays empty.
    pub fn parse(bytes: &[u8]) -> Self {
        let boxes = walk(bytes).unwrap_or_default().iter().map(|b| b.kind).collect();
        let mdhd = find(bytes, &[b"moov", b"trak", b"mdia", b"mdhd"]);
        let timescale = mdhd.first().and_then(|b| number(b, if b.first() == Some(&1) { 20 } else { 12 }, 4));
        let trex = find(bytes, &[b"moov", b"mvex", b"trex"]);
        let mut init = Self {
            boxes,
            tracks: find(bytes, &[b"moov", b"trak"]).len(),
            timescale: timescale.unwrap_or(1).max(1) as u32,
            track: None,
            codec: String::new(),
            width: 0,
            height: 0,
            nal_length: None,
            defaults: trex.first().map(|b| SampleDefaults {
                duration: number(b, 12, 4).unwrap_or(0) as u32,
                size: number(b, 16, 4).unwrap_or(0) as u32,
                flags: number(b, 20, 4).unwrap_or(0) as u32,
            }),
            edit_media_time: 0,
        };
        if let Some(b) = find(bytes, &[b"moov", b"trak", b"edts", b"elst"]).first() {
            init.edit_media_time = if b.first() == Some(&1) {
                number(b, 16, 8).unwrap_or(0) as i64
            } else {
                i64::from(number(b, 12, 4).unwrap_or(0) as u32 as i32)
            };
        }
        if let Some(b) = find(bytes, &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"]).first()
            && let Some(entry) = b.get(8..).and_then(|b| walk(b).ok()?.first().copied())
        {
            init.take_entry(entry.kind, entry.body);
        }
        init
    }

    fn take_entry(&mut self, kind: [u8; 4], body: &[u8]) {
        let name = String::from_utf8_lossy(&kind).into_owned();
        match &kind {
            b"avc1" | b"avc3" => {
                self.take_size(body);
                if let Some(config) = child(body, 78, *b"avcC") {
                    let profile = number(config, 1, 3).unwrap_or(0);
                    self.codec = format!("{name}.{profile:06x}");
                    self.nal_length = config.get(4).map(|byte| usize::from(byte & 3) + 1);
                }
            }
            b"hvc1" | b"hev1" | b"av01" | b"vp09" => {
                self.take_size(body);
                self.codec = name;
            }
            b"mp4a" => {
                self.track = Some(Track::Audio);
                let object = child(body, 28, *b"esds").and_then(audio_object_type).unwrap_or(2);
                self.codec = format!("mp4a.40.{object}");
            }
            b"Opus" | b"ac-3" | b"ec-3" | b"fLaC" => {
                self.track = Some(Track::Audio);
                self.codec = name;
            }
            _ => {}
        }
    }

    fn take_size(&mut self, body: &[u8]) {
        self.track = Some(Track::Video);
        self.width = number(body, 24, 2).unwrap_or(0) as u32;
        self.height = number(body, 26, 2).unwrap_or(0) as u32;
    }

    /// Whether it can stand as an init segment at all (R48).
    pub fn is_complete(&self) -> bool {
        self.boxes.first() == Some(b"ftyp") && self.boxes.contains(b"moov") && self.defaults.is_some()
    }

    /// Seconds of that many ticks.
    pub fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / f64::from(self.timescale)
    }
}

fn child(entry: &[u8], skip: usize, kind: [u8; 4]) -> Option<&[u8]> {
    walk(entry.get(skip..)?).ok()?.into_iter().find(|b| b.kind == kind).map(|b| b.body)
}

/// The AudioSpecificConfig's object type in an `esds` (ISO/IEC 14496-1 7.2.6): descriptors nest as tag, length, body.
fn audio_object_type(esds: &[u8]) -> Option<u8> {
    let mut rest = esds.get(4..)?;
    loop {
        let (tag, mut body) = (*rest.first()?, rest.get(1..)?);
        while *body.first()? & 0x80 != 0 {
            body = body.get(1..)?;
        }
        body = body.get(1..)?;
        rest = match tag {
            0x03 => body.get(3..)?,
            0x04 => body.get(13..)?,
            0x05 => {
                let first = *body.first()?;
                let short = first >> 3;
                if short != 31 {
                    return Some(short);
                }
                return Some(32 + ((first & 7) << 3 | body.get(1)? >> 5));
            }
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_type_is_found_behind_long_lengths() {
        let esds = [
            &[0, 0, 0, 0, 0x03, 0x80, 0x80, 0x80, 0x22, 0, 1, 0, 0x04, 0x80, 0x80, 0x80, 0x14][..],
            &[0x40; 13],
            &[0x05, 0x80, 0x80, 0x80, 0x02, 0x11, 0x90],
        ]
        .concat();
        assert_eq!(audio_object_type(&esds), Some(2));
    }

    #[test]
    fn rubbish_is_an_empty_init() {
        let init = Init::parse(b"\0\0\0\x08ftypgarbage");
        assert!(!init.is_complete() && init.track.is_none());
    }
}
