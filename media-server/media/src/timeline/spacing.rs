//! Audio times: spaced by the sample count, following the source's timestamps gently.

use super::repair::{Repair, Repairs};
use crate::time::{FLICKS_PER_SECOND, Span, Timestamp};

/// A deviation beyond this, on [`SUSTAINED`] units in a row, moves the grid in one step. Sound whose sample clock is
/// 2 % off its timestamps moves on by 4 ms meanwhile, and must still be within 40 ms of the picture.
const STEP: Span = Span::from_millis(34);
const SUSTAINED: u32 = 8;
/// Beyond this, two units in a row are enough.
const WIDE_STEP: Span = Span::from_millis(120);
const WIDE_SUSTAINED: u32 = 2;
/// Beyond this the first unit is: the bounds of a jump have let it through, so the time is really missing.
const LOST: Span = Span::from_millis(500);
/// A mean deviation beyond this is followed, until it is below [`SETTLED`]. Rounding to milliseconds stays below.
const SLEW: f64 = 1.5e-3 * FLICKS_PER_SECOND as f64;
const SETTLED: f64 = 0.3e-3 * FLICKS_PER_SECOND as f64;
/// Units that the mean looks back over.
const MEMORY: u32 = 1024;
/// Units before the mean is trusted.
const WARM: u32 = 256;
/// A grid that follows moves by one sample every so many units: 490 ppm for AAC.
const SLEW_EVERY: u32 = 2;
/// No audio unit is longer.
const LONGEST: Span = Span::from_millis(1_000);

#[derive(Clone, Debug, Default)]
pub(super) struct Spacing {
    grid: Option<Grid>,
    last: Option<(Timestamp, Span)>,
    /// Frames before the next one are known to be lost.
    holed: bool,
}

/// An exact grid: `samples` samples of `rate` behind `origin` is where the next unit goes.
#[derive(Clone, Debug)]
struct Grid {
    origin: Timestamp,
    samples: i64,
    rate: u32,
    /// Units in a row beyond [`STEP`] and [`WIDE_STEP`], all on one side.
    beyond: u32,
    wide: u32,
    side: bool,
    mean: Mean,
    slewing: bool,
    /// Units since the grid last moved by a sample.
    idle: u32,
}

/// An average that is plain at first and forgets slowly later.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    value: f64,
    units: u32,
}

impl Mean {
    fn note(&mut self, value: f64) {
        self.units = self.units.saturating_add(1).min(MEMORY);
        self.value += (value - self.value) / f64::from(self.units);
    }
}

impl Grid {
    fn at(origin: Timestamp, rate: u32) -> Self {
        let (beyond, wide, side) = (0, 0, false);
        Self { origin, samples: 0, rate, beyond, wide, side, mean: Mean::default(), slewing: false, idle: 0 }
    }

    fn next(&self) -> Timestamp {
        self.origin + Span::from_ticks(self.samples, self.rate)
    }

    /// Whether the source has left this grid for good.
    fn left(&mut self, deviation: Span) -> bool {
        let side = deviation > Span::ZERO;
        if side != self.side {
            (self.side, self.beyond, self.wide) = (side, 0, 0);
        }
        self.beyond = if deviation.abs() > STEP { self.beyond.saturating_add(1) } else { 0 };
        self.wide = if deviation.abs() > WIDE_STEP { self.wide.saturating_add(1) } else { 0 };
        self.beyond >= SUSTAINED || self.wide >= WIDE_SUSTAINED || deviation.abs() > LOST
    }

    /// Lost frames leave a hole: as many as lie in `behind`, each of so many samples.
    fn leave_out(&mut self, behind: Span, samples: i64) {
        let frame = Span::from_ticks(samples, self.rate);
        let frames = (behind + frame.half()).flicks().checked_div(frame.flicks()).unwrap_or(0).max(0);
        self.samples = self.samples.saturating_add(frames.saturating_mul(samples));
    }

    /// Follows the mean deviation, at most one sample every other unit; true where it begins to.
    fn follow(&mut self, deviation: Span) -> bool {
        self.mean.note(deviation.clamp(-STEP, STEP).flicks() as f64);
        let began = !self.slewing && self.mean.units >= WARM && self.mean.value.abs() > SLEW;
        self.slewing = (self.slewing || began) && self.mean.value.abs() > SETTLED;
        self.idle = self.idle.saturating_add(1);
        if self.slewing && self.idle >= SLEW_EVERY {
            let sample = Span::from_ticks(1, self.rate);
            let step = if self.mean.value > 0.0 { sample } else { -sample };
            self.origin += step;
            self.mean.value -= step.flicks() as f64;
            self.idle = 0;
        }
        began
    }
}

impl Spacing {
    /// What comes next does not follow on what was placed last.
    pub(super) fn lose(&mut self) {
        self.holed = true;
    }

    /// The unit's time and duration. Behind a jump the source's timestamp is right, whatever the grid expects.
    pub(super) fn place(
        &mut self,
        source: Timestamp,
        jumped: bool,
        samples: u32,
        rate: u32,
        repairs: &mut Repairs,
    ) -> (Timestamp, Span) {
        let rate = if rate == 0 { 48_000 } else { rate };
        let samples = i64::from(samples.max(1)).min(LONGEST.ticks(rate).max(1));
        let duration = Span::from_ticks(samples, rate);
        let mut grid = match self.grid.take() {
            None => Grid::at(source, rate),
            Some(grid) if jumped && (source - grid.next()).abs() > STEP.half() => Grid::at(source, rate),
            Some(grid) if grid.rate != rate => Grid::at(grid.next(), rate),
            Some(grid) => grid,
        };
        if std::mem::take(&mut self.holed) {
            grid.leave_out(source - grid.next(), samples);
        }
        let deviation = source - grid.next();
        if grid.left(deviation) {
            repairs.note(Repair::AudioMoved);
            grid = Grid::at(source, rate);
        } else if grid.follow(deviation) {
            repairs.note(Repair::AudioSlewed);
        }
        let mut dts = grid.next();
        if let Some((last, lasted)) = self.last {
            // A grid that moved backwards is reached at double speed.
            let floor = last + lasted.half().max(Span::from_flicks(1));
            if dts < floor {
                repairs.note(Repair::BackStep);
                dts = floor;
            }
        }
        grid.samples = grid.samples.saturating_add(samples);
        self.grid = Some(grid);
        self.last = Some((dts, duration));
        (dts, duration)
    }
}
