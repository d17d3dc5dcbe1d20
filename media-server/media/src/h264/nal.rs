//! NAL units of a length-prefixed access unit: borrowed slices of its payload, nothing copied.

use bytes::{BufMut, Bytes, BytesMut};

/// NAL unit types (ITU-T H.264 table 7-1) that the house looks at.
pub mod kind {
    /// First of the coded slices (non-IDR).
    pub const SLICE: u8 = 1;
    /// Coded slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
}

/// nal_unit_type of a NAL unit; 0 (unspecified) for an empty one.
pub fn nal_kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |byte| byte & 0x1f)
}

/// Rewrites lengths of `size` bytes as lengths of 4.
pub(crate) fn widen(payload: &Bytes, size: u8) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len().saturating_add(64));
    for nal in nals(payload, size).map_while(Result::ok) {
        let Ok(length) = u32::try_from(nal.len()) else { continue };
        out.put_u32(length);
        out.put_slice(&nal);
    }
    out.freeze()
}

/// A length reaches beyond the payload, or the payload ends within a length: the access unit was cut or is not
/// length-prefixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NAL unit at byte {offset} reaches beyond its access unit")]
pub struct Damaged {
    /// Where in the payload the bad length stands.
    pub offset: usize,
}

/// Iterates the NAL units of a length-prefixed payload; empty units are skipped. After an error it ends.
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    payload: &'a Bytes,
    offset: usize,
    length_size: u8,
}

/// The NAL units of `payload`, whose lengths take `length_size` bytes (1, 2 or 4; 3 is read too).
pub fn nals(payload: &Bytes, length_size: u8) -> Nals<'_> {
    Nals { payload, offset: 0, length_size: length_size.clamp(1, 4) }
}

impl Nals<'_> {
    /// Byte range of the next NAL unit, which may be empty.
    fn range(&mut self) -> Option<Result<(usize, usize), Damaged>> {
        if self.offset >= self.payload.len() {
            return None;
        }
        let at = self.offset;
        let damaged = Some(Err(Damaged { offset: at }));
        let start = at.saturating_add(usize::from(self.length_size));
        // Whatever follows a bad length has no meaning.
        self.offset = usize::MAX;
        let Some(prefix) = self.payload.get(at..start) else { return damaged };
        let length = prefix.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let end = start.saturating_add(length);
        if end > self.payload.len() {
            return damaged;
        }
        self.offset = end;
        Some(Ok((start, end)))
    }
}

impl Iterator for Nals<'_> {
    type Item = Result<Bytes, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.range()? {
                Ok((start, end)) if start == end => {}
                Ok((start, end)) => return Some(Ok(self.payload.slice(start..end))),
                Err(damaged) => return Some(Err(damaged)),
            }
        }
    }
}

/// Whether a payload of 4-byte lengths holds a slice of an IDR picture. Damage ends the search.
pub fn is_idr(payload: &Bytes) -> bool {
    nals(payload, 4).map_while(Result::ok).any(|nal| nal_kind(&nal) == kind::IDR)
}

/// SPS and PPS found in band, in order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Sequence parameter sets, NAL header included.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets, NAL header included.
    pub pps: Vec<Bytes>,
}

impl ParameterSets {
    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.sps.is_empty() && self.pps.is_empty()
    }

    /// Keeps `nal` if it is a parameter set; as many as a configuration record can hold (31 and 255).
    pub(super) fn note(&mut self, nal: &Bytes) {
        match nal_kind(nal) {
            kind::SPS if self.sps.len() < 31 => self.sps.push(nal.clone()),
            kind::PPS if self.pps.len() < 255 => self.pps.push(nal.clone()),
            _ => {}
        }
    }
}

/// The parameter sets within a payload. Damage ends the search.
pub fn parameter_sets(payload: &Bytes, length_size: u8) -> ParameterSets {
    let mut sets = ParameterSets::default();
    nals(payload, length_size).map_while(Result::ok).for_each(|nal| sets.note(&nal));
    sets
}
