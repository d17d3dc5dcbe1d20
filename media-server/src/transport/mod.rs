//! A stream's units as an MPEG transport stream, for whoever takes one: SRT players and pushes. And calls of other servers, by SRT and by TCP.

pub mod rtc;
mod srt_line;
mod tcp_line;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use media::elementary::{Coding, Elementary, ElementaryError};
use media::{AccessUnit, Format, Language, Timestamp};
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

/// A place in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// The picture.
    Video,
    /// A sound: 0 is the first.
    Sound(u8),
}

/// A track of a program, as its format is now.
#[derive(Clone, Debug)]
pub struct Track {
    /// Where it belongs.
    pub slot: Slot,
    /// How it decodes.
    pub format: Arc<Format>,
    /// The language of a sound, where it is known.
    pub language: Option<Language>,
}

impl Track {
    /// One in no language that is known.
    pub fn new(slot: Slot, format: Arc<Format>) -> Self {
        Self { slot, format, language: None }
    }

    fn is_same(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.format, &other.format) || self.format == other.format;
        same && self.language == other.language
    }
}

/// Writes one program: a picture, sounds, or both.
#[derive(Debug, Default)]
pub struct Program {
    muxer: Muxer,
    /// In the order of their places.
    tracks: Vec<(Track, Elementary)>,
}

impl Program {
    /// A program whose first table names these tracks already. One that cannot be carried is left out.
    pub fn new(tracks: impl IntoIterator<Item = Track>) -> Self {
        let mut program = Self::default();
        for track in tracks {
            if let Err(error) = program.take(&track) {
                tracing::debug!(%error, "not carried");
            }
        }
        program.declare();
        program
    }

    /// Takes a track in; its place among the streams. True: it is another one than before.
    fn take(&mut self, track: &Track) -> Result<(usize, bool), ElementaryError> {
        match self.tracks.binary_search_by_key(&track.slot, |(known, _)| known.slot) {
            Ok(at) if self.tracks.get(at).is_some_and(|(known, _)| known.is_same(track)) => Ok((at, false)),
            Ok(at) => {
                let elementary = Elementary::new(&track.format)?;
                self.tracks.splice(at..=at, [(track.clone(), elementary)]);
                Ok((at, true))
            }
            Err(at) => {
                self.tracks.insert(at, (track.clone(), Elementary::new(&track.format)?));
                Ok((at, true))
            }
        }
    }

    fn declare(&mut self) {
        let stream = |(track, elementary): &(Track, Elementary)| stream(elementary.coding(), track);
        let streams: Vec<_> = self.tracks.iter().map(stream).collect();
        self.muxer.set(&streams);
    }

    /// The packets of a unit: a whole number of them. An error: it cannot be carried.
    pub fn write(&mut self, track: &Track, unit: &AccessUnit) -> Result<Bytes, ElementaryError> {
        let (stream, new) = self.take(track)?;
        if new {
            self.declare();
        }
        let mut out = BytesMut::new();
        let place = self.tracks.get(stream);
        let Some(pieces) = place.and_then(|(_, elementary)| elementary.pieces(unit)) else {
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

fn stream(coding: Coding, track: &Track) -> ts::Elementary {
    let place = match track.slot {
        Slot::Video => 0,
        Slot::Sound(number) => number.saturating_add(1),
    };
    let (coding, channels) = match coding {
        Coding::H264 => (ts::Coding::H264, 0),
        Coding::Hevc => (ts::Coding::Hevc, 0),
        Coding::Adts => (ts::Coding::Adts, 0),
        Coding::Opus(channels) => (ts::Coding::Opus, channels),
    };
    ts::Elementary { place, coding, channels, language: track.language.map(Language::iso639_2) }
}
