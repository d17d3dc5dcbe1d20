//! Reading an FLV file (Adobe FLV 10.1, annex E) into what RTMP carries: message type, timestamp, payload.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 8 audio, 9 video, 18 script data: RTMP's message types too.
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    /// The tag's body, an RTMP message's body.
    pub body: Bytes,
}

/// Audio.
pub const AUDIO: u8 = 8;
/// Video.
pub const VIDEO: u8 = 9;
/// Metadata.
pub const SCRIPT: u8 = 18;

impl Tag {
    /// A codec configuration, which is sent once at the start.
    pub fn is_configuration(&self) -> bool {
        matches!((self.kind, self.body.get(..2)), (AUDIO, Some([first, 0])) if first >> 4 == 10)
            || matches!((self.kind, self.body.get(..2)), (VIDEO, Some([first, 0])) if first & 15 == 7)
    }

    /// Coded pictures: neither a configuration nor the mark that the file's pictures end.
    pub fn is_picture(&self) -> bool {
        self.kind == VIDEO && matches!(self.body.get(..2), Some([first, 1]) if first & 15 == 7)
    }

    /// A coded picture that others need not be decoded for.
    pub fn is_keyframe(&self) -> bool {
        self.kind == VIDEO
            && !self.is_configuration()
            && self.body.first().is_some_and(|first| first >> 4 == 1)
    }
}

/// What comes before that moment (milliseconds).
pub fn until(tags: &[Tag], at: u32) -> Vec<Tag> {
    tags.iter().filter(|tag| tag.timestamp < at).cloned().collect()
}

/// What comes from that moment on, behind the configurations that it needs.
pub fn from(tags: &[Tag], at: u32) -> Vec<Tag> {
    let needed = tags.iter().filter(|tag| tag.is_configuration());
    let rest = tags.iter().filter(|tag| !tag.is_configuration() && tag.kind != SCRIPT && tag.timestamp >= at);
    needed.map(|tag| Tag { timestamp: at, ..tag.clone() }).chain(rest.cloned()).collect()
}

/// Moves tags in time.
pub fn later(tags: &[Tag], by: u32) -> Vec<Tag> {
    tags.iter().map(|tag| Tag { timestamp: tag.timestamp + by, ..tag.clone() }).collect()
}

/// Reads all tags.
pub fn parse(file: &Bytes) -> Result<Vec<Tag>> {
    if file.get(..3) != Some(b"FLV") {
        bail!("no FLV");
    }
    let number = |at: usize, length: usize| {
        file.get(at..at + length).map(|bytes| bytes.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte)))
    };
    let mut at = number(5, 4).context("no header")? as usize + 4;
    let mut tags = Vec::new();
    while let (Some(&kind), Some(size), Some(low), Some(high)) =
        (file.get(at), number(at + 1, 3), number(at + 4, 3), number(at + 7, 1))
    {
        let (start, end) = (at + 11, at + 11 + size as usize);
        anyhow::ensure!(end <= file.len(), "cut at byte {at}");
        tags.push(Tag { kind, timestamp: high << 24 | low, body: file.slice(start..end) });
        at = end + 4;
    }
    Ok(tags)
}

/// Reads a file's tags.
pub fn read(path: &Path) -> Result<Vec<Tag>> {
    parse(&Bytes::from(std::fs::read(path).with_context(|| path.display().to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_with_extended_timestamps() {
        let file =
            [&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..], &[9, 0, 0, 2, 0, 0, 1, 2, 0, 0, 0, 0x17, 1, 0, 0, 0, 13]]
                .concat();
        let tags = parse(&Bytes::from(file)).unwrap();
        assert_eq!(tags[0].timestamp, 0x0200_0001);
        assert!(tags[0].is_keyframe() && !tags[0].is_configuration());
    }
}
