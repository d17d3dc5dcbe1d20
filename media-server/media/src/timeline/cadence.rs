//! Video decoding times on the exact grid of a constant frame rate, as long as the source keeps to one.
//!
//! Timestamps rounded to milliseconds (33, 33, 34 …) would make every part and segment wobble. Within
//! [`TOLERANCE`] of the grid a unit is put on it; a source that leaves the grid is followed as it comes.

use std::collections::VecDeque;

use super::fit::{Fit, fit, interval, median_step, slots};
use super::repair::{Repair, Repairs};
use crate::time::{FLICKS_PER_SECOND, Span, Timestamp};

/// How far from its grid a unit may be and still be put on it.
const TOLERANCE: Span = Span::from_flicks(FLICKS_PER_SECOND / 1000 * 3 / 2);
/// A grid this far from the middle of its units is moved.
const OFF_CENTRE: Span = Span::from_flicks(FLICKS_PER_SECOND / 1000 * 6 / 10);
/// The most that a review moves the grid at once.
const NUDGE: Span = Span::from_millis(1);
/// A composition offset this close to whole frames means whole frames: two roundings.
const COMPOSITION: Span = Span::from_millis(2);
/// Timestamps looked back over.
const MEMORY: usize = 128;
/// Units between two reviews of a grid, and between two searches for one.
const REVIEW: u32 = 32;
const SEARCH: u32 = 16;
/// Units off the grid in a row, all by the same amount, after which the grid moves there.
const STEADY: u32 = 3;
/// What a unit off the grid costs, a unit on it gives back one; the grid is given up at the limit.
const MISS: u32 = 4;
const LIMIT: u32 = 24;
/// The shortest distance of two units: a quarter of a millisecond, 22 ticks of 90 kHz.
const SHORTEST: Span = Span::from_flicks(FLICKS_PER_SECOND / 4000);
/// Frame duration before anything is known: 30 a second.
const UNKNOWN: Span = Span::from_flicks(FLICKS_PER_SECOND / 30);
/// No frame is expected to last longer.
const LONGEST: Span = Span::from_millis(2_000);

#[derive(Clone, Debug, Default)]
pub(super) struct Cadence {
    hint: Option<(u32, u32)>,
    grid: Option<Grid>,
    run: VecDeque<Timestamp>,
    last: Option<Timestamp>,
    /// Units since a grid was last searched for.
    searched: u32,
    /// A grid was given up: the next one needs more evidence.
    doubtful: bool,
}

#[derive(Clone, Copy, Debug)]
struct Grid {
    rate: (u32, u32),
    interval: Span,
    origin: Timestamp,
    /// Since the last review: deviations, the shortest step, units.
    low: Span,
    high: Span,
    stride: i64,
    units: u32,
    misses: u32,
    /// Units in a row off the grid by about `by`.
    steady: u32,
    by: Span,
}

impl Grid {
    fn new(rate: (u32, u32), interval: Span, origin: Timestamp) -> Self {
        Self {
            rate,
            interval,
            origin,
            low: Span::MAX,
            high: Span::from_flicks(i64::MIN),
            stride: i64::MAX,
            units: 0,
            misses: 0,
            steady: 0,
            by: Span::ZERO,
        }
    }

    /// From a fit; where the last unit went stays on the grid if that agrees with the fit.
    fn fitted(fit: Fit, last: Option<Timestamp>) -> Self {
        let origin = last.filter(|last| slots(*last - fit.origin, fit.interval).1.abs() <= OFF_CENTRE);
        Self::new(fit.rate, fit.interval, origin.unwrap_or(fit.origin))
    }

    /// The nearest point of the grid, and how far from it `source` is.
    fn nearest(&self, source: Timestamp) -> (Timestamp, Span) {
        let (slot, rest) = slots(source - self.origin, self.interval);
        (self.origin + self.interval.times(slot), rest)
    }

    fn note(&mut self, rest: Span, stride: i64) {
        self.low = self.low.min(rest);
        self.high = self.high.max(rest);
        self.stride = self.stride.min(stride);
        self.units = self.units.saturating_add(1);
        self.misses = self.misses.saturating_sub(1);
        self.steady = 0;
    }
}

impl Cadence {
    pub(super) fn set_hint(&mut self, rate: Option<(u32, u32)>) {
        self.hint = rate.filter(|rate| interval(*rate).is_some());
    }

    /// The recognized rate.
    pub(super) fn frame_rate(&self) -> Option<(u32, u32)> {
        // One timestamp recognizes nothing: a hint is not yet confirmed.
        self.grid.filter(|_| self.run.len() > 1).map(|grid| grid.rate)
    }

