//! What a publisher sends as one HEVC access unit, made into what the house carries.

use bytes::Bytes;

use super::{Config, kind, nal_kind};
use crate::h264::{from_annex_b, nals, widen};
use crate::intake::Picture;

/// Takes the access units of one publisher, in order.
#[derive(Clone, Debug)]
pub struct Intake {
    length_size: u8,
    in_band: Config,
}

struct Walk {
    whole: bool,
    irap: bool,
    picture: bool,
    sets: Config,
}

impl Intake {
    /// For payloads with lengths of `length_size` bytes.
    pub fn new(length_size: u8) -> Self {
        Self { length_size, in_band: Config { length_size: 4, ..Config::default() } }
    }

    /// The unit to go on with, or `None` where it is damaged or has no picture.
    pub fn accept(&mut self, payload: Bytes) -> Option<Picture> {
        let mut size = self.length_size;
        let mut payload = payload;
        let mut walked = walk(&payload, size);
        if !walked.whole && (payload.starts_with(&[0, 0, 0, 1]) || payload.starts_with(&[0, 0, 1])) {
            // Some encoders send Annex B although their header announces lengths.
            payload = from_annex_b(&payload);
            size = 4;
            walked = walk(&payload, size);
        }
        if !walked.whole {
            return None;
        }
        // An encoder repeats all its sets before a keyframe.
        if !walked.sets.sps.is_empty() {
            self.in_band = Config { length_size: 4, ..walked.sets };
        }
        if !walked.picture {
            return None;
        }
        let payload = if size == 4 { payload } else { widen(&payload, size) };
        Some(Picture { payload, keyframe: walked.irap })
    }

    /// The parameter sets seen last within access units.
    pub fn in_band(&self) -> Option<&Config> {
        Some(&self.in_band).filter(|sets| sets.is_whole())
    }
}

fn walk(payload: &Bytes, size: u8) -> Walk {
    let mut walk = Walk { whole: true, irap: false, picture: false, sets: Config::default() };
    for nal in nals(payload, size) {
        let Ok(nal) = nal else {
            walk.whole = false;
            break;
        };
        if walk.sets.note(&nal) {
            continue;
        }
        let kind = nal_kind(&nal);
        walk.picture |= kind <= kind::LAST_SLICE;
        walk.irap |= kind::IRAP.contains(&kind);
    }
    walk
}
