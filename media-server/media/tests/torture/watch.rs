//! What must hold for every unit that leaves the timeline, and what is measured of it.

use media::timeline::{Repair, Stamp, Timeline, TimelineConfig};
use media::{Kind, Span, Timestamp};

use super::source::{Sent, Source};

/// Sound and picture may be this far apart.
pub(crate) const TOGETHER: Span = Span::from_millis(40);

/// What a run was like.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Worst distance between sound and picture, each from its truth: while calm, and at all.
    pub(crate) apart: Span,
    pub(crate) apart_ever: Span,
    /// The longest step within a track.
    pub(crate) longest: Span,
    /// How far media time ran ahead of the arrival clock, at least and at most.
    pub(crate) behind: Span,
    pub(crate) ahead: Span,
    /// Media time from the first to the last unit.
    pub(crate) length: Span,
    /// Where a following session can begin.
    pub(crate) end: Timestamp,
    pub(crate) slope: Option<f64>,
    pub(crate) frame_rate: Option<(u32, u32)>,
    pub(crate) units: u64,
    counts: media::timeline::Counts,
}

impl Report {
    pub(crate) fn repairs(&self, repair: Repair) -> u64 {
        self.counts.get(repair)
    }

    /// All but wraps.
    pub(crate) fn total(&self) -> u64 {
        self.counts.total()
    }

    /// Sound and picture together, and no other repairs than these.
    pub(crate) fn only(&self, repairs: &[Repair]) {
        for (repair, count) in self.counts.iter() {
            let allowed = repair == Repair::Wrap || repairs.contains(&repair);
            assert!(allowed || count == 0, "{repair:?} {count} times: {self:?}");
        }
    }
}

/// Runs a source through a timeline from its start on, checks each unit, and hands it on.
pub(crate) fn run(
    source: &Source,
    length: i64,
    calm: impl Fn(i64) -> bool,
    mut onward: impl FnMut(&Sent, Stamp),
) -> Report {
    let mut timeline = Timeline::new(TimelineConfig { start: source.start, clock: source.clock });
    let mut last: [Option<Stamp>; 2] = [None, None];
    let mut off: [Option<Span>; 2] = [None, None];
    let zero = Span::ZERO;
    let (mut apart, mut apart_ever, mut longest, mut ahead, mut behind) = (zero, zero, zero, zero, zero);
    let (mut first, mut units) = (None, 0);
    source.run(length, |sent| {
        let (stamp, _) = match sent.kind {
            Kind::Video => timeline.video(sent.raw, sent.composition, sent.arrival),
            Kind::Audio => timeline.audio(sent.raw, 1024, 48_000, sent.arrival),
        };
        units += 1;
        let own = usize::from(sent.kind == Kind::Audio);
        assert!(
            stamp.pts >= stamp.dts && stamp.pts - stamp.dts <= Span::from_millis(10_000),
            "{sent:?} {stamp:?}"
        );
        assert!(stamp.duration > zero && stamp.duration <= Span::from_millis(2_000), "{sent:?} {stamp:?}");
        if let Some(before) = last[own] {
            assert!(stamp.dts > before.dts, "{sent:?} {stamp:?} after {before:?}");
            longest = longest.max(stamp.dts - before.dts);
        }
        last[own] = Some(stamp);
        let (first_dts, first_arrival) = *first.get_or_insert((stamp.dts, sent.arrival));
        let lead = (stamp.dts - first_dts) - (sent.arrival - first_arrival);
        (ahead, behind) = (ahead.max(lead), behind.min(lead));
        off[own] = Some(stamp.dts - sent.truth);
        if let [Some(video), Some(audio)] = off {
            let now = (video - audio).abs();
            apart_ever = apart_ever.max(now);
            if calm(sent.truth.ticks(1000)) && now > apart {
                apart = now;
            }
        }
        onward(&sent, stamp);
    });
    let end = timeline.end().unwrap_or(source.start);
    Report {
        apart,
        apart_ever,
        longest,
        behind,
        ahead,
        length: first.map_or(zero, |(dts, _)| end - dts),
        end,
        slope: timeline.slope_ppm(),
        frame_rate: timeline.frame_rate(),
        units,
        counts: *timeline.repairs(),
    }
}

/// The same without anything behind it.
pub(crate) fn alone(source: &Source, length: i64, calm: impl Fn(i64) -> bool) -> Report {
    run(source, length, calm, |_, _| ())
}
