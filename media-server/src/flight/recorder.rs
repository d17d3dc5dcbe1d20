//! The ring of one publisher: segments of a second or less, each with the session's state before it, so that the oldest
//! can be dropped and what is left still be read.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wire::Traced;

use super::layout::Layout;

/// A segment takes at most this part of the memory.
const SHARE: usize = 8;

/// What is kept of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The last so many seconds …
    pub time: Duration,
    /// … as far as they fit into so many bytes.
    pub bytes: usize,
}

/// Records one publish session. Shared between the session, which writes, and whoever asks for a copy.
pub struct Recorder {
    keep: Keep,
    began: Instant,
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    sealed: VecDeque<Segment<Arc<Layout>>>,
    open: Option<Segment<Layout>>,
    /// Memory of the sealed segments. A body that two of them share counts twice.
    bytes: usize,
}

struct Segment<L> {
    began: Instant,
    checkpoint: Bytes,
    layout: L,
}

/// A copy of what is recorded at a moment. It shares the memory of the bodies.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    /// The session's state before the first read.
    pub checkpoint: Bytes,
    /// From the first read to this moment.
    pub span: Duration,
    pub(super) segments: Vec<Arc<Layout>>,
}

impl Excerpt {
    /// Nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.length() == 0)
    }

    /// The reads as the file has them, in pieces of about a second.
    pub fn reads(&self) -> impl Iterator<Item = Bytes> {
        self.segments.iter().map(|segment| segment.image().into())
    }
}

impl Recorder {
    /// Begins to record a publish.
    pub fn new(keep: Keep) -> Self {
        Self { keep, began: Instant::now(), ring: Mutex::default() }
    }

    /// A second of reads begins, or what [`read`](Self::read) says is full. `checkpoint` is the session's state before
    /// them; `unfinished` has what there is of the bodies that are not yet whole.
    pub fn turn(&self, at: Instant, checkpoint: Vec<u8>, unfinished: impl Iterator<Item = (u32, Bytes)>) {
        let mut ring = self.ring();
        let layout = ring.seal(unfinished);
        ring.forget_old(at, self.keep);
        ring.open = Some(Segment { began: at, checkpoint: checkpoint.into(), layout });
    }

    /// Takes in what was read at `at`, and what the session made of it. True where it is time to turn.
    pub fn read(&self, at: Instant, bytes: &[u8], traced: impl Iterator<Item = Traced>) -> bool {
        let Some(open) = &mut self.ring().open else { return true };
        open.layout.read(at.saturating_duration_since(self.began), bytes, traced);
        open.layout.size() >= self.keep.bytes / SHARE
    }

    /// Forgets the messages that are not yet whole: one of them names a key.
    pub fn forget_unfinished(&self) {
        if let Some(open) = &mut self.ring().open {
            open.layout.forget_unfinished();
        }
    }

