//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1) to `AudioFormat` and codec string (RFC 6381).
//!
//! Reads what broadcasters send: AAC Main, LC, SSR, LTP, and HE-AAC v1 and v2 in both explicit signallings. Other
//! object types are refused by name. Nothing here decodes sound.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;

use crate::bits::Bits;
use crate::unit::AudioFormat;

/// Sample rates by samplingFrequencyIndex (table 1.18).
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// The index that says: 24 bits of rate follow.
const EXPLICIT_RATE: u32 = 15;

/// Object types (table 1.17).
const LC: u32 = 2;
const SBR: u32 = 5;
const PS: u32 = 29;
const ESCAPE: u32 = 31;

/// Sync words of the backward compatible signalling (1.6.5).
const SYNC_SBR: u32 = 0x2b7;
const SYNC_PS: u32 = 0x548;

/// Why an AudioSpecificConfig cannot be used. Each text says what the broadcaster can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AacError {
    /// Fewer bits than the fields need.
    #[error("AAC configuration ends early")]
    Truncated,
    /// An audio object type other than AAC Main, LC, SSR, LTP and HE-AAC.
    #[error("AAC object type {0} ({name}) is not supported; set the encoder to AAC-LC", name = object_name(*.0))]
    ObjectType(u32),
    /// Reserved samplingFrequencyIndex 13 or 14.
    #[error("AAC sampling frequency index {0} is reserved; set the encoder to 44.1 or 48 kHz")]
    FrequencyIndex(u32),
    /// An explicit rate that no audio has.
    #[error("AAC sample rate of {0} Hz; 7350 to 96000 are possible, set the encoder to 44.1 or 48 kHz")]
    Frequency(u32),
    /// Reserved channelConfiguration.
    #[error("AAC channel configuration {0} is reserved; set the encoder to stereo")]
    Channels(u32),
    /// channelConfiguration 0 and a program config element without channels.
    #[error(
        "AAC channel layout is left to a program config element that names no channel; set the encoder to stereo"
    )]
    NoChannels,
}

fn object_name(object_type: u32) -> &'static str {
    match object_type {
        0 => "none",
        6 | 20 => "scalable",
        17 => "ER AAC-LC",
        19 => "ER LTP",
        22 => "BSAC",
        23 => "AAC-LD",
        32..=34 => "MPEG-1/2 audio",
        39 => "AAC-ELD",
        42 => "USAC, xHE-AAC",
        _ => "other",
    }
}

/// The ADTS header of an empty frame (ISO/IEC 13818-7 6.2) for frames of this configuration. None: it cannot be read, or
/// ADTS cannot say it.
pub fn adts_header(config: &[u8]) -> Option<[u8; 7]> {
    let read = Config::parse(config).ok()?;
    let profile = u8::try_from(read.object_type.checked_sub(1)?).ok().filter(|profile| *profile < 4)?;
    let rate = u8::try_from(RATES.iter().position(|rate| *rate == read.core_rate)?).ok()?;
    // With parametric stereo the core is mono. A layout is 1 to 7; 7 has eight channels.
    let layout = match if read.ps { 1 } else { read.channels } {
        8 => 7,
        channels @ 1..=6 => channels as u8,
        _ => return None,
    };
    let second = (profile << 6) | (rate << 2) | (layout >> 2);
    // MPEG-4, no checksum; the buffer's fullness is not said.
    Some([0xff, 0xf1, second, (layout & 3) << 6, 0, 0x1f, 0xfc])
}

/// What the configuration says, before it is made into a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Audio object type of the core: 1 Main, 2 LC, 3 SSR, 4 LTP.
    pub object_type: u32,
    /// Spectral band replication is signalled (HE-AAC).
    pub sbr: bool,
    /// Parametric stereo is signalled (HE-AAC v2): a mono core that plays as stereo.
    pub ps: bool,
    /// Samples a second of the core: the container's clock.
    pub core_rate: u32,
    /// Samples a second as played, twice the core's with SBR.
    pub output_rate: u32,
    /// Channels as played.
    pub channels: u16,
    /// Core samples a frame: 1024, or 960 with frameLengthFlag.
    pub frame_samples: u32,
}

