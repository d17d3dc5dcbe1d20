//! Sound that is not there: coded frames of silence, to stand in where a publisher's sound is missing.

use bytes::Bytes;

use crate::unit::AudioFormat;

/// Speakers' syntactic elements by channelConfiguration (ISO/IEC 14496-3 table 1.19): S a single channel, P a pair,
/// L the low-frequency channel.
const LAYOUTS: [&[u8]; 8] = [b"", b"S", b"P", b"SP", b"SPS", b"SPP", b"SPPL", b"SPPPL"];

const SINGLE_CHANNEL: u32 = 0;
const CHANNEL_PAIR: u32 = 1;
const LOW_FREQUENCY: u32 = 3;
const END: u32 = 7;
/// Any gain will do where no spectrum follows.
const GAIN: u32 = 140;

/// One frame of silence in this format; None where none is known (a channel layout of its own).
pub fn frame(format: &AudioFormat) -> Option<Bytes> {
    if format.codec.eq_ignore_ascii_case("opus") {
        // RFC 6716 3.1: CELT, full band, 20 ms; two bytes that decode to nothing. Bit 2 of the first says stereo.
        let stereo = if format.channels > 1 { 0x04 } else { 0 };
        return Some(Bytes::from(vec![0xF8 | stereo, 0xFF, 0xFE]));
    }
    if !format.codec.starts_with("mp4a.40") {
        return None;
    }
    // HE-AAC v2 announces two channels and codes one: the configuration says what is coded.
    let configured = format.config.get(1).map(|byte| usize::from((byte >> 3) & 0x0F));
    let layout = *LAYOUTS.get(configured?)?;
    (!layout.is_empty()).then(|| raw_data_block(layout))
}

/// raw_data_block (ISO/IEC 14496-3 4.4.2.1) without any spectral data: max_sfb is 0 everywhere.
fn raw_data_block(layout: &[u8]) -> Bytes {
    let mut bits = BitWriter::default();
    let mut tags = [0_u32; 3];
    for element in layout {
        let (id, tag) = match element {
            b'P' => (CHANNEL_PAIR, &mut tags[1]),
            b'L' => (LOW_FREQUENCY, &mut tags[2]),
            _ => (SINGLE_CHANNEL, &mut tags[0]),
        };
        bits.put(id, 3);
        bits.put(*tag, 4);
        *tag += 1;
        if id == CHANNEL_PAIR {
            // common_window, ics_info, ms_mask_present.
            bits.put(1, 1);
            ics_info(&mut bits);
            bits.put(0, 2);
            channel(&mut bits, false);
            channel(&mut bits, false);
        } else {
            channel(&mut bits, true);
        }
    }
    bits.put(END, 3);
    bits.bytes.into()
}

/// individual_channel_stream: gain, then no pulses, no TNS, no gain control.
fn channel(bits: &mut BitWriter, own_window: bool) {
    bits.put(GAIN, 8);
    if own_window {
        ics_info(bits);
    }
    bits.put(0, 3);
}

/// ics_info: one long window, no scale factor band, no prediction.
fn ics_info(bits: &mut BitWriter) {
    bits.put(0, 1 + 2 + 1 + 6 + 1);
}

/// Most significant bit first; the last byte is filled with zeros.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = ((value >> shift) & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(codec: &str, channels: u16) -> AudioFormat {
        // AudioSpecificConfig: AAC-LC, 48 kHz, the channel configuration.
        let config = vec![0x11, 0x80 | (channels as u8) << 3];
        AudioFormat {
            codec: codec.into(),
            sample_rate: 48_000,
            channels,
            frame_samples: 1024,
            config: config.into(),
        }
    }

    #[test]
    fn one_silent_channel_is_four_bytes() {
        // id 000, tag 0000, gain 10001100, fourteen zeros, and 111.
        let mono = frame(&format("mp4a.40.2", 1)).unwrap();
        assert_eq!(&mono[..], &[0x01, 0x18, 0x00, 0x07]);
    }

    #[test]
    fn every_standard_layout_has_a_frame_and_others_have_none() {
        for channels in 1..=7 {
            assert!(frame(&format("mp4a.40.2", channels)).is_some_and(|frame| frame.len() < 40));
        }
        assert!(frame(&format("mp4a.40.2", 0)).is_none());
        assert!(frame(&format("ac-3", 2)).is_none());
        assert_eq!(&frame(&format("opus", 2)).unwrap()[..], &[0xFC, 0xFF, 0xFE]);
    }
}
