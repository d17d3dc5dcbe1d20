//! What a publisher sends as one access unit, made into what the house carries: 4-byte lengths, whole NAL units,
//! a picture in it. Never an error: a unit that cannot be repaired is dropped and counted.

use bytes::Bytes;

use super::nal::{ParameterSets, kind, nal_kind, nals, widen};
use super::{annex_b_nals, from_annex_b};

/// An access unit fit to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// NAL units with 4-byte lengths; the bytes that came in wherever they were right.
    pub payload: Bytes,
    /// An IDR picture: decoding can begin here.
    pub idr: bool,
    /// Parameter sets found within the unit.
    pub sets: ParameterSets,
}

/// How often each repair was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// Units dropped because a NAL unit reaches beyond its end.
    pub truncated: u64,
    /// Units dropped because no coded picture is in them (only SEI, delimiters, parameter sets…).
    pub pictureless: u64,
    /// Units kept, a few stray bytes at their end cut off.
    pub trimmed: u64,
    /// Units kept, sent with start codes where lengths were announced.
    pub annex_b: u64,
}

/// Takes the access units of one publisher, in order.
#[derive(Clone, Debug)]
pub struct Intake {
    length_size: u8,
    damages: Damages,
    in_band: ParameterSets,
}

/// What one walk over a payload saw.
struct Walk {
    /// Payload is whole up to here.
    good: usize,
    idr: bool,
    picture: bool,
    sets: ParameterSets,
}

impl Intake {
    /// For payloads with lengths of `length_size` bytes ([`super::Config::length_size`]).
    pub fn new(length_size: u8) -> Self {
        Self { length_size, damages: Damages::default(), in_band: ParameterSets::default() }
    }

    /// Lengths take so many bytes from here on.
    pub fn set_length_size(&mut self, length_size: u8) {
        self.length_size = length_size;
    }

    /// The unit to go on with, or `None` where it had to be dropped ([`Intake::damages`] says why).
    pub fn accept(&mut self, payload: Bytes) -> Option<Picture> {
        let size = self.length_size;
        let walk = walk(&payload, size);
        let (payload, walk, size) = if walk.good == payload.len() {
            (payload, walk, size)
        } else if let Some(repaired) = self.repair(&payload, &walk) {
            repaired
        } else {
            self.damages.truncated = self.damages.truncated.saturating_add(1);
            return None;
        };
        if !walk.sets.is_empty() {
            self.in_band.clone_from(&walk.sets);
        }
        if !walk.picture {
            self.damages.pictureless = self.damages.pictureless.saturating_add(1);
            return None;
        }
        let payload = if size == 4 { payload } else { widen(&payload, size) };
        Some(Picture { payload, idr: walk.idr, sets: walk.sets })
    }

    /// The repaired payload, its walk and its length size.
    fn repair(&mut self, payload: &Bytes, walked: &Walk) -> Option<(Bytes, Walk, u8)> {
        // Some encoders send Annex B although their header announces lengths.
        if payload.starts_with(&[0, 0, 0, 1]) || payload.starts_with(&[0, 0, 1]) {
            let converted = from_annex_b(payload);
            let walk = walk(&converted, 4);
            if walk.picture && annex_b_nals(payload).all(|nal| nal.first().is_some_and(|b| b & 0x80 == 0)) {
                self.damages.annex_b = self.damages.annex_b.saturating_add(1);
                return Some((converted, walk, 4));
            }
        }
        // Fewer bytes than a length has, behind whole NAL units: padding.
        let rest = payload.len().saturating_sub(walked.good);
        if rest < usize::from(self.length_size) && walked.picture {
            let kept = payload.slice(..walked.good);
            self.damages.trimmed = self.damages.trimmed.saturating_add(1);
            let walk = walk(&kept, self.length_size);
            return Some((kept, walk, self.length_size));
        }
        None
    }

    /// What was repaired and dropped so far.
    pub fn damages(&self) -> Damages {
        self.damages
    }

    /// The parameter sets seen last within access units, also within those dropped for want of a picture: a stream
    /// whose configuration lacks them can be configured from here.
    pub fn in_band(&self) -> &ParameterSets {
        &self.in_band
    }
}

fn walk(payload: &Bytes, size: u8) -> Walk {
    let mut walk = Walk { good: payload.len(), idr: false, picture: false, sets: ParameterSets::default() };
    for nal in nals(payload, size) {
        match nal {
            Ok(nal) => match nal_kind(&nal) {
                kind::IDR => (walk.idr, walk.picture) = (true, true),
                // Slices and data partitions (ITU-T H.264 table 7-1, VCL).
                kind::SLICE..=4 => walk.picture = true,
                _ => walk.sets.note(&nal),
            },
            Err(damaged) => walk.good = damaged.offset,
        }
    }
    walk
}
