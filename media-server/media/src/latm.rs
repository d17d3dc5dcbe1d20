//! LATM (ISO/IEC 14496-3 1.7): AAC as broadcasters' transport streams carry it, its configuration in band. Elements come
//! out of LOAS frames ([`crate::frames::Frames::loas`]); raw AAC frames come out of elements.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;

use crate::bits::Bits;

/// Bytes of one AAC frame at most: 6144 bits a channel (4.5.3.2), of eight.
const LONGEST: usize = 6144;

/// Why an element cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatmError {
    /// Cut short, or a length that cannot be.
    #[error("the LATM element is damaged")]
    Damaged,
    /// Of the syntax only what is used is read: one program of one layer, frames of their own length.
    #[error("LATM with {0} is not supported: set the encoder to AAC in ADTS")]
    Unsupported(&'static str),
    /// No configuration has come yet.
    #[error("no LATM configuration has come yet")]
    NoConfig,
}

/// Reads the elements of one stream.
#[derive(Clone, Debug, Default)]
pub struct Latm {
    config: Option<StreamConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct StreamConfig {
    /// AudioSpecificConfig.
    audio: Bytes,
    sub_frames: u32,
}

fn need<T>(value: Option<T>) -> Result<T, LatmError> {
    value.ok_or(LatmError::Damaged)
}

/// `LatmGetValue` (table 1.43).
fn value(bits: &mut Bits<'_>) -> Result<u32, LatmError> {
    let bytes = need(bits.read(2))?.saturating_add(1);
    need(bits.read(bytes.saturating_mul(8)))
}

/// So many bits as bytes, the last filled up with zeros.
fn octets(bits: &mut Bits<'_>, count: u32) -> Result<Vec<u8>, LatmError> {
    let mut out = Vec::with_capacity(count.div_ceil(8) as usize);
    let mut left = count;
    while left > 0 {
        let now = left.min(8);
        let shift = 8_u32.saturating_sub(now);
        out.push((need(bits.read(now))? << shift) as u8);
        left = left.saturating_sub(now);
    }
    Ok(out)
}

/// How many bits of an AudioSpecificConfig there are, where nothing says it: what is read of it here.
fn config_bits(bits: &Bits<'_>) -> Result<u32, LatmError> {
    const EXPLICIT: u32 = 15;
    const SBR: u32 = 5;
    const PS: u32 = 29;
    let mut bits = bits.clone();
    let mut length = 13_u32;
    let mut object = need(bits.read(5))?;
    let rate = |bits: &mut Bits<'_>, length: &mut u32| {
        if need(bits.read(4))? == EXPLICIT {
            need(bits.skip(24))?;
            *length = length.saturating_add(24);
        }
        Ok(())
    };
    rate(&mut bits, &mut length)?;
    let layout = need(bits.read(4))?;
    if object == SBR || object == PS {
        rate(&mut bits, &mut length)?;
        object = need(bits.read(5))?;
        length = length.saturating_add(9);
    }
    if !(1..=4).contains(&object) {
        return Err(LatmError::Unsupported("another codec than AAC"));
    }
    if layout == 0 {
        return Err(LatmError::Unsupported("a channel layout of its own"));
    }
    // GASpecificConfig (4.4.1): frame length, core coder, extension.
    let _frame_length = need(bits.bit())?;
    if need(bits.bit())? {
        return Err(LatmError::Unsupported("a core coder"));
    }
    let _extension = need(bits.bit())?;
    Ok(length.saturating_add(3))
}

