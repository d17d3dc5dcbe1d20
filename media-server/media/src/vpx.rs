//! VP8 (RFC 6386) and VP9 (bitstream specification 0.6): what of them is needed to carry their frames. VP9 goes into
//! CMAF as it is ("VP Codec ISO Media File Format Binding" 1.0); VP8 is for decoders only: no player takes it there.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bits::Bits;
use crate::intake::Picture;
use crate::unit::VideoFormat;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RFC 6386.
    Vp8,
    /// VP9.
    Vp9,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VpxError {
    /// They have none: what must be known stands in each keyframe.
    #[error("VP8 and VP9 have no configuration record")]
    NoRecord,
}

/// What a keyframe says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    profile: u8,
    depth: u8,
    /// Of `vpcC`: 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    chroma: u8,
    full_range: bool,
    /// Colour primaries, transfer and matrix (ISO/IEC 23091-2); 2 is unspecified.
    colour: u8,
    width: u32,
    height: u32,
}

/// What a frame's header says.
enum Frame {
    Key(Key),
    /// It builds on others, or shows one again.
    Inter,
}

/// The luma samples of a picture, and those of a second, of each level; the levels' numbers are those of `vpcC`.
const LEVELS: [(u64, u64, u8); 12] = [
    (36_864, 829_440, 10),
    (73_728, 2_764_800, 11),
    (122_880, 4_608_000, 20),
    (245_760, 9_216_000, 21),
    (552_960, 20_736_000, 30),
    (983_040, 36_864_000, 31),
    (2_228_224, 83_558_400, 40),
    (2_228_224, 160_432_128, 41),
    (8_912_896, 311_951_360, 50),
    (8_912_896, 588_251_136, 51),
    (8_912_896, 1_176_502_272, 52),
    (35_651_584, 1_176_502_272, 60),
];
/// Pictures a second for which a level is chosen: frames do not say.
const RATE: u64 = 30;

/// Takes the frames of one publisher, in order.
#[derive(Clone, Debug)]
pub struct Intake {
    kind: Kind,
    key: Option<Key>,
    format: Option<VideoFormat>,
}

impl Intake {
    /// For frames of this kind.
    pub fn new(kind: Kind) -> Self {
        Self { kind, key: None, format: None }
    }

    /// Of which kind its frames are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The frame to go on with, or `None` where it is damaged.
    pub fn accept(&mut self, payload: Bytes) -> Option<Picture> {
        let frame = match self.kind {
            Kind::Vp8 => vp8(&payload)?,
            Kind::Vp9 => vp9(&payload)?,
        };
        let Frame::Key(key) = frame else { return Some(Picture { payload, keyframe: false }) };
        if self.key != Some(key) {
            self.key = Some(key);
            self.format = Some(key.format(self.kind));
        }
        Some(Picture { payload, keyframe: true })
    }

    /// The format of the newest keyframe.
    pub fn in_band(&self) -> Option<&VideoFormat> {
        self.format.as_ref()
    }
}

impl Key {
    fn format(self, kind: Kind) -> VideoFormat {
        let samples = u64::from(self.width).saturating_mul(u64::from(self.height));
        let fits = |(picture, second, _): &&(u64, u64, u8)| {
            samples <= *picture && samples.saturating_mul(RATE) <= *second
        };
        let level = LEVELS.iter().find(fits).map_or(62, |(.., level)| *level);
        let four = if kind == Kind::Vp9 { "vp09" } else { "vp08" };
        // VPCodecConfigurationBox: version 1, then the record, without initialization data.
        let mut config = BytesMut::with_capacity(12);
        config.put_u32(0x0100_0000);
        config.put_slice(&[self.profile, level]);
        config.put_u8(self.depth << 4 | self.chroma << 1 | u8::from(self.full_range));
        config.put_bytes(self.colour, 3);
        config.put_u16(0);
        VideoFormat {
            codec: format!("{four}.{:02}.{level}.{:02}", self.profile, self.depth),
            width: self.width,
            height: self.height,
            frame_rate: None,
            config: config.freeze(),
        }
    }
}