    /// How long the unit placed last is expected to last.
    pub(super) fn duration(&self) -> Span {
        let told = || self.hint.and_then(interval);
        let known = self.grid.map(|grid| grid.interval).or_else(|| median_step(&self.run, 16)).or_else(told);
        known.unwrap_or(UNKNOWN).clamp(SHORTEST, LONGEST)
    }

    /// A composition offset on the grid, if it is near.
    pub(super) fn composition(&self, offset: Span) -> Span {
        let Some(grid) = self.grid else { return offset };
        let (frames, rest) = slots(offset, grid.interval);
        if rest.abs() <= COMPOSITION { grid.interval.times(frames) } else { offset }
    }

    /// The unit's decoding time, given its place by the source's clock.
    pub(super) fn place(&mut self, source: Timestamp, jumped: bool, repairs: &mut Repairs) -> Timestamp {
        if jumped {
            self.run.clear();
        }
        if self.run.len() >= MEMORY {
            self.run.pop_front();
        }
        self.run.push_back(source);
        if self.grid.is_none() {
            self.search(source);
        }
        let wanted = match self.grid {
            None => source,
            Some(grid) => self.on_grid(grid, source, jumped, repairs),
        };
        let placed = match self.last {
            Some(last) if wanted < last + SHORTEST => {
                repairs.note(Repair::BackStep);
                last + Span::from_flicks(self.duration().flicks() / 4).max(SHORTEST)
            }
            _ => wanted,
        };
        self.last = Some(placed);
        placed
    }

    fn search(&mut self, source: Timestamp) {
        self.searched = self.searched.saturating_add(1);
        let early = !self.doubtful && self.run.len() <= 4;
        if !early && self.searched < SEARCH {
            return;
        }
        self.searched = 0;
        if self.run.len() < 2 {
            let hinted = self.hint.filter(|_| !self.doubtful);
            self.grid = hinted.and_then(|rate| Some(Grid::new(rate, interval(rate)?, source)));
        } else if !self.doubtful || self.run.len() >= REVIEW as usize {
            self.grid = fit(&self.run, [self.hint, None]).map(|fit| Grid::fitted(fit, self.last));
        }
    }

    fn on_grid(
        &mut self,
        mut grid: Grid,
        source: Timestamp,
        jumped: bool,
        repairs: &mut Repairs,
    ) -> Timestamp {
        let (point, rest) = grid.nearest(source);
        if rest.abs() <= TOLERANCE {
            let stride = self.last.map_or(1, |last| slots(point - last, grid.interval).0);
            grid.note(rest, stride);
            if grid.units >= REVIEW {
                grid = self.review(grid, repairs);
            }
            self.grid = Some(grid);
            return point;
        }
        if jumped {
            grid.origin = source;
            self.grid = Some(grid);
            return source;
        }
        if let Some(found) =
            fit(&self.run, [Some(grid.rate), self.hint]).filter(|_| self.run.len() > 2 || grid.units < 2)
        {
            repairs.note(Repair::Rephased);
            let grid = Grid::fitted(found, self.last);
            self.grid = Some(grid);
            return grid.nearest(source).0;
        }
        grid.steady = if (rest - grid.by).abs() <= TOLERANCE { grid.steady.saturating_add(1) } else { 1 };
        grid.by = rest;
        grid.misses = grid.misses.saturating_add(MISS);
        if grid.steady >= STEADY {
            repairs.note(Repair::Rephased);
            grid = Grid { misses: grid.misses, ..Grid::new(grid.rate, grid.interval, source) };
            let old = self.run.len().saturating_sub(STEADY as usize);
            self.run.drain(..old);
        }
        self.grid = Some(grid);
        if grid.misses > LIMIT {
            repairs.note(Repair::Rephased);
            (self.grid, self.doubtful, self.searched) = (None, true, 0);
            let old = self.run.len().saturating_sub(2);
            self.run.drain(..old);
        }
        source
    }

    /// Looks whether the grid still stands in the middle of its units, and is not finer than they are.
    fn review(&self, grid: Grid, repairs: &mut Repairs) -> Grid {
        let middle = (grid.low + grid.high).half();
        let fresh = Grid::new(grid.rate, grid.interval, grid.origin);
        let finer = grid.stride > 1 && grid.stride < i64::MAX;
        let coarser = || fit(&self.run, [None, None]).filter(|found| found.rate != grid.rate);
        if let Some(found) = finer.then(coarser).flatten() {
            repairs.note(Repair::Rephased);
            return Grid::fitted(found, self.last);
        }
        if middle.abs() <= OFF_CENTRE {
            return fresh;
        }
        repairs.note(Repair::Rephased);
        match fit(&self.run, [Some(grid.rate), self.hint]) {
            Some(found) if found.rate != grid.rate => Grid::fitted(found, self.last),
            _ => Grid { origin: grid.origin + middle.clamp(-NUDGE, NUDGE), ..fresh },
        }
    }
}
