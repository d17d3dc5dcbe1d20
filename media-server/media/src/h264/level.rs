//! Which level a stream of H.264 will have (ITU-T H.264, Table A-1).

/// level_idc, macroblocks a second, macroblocks a picture, kilobits a second of the Main profile.
const LEVELS: [(u8, u64, u64, u64); 20] = [
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
    (60, 4_177_920, 139_264, 240_000),
    (61, 8_355_840, 139_264, 480_000),
    (62, 16_711_680, 139_264, 800_000),
    (255, u64::MAX, u64::MAX, u64::MAX),
];

/// The lowest level_idc that carries pictures of this size at this rate (numerator, denominator) and so many bits a second
/// in the Main profile; None beyond 6.2.
pub fn level_of(width: u32, height: u32, rate: (u32, u32), bits: u32) -> Option<u8> {
    let picture = u64::from(width.div_ceil(16)).saturating_mul(u64::from(height.div_ceil(16)));
    let second = picture.saturating_mul(u64::from(rate.0)).div_ceil(u64::from(rate.1.max(1)));
    let kilobits = u64::from(bits).div_ceil(1000);
    let fits = |&&(_, most_second, most_picture, most_kilobits): &&(u8, u64, u64, u64)| {
        second <= most_second && picture <= most_picture && kilobits <= most_kilobits
    };
    LEVELS.iter().find(fits).map(|level| level.0).filter(|level| *level != 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_sizes_have_their_usual_levels() {
        for (size, rate, bits, level) in [
            ((1920, 1080), (30, 1), 4_500_000, 40),
            ((1920, 1080), (60, 1), 6_000_000, 42),
            ((1280, 720), (30, 1), 2_800_000, 31),
            ((1280, 720), (60_000, 1001), 2_800_000, 32),
            ((854, 480), (30, 1), 1_400_000, 31),
            ((640, 360), (30, 1), 800_000, 30),
            ((426, 240), (30, 1), 400_000, 21),
            ((256, 144), (15, 1), 200_000, 12),
        ] {
            assert_eq!(level_of(size.0, size.1, rate, bits), Some(level), "{size:?} {rate:?}");
        }
        assert_eq!(level_of(16_384, 16_384, (240, 1), 1), None);
    }
}
