//! Headers of AC-3 and Enhanced AC-3 (ETSI TS 102 366 4.4 and E.1.3).

use crate::bits::Bits;
use crate::frames::Head;

/// Bytes that are looked at.
pub(crate) const HEADER: usize = 8;

/// Kilobits a second by half of `frmsizecod`.
const RATES: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];
/// Channels by `acmod`, without the low-frequency one.
const CHANNELS: [u16; 8] = [2, 1, 2, 3, 3, 4, 4, 5];
/// Blocks of 256 samples by `numblkscod`.
const BLOCKS: [u32; 4] = [1, 2, 3, 6];

/// Whether a frame is of Enhanced AC-3.
pub fn is_enhanced(frame: &[u8]) -> bool {
    frame.get(5).is_some_and(|byte| byte >> 3 > 10)
}

/// Reads a frame's head. None: there is none here. Samples are 0 where the frame belongs to one before it: more
/// channels of the same time.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let bytes = *bytes.first_chunk::<HEADER>()?;
    if !bytes.starts_with(&[0x0b, 0x77]) {
        return None;
    }
    match bytes[5] >> 3 {
        0..=10 => plain(bytes),
        11..=16 => enhanced(bytes),
        _ => None,
    }
}

fn plain(bytes: [u8; HEADER]) -> Option<Head> {
    let mut bits = Bits::new(bytes.get(4..)?);
    let rate = *SAMPLE_RATES.get(bits.read(2)? as usize)?;
    let code = bits.read(6)?;
    let kbit = *RATES.get((code / 2) as usize)?;
    bits.skip(8)?;
    let layout = bits.read(3)?;
    // cmixlev, surmixlev, dsurmod.
    if layout & 1 == 1 && layout != 1 {
        bits.skip(2)?;
    }
    if layout & 4 != 0 {
        bits.skip(2)?;
    }
    if layout == 2 {
        bits.skip(2)?;
    }
    let words = match rate {
        48_000 => kbit * 2,
        32_000 => kbit * 3,
        _ => kbit * 320 / 147 + (code & 1),
    };
    let channels = CHANNELS.get(layout as usize)?.checked_add(u16::from(bits.bit()?))?;
    Some(Head { length: (words * 2) as usize, sample_rate: rate, channels, samples: 1536 })
}

fn enhanced(bytes: [u8; HEADER]) -> Option<Head> {
    let mut bits = Bits::new(bytes.get(2..)?);
    let kind = bits.read(2)?;
    bits.skip(3)?;
    let length = (bits.read(11)? as usize).checked_add(1)?.checked_mul(2)?;
    let code = bits.read(2)? as usize;
    let (rate, blocks) = if code == 3 {
        (SAMPLE_RATES.get(bits.read(2)? as usize)? / 2, 6)
    } else {
        (*SAMPLE_RATES.get(code)?, *BLOCKS.get(bits.read(2)? as usize)?)
    };
    let channels = CHANNELS.get(bits.read(3)? as usize)?.checked_add(u16::from(bits.bit()?))?;
    let samples = if kind == 1 { 0 } else { blocks * 256 };
    (length > HEADER).then_some(Head { length, sample_rate: rate, channels, samples })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_of_known_frames() {
        // 48 kHz, 448 kbit/s, 5.1.
        let got = head(&[0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0xf8]).unwrap();
        assert_eq!(got, Head { length: 1792, sample_rate: 48_000, channels: 6, samples: 1536 });
        // 44.1 kHz, 192 kbit/s, stereo, the longer of two lengths.
        let got = head(&[0x0b, 0x77, 0, 0, 0x55, 0x40, 0x40, 0]).unwrap();
        assert_eq!(got, Head { length: 836, sample_rate: 44_100, channels: 2, samples: 1536 });
        // Enhanced, 48 kHz, six blocks, stereo, 768 bytes.
        let bytes = [0x0b, 0x77, 0x01, 0x7f, 0x34, 0x80, 0, 0];
        let got = head(&bytes).unwrap();
        assert_eq!(got, Head { length: 768, sample_rate: 48_000, channels: 2, samples: 1536 });
        assert!(is_enhanced(&bytes));
        // More channels of the same time.
        assert_eq!(head(&[0x0b, 0x77, 0x41, 0x7f, 0x34, 0x80, 0, 0]).unwrap().samples, 0);
        assert_eq!(head(&[0x0b, 0x78, 0, 0, 0x1e, 0x40, 0xe1, 0xf8]), None);
    }

    proptest! {
        #[test]
        fn a_frame_is_longer_than_its_head(rest in any::<[u8; 6]>()) {
            let mut bytes = [0x0b, 0x77, 0, 0, 0, 0, 0, 0];
            bytes[2..].copy_from_slice(&rest);
            if let Some(head) = head(&bytes) {
                prop_assert!(head.length > HEADER && head.channels > 0);
            }
        }
    }
}