fn need<T>(value: Option<T>) -> Result<T, AacError> {
    value.ok_or(AacError::Truncated)
}

fn object_type(bits: &mut Bits<'_>) -> Result<u32, AacError> {
    match need(bits.read(5))? {
        ESCAPE => Ok(need(bits.read(6))?.saturating_add(32)),
        plain => Ok(plain),
    }
}

fn frequency(bits: &mut Bits<'_>) -> Result<u32, AacError> {
    let index = need(bits.read(4))?;
    if index == EXPLICIT_RATE {
        let rate = need(bits.read(24))?;
        return if (7_350..=96_000).contains(&rate) { Ok(rate) } else { Err(AacError::Frequency(rate)) };
    }
    let rate = usize::try_from(index).ok().and_then(|i| RATES.get(i).copied());
    rate.ok_or(AacError::FrequencyIndex(index))
}

impl Config {
    /// Reads an AudioSpecificConfig.
    pub fn parse(config: &[u8]) -> Result<Self, AacError> {
        let mut bits = Bits::new(config);
        let signalled = object_type(&mut bits)?;
        let core_rate = frequency(&mut bits)?;
        let layout = need(bits.read(4))?;
        let mut out = Self {
            object_type: signalled,
            sbr: signalled == SBR || signalled == PS,
            ps: signalled == PS,
            core_rate,
            output_rate: core_rate,
            channels: 0,
            frame_samples: 1024,
        };
        if out.sbr {
            // Hierarchical signalling (1.6.5.2): the rate of the output and the core's own type follow.
            out.output_rate = frequency(&mut bits)?;
            out.object_type = object_type(&mut bits)?;
        }
        if !(1..=4).contains(&out.object_type) {
            return Err(AacError::ObjectType(out.object_type));
        }
        // GASpecificConfig (4.4.1).
        if need(bits.bit())? {
            out.frame_samples = 960;
        }
        if need(bits.bit())? {
            need(bits.skip(14))?; // coreCoderDelay
        }
        need(bits.bit())?; // extensionFlag: nothing follows it for these types
        let core_channels = match layout {
            0 => program_config(&mut bits)?,
            1..=6 => layout as u16,
            7 | 12 | 14 => 8,
            11 => 7,
            other => return Err(AacError::Channels(other)),
        };
        if !out.sbr {
            out.backward_compatible(&mut bits);
        }
        out.channels = if out.ps && core_channels == 1 { 2 } else { core_channels };
        Ok(out)
    }

    /// Signalling behind the core's configuration (1.6.5.3), for decoders that do not know SBR. Optional: its
    /// absence or damage changes nothing.
    fn backward_compatible(&mut self, bits: &mut Bits<'_>) {
        if bits.read(11) != Some(SYNC_SBR) || object_type(bits) != Ok(SBR) || bits.bit() != Some(true) {
            return;
        }
        let Ok(rate) = frequency(bits) else { return };
        self.sbr = true;
        self.output_rate = rate;
        self.ps = bits.read(11) == Some(SYNC_PS) && bits.bit() == Some(true);
    }

    /// RFC 6381 codec string: `mp4a.40.5` with SBR, `mp4a.40.29` with PS too, else the core's type.
    pub fn codec(&self) -> String {
        let object_type = match (self.sbr, self.ps) {
            (_, true) => PS,
            (true, false) => SBR,
            (false, false) => self.object_type,
        };
        format!("mp4a.40.{object_type}")
    }
}

/// Counts the channels of a program_config_element (4.4.1.1).
fn program_config(bits: &mut Bits<'_>) -> Result<u16, AacError> {
    need(bits.skip(4 + 2 + 4))?; // element_instance_tag, object_type, sampling_frequency_index
    let mut count = |width| need(bits.read(width));
    let (front, side, back) = (count(4)?, count(4)?, count(4)?);
    let (lfe, data, coupling) = (count(2)?, count(3)?, count(4)?);
    for width in [4, 4, 3] {
        // mono_mixdown, stereo_mixdown, matrix_mixdown
        if need(bits.bit())? {
            need(bits.skip(width))?;
        }
    }
    let mut channels = lfe as u16;
    for _ in 0..front.saturating_add(side).saturating_add(back) {
        let pair = need(bits.bit())?;
        need(bits.skip(4))?;
        channels = channels.saturating_add(if pair { 2 } else { 1 });
    }
    for _ in 0..lfe.saturating_add(data) {
        need(bits.skip(4))?;
    }
    for _ in 0..coupling {
        need(bits.skip(5))?;
    }
    bits.align();
    let comment = need(bits.read(8))?;
    need(bits.skip((comment as usize).saturating_mul(8)))?;
    if channels == 0 { Err(AacError::NoChannels) } else { Ok(channels) }
}

