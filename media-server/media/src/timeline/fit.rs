//! Which constant frame rate a run of timestamps has, if any, although they may be rounded to milliseconds.

use std::collections::VecDeque;

use crate::time::{FLICKS_PER_SECOND, Span, Timestamp};

/// Frames a second that sources use, the likelier first. Each is tried with its 1000/1001 variant.
const RATES: [(u32, u32); 22] = [
    (30, 1),
    (60, 1),
    (25, 1),
    (50, 1),
    (24, 1),
    (48, 1),
    (15, 1),
    (20, 1),
    (10, 1),
    (12, 1),
    (25, 2),
    (15, 2),
    (5, 1),
    (100, 1),
    (120, 1),
    (90, 1),
    (72, 1),
    (75, 1),
    (144, 1),
    (240, 1),
    (2, 1),
    (1, 1),
];
/// Half the rounding of two timestamps, and a little.
const NEAR: Span = Span::from_flicks(FLICKS_PER_SECOND / 1000 * 11 / 10);
/// Rounding spreads timestamps of a true constant rate over less than 1 ms; anything wider is another rate.
const SPREAD: Span = Span::from_flicks(FLICKS_PER_SECOND / 1000 * 5 / 4);
/// Timestamps needed before a rate outside of the list is believed.
const UNUSUAL: usize = 48;

/// A constant rate that all timestamps of a run agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Frames a second.
    pub(super) rate: (u32, u32),
    /// One frame.
    pub(super) interval: Span,
    /// A point of the grid that has the least deviation over the run.
    pub(super) origin: Timestamp,
}

/// The duration of one frame, for rates from 0.5 to 1000 a second.
pub(super) fn interval((numerator, denominator): (u32, u32)) -> Option<Span> {
    let flicks = FLICKS_PER_SECOND.checked_mul(i64::from(denominator))?;
    let half = i64::from(numerator / 2);
    let span = Span::from_flicks(flicks.checked_add(half)?.checked_div(i64::from(numerator))?);
    (Span::from_millis(1)..=Span::from_millis(2_000)).contains(&span).then_some(span)
}

/// The median of the last `limit` differences.
pub(super) fn median_step(run: &VecDeque<Timestamp>, limit: usize) -> Option<Span> {
    let from = run.len().saturating_sub(limit.saturating_add(1));
    let mut steps: Vec<Span> =
        run.iter().skip(from).zip(run.iter().skip(from.saturating_add(1))).map(|(a, b)| *b - *a).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().filter(|step| *step > Span::ZERO)
}

/// Slots of `interval` nearest to `distance`, and what is left of it.
pub(super) fn slots(distance: Span, interval: Span) -> (i64, Span) {
    let size = interval.flicks().max(1);
    let slot = distance.flicks().saturating_add(size / 2).checked_div_euclid(size).unwrap_or(0);
    (slot, distance - interval.times(slot))
}

/// The rate of a run of at least two timestamps; `preferred` rates win where they agree with it.
pub(super) fn fit(run: &VecDeque<Timestamp>, preferred: [Option<(u32, u32)>; 2]) -> Option<Fit> {
    let step = median_step(run, run.len())?;
    let told = preferred.into_iter().flatten().find_map(|rate| agrees(run, step, rate));
    told.or_else(|| listed(run, step)).or_else(|| unusual(run, step))
}

fn listed(run: &VecDeque<Timestamp>, step: Span) -> Option<Fit> {
    let mean = mean_step(run, step);
    let found = RATES.iter().filter_map(|&(numerator, denominator)| {
        let pulled_down = (numerator.saturating_mul(1000), denominator.saturating_mul(1001));
        agrees(run, step, (numerator, denominator)).or_else(|| agrees(run, step, pulled_down))
    });
    found.min_by_key(|fit| (fit.interval - mean).abs())
}

fn unusual(run: &VecDeque<Timestamp>, step: Span) -> Option<Fit> {
    if run.len() < UNUSUAL {
        return None;
    }
    let mean = mean_step(run, step);
    let (rate, _) = slots(Span::from_flicks(FLICKS_PER_SECOND), mean);
    agrees(run, step, (u32::try_from(rate).ok().filter(|rate| (1..=240).contains(rate))?, 1))
}

/// The mean duration of one frame, frames that are missing counted in.
fn mean_step(run: &VecDeque<Timestamp>, step: Span) -> Span {
    let (Some(first), Some(last)) = (run.front(), run.back()) else { return step };
    let steps = run.iter().zip(run.iter().skip(1));
    let count = steps.fold(0_i64, |sum, (a, b)| sum.saturating_add(slots(*b - *a, step).0));
    Span::from_flicks((*last - *first).flicks().checked_div(count).unwrap_or(step.flicks()))
}

fn agrees(run: &VecDeque<Timestamp>, step: Span, rate: (u32, u32)) -> Option<Fit> {
    let interval = interval(rate)?;
    if (interval - step).abs() > NEAR {
        return None;
    }
    let first = *run.front()?;
    let (mut low, mut high) = (Span::ZERO, Span::ZERO);
    for time in run {
        let (_, rest) = slots(*time - first, interval);
        low = low.min(rest);
        high = high.max(rest);
        if high - low > SPREAD {
            return None;
        }
    }
    Some(Fit { rate, interval, origin: first + (low + high).half() })
}
