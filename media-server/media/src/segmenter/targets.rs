//! The lengths a stream is cut to, and what they make the playlists announce.

use crate::time::{FLICKS_PER_SECOND, Span};

/// The lengths that a stream is cut to. One value for every rendition of a stream, never changed while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Nominal part length.
    pub part: Span,
    /// Nominal segment length.
    pub segment: Span,
    /// Segments kept in the playlists.
    pub window: usize,
}

impl Default for Targets {
    fn default() -> Self {
        Self { part: Span::from_millis(333), segment: Span::from_millis(2000), window: 10 }
    }
}

/// Rounds up to whole milliseconds.
fn millis_up(span: Span) -> i64 {
    let ms = FLICKS_PER_SECOND / 1000;
    span.flicks().max(0).saturating_add(ms - 1) / ms
}

impl Targets {
    /// The announced PART-TARGET: the nominal length and 1 ms, so that sources with millisecond timestamps never
    /// exceed it (draft-pantos-hls-rfc8216bis 4.4.3.7: a maximum, not a mean).
    pub fn part_target(&self) -> Span {
        Span::from_millis(millis_up(self.part).clamp(50, 5_000).saturating_add(1))
    }

    /// The PART-TARGET of one rendition whose units last `unit` each.
    ///
    /// Audio frames have one length and no composition offsets to bend, so a part is a whole number of them and the rendition
    /// announces its own target: with the fewest parts in a segment that the stream's target allows, as even as can be.
    /// Filled up one after the other, AAC's last part of a segment of 2 s would be 3 or 4 frames, which hls.js leaves out
    /// now and then. Units longer than the stream's target get a target of their own length.
    pub fn part_target_for(&self, unit: Span, exact: bool) -> Span {
        let target = self.part_target();
        let unit_flicks = unit.flicks().max(1);
        let most = target.flicks() / unit_flicks;
        if most == 0 {
            return Span::from_millis(millis_up(unit).saturating_add(1));
        }
        if !exact {
            return target;
        }
        let fit = |whole: i64, part: i64| (whole.max(1) - 1) / part + 1;
        let units = fit(self.target_span().flicks(), unit_flicks);
        let each = fit(units, fit(units, most));
        Span::from_millis(millis_up(unit.times(each))).min(target)
    }

    /// These targets for a source whose frames come `interval` apart: slide shows under 3 frames a second need longer
    /// parts than the nominal, and the hold-back of *every* rendition follows the longest.
    #[must_use]
    pub fn fitting(mut self, interval: Span) -> Self {
        if interval > self.part_target() {
            self.part = interval;
            self.segment = Span::from_flicks(self.segment.flicks().max(interval.times(4).flicks()));
        }
        self
    }

    /// PART-HOLD-BACK: three part targets, the same in every rendition (rfc8216bis 4.4.3.8, 6.2.4).
    pub fn part_hold_back(&self) -> Span {
        self.part_target().times(3)
    }

    /// EXT-X-TARGETDURATION in seconds: the nominal segment, rounded, at least 1.
    pub fn target_duration(&self) -> u32 {
        let seconds = self.segment.ticks(1).clamp(1, 60);
        u32::try_from(seconds).unwrap_or(1)
    }

    /// [`Self::target_duration`] as a span.
    pub fn target_span(&self) -> Span {
        Span::from_millis(i64::from(self.target_duration()).saturating_mul(1000))
    }

    /// The longest legal segment: the most that rounds to the target duration, less 1 ms (rfc8216bis 4.4.3.1).
    pub fn longest_segment(&self) -> Span {
        self.target_span() + Span::from_millis(499)
    }

    /// The furthest that two edges may be apart: sound cuts at its nearest frame, so its segments can be a frame longer.
    pub fn longest_between_edges(&self) -> Span {
        self.longest_segment() - Span::from_millis(65)
    }

    /// The shortest segment that is cut of choice.
    pub fn shortest_segment(&self) -> Span {
        Span::from_flicks(self.segment.flicks() / 4)
    }

    /// CAN-SKIP-UNTIL: six target durations (rfc8216bis 4.4.3.8).
    pub fn skip_until(&self) -> Span {
        self.target_span().times(6)
    }
}
