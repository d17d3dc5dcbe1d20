//! Why a connection cannot go on.

use crate::amf0;

/// Why a connection cannot go on. `at` is the position in the peer's byte stream, handshake included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The first byte is not version 3: not RTMP (or RTMPE, which is not offered).
    #[error("not an RTMP client: version byte is {version:#04x}")]
    Version {
        /// What came instead of 3.
        version: u8,
    },
    /// A message declared longer than its limit.
    #[error("message of {length} bytes is over the limit of {limit} at byte {at}")]
    MessageTooLarge {
        /// The declared length, in bytes.
        length: usize,
        /// The limit for its kind, in bytes.
        limit: usize,
        /// See the type.
        at: u64,
    },
    /// More chunk streams than the limit.
    #[error("more than {limit} chunk streams at byte {at}")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
        /// See the type.
        at: u64,
    },
    /// Unfinished messages take more memory than the limit.
    #[error("unfinished messages need more than {limit} bytes at byte {at}")]
    TooMuchBuffered {
        /// The limit, in bytes.
        limit: usize,
        /// See the type.
        at: u64,
    },
    /// A compressed chunk header on a chunk stream that had no full one: its length is unknown.
    #[error("chunk stream {chunk_stream} starts with a compressed header at byte {at}")]
    MissingHeader {
        /// The chunk stream's id.
        chunk_stream: u32,
        /// See the type.
        at: u64,
    },
    /// A chunk size of 0 or beyond 31 bits.
    #[error("chunk size {size} is not possible at byte {at}")]
    ChunkSize {
        /// What the peer wants, in bytes.
        size: u32,
        /// See the type.
        at: u64,
    },
    /// A message type that nobody sends before `connect`.
    #[error("message type {kind} before connect at byte {at}")]
    UnexpectedMessage {
        /// The message type id.
        kind: u8,
        /// See the type.
        at: u64,
    },
    /// A command that cannot be read, from a peer that is not yet publishing.
    #[error("command before byte {at} cannot be read")]
    Command {
        /// What is wrong with it.
        source: amf0::DecodeError,
        /// See the type.
        at: u64,
    },
    /// The peer asks faster than it takes the answers.
    #[error("more than {limit} bytes of answers wait at byte {at}")]
    TooMuchOutput {
        /// The limit, in bytes.
        limit: usize,
        /// See the type.
        at: u64,
    },
}

impl SessionError {
    /// The peer does not speak RTMP at all.
    pub fn is_not_rtmp(&self) -> bool {
        matches!(self, Self::Version { .. })
    }

    /// A bound was hit, rather than a rule of the protocol broken.
    pub fn is_limit(&self) -> bool {
        match self {
            Self::MessageTooLarge { .. }
            | Self::TooManyChunkStreams { .. }
            | Self::TooMuchBuffered { .. }
            | Self::TooMuchOutput { .. } => true,
            Self::Command { source, .. } => source.is_limit(),
            _ => false,
        }
    }

    /// Where in the peer's byte stream, handshake included.
    pub fn position(&self) -> u64 {
        match *self {
            Self::Version { .. } => 0,
            Self::MessageTooLarge { at, .. }
            | Self::TooManyChunkStreams { at, .. }
            | Self::TooMuchBuffered { at, .. }
            | Self::MissingHeader { at, .. }
            | Self::ChunkSize { at, .. }
            | Self::UnexpectedMessage { at, .. }
            | Self::Command { at, .. }
            | Self::TooMuchOutput { at, .. } => at,
        }
    }
}