/// The format that an AudioSpecificConfig describes, in its [`canonical`] form.
pub fn format(config: &Bytes) -> Result<AudioFormat, AacError> {
    let parsed = Config::parse(config)?;
    let config = canonical(config);
    Ok(AudioFormat {
        codec: parsed.codec(),
        sample_rate: parsed.core_rate,
        channels: parsed.channels,
        frame_samples: parsed.frame_samples,
        config,
    })
}

/// The same configuration always in the same bytes: of plain AAC-LC the two that say it. Encoders write behind them that
/// there is no SBR, or do not, and the same sound comes by protocols that have no place for it.
pub fn canonical(config: &Bytes) -> Bytes {
    let parsed = Config::parse(config).ok().filter(|parsed| !parsed.sbr && !parsed.ps);
    let plain = parsed.and_then(|parsed| lc_config(parsed.core_rate, parsed.channels));
    let is_plain = plain.is_some_and(|plain| config.starts_with(&plain));
    if is_plain { config.slice(..2) } else { config.clone() }
}

/// The configuration of AAC-LC at a rate of table 1.18, for 1 to 6 or 8 channels in the standard
/// layout; `None` for other rates and layouts.
pub fn lc_config(sample_rate: u32, channels: u16) -> Option<Bytes> {
    let index = u16::try_from(RATES.iter().position(|rate| *rate == sample_rate)?).ok()?;
    let layout = match channels {
        1..=6 => channels,
        8 => 7,
        _ => return None,
    };
    let word = ((LC as u16) << 11) | (index << 7) | (layout << 3);
    Some(Bytes::copy_from_slice(&word.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(fields: &[(u32, u32)]) -> Bytes {
        let flat: Vec<u32> = fields
            .iter()
            .flat_map(|(value, width)| (0..*width).rev().map(move |i| (value >> i) & 1))
            .collect();
        flat.chunks(8)
            .map(|c| c.iter().enumerate().fold(0_u8, |sum, (i, bit)| sum | ((*bit as u8) << (7 - i))))
            .collect::<Vec<_>>()
            .into()
    }

    fn told(config: &[u8]) -> (String, u32, u16, u32) {
        let format = format(&Bytes::copy_from_slice(config)).unwrap();
        (format.codec, format.sample_rate, format.channels, format.frame_samples)
    }

    #[test]
    fn what_ffmpeg_writes_reads_as_it_was_made() {
        // ffmpeg 5.1's own encoder; its trailing 56e500 says: SBR is not present.
        let lc = || "mp4a.40.2".to_owned();
        assert_eq!(told(&[0x11, 0x90, 0x56, 0xe5, 0x00]), (lc(), 48_000, 2, 1024));
        assert_eq!(told(&[0x12, 0x08, 0x56, 0xe5, 0x00]), (lc(), 44_100, 1, 1024));
        assert_eq!(told(&[0x12, 0x30, 0x56, 0xe5, 0x00]), (lc(), 44_100, 6, 1024));
        assert_eq!(told(&[0x13, 0x90, 0x56, 0xe5, 0x00]), (lc(), 22_050, 2, 1024));
        assert_eq!(told(&[0x12, 0x10]), (lc(), 44_100, 2, 1024));
    }

    #[test]
    fn he_aac_keeps_the_cores_clock_in_both_signallings() {
        // Hierarchical: type 5, 24 kHz, stereo, output 48 kHz, core LC.
        let v1 = bits(&[(5, 5), (6, 4), (2, 4), (3, 4), (2, 5), (0, 3)]);
        assert_eq!(told(&v1), ("mp4a.40.5".into(), 24_000, 2, 1024));
        assert_eq!(Config::parse(&v1).unwrap().output_rate, 48_000);
        let v2 = bits(&[(29, 5), (7, 4), (1, 4), (4, 4), (2, 5), (0, 3)]);
        assert_eq!(told(&v2), ("mp4a.40.29".into(), 22_050, 2, 1024));
        // Backward compatible: LC first, SBR and PS behind sync words.
        let v1 = bits(&[(2, 5), (6, 4), (2, 4), (0, 3), (0x2b7, 11), (5, 5), (1, 1), (3, 4)]);
        assert_eq!(told(&v1), ("mp4a.40.5".into(), 24_000, 2, 1024));
        let v2 =
            bits(&[(2, 5), (6, 4), (1, 4), (0, 3), (0x2b7, 11), (5, 5), (1, 1), (3, 4), (0x548, 11), (1, 1)]);
        assert_eq!(told(&v2), ("mp4a.40.29".into(), 24_000, 2, 1024));
    }

    #[test]
    fn short_frames_explicit_rates_and_program_configs_are_read() {
        assert_eq!(told(&bits(&[(2, 5), (3, 4), (2, 4), (1, 1), (0, 2)])).3, 960);
        assert_eq!(told(&bits(&[(2, 5), (15, 4), (47_952, 24), (2, 4), (0, 3)])).1, 47_952);
        // One front single, one front pair, one back pair, one LFE: 5.1.
        let head = [(2, 5), (3, 4), (0, 4), (0, 3), (0, 4), (1, 2), (3, 4)];
        let counts = [(2, 4), (0, 4), (1, 4), (1, 2), (0, 3), (0, 4), (0, 3)];
        let elements = [(0, 1), (0, 4), (1, 1), (0, 4), (1, 1), (1, 4), (0, 4), (0, 8), (0, 8)];
        let fields: Vec<_> = head.into_iter().chain(counts).chain(elements).collect();
        assert_eq!(told(&bits(&fields)).2, 6);
        let nobody = bits(&[(2, 5), (3, 4), (0, 4), (0, 3), (0, 10), (0, 21), (0, 3), (0, 16)]);
        assert_eq!(format(&nobody), Err(AacError::NoChannels));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        assert_eq!(format(&Bytes::new()), Err(AacError::Truncated));
        assert_eq!(format(&bits(&[(2, 5), (13, 4), (2, 7)])), Err(AacError::FrequencyIndex(13)));
        assert_eq!(format(&bits(&[(2, 5), (14, 4), (2, 7)])), Err(AacError::FrequencyIndex(14)));
        assert_eq!(format(&bits(&[(2, 5), (15, 4), (0, 24), (2, 7)])), Err(AacError::Frequency(0)));
        assert_eq!(format(&bits(&[(2, 5), (3, 4), (9, 4), (0, 3)])), Err(AacError::Channels(9)));
        let usac = format(&bits(&[(31, 5), (10, 6), (3, 4), (2, 4), (0, 16)])).unwrap_err();
        assert_eq!(usac, AacError::ObjectType(42));
        assert!(usac.to_string().contains("xHE-AAC") && usac.to_string().contains("AAC-LC"));
    }

    #[test]
    fn the_same_sound_has_one_configuration() {
        let plain = lc_config(48_000, 2).unwrap();
        let told = Bytes::from([&plain[..], &[0x56, 0xe5, 0]].concat());
        assert_eq!(format(&told).unwrap().config, plain, "SBR: none");
        let with_sbr = Bytes::from([&plain[..], &[0x56, 0xe5, 0x98]].concat());
        assert_eq!(format(&with_sbr).unwrap().config, with_sbr);
    }

    #[test]
    fn an_lc_configuration_reads_back() {
        for (rate, channels) in [(48_000, 2), (44_100, 1), (32_000, 6), (48_000, 8)] {
            assert_eq!(told(&lc_config(rate, channels).unwrap()), ("mp4a.40.2".into(), rate, channels, 1024));
        }
        assert_eq!(lc_config(12_345, 2), None);
        assert_eq!(lc_config(48_000, 7), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(format) = format(&bytes.into()) {
                prop_assert!((7_350..=96_000).contains(&format.sample_rate));
                prop_assert!(format.channels > 0);
            }
        }
    }
}
