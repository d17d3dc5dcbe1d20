//! Walking ISO base media file format boxes (ISO/IEC 14496-12 4.2) in bytes that came from outside.

/// One box.
#[derive(Clone, Copy, Debug)]
pub struct Mp4Box<'a> {
    /// Its four-character code.
    pub kind: [u8; 4],
    /// Where its header begins in what was walked.
    pub start: usize,
    /// Where its body begins in what was walked.
    pub body_start: usize,
    /// What is in it.
    pub body: &'a [u8],
}

/// The bytes end inside a box, or a box says a size that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// Big-endian unsigned number of up to 8 bytes at `at`.
pub fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    bytes
        .get(at..at.checked_add(length)?)
        .map(|slice| slice.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// The boxes that lie side by side in `bytes`.
pub fn walk(bytes: &[u8]) -> Result<Vec<Mp4Box<'_>>, Truncated> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let size = number(bytes, at, 4).ok_or(Truncated)?;
        let kind = bytes.get(at + 4..at + 8).and_then(|k| k.try_into().ok()).ok_or(Truncated)?;
        let (header, size) = match size {
            0 => (8, (bytes.len() - at) as u64),
            1 => (16, number(bytes, at + 8, 8).ok_or(Truncated)?),
            size => (8, size),
        };
        let end = usize::try_from(size).ok().and_then(|size| at.checked_add(size)).ok_or(Truncated)?;
        let body = bytes.get(at + header..end).ok_or(Truncated)?;
        found.push(Mp4Box { kind, start: at, body_start: at + header, body });
        at = end;
    }
    Ok(found)
}

/// All boxes at the end of a path of nested boxes; parts of the path that are damaged count as empty.
pub fn find<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Vec<&'a [u8]> {
    let Some((first, rest)) = path.split_first() else { return vec![bytes] };
    walk(bytes)
        .unwrap_or_default()
        .into_iter()
        .filter(|b| b.kind == **first)
        .flat_map(|b| find(b.body, rest))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_boxes_are_found_and_cuts_are_named() {
        let inner = [&[0, 0, 0, 12][..], b"trexabcd"].concat();
        let outer = [&[0, 0, 0, 20][..], b"mvex", &inner].concat();
        assert_eq!(find(&outer, &[b"mvex", b"trex"]), [b"abcd"]);
        assert_eq!(walk(&outer[..19]).unwrap_err(), Truncated);
        assert_eq!(walk(&[0, 0, 0, 4, b'm', b'o', b'o', b'f']).unwrap_err(), Truncated);
    }
}