    /// What is recorded now.
    pub fn excerpt(&self) -> Excerpt {
        let ring = self.ring();
        let began = ring.sealed.front().map(|s| s.began).or(ring.open.as_ref().map(|o| o.began));
        let first = ring.sealed.front().map(|s| s.checkpoint.clone());
        let open = ring.open.as_ref();
        let sealed = ring.sealed.iter().map(|segment| Arc::clone(&segment.layout));
        Excerpt {
            checkpoint: first.or(open.map(|open| open.checkpoint.clone())).unwrap_or_default(),
            segments: sealed.chain(open.map(|open| Arc::new(open.layout.clone()))).collect(),
            span: began.map_or(Duration::ZERO, |began| began.elapsed()),
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Ends the open segment; gives the layout of the next.
    fn seal(&mut self, unfinished: impl Iterator<Item = (u32, Bytes)>) -> Layout {
        let Some(Segment { began, checkpoint, mut layout }) = self.open.take() else {
            return Layout::default();
        };
        layout.close(unfinished);
        let next = Layout::like(&layout);
        let segment = Segment { began, checkpoint, layout: Arc::new(layout) };
        self.bytes += segment.size();
        self.sealed.push_back(segment);
        next
    }

    fn forget_old(&mut self, now: Instant, keep: Keep) {
        // Room for the segment that opens now.
        let most = keep.bytes - keep.bytes / SHARE;
        while let Some(oldest) = self.sealed.front() {
            let next = self.sealed.get(1).map_or(now, |next| next.began);
            if self.bytes <= most && now.saturating_duration_since(next) < keep.time {
                break;
            }
            self.bytes -= oldest.size();
            self.sealed.pop_front();
        }
    }
}

impl Segment<Arc<Layout>> {
    fn size(&self) -> usize {
        self.checkpoint.len() + self.layout.size()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("keep", &self.keep).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::{Header, Recording, preamble};
    use super::*;

    fn recording(excerpt: &Excerpt) -> Recording {
        let mut file = preamble(&Header::default(), &excerpt.checkpoint);
        excerpt.reads().for_each(|reads| file.extend(reads));
        Recording::parse(file.into()).unwrap()
    }

    /// `seconds` of 10 reads a second; each read says when it came, and so does the state before it.
    fn fill(recorder: &Recorder, seconds: u32, size: usize) {
        let mut full = true;
        for tenth in 0..seconds * 10 {
            let at = recorder.began + Duration::from_millis(100) * tenth;
            let mut bytes = tenth.to_le_bytes().to_vec();
            bytes.resize(size, 0);
            if full || tenth % 10 == 0 {
                recorder.turn(at, tenth.to_le_bytes().to_vec(), std::iter::empty());
            }
            full = recorder.read(at, &bytes, std::iter::empty());
        }
    }

    #[test]
    fn the_last_seconds_are_kept_and_begin_with_the_state_before_them() {
        let recorder = Recorder::new(Keep { time: Duration::from_secs(5), bytes: 1 << 20 });
        assert!(recorder.excerpt().is_empty());
        fill(&recorder, 60, 100);
        let recording = recording(&recorder.excerpt());
        assert!((5.0..6.5).contains(&recording.span().as_secs_f64()), "{:?}", recording.span());
        assert_eq!(recording.reads[0].bytes[..4], recording.checkpoint[..]);
        assert_eq!(recording.reads.last().unwrap().bytes[..4], 599_u32.to_le_bytes());
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let recorder = Recorder::new(Keep { time: Duration::from_secs(30), bytes: 64 << 10 });
        fill(&recorder, 30, 5000);
        let recording = recording(&recorder.excerpt());
        assert!(recording.bytes() <= 64 << 10, "{}", recording.bytes());
        assert!(recording.bytes() >= 48 << 10, "{}", recording.bytes());
        assert_eq!(recording.reads[0].bytes[..4], recording.checkpoint[..]);
    }

    #[test]
    fn nothing_is_recorded_before_the_session_has_a_state_and_a_message_with_a_key_is_forgotten() {
        let recorder = Recorder::new(Keep { time: Duration::from_secs(5), bytes: 1 << 20 });
        let now = recorder.began;
        let none = std::iter::empty;
        assert!(recorder.read(now, b"key", none()));
        assert!(recorder.excerpt().is_empty());
        recorder.turn(now, Vec::new(), std::iter::empty());
        assert!(!recorder.read(now, b"media", none()));
        let command = Traced::Body { id: 3, at: 4, offset: 0, length: 3 };
        recorder.read(now, b"headkey", std::iter::once(command));
        recorder.read(now, b"-", none());
        recorder.forget_unfinished();
        recorder.turn(now, Vec::new(), std::iter::empty());
        let reads = recording(&recorder.excerpt()).reads;
        assert_eq!(reads.iter().map(|r| &r.bytes[..]).collect::<Vec<_>>(), [&b"media"[..], b"head"]);
    }

    #[test]
    fn a_body_is_kept_in_its_own_memory() {
        let recorder = Recorder::new(Keep { time: Duration::from_secs(5), bytes: 1 << 20 });
        let body = Bytes::from(vec![7; 100_000]);
        recorder.turn(recorder.began, Vec::new(), std::iter::empty());
        let wire = [&b"head"[..], &body[..60_000], b"-", &body[60_000..]].concat();
        let runs = [
            Traced::Body { id: 1, at: 4, offset: 0, length: 60_000 },
            Traced::Body { id: 1, at: 60_005, offset: 60_000, length: 40_000 },
            Traced::Whole { id: 1, body: body.clone() },
        ];
        recorder.read(recorder.began, &wire, runs.into_iter());
        let excerpt = recorder.excerpt();
        assert_eq!(recording(&excerpt).reads[0].bytes, wire);
        assert!(!body.is_unique());
        drop((recorder, excerpt));
        assert!(body.is_unique());
    }
}
