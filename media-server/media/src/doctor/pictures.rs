//! The rhythm of the pictures: keyframes, frame rate, reordering. All by the repaired timestamps.

use std::collections::VecDeque;

use super::finding::Sign;
use super::ledger::Verdict;
use crate::time::{Span, Timestamp};
use crate::timeline::{Repair, Repairs, Stamp};

/// Keyframes further apart make viewers wait.
const FAR: Span = Span::from_millis(4_000);
const VERY_FAR: Span = Span::from_millis(10_000);
/// GOPs looked back over, and those that the length is judged by.
const REMEMBERED: usize = 6;
const JUDGED: usize = 3;
/// GOPs needed to say that they vary.
const COMPARED: usize = 4;
/// Rhythm is measured over this much of media time.
const WINDOW: Span = Span::from_millis(10_000);
/// Frames needed within a window for a word about their rhythm.
const ENOUGH: u32 = 20;
/// In a hundred frames: off the rhythm, or missing in it.
const IRREGULAR: u32 = 20;
const SPARSE: u32 = 25;
const MISSING: u32 = 1;
/// B-frames in a row beyond this only add delay.
const B_FRAMES: u32 = 3;

/// What one window saw.
#[derive(Clone, Copy, Debug, Default)]
struct Rhythm {
    steps: u32,
    irregular: u32,
    missing: u32,
    b_frames: u32,
    length: Span,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pictures {
    last: Option<Timestamp>,
    /// Highest presentation time so far, and the frames in a row that stayed before it.
    front: Option<Timestamp>,
    behind: u32,
    interval: Option<Span>,
    key: Option<Timestamp>,
    /// Time is missing in the running GOP: its length says nothing.
    broken: bool,
    gops: VecDeque<Span>,
    window: Rhythm,
    closed: Option<Rhythm>,
}

impl Pictures {
    pub(super) fn note(&mut self, stamp: Stamp, keyframe: bool, repairs: Repairs) {
        let broken = repairs.contains(Repair::Jump) || repairs.contains(Repair::Gap);
        self.broken |= broken;
        self.interval = Some(stamp.duration);
        if let Some(last) = self.last.filter(|_| !broken) {
            self.step(stamp.dts - last, stamp.duration);
        }
        self.last = Some(stamp.dts);
        if self.front.is_none_or(|front| stamp.pts > front) {
            self.front = Some(stamp.pts);
            self.behind = 0;
        } else {
            self.behind = self.behind.saturating_add(1);
            self.window.b_frames = self.window.b_frames.max(self.behind);
        }
        if keyframe {
            if let Some(key) = self.key.filter(|_| !self.broken) {
                if self.gops.len() >= REMEMBERED {
                    self.gops.pop_front();
                }
                self.gops.push_back((stamp.pts - key).max(Span::ZERO));
            }
            self.key = Some(stamp.pts);
            self.broken = false;
        }
    }

    /// The nominal distance of two frames; 0 before there was one.
    pub(super) fn interval(&self) -> Span {
        self.interval.unwrap_or(Span::ZERO)
    }

    /// Frames a second over the last window.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        let closed = self.closed.filter(|closed| closed.length > Span::ZERO)?;
        Some(f64::from(closed.steps) / closed.length.seconds())
    }

    fn step(&mut self, step: Span, interval: Span) {
        let (step, interval) = (step.flicks().max(0), interval.flicks().max(1));
        let slots = (step.saturating_add(interval / 2) / interval).max(1);
        let rest = (step.saturating_sub(interval.saturating_mul(slots))).saturating_abs();
        let window = &mut self.window;
        window.steps = window.steps.saturating_add(1);
        window.length += Span::from_flicks(step);
        if rest.saturating_mul(100) > interval.saturating_mul(15) {
            window.irregular = window.irregular.saturating_add(1);
        } else {
            let missing = u32::try_from(slots.saturating_sub(1)).unwrap_or(u32::MAX);
            window.missing = window.missing.saturating_add(missing);
        }
        if window.length >= WINDOW {
            self.closed = Some(std::mem::take(window));
        }
    }