impl StreamConfig {
    /// `StreamMuxConfig` (table 1.42).
    fn read(bits: &mut Bits<'_>) -> Result<Self, LatmError> {
        let version = need(bits.bit())?;
        if version {
            if need(bits.bit())? {
                return Err(LatmError::Unsupported("audioMuxVersionA 1"));
            }
            let _fullness = value(bits)?;
        }
        let same_framing = need(bits.bit())?;
        let sub_frames = need(bits.read(6))?.saturating_add(1);
        let (programs, layers) = (need(bits.read(4))?, need(bits.read(3))?);
        if programs > 0 || layers > 0 || !same_framing {
            return Err(LatmError::Unsupported("several programs or layers"));
        }
        let audio = if version {
            let length = value(bits)?;
            if length > 512 {
                return Err(LatmError::Damaged);
            }
            octets(bits, length)?
        } else {
            let length = config_bits(bits)?;
            octets(bits, length)?
        };
        if need(bits.read(3))? != 0 {
            return Err(LatmError::Unsupported("frames of a fixed length"));
        }
        let _fullness = need(bits.read(8))?;
        if need(bits.bit())? {
            // Other data's length, which comes behind the payload: nobody looks there.
            if version {
                let _length = value(bits)?;
            } else {
                while need(bits.bit())? {
                    need(bits.skip(8))?;
                }
                need(bits.skip(8))?;
            }
        }
        if need(bits.bit())? {
            need(bits.skip(8))?;
        }
        Ok(Self { audio: audio.into(), sub_frames })
    }
}

impl Latm {
    /// The raw frames of an element (`AudioMuxElement` with its configuration in band, table 1.41), and their
    /// AudioSpecificConfig.
    pub fn element(&mut self, element: &[u8]) -> Result<(Bytes, Vec<Bytes>), LatmError> {
        let mut bits = Bits::new(element);
        if !need(bits.bit())? {
            self.config = Some(StreamConfig::read(&mut bits)?);
        }
        let config = self.config.as_ref().ok_or(LatmError::NoConfig)?;
        let mut frames = Vec::new();
        for _ in 0..config.sub_frames {
            let mut length = 0_u32;
            loop {
                let part = need(bits.read(8))?;
                length = length.saturating_add(part);
                if part != 255 {
                    break;
                }
            }
            if length as usize > LONGEST {
                return Err(LatmError::Damaged);
            }
            frames.push(octets(&mut bits, length.saturating_mul(8))?.into());
        }
        Ok((config.audio.clone(), frames))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits, most significant first.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(&mut self, value: u32, count: u32) {
            self.0.extend((0..count).rev().map(|at| value >> at & 1 == 1));
        }

        fn bytes(&self) -> Vec<u8> {
            let octet = |bits: &[bool]| {
                bits.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << (7 - at))
            };
            self.0.chunks(8).map(octet).collect()
        }
    }

    /// An element of AAC-LC, 48 kHz stereo: `same` without its configuration.
    fn element(same: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = Writer::default();
        out.put(u32::from(same), 1);
        if !same {
            out.put(0, 1);
            out.put(1, 1);
            out.put(0, 13);
            out.put(0x1190, 16);
            out.put(0, 3);
            out.put(0xff, 8);
            out.put(0, 2);
        }
        for _ in 0..payload.len() / 255 {
            out.put(255, 8);
        }
        out.put((payload.len() % 255) as u32, 8);
        for byte in payload {
            out.put(u32::from(*byte), 8);
        }
        out.bytes()
    }

    #[test]
    fn frames_come_out_with_the_configuration_that_came_in_band() {
        let mut latm = Latm::default();
        assert_eq!(latm.element(&element(true, b"early")), Err(LatmError::NoConfig));
        for (same, length) in [(false, 5), (true, 254), (true, 255), (true, 700)] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let (config, frames) = latm.element(&element(same, &payload)).unwrap();
            assert_eq!(&config[..], [0x11, 0x90]);
            assert_eq!(frames, [payload]);
        }
        let cut = element(true, &[7; 300]);
        assert_eq!(latm.element(&cut[..200]), Err(LatmError::Damaged));
    }

    proptest! {
        #[test]
        fn any_element_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut latm = Latm::default();
            let _first = latm.element(&bytes).is_ok();
            let _configured = latm.element(&element(false, b"frame")).is_ok();
            let _second = latm.element(&bytes).is_ok();
        }
    }
}
