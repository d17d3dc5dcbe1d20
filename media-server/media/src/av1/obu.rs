//! Open bitstream units (AV1 specification 5.3).

use bytes::Bytes;

/// obu_type (6.2.2) as far as the house looks at them.
pub(super) mod kind {
    pub(in crate::av1) const SEQUENCE_HEADER: u8 = 1;
    pub(in crate::av1) const TEMPORAL_DELIMITER: u8 = 2;
    pub(in crate::av1) const FRAME_HEADER: u8 = 3;
    pub(in crate::av1) const FRAME: u8 = 6;
}

/// One unit of a temporal unit.
pub(super) struct Obu {
    pub(super) kind: u8,
    /// Where it begins and ends in what was walked, header included.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Behind header and size.
    pub(super) payload: Bytes,
}

/// The units of `data`; `None` within where they do not fit it. The last one may do without a size.
pub(super) fn obus(data: &Bytes) -> impl Iterator<Item = Option<Obu>> + '_ {
    let mut at = Some(0_usize);
    std::iter::from_fn(move || {
        let start = at.filter(|at| *at < data.len())?;
        let obu = read(data, start);
        at = obu.as_ref().map(|obu| obu.end);
        Some(obu)
    })
}

fn read(data: &Bytes, start: usize) -> Option<Obu> {
    let header = *data.get(start)?;
    let (forbidden, extended, sized) = (header & 0x80 != 0, header & 0x04 != 0, header & 0x02 != 0);
    if forbidden {
        return None;
    }
    let mut at = start.checked_add(if extended { 2 } else { 1 })?;
    let end = if sized {
        let (size, length) = leb128(data.get(at..)?)?;
        at = at.checked_add(length)?;
        at.checked_add(size)?
    } else {
        data.len()
    };
    if at > end || end > data.len() {
        return None;
    }
    Some(Obu { kind: header >> 3 & 0x0f, start, end, payload: data.slice(at..end) })
}

/// leb128() (4.10.5): the value and the bytes it took.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, index.saturating_add(1)));
        }
    }
    None
}
