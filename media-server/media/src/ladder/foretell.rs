//! What a rung will be like, before it was ever made: for playlists that list it already.

use bytes::Bytes;

use super::{Rung, RungCodec};
use crate::h264;
use crate::unit::VideoFormat;

/// Frames a second where the source's are not known.
const USUAL: (u32, u32) = (30, 1);

/// general_level_idc, luma samples a picture and a second (ITU-T H.265, Tables A.8 and A.9).
const HEVC_LEVELS: [(u8, u64, u64); 8] = [
    (60, 122_880, 3_686_400),
    (63, 245_760, 7_372_800),
    (90, 552_960, 16_588_800),
    (93, 983_040, 33_177_600),
    (120, 2_228_224, 66_846_720),
    (123, 2_228_224, 133_693_440),
    (150, 8_912_896, 267_386_880),
    (153, 8_912_896, 534_773_760),
];

/// seq_level_idx, luma samples a picture and a second (AV1 bitstream specification, A.3).
const AV1_LEVELS: [(u8, u64, u64); 8] = [
    (0, 147_456, 4_423_680),
    (1, 278_784, 8_363_520),
    (4, 665_856, 19_975_680),
    (5, 1_065_024, 31_950_720),
    (8, 2_359_296, 70_778_880),
    (9, 2_359_296, 141_557_760),
    (12, 8_912_896, 267_386_880),
    (13, 8_912_896, 534_773_760),
];

/// Its format without a configuration: the encoder says that, and what it says is taken from then on.
pub fn foretell(rung: &Rung) -> VideoFormat {
    let rate = rung.fps.unwrap_or(USUAL);
    let picture = u64::from(rung.width).saturating_mul(rung.height.into());
    let second = picture.saturating_mul(rate.0.into()).div_ceil(u64::from(rate.1.max(1)));
    let level = |levels: &[(u8, u64, u64)], beyond: u8| {
        let fits = |&&(_, most, most_a_second): &&(u8, u64, u64)| picture <= most && second <= most_a_second;
        levels.iter().find(fits).map_or(beyond, |level| level.0)
    };
    let codec = match rung.codec {
        RungCodec::H264 => {
            // The High profile has a quarter more bits at each level.
            let bits = u64::from(rung.video_bitrate);
            let (profile, bits) = match rung.tuning.profile.as_deref() {
                Some("baseline") => ("42c0", bits),
                Some("main") => ("4d40", bits),
                _ => ("6400", bits.saturating_mul(4) / 5),
            };
            let bits = u32::try_from(bits).unwrap_or(u32::MAX);
            let level = h264::level_of(rung.width, rung.height, rate, bits).unwrap_or(62);
            format!("avc1.{profile}{level:02x}")
        }
        RungCodec::Hevc => format!("hvc1.1.6.L{}.90", level(&HEVC_LEVELS, 156)),
        RungCodec::Av1 => format!("av01.0.{:02}M.08", level(&AV1_LEVELS, 16)),
    };
    VideoFormat { codec, width: rung.width, height: rung.height, frame_rate: rung.fps, config: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::super::Tuning;
    use super::*;

    fn foretold(codec: RungCodec, profile: Option<&str>, (width, height): (u32, u32)) -> String {
        let rung = Rung {
            name: "r".into(),
            width,
            height,
            fps: Some((30, 1)),
            every: 1,
            video_bitrate: 2_800_000,
            audio_bitrate: 128_000,
            codec,
            encoder: None,
            tuning: Tuning { profile: profile.map(str::to_owned), ..Tuning::default() },
        };
        foretell(&rung).codec
    }

    #[test]
    fn a_rung_is_announced_with_the_least_that_plays_it() {
        let (full, small) = ((1920, 1080), (1280, 720));
        assert_eq!(foretold(RungCodec::H264, None, small), "avc1.64001f");
        assert_eq!(foretold(RungCodec::H264, Some("main"), small), "avc1.4d401f");
        assert_eq!(foretold(RungCodec::H264, Some("baseline"), full), "avc1.42c028");
        assert_eq!(foretold(RungCodec::Hevc, None, full), "hvc1.1.6.L120.90");
        assert_eq!(foretold(RungCodec::Av1, None, full), "av01.0.08M.08");
    }
}
