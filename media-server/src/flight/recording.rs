//! The file of a recording. Little-endian:
//!
//! ```text
//! "WEIRFLT1"
//! u32 length, JSON: who sent it (Header)
//! u32 length, the session's state before the first read (opaque; the protocol's own)
//! then each read:  u64 microseconds since the publish began, u32 length, the bytes
//! ```
//!
//! A file that was cut off is read up to its last whole read.

use std::time::Duration;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"WEIRFLT1";
/// Of a read: microseconds and length.
const HEAD: usize = 12;

/// Who sent what is recorded, and when. Never the key, nor an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The stream's public name.
    pub stream: String,
    /// Id of the publish session.
    pub session: String,
    /// `rtmp` or `rtmps`: what is recorded lies inside of TLS.
    pub protocol: String,
    /// What software it says it is.
    pub agent: String,
    /// When it was saved, RFC 3339.
    pub saved: String,
    /// Why: `asked` or `storm`.
    pub cause: String,
    /// Version of the program that recorded it.
    pub program: String,
}

/// What one read of the socket gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Since the publish began.
    pub at: Duration,
    /// The bytes, after decryption.
    pub bytes: Bytes,
}

/// A recording, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Who and when.
    pub header: Header,
    /// The protocol's state before the first read.
    pub checkpoint: Bytes,
    /// In the order in which they came.
    pub reads: Vec<Read>,
    /// The file ends within a read: it was cut off, and the rest of it is left out.
    pub cut: bool,
}

/// Why a file is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// Something else.
    #[error("not a recording: it does not begin with WEIRFLT1")]
    Magic,
    /// Ends before the first read.
    #[error("the recording is cut off before its first read")]
    Cut,
    /// The header is not JSON of the right shape.
    #[error("the recording's header cannot be read: {0}")]
    Header(String),
}

impl Recording {
    /// Reads a file's bytes; the reads are slices of them.
    pub fn parse(mut file: Bytes) -> Result<Self, RecordingError> {
        if file.len() < MAGIC.len() || file.split_to(MAGIC.len()) != MAGIC[..] {
            return Err(RecordingError::Magic);
        }
        let header = block(&mut file).ok_or(RecordingError::Cut)?;
        let header =
            serde_json::from_slice(&header).map_err(|error| RecordingError::Header(error.to_string()))?;
        let checkpoint = block(&mut file).ok_or(RecordingError::Cut)?;
        let mut reads = Vec::new();
        while file.len() >= HEAD {
            let at = Duration::from_micros(file.get_u64_le());
            let Some(bytes) = block(&mut file) else {
                return Ok(Self { header, checkpoint, reads, cut: true });
            };
            reads.push(Read { at, bytes });
        }
        Ok(Self { header, checkpoint, reads, cut: !file.is_empty() })
    }

    /// From the first read to the last.
    pub fn span(&self) -> Duration {
        let ends = self.reads.first().zip(self.reads.last());
        ends.map_or(Duration::ZERO, |(first, last)| last.at.saturating_sub(first.at))
    }

    /// Bytes that were sent.
    pub fn bytes(&self) -> usize {
        self.reads.iter().map(|read| read.bytes.len()).sum()
    }
}

/// A length and so many bytes.
fn block(file: &mut Bytes) -> Option<Bytes> {
    let length = file.try_get_u32_le().ok()? as usize;
    (file.len() >= length).then(|| file.split_to(length))
}

/// What comes before the reads.
pub(super) fn preamble(header: &Header, checkpoint: &[u8]) -> Vec<u8> {
    // Strings alone: cannot fail.
    let header = serde_json::to_vec(header).unwrap_or_default();
    let mut out = Vec::with_capacity(MAGIC.len() + 8 + header.len() + checkpoint.len());
    out.extend_from_slice(MAGIC);
    for part in [&header[..], checkpoint] {
        out.extend_from_slice(&length(part).to_le_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// What comes before the `length` bytes of a read.
pub(super) fn append_head(out: &mut Vec<u8>, at: Duration, length: u32) {
    let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(&micros.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

/// Checkpoints have some MiB at most.
fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(reads: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let header = Header { stream: "ada".into(), protocol: "rtmp".into(), ..Header::default() };
        let mut out = preamble(&header, b"state");
        for (at, bytes) in reads {
            append_head(&mut out, Duration::from_micros(*at), length(bytes));
            out.extend_from_slice(bytes);
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_a_cut_file_up_to_its_last_whole_read(
            reads in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..8),
            cut in any::<proptest::sample::Index>(),
        ) {
            let file = written(&reads);
            let recording = Recording::parse(file.clone().into()).unwrap();
            prop_assert_eq!(&recording.checkpoint[..], b"state");
            prop_assert_eq!(&recording.header.stream, "ada");
            prop_assert!(!recording.cut);
            let got: Vec<_> =
                recording.reads.iter().map(|r| (r.at.as_micros() as u64, r.bytes.to_vec())).collect();
            prop_assert_eq!(&got, &reads);

            let cut = Bytes::from(file).slice(..cut.index(written(&reads).len()));
            if let Ok(part) = Recording::parse(cut) {
                prop_assert_eq!(&part.reads[..], &recording.reads[..part.reads.len()]);
            }
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = MAGIC.to_vec();
            file.extend(bytes);
            if let Ok(recording) = Recording::parse(file.into()) {
                prop_assert!(recording.bytes() <= 200);
            }
        }
    }
}
