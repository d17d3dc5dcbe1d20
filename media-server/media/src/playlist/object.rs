//! What a playlist names: init segments, parts and segments, with their lines of text.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::date::append_date;
use crate::time::{FLICKS_PER_SECOND, Span, Timestamp};

/// An init segment.
#[derive(Debug)]
pub struct Init {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

impl Init {
    pub(crate) fn new(epoch: &str, number: u64, bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { name: format!("{epoch}-i{number}.mp4"), bytes })
    }

    /// Its name, relative to the playlist.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One finished part: a `moof` and an `mdat`.
#[derive(Debug)]
pub struct Part {
    /// Its place among all parts of the rendition.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) duration: Span,
    pub(crate) independent: bool,
    /// Head, then payloads.
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) size: u64,
    pub(crate) samples: u64,
    line: String,
}

/// The name of the part with that running number.
pub(crate) fn part_name(epoch: &str, number: u64) -> String {
    format!("{epoch}-p{number}.m4s")
}

impl Part {
    pub(crate) fn new(
        epoch: &str,
        number: u64,
        duration: Span,
        independent: bool,
        samples: u64,
        chunks: Vec<Bytes>,
    ) -> Self {
        let name = part_name(epoch, number);
        let mut line = String::with_capacity(96);
        line.push_str("#EXT-X-PART:DURATION=");
        append_seconds(&mut line, duration);
        line.push_str(",URI=\"");
        line.push_str(&name);
        line.push_str(if independent { "\",INDEPENDENT=YES\n" } else { "\"\n" });
        let size = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { number, name, duration, independent, chunks, size, samples, line }
    }

    /// Its name, relative to the playlist.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length in decode time.
    pub fn duration(&self) -> Span {
        self.duration
    }

    /// It begins with a frame that decodes on its own.
    pub fn is_independent(&self) -> bool {
        self.independent
    }

    pub(super) fn line(&self) -> &str {
        &self.line
    }
}

/// What is known of a segment when it begins, and the tags that precede its first part.
#[derive(Clone, Debug)]
pub(crate) struct SegmentHead {
    pub(crate) msn: u64,
    /// Decode time of its first sample.
    pub(crate) start: Timestamp,
    pub(crate) wall_ms: i64,
    pub(crate) independent: bool,
    pub(crate) discontinuity: bool,
    /// None for a gap before the first format.
    pub(crate) init: Option<Arc<Init>>,
}

impl SegmentHead {
    /// DISCONTINUITY, MAP where `map` says so, PROGRAM-DATE-TIME.
    pub(super) fn append_tags(&self, out: &mut String, map: bool) {
        if self.discontinuity {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Some(init) = self.init.as_ref().filter(|_| map) {
            out.push_str("#EXT-X-MAP:URI=\"");
            out.push_str(&init.name);
            out.push_str("\"\n");
        }
        out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
        append_date(out, self.wall_ms);
        out.push('\n');
    }
}

/// One finished segment: its parts, one after the other.
#[derive(Debug)]
pub struct Segment {
    pub(crate) head: SegmentHead,
    pub(crate) name: String,
    pub(crate) duration: Span,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) gap: bool,
    pub(crate) size: u64,
    pub(crate) samples: u64,
    /// PROGRAM-DATE-TIME and what precedes it, without MAP.
    pub(super) tags: String,
    /// GAP, EXTINF, URI.
    pub(super) tail: String,
}

impl Segment {
    /// A segment of `parts`; without any it is a gap of `duration`.
    pub(crate) fn new(epoch: &str, head: SegmentHead, parts: Vec<Arc<Part>>, gap: Option<Span>) -> Self {
        let name = format!("{epoch}-s{}.m4s", head.msn);
        let duration =
            gap.unwrap_or_else(|| parts.iter().fold(Span::ZERO, |total, part| total + part.duration));
        let mut tags = String::with_capacity(96);
        head.append_tags(&mut tags, false);
        let mut tail = String::with_capacity(64);
        if gap.is_some() {
            tail.push_str("#EXT-X-GAP\n");
        }
        tail.push_str("#EXTINF:");
        append_seconds(&mut tail, duration);
        tail.push_str(",\n");
        tail.push_str(&name);
        tail.push('\n');
        let size = parts.iter().map(|part| part.size).sum();
        let samples = parts.iter().map(|part| part.samples).sum();
        Self { head, name, duration, parts, gap: gap.is_some(), size, samples, tags, tail }
    }

    /// Its name, relative to the playlist.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its media sequence number.
    pub fn msn(&self) -> u64 {
        self.head.msn
    }

    /// Its length in decode time.
    pub fn duration(&self) -> Span {
        self.duration
    }

    /// Decode time of its first sample on the stream's timeline.
    pub fn start(&self) -> Timestamp {
        self.head.start
    }

    /// Nothing is there: the rendition missed it.
    pub fn is_gap(&self) -> bool {
        self.gap
    }

    /// It begins with a frame that decodes on its own.
    pub fn is_independent(&self) -> bool {
        self.head.independent
    }

    /// Its parts; none where it is a gap.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// Decode time of its end.
    pub(crate) fn end(&self) -> Timestamp {
        self.head.start + self.duration
    }
}

/// Something that can be fetched by name. Its bytes are shared, never copied.
#[derive(Clone, Debug)]
pub enum Object {
    /// An init segment.
    Init(Arc<Init>),
    /// A part.
    Part(Arc<Part>),
    /// A whole segment.
    Segment(Arc<Segment>),
}

impl Object {
    /// Bytes in total.
    pub fn size(&self) -> u64 {
        match self {
            Self::Init(init) => init.bytes.len() as u64,
            Self::Part(part) => part.size,
            Self::Segment(segment) => segment.size,
        }
    }

    /// The bytes in order, as the pieces they are kept in.
    pub fn chunks(&self) -> Vec<Bytes> {
        match self {
            Self::Init(init) => vec![init.bytes.clone()],
            Self::Part(part) => part.chunks.clone(),
            Self::Segment(segment) => {
                segment.parts.iter().flat_map(|part| part.chunks.iter().cloned()).collect()
            }
        }
    }
}

/// Appends seconds with six decimals, rounded down: a duration must not be said longer than it is.
pub(super) fn append_seconds(out: &mut String, span: Span) {
    let micros = i128::from(span.flicks().max(0)) * 1_000_000 / i128::from(FLICKS_PER_SECOND);
    // Writing to a String cannot fail.
    let _infallible = write!(out, "{}.{:06}", micros / 1_000_000, micros % 1_000_000);
}
