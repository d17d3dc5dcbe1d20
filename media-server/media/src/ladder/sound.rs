//! Rungs of sound: the same sound in another codec, or with fewer bits.

use crate::unit::AudioFormat;

/// Channels of a rung, at most: what every player takes.
const MOST_CHANNELS: u16 = 2;

/// What a rung of sound is encoded as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SoundCodec {
    /// AAC-LC, which every player decodes.
    #[default]
    AacLc,
    /// HE-AAC (version 1): AAC with spectral band replication, for few bits.
    HeAac,
    /// Opus.
    Opus,
}

/// One rung of sound as the operator wishes it: each of a stream's sounds has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundWish {
    /// Name of its group in playlists; unique within a profile.
    pub name: String,
    /// What it is encoded as.
    pub codec: SoundCodec,
    /// Bits a second.
    pub bitrate: u32,
    /// Channels at most; `None` for two.
    pub channels: Option<u16>,
}

impl SoundWish {
    /// Channels of a rung made of this sound: no more than it has.
    pub fn channels_of(&self, source: &AudioFormat) -> u16 {
        self.channels.unwrap_or(MOST_CHANNELS).min(source.channels).clamp(1, MOST_CHANNELS)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_rung_has_no_more_channels_than_its_sound_and_two_at_most() {
        let source = |channels| AudioFormat {
            codec: "mp4a.40.2".into(),
            sample_rate: 48_000,
            channels,
            frame_samples: 1024,
            config: Bytes::new(),
        };
        let wish = |channels| SoundWish {
            name: "low".into(),
            codec: SoundCodec::default(),
            bitrate: 48_000,
            channels,
        };
        for (wished, has, gets) in
            [(None, 6, 2), (None, 1, 1), (Some(1), 2, 1), (Some(2), 1, 1), (Some(2), 8, 2), (Some(0), 2, 1)]
        {
            assert_eq!(wish(wished).channels_of(&source(has)), gets, "{wished:?} of {has}");
        }
    }
}
