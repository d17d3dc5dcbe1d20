//! Reads bit fields and Exp-Golomb codes (ITU-T H.264 9.1) out of a byte slice. Nothing here panics: past the end
//! every read answers `None`.

/// A cursor over the bits of a slice, most significant bit first.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The next bit.
    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.data.get(self.position / 8)?;
        let shift = 7 - (self.position % 8);
        self.position = self.position.saturating_add(1);
        Some((byte >> shift) & 1 == 1)
    }

    /// The next `count` bits (at most 32) as a number.
    pub(crate) fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..count.min(32) {
            value = (value << 1) | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// Steps over `count` bits.
    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.position.checked_add(count)?;
        if end > self.data.len().saturating_mul(8) {
            return None;
        }
        self.position = end;
        Some(())
    }

    /// Steps to the next byte boundary.
    pub(crate) fn align(&mut self) {
        self.position = self.position.div_ceil(8).saturating_mul(8);
    }

    /// ue(v): an unsigned Exp-Golomb code of at most 32 bits of value.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0_u32;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let base = (1_u32 << zeros).saturating_sub(1);
        base.checked_add(self.read(zeros)?)
    }

    /// se(v): a signed Exp-Golomb code.
    pub(crate) fn se(&mut self) -> Option<i32> {
        let code = self.ue()?;
        let magnitude = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { magnitude } else { magnitude.saturating_neg() })
    }
}

/// Removes emulation prevention bytes of a NAL unit (ITU-T H.264 7.4.1, H.265 7.4.2): 00 00 03 becomes 00 00.
pub(crate) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0_u32;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros.saturating_add(1) } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_read_as_the_standard_lists_them() {
        // 1 010 011 00100 00101, then padding.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&data);
        assert_eq!(
            [bits.ue(), bits.ue(), bits.ue(), bits.ue(), bits.ue()].map(Option::unwrap),
            [0, 1, 2, 3, 4]
        );
        let mut bits = Bits::new(&data);
        assert_eq!(
            [bits.se(), bits.se(), bits.se(), bits.se(), bits.se()].map(Option::unwrap),
            [0, 1, -1, 2, -2]
        );
    }

    #[test]
    fn the_end_is_none_and_never_a_panic() {
        let mut bits = Bits::new(&[0, 0, 0, 0, 0]);
        assert_eq!(bits.ue(), None);
        assert_eq!(Bits::new(&[]).bit(), None);
        assert_eq!(Bits::new(&[0xff]).read(9), None);
        assert_eq!(Bits::new(&[0xff]).skip(9), None);
    }
}
