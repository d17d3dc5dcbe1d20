//! Packet sequence numbers: 31 bits, around and around (3.1).

/// One past the highest number.
const RANGE: u32 = 1 << 31;

/// A packet's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sequence(u32);

impl Sequence {
    /// The lower 31 bits.
    pub(super) fn new(number: u32) -> Self {
        Self(number & (RANGE - 1))
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    pub(super) fn plus(self, count: u32) -> Self {
        Self::new(self.0.wrapping_add(count))
    }

    /// How far `self` is behind `earlier`, the short way around: negative where it comes before.
    pub(super) fn since(self, earlier: Self) -> i32 {
        // Shifted to the top, two's complement does the wrapping.
        (self.0.wrapping_sub(earlier.0) << 1).cast_signed() >> 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap() {
        let last = Sequence::new(RANGE - 1);
        assert_eq!(last.plus(1), Sequence::new(0));
        assert_eq!((Sequence::new(3).since(last), last.since(Sequence::new(3))), (4, -4));
        assert_eq!(Sequence::new(7).since(Sequence::new(7)), 0);
    }
}