/// RFC 6386 9.1: None where it is no frame.
fn vp8(frame: &[u8]) -> Option<Frame> {
    let [tag, _, _, rest @ ..] = frame else { return None };
    if tag & 1 == 1 {
        return Some(Frame::Inter);
    }
    let [0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = rest else { return None };
    let size = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let (width, height) = (size(*w0, *w1), size(*h0, *h1));
    let key = Key { profile: tag >> 1 & 7, depth: 8, chroma: 1, full_range: false, colour: 2, width, height };
    (width > 0 && height > 0).then_some(Frame::Key(key))
}

/// `uncompressed_header` (6.2), as [`vp8`]. Of a superframe (annex B) the first frame speaks.
fn vp9(frame: &[u8]) -> Option<Frame> {
    const SYNC: u32 = 0x49_83_42;
    const SRGB: u32 = 7;
    let mut bits = Bits::new(frame);
    if bits.read(2)? != 2 {
        return None;
    }
    let (low, high) = (bits.read(1)?, bits.read(1)?);
    let profile = (high << 1 | low) as u8;
    if profile == 3 && bits.bit()? {
        return None;
    }
    if bits.bit()? {
        // An earlier frame is shown.
        return Some(Frame::Inter);
    }
    let (builds_on_others, _shown, _resilient) = (bits.bit()?, bits.bit()?, bits.bit()?);
    if builds_on_others {
        return Some(Frame::Inter);
    }
    if bits.read(24)? != SYNC {
        return None;
    }
    let depth = if profile >= 2 { if bits.bit()? { 12 } else { 10 } } else { 8 };
    let space = bits.read(3)?;
    let odd = profile & 1 == 1;
    let (full_range, chroma) = if space == SRGB {
        if odd {
            bits.skip(1)?;
        }
        (true, 3)
    } else {
        let full = bits.bit()?;
        let chroma = match odd.then(|| Some((bits.bit()?, bits.bit()?, bits.bit()?))) {
            Some(sampling) => match sampling? {
                (true, true, _) => 1,
                (true, false, _) => 2,
                _ => 3,
            },
            None => 1,
        };
        (full, chroma)
    };
    let colour = match space {
        1 | 3 => 6,
        2 => 1,
        4 => 7,
        5 => 9,
        _ => 2,
    };
    let (width, height) = (bits.read(16)?.saturating_add(1), bits.read(16)?.saturating_add(1));
    Some(Frame::Key(Key { profile, depth, chroma, full_range, colour, width, height }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first bytes of what libvpx made of 640x360.
    const VP9_KEY: [u8; 12] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70, 0x38, 0x24, 0x1c];
    const VP8_KEY: [u8; 10] = [0x10, 0x3a, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];

    #[test]
    fn a_keyframe_says_what_it_is() {
        let mut intake = Intake::new(Kind::Vp9);
        assert!(intake.accept(Bytes::from_static(&VP9_KEY)).unwrap().keyframe);
        let format = intake.in_band().unwrap();
        assert_eq!((format.codec.as_str(), format.width, format.height), ("vp09.00.21.08", 640, 360));
        assert_eq!(format.config[..], [1, 0, 0, 0, 0, 21, 0x82, 6, 6, 6, 0, 0]);
        let mut intake = Intake::new(Kind::Vp8);
        assert!(intake.accept(Bytes::from_static(&VP8_KEY)).unwrap().keyframe);
        let format = intake.in_band().unwrap();
        assert_eq!((format.codec.as_str(), format.width, format.height), ("vp08.00.21.08", 640, 360));
    }

    #[test]
    fn other_frames_go_on_and_damaged_ones_do_not() {
        let mut intake = Intake::new(Kind::Vp9);
        assert!(!intake.accept(Bytes::from_static(&[0x86, 0x00])).unwrap().keyframe);
        for damaged in [&b""[..], &[0x00], &VP9_KEY[..6], &[0x82, 1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            assert_eq!(intake.accept(Bytes::copy_from_slice(damaged)), None, "{damaged:?}");
        }
        let mut intake = Intake::new(Kind::Vp8);
        assert!(!intake.accept(Bytes::from_static(&[0x31, 0, 0, 9])).unwrap().keyframe);
        assert_eq!(intake.accept(Bytes::from_static(&[0x10, 0, 0, 1, 2, 3, 4])), None);
        assert_eq!(intake.in_band(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for kind in [Kind::Vp8, Kind::Vp9] {
                let mut intake = Intake::new(kind);
                let picture = intake.accept(Bytes::from(bytes.clone()));
                prop_assert_eq!(intake.in_band().is_some(), picture.is_some_and(|picture| picture.keyframe));
            }
        }
    }
}
