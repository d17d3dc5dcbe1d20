//! How loud a publisher's sound is: now and then some AAC frames are decoded, which costs next to nothing.
//!
//! The decoder is a library's and is fed bytes from the network, so a panic in it is caught, and ends the listening,
//! not the session. What it cannot decode (HE-AAC, more than two channels, Opus) is not judged.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use media::doctor::AudioLevels;
use media::{AudioFormat, Span, Timestamp};
use symphonia_codec_aac::AacDecoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units;

/// Frames that are decoded in a row: an eighth of a second at 48 kHz.
const FRAMES: u32 = 6;
/// The first of them has no predecessor to overlap with and sounds half as loud.
const LEAD_IN: u32 = 1;

/// Listens to one publisher.
#[derive(Default)]
pub(super) struct Loudness {
    decoder: Option<AacDecoder>,
    next: Option<Timestamp>,
    /// Frames decoded of the present run.
    heard: u32,
    peak: f32,
    square: f64,
    samples: u64,
    interleaved: Vec<f32>,
}

impl Loudness {
    /// Sound comes in this format from here on.
    pub(super) fn format(&mut self, format: &AudioFormat) {
        *self = Self::default();
        if format.codec != "mp4a.40.2" {
            return;
        }
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(CODEC_ID_AAC)
            .with_sample_rate(format.sample_rate)
            .with_extra_data(format.config.to_vec().into_boxed_slice());
        let decoder = catch_unwind(|| AacDecoder::try_new(&parameters, &AudioDecoderOptions::default()));
        self.decoder = decoder.ok().and_then(Result::ok);
    }

    /// One frame that came at `now`. Says how loud it was once a run of frames is whole, every `pause`.
    pub(super) fn frame(&mut self, frame: &Bytes, now: Timestamp, pause: Span) -> Option<AudioLevels> {
        if self.heard == 0 && self.next.is_some_and(|next| now < next) {
            return None;
        }
        let decoder = self.decoder.as_mut()?;
        let packet = PacketRef::new(0, units::Timestamp::ZERO, units::Duration::ZERO, frame);
        let interleaved = &mut self.interleaved;
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            decoder.decode_ref(&packet).is_ok_and(|sound| {
                sound.copy_to_vec_interleaved(interleaved);
                true
            })
        }));
        match decoded {
            Ok(true) => {}
            // A damaged frame: another run, later.
            Ok(false) => {
                self.begin(now + pause);
                return None;
            }
            Err(_) => {
                self.decoder = None;
                return None;
            }
        }
        self.heard += 1;
        if self.heard > LEAD_IN {
            for &sample in &self.interleaved {
                self.peak = self.peak.max(sample.abs());
                self.square += f64::from(sample) * f64::from(sample);
            }
            self.samples += self.interleaved.len() as u64;
        }
        if self.heard < FRAMES {
            return None;
        }
        let rms = (self.square / self.samples.max(1) as f64).sqrt() as f32;
        let levels =
            AudioLevels { peak_dbfs: 20.0 * self.peak.log10(), rms_dbfs: 20.0 * rms.log10(), span: pause };
        self.begin(now + pause);
        Some(levels)
    }

    fn begin(&mut self, next: Timestamp) {
        (self.heard, self.peak, self.square, self.samples) = (0, 0.0, 0.0, 0);
        self.next = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_may_come_as_a_frame(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..40)) {
            let config = media::aac::lc_config(48_000, 2).unwrap();
            let mut loudness = Loudness::default();
            loudness.format(&media::aac::format(&config).unwrap());
            for (n, frame) in (0..).zip(frames) {
                let at = Timestamp::from_ticks(n * 1024, 48_000);
                if let Some(levels) = loudness.frame(&frame.into(), at, Span::ZERO) {
                    prop_assert!(levels.rms_dbfs <= levels.peak_dbfs + 0.01);
                }
            }
        }
    }
}
