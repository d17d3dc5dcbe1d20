//! The state of a live session between two reads, as bytes: whoever has it and what was read afterwards can read that
//! again. It is what the flight recorder begins with.

use serde::{Deserialize, Serialize};

use super::chunk::ChunkReader;
use super::client::{self, Client};
use super::held::Held;
use super::limits::Limits;
use super::session::{Phase, Session};

/// Changes whenever the fields below do.
const VERSION: u8 = 1;

/// Why a checkpoint was not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Made by another version.
    #[error("the checkpoint has version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Cut off, or not a checkpoint.
    #[error("the checkpoint cannot be read")]
    Unreadable,
    /// Its fields contradict each other or the limits.
    #[error("the checkpoint is not one that a session could have made")]
    Unsound,
}

/// Borrowed to write, owned to read: one layout.
#[derive(Serialize)]
struct Written<'a> {
    version: u8,
    stream: u32,
    reader: &'a ChunkReader,
    held: &'a Held,
}

#[derive(Deserialize)]
struct Read {
    stream: u32,
    reader: ChunkReader,
    held: Held,
}

fn written(stream: u32, reader: &ChunkReader, held: &Held) -> Option<Vec<u8>> {
    postcard::to_allocvec(&Written { version: VERSION, stream, reader, held }).ok()
}

impl Client {
    /// As [`Session::checkpoint`], of what is played: media come as a publisher would send them, and a [`Session`] goes on
    /// from it.
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        let client::Phase::Live { stream } = self.phase else { return None };
        written(stream, &self.reader, &self.held)
    }
}

impl Session {
    /// The state of an accepted publish, without the names and keys that it came with; `None` in any other phase.
    /// Takes as much memory as [`Session::buffered`], and a little.
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        let Phase::Live { stream } = self.phase else { return None };
        written(stream, &self.reader, &self.held)
    }

    /// Goes on from a checkpoint: first come the metadata and sequence headers that were known, then the events of what
    /// is fed. The bytes may come from anywhere.
    pub fn resume(limits: Limits, checkpoint: &[u8]) -> Result<Self, CheckpointError> {
        let Some((version, state)) = checkpoint.split_first() else {
            return Err(CheckpointError::Unreadable);
        };
        if *version != VERSION {
            return Err(CheckpointError::Version(*version));
        }
        let Read { stream, mut reader, held } =
            postcard::from_bytes(state).map_err(|_| CheckpointError::Unreadable)?;
        if !(reader.restore(&limits) && held.is_sound()) {
            return Err(CheckpointError::Unsound);
        }
        let mut session = Self::new(limits, [0; 1528]);
        session.begin_resumed(stream, reader, held);
        Ok(session)
    }
}
