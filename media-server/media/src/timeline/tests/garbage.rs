//! Timestamps that nobody meant.

use proptest::prelude::*;

use super::*;

/// What a fuzzed unit may be.
fn wild() -> impl Strategy<Value = (bool, u64, i64, u32, u32, i64)> {
    let raw = prop_oneof![any::<u64>(), 0_u64..5_000, Just(0), Just(u64::from(u32::MAX)), Just(77)];
    let composition = prop_oneof![any::<i64>(), -100_i64..1_000];
    let samples = prop_oneof![Just(1024_u32), any::<u32>()];
    let rate = prop_oneof![Just(48_000_u32), any::<u32>(), Just(0)];
    (any::<bool>(), raw, composition, samples, rate, -100_i64..3_000)
}

proptest! {
    #[test]
    fn garbage_never_runs_backwards_and_never_explodes(
        units in proptest::collection::vec(wild(), 1..400), bits in any::<u8>(), rate in prop_oneof![Just(1000_u32), Just(90_000), any::<u32>()],
    ) {
        let mut timeline = timeline(Clock { rate, bits });
        let mut arrival = Timestamp::ZERO;
        let mut last = [None, None];
        for (video, raw, composition, samples, rate, passed) in units {
            arrival += Span::from_millis(passed);
            let stamp = if video {
                timeline.video(raw, composition, arrival).0
            } else {
                timeline.audio(raw, samples, rate, arrival).0
            };
            prop_assert!(stamp.pts >= stamp.dts);
            prop_assert!(stamp.pts - stamp.dts <= Span::from_millis(10_000));
            prop_assert!(stamp.duration > Span::ZERO && stamp.duration <= Span::from_millis(2_000));
            // A unit goes at most the longest gap beyond all before it; a track's first, the longest skew too.
            let newest: Option<Timestamp> = last.iter().copied().max().flatten();
            let longest = if last.contains(&None) { 21_000 } else { 13_000 };
            prop_assert!(newest.is_none_or(|newest| stamp.dts - newest <= Span::from_millis(longest)));
            prop_assert!(stamp.dts >= ms(-10_000));
            let before = last[usize::from(video)].replace(stamp.dts);
            prop_assert!(before.is_none_or(|before| stamp.dts > before));
        }
    }

    #[test]
    fn two_clocks_alternating_advance_like_one(a in any::<u32>(), b in any::<u32>()) {
        let mut timeline = rtmp();
        let mut end = Timestamp::ZERO;
        for n in 0..200_u32 {
            let base = if n % 2 == 0 { a } else { b };
            end = timeline.video(u64::from(base.wrapping_add(n * 33)), 0, ms(i64::from(n) * 33)).0.dts;
        }
        prop_assert!(end <= ms(200 * 33 + 4_000), "{end:?}");
    }

    #[test]
    fn any_jump_is_survived_in_sync(jump in any::<u32>(), at in 1_000_i64..5_000) {
        let mut timeline = rtmp();
        let (apart, longest) = shifted(&mut timeline, 9, 7, |now| if now < at { 0 } else { i64::from(jump) });
        prop_assert!(apart <= Span::from_millis(45), "{apart:?}");
        prop_assert!(longest <= Span::from_millis(2_100), "{longest:?}");
    }
}
