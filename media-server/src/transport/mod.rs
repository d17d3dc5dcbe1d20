//! A stream's units as an MPEG transport stream, for whoever takes one: SRT players and pushes. And calls of other servers, by SRT and by TCP.

mod srt_line;
mod tcp_line;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use media::elementary::{Coding, Elementary, ElementaryError};
use media::{AccessUnit, Format, Kind, Timestamp};
use wire::ts::{self, Muxer};

pub use srt_line::{SrtLine, SrtLineError, give};
pub use tcp_line::{Line, connect};

/// Ticks a second of a transport stream's timestamps.
const RATE: u32 = 90_000;

/// Packets of one unit, for whoever takes the stream.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// A whole number of packets.
    pub bytes: Bytes,
    /// Who begins here can decode what follows.
    pub joins: bool,
}

/// Why there is nothing to take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFeed {
    /// Nobody publishes it.
    #[error("no such stream is live")]
    Stream,
    /// It is fetched when it is wanted, and on its way.
    #[error("the stream is being fetched; try again")]
    Starting,
    /// It has others.
    #[error("the stream has no such rung; it has {}", .0.join(", "))]
    Rung(Vec<String>),
}

/// Writes one program: a picture, a sound, or both.
#[derive(Debug, Default)]
pub struct Program {
    muxer: Muxer,
    video: Option<(Arc<Format>, Elementary)>,
    audio: Option<(Arc<Format>, Elementary)>,
}

impl Program {
    /// A program whose first table names these tracks already. One that cannot be carried is left out.
    pub fn new(formats: impl IntoIterator<Item = Arc<Format>>) -> Self {
        let mut program = Self::default();
        for format in formats {
            if let Err(error) = program.take(&format) {
                tracing::debug!(%error, "not carried");
            }
        }
        program.declare();
        program
    }

    /// Takes a format in. True: it is another one than before.
    fn take(&mut self, format: &Arc<Format>) -> Result<bool, ElementaryError> {
        let place = match format.kind() {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        if place.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, format) || known == format) {
            return Ok(false);
        }
        *place = Some((Arc::clone(format), Elementary::new(format)?));
        Ok(true)
    }

    fn declare(&mut self) {
        let streams: Vec<_> =
            self.video.iter().chain(&self.audio).map(|(_, it)| stream(it.coding())).collect();
        self.muxer.set(&streams);
    }

    /// The packets of a unit: a whole number of them. An error: it cannot be carried.
    pub fn write(&mut self, format: &Arc<Format>, unit: &AccessUnit) -> Result<Bytes, ElementaryError> {
        if self.take(format)? {
            self.declare();
        }
        let (stream, place) = match format.kind() {
            Kind::Video => (0, &self.video),
            Kind::Audio => (usize::from(self.video.is_some()), &self.audio),
        };
        let mut out = BytesMut::new();
        let Some(pieces) = place.as_ref().and_then(|(_, elementary)| elementary.pieces(unit)) else {
            return Ok(out.freeze());
        };
        let data: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        let ticks = |at: Timestamp| u64::try_from(at.ticks(RATE)).unwrap_or(0);
        let unit = ts::Unit {
            stream,
            pts: ticks(unit.pts),
            dts: ticks(unit.dts),
            random_access: unit.keyframe,
            data: &data,
        };
        self.muxer.write(&unit, &mut out);
        Ok(out.freeze())
    }
}

fn stream(coding: Coding) -> ts::Elementary {
    let (coding, channels) = match coding {
        Coding::H264 => (ts::Coding::H264, 0),
        Coding::Hevc => (ts::Coding::Hevc, 0),
        Coding::Adts => (ts::Coding::Adts, 0),
        Coding::Opus(channels) => (ts::Coding::Opus, channels),
    };
    ts::Elementary { coding, channels }
}
