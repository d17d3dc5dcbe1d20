//! The ring of one publisher: segments of about a second, each with the session's state before it, so that the oldest
//! can be dropped and what is left still be read.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::recording::append;

/// Length of a segment.
const SEGMENT: Duration = Duration::from_secs(1);
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
    sealed: VecDeque<Segment>,
    open: Option<Open>,
    /// Of the sealed segments.
    bytes: usize,
    /// Memory of a segment that was forgotten: new memory costs the kernel more than the copy that goes into it.
    spare: Vec<u8>,
}

struct Segment {
    began: Instant,
    checkpoint: Bytes,
    reads: Arc<Vec<u8>>,
}

struct Open {
    began: Instant,
    checkpoint: Bytes,
    reads: Vec<u8>,
    /// Where the last read begins.
    last: usize,
}

/// A copy of what is recorded at a moment.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    /// The session's state before the first read.
    pub checkpoint: Bytes,
    /// The reads as the file has them, in pieces.
    pub reads: Vec<Bytes>,
    /// From the first read to this moment.
    pub span: Duration,
}

impl Excerpt {
    /// Nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.reads.iter().all(Bytes::is_empty)
    }
}

impl Recorder {
    /// Begins to record a publish.
    pub fn new(keep: Keep) -> Self {
        Self { keep, began: Instant::now(), ring: Mutex::default() }
    }

    /// Takes in what was read at `at`, before the session has it. `checkpoint` is asked for the session's state where a
    /// segment begins; while it has none, nothing is recorded.
    pub fn read(&self, at: Instant, bytes: &[u8], checkpoint: impl FnOnce() -> Option<Vec<u8>>) {
        let mut ring = self.ring();
        let full = ring.open.as_ref().is_none_or(|open| {
            at.saturating_duration_since(open.began) >= SEGMENT || open.reads.len() >= self.keep.bytes / SHARE
        });
        if full {
            let Some(checkpoint) = checkpoint() else { return };
            let room = ring.open.as_ref().map_or(0, |open| open.reads.len());
            ring.seal();
            ring.forget_old(at, self.keep);
            let mut reads = std::mem::take(&mut ring.spare);
            // The next second is about as long as the last.
            reads.reserve(room);
            ring.open = Some(Open { began: at, checkpoint: checkpoint.into(), reads, last: 0 });
        }
        if let Some(open) = &mut ring.open {
            open.last = open.reads.len();
            append(&mut open.reads, at.saturating_duration_since(self.began), bytes);
        }
    }

    /// Takes the last read back: it named a key.
    pub fn forget_last(&self) {
        if let Some(open) = &mut self.ring().open {
            open.reads.truncate(open.last);
        }
    }

    /// What is recorded now.
    pub fn excerpt(&self) -> Excerpt {
        let ring = self.ring();
        let began = ring.sealed.front().map(|s| s.began).or(ring.open.as_ref().map(|o| o.began));
        let first = ring.sealed.front().map(|s| s.checkpoint.clone());
        let open = ring.open.as_ref();
        Excerpt {
            checkpoint: first.or(open.map(|open| open.checkpoint.clone())).unwrap_or_default(),
            reads: ring
                .sealed
                .iter()
                .map(|segment| Bytes::from_owner(Shared(Arc::clone(&segment.reads))))
                .chain(open.map(|open| Bytes::copy_from_slice(&open.reads)))
                .collect(),
            span: began.map_or(Duration::ZERO, |began| began.elapsed()),
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn seal(&mut self) {
        let Some(Open { began, checkpoint, reads, .. }) = self.open.take() else { return };
        let segment = Segment { began, checkpoint, reads: Arc::new(reads) };
        self.bytes += segment.size();
        self.sealed.push_back(segment);
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
            // Somebody may be writing it to a file.
            if let Some(mut memory) = self.sealed.pop_front().and_then(|old| Arc::into_inner(old.reads)) {
                memory.clear();
                self.spare = memory;
            }
        }
    }
}

/// A segment's reads, for who copies them out.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Segment {
    fn size(&self) -> usize {
        self.checkpoint.len() + self.reads.len()
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
        file.extend(excerpt.reads.concat());
        Recording::parse(file.into()).unwrap()
    }

    /// `seconds` of 10 reads a second; each read says when it came, and so does the state before it.
    fn fill(recorder: &Recorder, seconds: u32, size: usize) {
        for tenth in 0..seconds * 10 {
            let at = recorder.began + Duration::from_millis(100) * tenth;
            let mut bytes = tenth.to_le_bytes().to_vec();
            bytes.resize(size, 0);
            recorder.read(at, &bytes, || Some(tenth.to_le_bytes().to_vec()));
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
    fn nothing_is_recorded_before_the_session_has_a_state_and_a_read_can_be_taken_back() {
        let recorder = Recorder::new(Keep { time: Duration::from_secs(5), bytes: 1 << 20 });
        let now = recorder.began;
        recorder.read(now, b"key", || None);
        assert!(recorder.excerpt().is_empty());
        recorder.read(now, b"media", || Some(Vec::new()));
        recorder.read(now, b"key", || Some(Vec::new()));
        recorder.forget_last();
        let reads = recording(&recorder.excerpt()).reads;
        assert_eq!(reads.iter().map(|r| &r.bytes[..]).collect::<Vec<_>>(), [b"media"]);
    }
}
