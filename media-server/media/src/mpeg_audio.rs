//! Headers of MPEG-1 and MPEG-2 audio, layers I to III (ISO/IEC 11172-3 2.4.1.3, 13818-3 2.4.1.3).

use crate::frames::Head;

/// Bytes of a header.
pub(crate) const HEADER: usize = 4;

/// Kilobits a second by `bitrate_index`, 1 to 14: of version 1 by layer, then of version 2 and 2.5.
const V1: [[u32; 14]; 3] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
];
const V2: [[u32; 14]; 2] = [
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
const RATES: [u32; 3] = [44_100, 48_000, 32_000];

/// Which layer a frame is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// 384 samples a frame.
    I,
    /// "MP2": 1152 samples a frame.
    II,
    /// "MP3".
    III,
}

/// A frame's layer; None: these bytes are no frame.
pub fn layer(frame: &[u8]) -> Option<Layer> {
    match (frame.get(1)? >> 1) & 3 {
        3 => Some(Layer::I),
        2 => Some(Layer::II),
        1 => Some(Layer::III),
        _ => None,
    }
}

/// Reads a header. None: there is none here, or one whose frame has no length of its own ("free format").
pub fn head(bytes: &[u8]) -> Option<Head> {
    let [sync, kind, rates, mode] = *bytes.first_chunk::<HEADER>()?;
    if sync != 0xff || kind & 0xe0 != 0xe0 {
        return None;
    }
    let version = (kind >> 3) & 3;
    let layer = layer(bytes)?;
    let index = usize::from(rates >> 4).checked_sub(1)?;
    let table = match (version, layer) {
        (1, _) => return None,
        (3, Layer::I) => &V1[0],
        (3, Layer::II) => &V1[1],
        (3, Layer::III) => &V1[2],
        (_, Layer::I) => &V2[0],
        _ => &V2[1],
    };
    let bitrate = table.get(index)?.checked_mul(1000)?;
    let rate = RATES.get(usize::from((rates >> 2) & 3))?;
    let rate = match version {
        3 => *rate,
        2 => rate / 2,
        _ => rate / 4,
    };
    let padding = u32::from((rates >> 1) & 1);
    let (length, samples) = match layer {
        Layer::I => ((12 * bitrate / rate).checked_add(padding)?.checked_mul(4)?, 384),
        Layer::III if version != 3 => ((72 * bitrate / rate).checked_add(padding)?, 576),
        _ => ((144 * bitrate / rate).checked_add(padding)?, 1152),
    };
    let channels = if mode >> 6 == 3 { 1 } else { 2 };
    Some(Head { length: length as usize, sample_rate: rate, channels, samples })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_of_known_frames() {
        // Layer II, 48 kHz, 256 kbit/s, stereo: what ffmpeg's mp2 encoder writes.
        let got = head(&[0xff, 0xfd, 0xc4, 0x00]).unwrap();
        assert_eq!(got, Head { length: 768, sample_rate: 48_000, channels: 2, samples: 1152 });
        // Layer III, 44.1 kHz, 128 kbit/s, padded, joint stereo.
        let got = head(&[0xff, 0xfb, 0x92, 0x40]).unwrap();
        assert_eq!(got, Head { length: 418, sample_rate: 44_100, channels: 2, samples: 1152 });
        // Version 2, layer III, 22.05 kHz, 64 kbit/s, mono.
        let got = head(&[0xff, 0xf3, 0x80, 0xc0]).unwrap();
        assert_eq!(got, Head { length: 208, sample_rate: 22_050, channels: 1, samples: 576 });
        assert_eq!(layer(&[0xff, 0xfd]), Some(Layer::II));
    }

    #[test]
    fn what_is_none_is_refused() {
        // Free format, a bit rate and a sample rate that are none, no layer.
        for wrong in
            [[0xff, 0xfd, 0x04, 0], [0xff, 0xfd, 0xf4, 0], [0xff, 0xfd, 0xcc, 0], [0xff, 0xf9, 0xc4, 0]]
        {
            assert_eq!(head(&wrong), None, "{wrong:x?}");
        }
        assert_eq!(head(&[0xff, 0xe9, 0xc4, 0]), None, "a reserved version");
    }

    proptest! {
        #[test]
        fn a_frame_is_longer_than_its_header(bytes in any::<[u8; 4]>()) {
            if let Some(head) = head(&bytes) {
                prop_assert!(head.length > HEADER && head.samples > 0 && head.sample_rate >= 8000);
            }
        }
    }
}