    pub(super) fn keyframes_far(&self) -> Verdict {
        let running = match (self.front, self.key) {
            (Some(front), Some(key)) if !self.broken => front - key,
            _ => Span::ZERO,
        };
        let known = self.gops.iter().rev().take(JUDGED).copied().max();
        let worst = known.unwrap_or(Span::ZERO).max(running);
        if known.is_none() && worst <= FAR {
            return Verdict::Unknown;
        }
        Verdict::sign(worst > FAR + self.interval(), || {
            let seconds = worst.seconds();
            let text = if known.is_some_and(|known| known >= running) {
                format!(
                    "Keyframes are up to {seconds:.1} s apart: a viewer who joins, or changes quality, waits that long"
                )
            } else {
                format!(
                    "There was no keyframe for {seconds:.1} s: a viewer who joins now sees nothing until one comes"
                )
            };
            let sign = if worst > VERY_FAR { Sign::critical(text) } else { Sign::warning(text) };
            sign.figures(seconds, FAR.seconds())
        })
    }

    /// Only for a steady interval that is not too long already.
    pub(super) fn keyframes_uneven(&self, target: Span) -> Verdict {
        let Some((least, most)) = self.range(JUDGED).filter(|_| self.gops.len() >= JUDGED) else {
            return Verdict::Unknown;
        };
        if most > FAR + self.interval() || self.varies(least, most) || most.times(4) <= target {
            return Verdict::Good;
        }
        let times = (target.flicks().saturating_add(most.flicks() / 2) / most.flicks().max(1)).max(1);
        let off = (most.times(times) - target).abs();
        Verdict::sign(off.times(10) > target, || {
            let (seconds, target) = (most.seconds(), target.seconds());
            Sign::warning(format!(
                "Keyframes come every {seconds:.2} s, which does not divide the segment length of {target:.1} s: segments begin without a keyframe, or have uneven lengths"
            ))
            .figures(seconds, target)
        })
    }

    pub(super) fn keyframes_vary(&self) -> Verdict {
        let Some((least, most)) = self.range(REMEMBERED).filter(|_| self.gops.len() >= COMPARED) else {
            return Verdict::Unknown;
        };
        Verdict::sign(self.varies(least, most), || {
            Sign::warning(format!(
                "Keyframes come at irregular intervals, {:.1} to {:.1} s apart",
                least.seconds(),
                most.seconds()
            ))
            .figures(most.seconds(), least.seconds())
        })
    }

    pub(super) fn frame_rate_varies(&self) -> Verdict {
        let Some(closed) = self.closed.filter(|closed| closed.steps >= ENOUGH) else {
            return Verdict::Unknown;
        };
        let slots = closed.steps.saturating_add(closed.missing);
        let irregular = percent(closed.irregular, closed.steps);
        let sparse = percent(closed.missing, slots);
        Verdict::sign(irregular > IRREGULAR || sparse > SPARSE, || {
            let share = irregular.max(sparse);
            Sign::warning(format!("The frame rate varies: {share} % of the frames are off a constant rhythm"))
                .figures(f64::from(share), 0.0)
        })
    }

    pub(super) fn frames_missing(&self) -> Verdict {
        let Some(closed) = self.closed.filter(|closed| closed.steps >= ENOUGH) else {
            return Verdict::Unknown;
        };
        let share = percent(closed.missing, closed.steps.saturating_add(closed.missing));
        Verdict::sign(share > MISSING && share <= SPARSE, || {
            Sign::warning(format!(
                "{share} % of the frames are missing: they were left out before they were sent"
            ))
            .figures(f64::from(share), 0.0)
        })
    }

    pub(super) fn many_b_frames(&self) -> Verdict {
        let Some(closed) = self.closed else { return Verdict::Unknown };
        Verdict::sign(closed.b_frames > B_FRAMES, || {
            Sign::info(format!(
                "{} B-frames follow each other: more than {B_FRAMES} only add delay",
                closed.b_frames
            ))
            .figures(f64::from(closed.b_frames), f64::from(B_FRAMES))
        })
    }

    /// The shortest and the longest of the last `count` GOPs.
    fn range(&self, count: usize) -> Option<(Span, Span)> {
        let recent = || self.gops.iter().rev().take(count).copied();
        recent().min().zip(recent().max())
    }

    fn varies(&self, least: Span, most: Span) -> bool {
        let apart = most - least;
        apart.times(5) > most && apart > self.interval().times(2)
    }
}

fn percent(part: u32, whole: u32) -> u32 {
    let share = u64::from(part).saturating_mul(100) / u64::from(whole.max(1));
    u32::try_from(share).unwrap_or(100)
}
