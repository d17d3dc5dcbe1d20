//! Opus as the house carries it: the identification header (RFC 7845 5.1) in, `AudioFormat` out; packets of RFC 6716.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::{BufMut, Bytes, BytesMut};

use crate::unit::AudioFormat;

/// What every decoder puts out (RFC 7845 5.1).
pub const SAMPLE_RATE: u32 = 48_000;
/// The longest packet: 120 ms (RFC 6716 3.2.5).
const MOST_SAMPLES: u32 = 5760;
/// A packet's length until the first one has come: 20 ms, what nearly all encoders send.
const USUAL_SAMPLES: u32 = 960;

/// Why an Opus header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    /// Not an identification header, or cut off.
    #[error("the Opus header is not one of RFC 7845")]
    Header,
    /// Channels beyond stereo.
    #[error("Opus with {0} channels: choose mono or stereo")]
    Channels(u8),
}

/// The format that an identification header describes. Its `config` is the body of a `dOps` box (Opus in ISO-BMFF
/// 4.3.2).
pub fn format(header: &[u8]) -> Result<AudioFormat, OpusError> {
    let body = header.strip_prefix(b"OpusHead").ok_or(OpusError::Header)?;
    let [version, channels, skip_low, skip_high, rate @ .., family] =
        body.get(..11).ok_or(OpusError::Header)?
    else {
        return Err(OpusError::Header);
    };
    if version >> 4 != 0 {
        return Err(OpusError::Header);
    }
    if *family != 0 || !(1..=2).contains(channels) {
        return Err(OpusError::Channels(*channels));
    }
    let [r0, r1, r2, r3, g0, g1] = rate else { return Err(OpusError::Header) };
    let mut config = BytesMut::with_capacity(11);
    config.put_u8(0);
    config.put_u8(*channels);
    config.put_slice(&[*skip_high, *skip_low, *r3, *r2, *r1, *r0, *g1, *g0, 0]);
    Ok(AudioFormat {
        codec: "opus".into(),
        sample_rate: SAMPLE_RATE,
        channels: u16::from(*channels),
        frame_samples: USUAL_SAMPLES,
        config: config.freeze(),
    })
}

/// The header of a stream that has none: stereo, what a decoder assumes.
pub fn default_header() -> Bytes {
    Bytes::from_static(b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00")
}

/// The header of a stream of so many channels of which nothing else is known.
pub fn header(channels: u8) -> Bytes {
    let mut header = BytesMut::from(&default_header()[..]);
    if let Some(at) = header.get_mut(9) {
        *at = channels;
    }
    header.freeze()
}

/// The next packet of an MPEG transport stream's PES payload, which is moved on: each has a control header in front that
/// says how long it is. `None`: there is none any more, or what is there is no header.
pub fn split_ts(data: &mut Bytes) -> Option<Bytes> {
    let [prefix, flags, sizes @ ..] = &data[..] else { return None };
    if *prefix != 0x7f || flags & 0xe0 != 0xe0 {
        return None;
    }
    let (start_trim, end_trim, extended) = (flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x04 != 0);
    // The size is the sum of its bytes, of which 255 says that another one follows.
    let count = sizes.iter().position(|size| *size != 255)?.checked_add(1)?;
    let size = sizes.iter().take(count).map(|size| usize::from(*size)).fold(0, usize::saturating_add);
    let mut header = count.checked_add(2)?;
    header = header.checked_add(if start_trim { 2 } else { 0 })?.checked_add(if end_trim { 2 } else { 0 })?;
    if extended {
        let length = usize::from(*data.get(header)?);
        header = header.checked_add(1)?.checked_add(length)?;
    }
    let end = header.checked_add(size).filter(|end| *end <= data.len())?;
    let packet = data.split_to(end).split_off(header);
    Some(packet)
}

/// A packet that stands for one like this that was lost: a frame of no bytes, for which a decoder makes something up (RFC
/// 6716 3.1 and 4.4). None: this one has several frames, or is none.
pub fn lost(packet: &[u8]) -> Option<Bytes> {
    let toc = *packet.first()?;
    (toc.trailing_zeros() >= 2).then(|| Bytes::copy_from_slice(&[toc]))
}

/// Samples at 48 kHz that a packet decodes to (RFC 6716 3.1, 3.2); `None` for one that is none.
pub fn samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let configuration = toc >> 3;
    let frame = match configuration {
        // SILK: 10, 20, 40, 60 ms.
        0..=11 => [480, 960, 1920, 2880].get(usize::from(configuration & 3)).copied()?,
        // Hybrid: 10, 20 ms.
        12..=15 => [480, 960].get(usize::from(configuration & 1)).copied()?,
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960].get(usize::from(configuration & 3)).copied()?,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(u32::saturating_mul(frame, frames)).filter(|samples| (1..=MOST_SAMPLES).contains(samples))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_becomes_a_format() {
        let opus = format(&default_header()).unwrap();
        assert_eq!((opus.codec.as_str(), opus.channels, opus.sample_rate), ("opus", 2, 48_000));
        assert_eq!(&opus.config[..], &[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
    }

    #[test]
    fn other_headers_are_refused() {
        assert_eq!(format(b"OpusHead\x01\x02"), Err(OpusError::Header));
        assert_eq!(format(b"AAC"), Err(OpusError::Header));
        let surround = b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01";
        assert_eq!(format(surround), Err(OpusError::Channels(6)));
    }

    #[test]
    fn a_packet_says_how_long_it_is() {
        assert_eq!(samples(&[0xF8]), Some(960), "CELT, 20 ms");
        assert_eq!(samples(&[0xF9]), Some(1920), "two of them");
        assert_eq!(samples(&[0x18]), Some(2880), "SILK, 60 ms");
        assert_eq!(samples(&[0xE3, 0x03]), Some(360), "three of 2.5 ms");
        assert_eq!(samples(&[0x1B, 0x03]), None, "180 ms are too long");
        assert_eq!((samples(&[]), samples(&[0xFB])), (None, None));
    }

    #[test]
    fn what_stands_for_a_lost_packet_is_as_long_as_it_was() {
        let packet = [0xF8, 1, 2, 3];
        let lost = lost(&packet).unwrap();
        assert_eq!((lost.len(), samples(&lost)), (1, samples(&packet)));
        assert_eq!((super::lost(&[0xF9, 1]), super::lost(&[])), (None, None));
    }

    #[test]
    fn packets_of_a_transport_stream_are_told_apart() {
        let mut data = vec![0x7f, 0xe0, 3, 1, 2, 3, 0x7f, 0xf8, 0, 5, 0, 9, 255, 2];
        data.truncate(6);
        data.extend([0x7f, 0xf8, 2, 0, 5, 0, 9, 7, 8]);
        data.extend([0x7f, 0xe4, 255, 1, 2, 0xaa, 0xbb]);
        data.extend([6; 256]);
        let mut data = Bytes::from(data);
        let lengths: Vec<_> =
            std::iter::from_fn(|| split_ts(&mut data)).map(|packet| (packet[0], packet.len())).collect();
        assert_eq!((lengths, data.len()), (vec![(1, 3), (7, 2), (6, 256)], 0));
        assert_eq!(format(&header(1)).unwrap().channels, 1);
    }

    proptest! {
        #[test]
        fn any_payload_is_taken(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (mut data, mut carried) = (Bytes::from(bytes.clone()), 0);
            while let Some(packet) = split_ts(&mut data) {
                carried += packet.len();
            }
            prop_assert!(carried <= bytes.len());
        }
    }
}
