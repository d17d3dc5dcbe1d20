//! The GOP clock itself.

use std::collections::VecDeque;

use super::Targets;
use crate::time::{Span, Timestamp};
use crate::unit::AccessUnit;

/// How many GOPs back the clock remembers.
const REMEMBERED_GOPS: usize = 8;

/// The beginning of a segment, the same for every rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Media sequence number of the segment that begins here.
    pub msn: u64,
    /// Presentation time of its first unit.
    pub at: Timestamp,
    /// The source has an IDR here. Where false, encoded rungs must be given one all the same.
    pub independent: bool,
}

/// What the source's GOPs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gop {
    /// The longest of late, counting the one that is running.
    pub longest: Span,
    /// False while a playlist may list a segment whose edge had to be forced where the source has no IDR.
    pub aligned: bool,
}

/// A unit's two times.
#[derive(Clone, Copy, Debug)]
struct Point {
    pts: Timestamp,
    dts: Timestamp,
}

impl From<&AccessUnit> for Point {
    fn from(unit: &AccessUnit) -> Self {
        Self { pts: unit.pts, dts: unit.dts }
    }
}

/// Decides segment edges from the source's video in decode order, or from its audio where there is no video.
///
/// - The first edge is at the first keyframe.
/// - At an IDR: a cut, if the segment is nearer to its target now than it would be at the next expected IDR, or if
///   waiting for that could make it longer than is legal.
/// - Without an IDR in time, an edge is forced on a frame that no earlier frame follows in presentation: at the last
///   legal moment at first, at the target once the GOPs are known to be long.
/// - A gap in the timestamps ends the segment at the first unit after it.
#[derive(Debug)]
pub struct GopClock {
    targets: Targets,
    next_msn: u64,
    /// First unit of the running segment. None before the first edge.
    segment: Option<Point>,
    /// The target for the next edge, kept without drift for sources that can be cut anywhere.
    due: Timestamp,
    last_key: Option<Timestamp>,
    recent: VecDeque<Span>,
    /// The running GOP holds a gap in time: its length says nothing of the encoder.
    gapped: bool,
    /// Highest presentation time seen.
    front: Option<Timestamp>,
    last_dts: Option<Timestamp>,
    /// Edges at or before this are decided, whatever the source does.
    floor: Timestamp,
    /// Distance of the last two units that led in presentation.
    step: Span,
    restart: bool,
    /// Segments in a row that begin with an IDR; None: all did.
    in_a_row: Option<usize>,
}

impl GopClock {
    /// A clock whose first edge gets `first_msn`.
    pub fn new(targets: Targets, first_msn: u64) -> Self {
        Self {
            targets,
            next_msn: first_msn,
            segment: None,
            due: Timestamp::ZERO,
            last_key: None,
            recent: VecDeque::with_capacity(REMEMBERED_GOPS),
            gapped: false,
            front: None,
            last_dts: None,
            floor: Timestamp::from_flicks(i64::MIN),
            step: Span::ZERO,
            restart: false,
            in_a_row: None,
        }
    }

    /// Takes the next unit, in decode order; answers the edge that starts at it, if one does.
    pub fn observe(&mut self, unit: &AccessUnit) -> Option<Edge> {
        self.take(unit, None)
    }

    /// Takes a picture that stands in for the source's: a keyframe, and the next one may be its duration away. It says
    /// nothing of the source's own keyframes.
    pub fn observe_held(&mut self, unit: &AccessUnit) -> Option<Edge> {
        self.take(unit, Some(unit.duration))
    }

    /// `held`: how far the next keyframe is, where that is known better than by the keyframes of late.
    fn take(&mut self, unit: &AccessUnit, held: Option<Span>) -> Option<Edge> {
        let leads = self.front.is_none_or(|front| unit.pts > front) && unit.pts > self.floor;
        let step = self.advance(unit);
        if held.is_some() {
            self.gapped = true;
        } else {
            self.count_gop(unit);
        }
        let Some(segment) = self.segment else {
            return unit.keyframe.then(|| self.cut(unit));
        };
        let elapsed = (unit.pts - segment.pts).max(unit.dts - segment.dts);
        let cut = if !leads {
            false
        } else if self.restart {
            unit.keyframe
        } else if unit.keyframe {
            self.wants_key(unit, elapsed, step, held.unwrap_or_else(|| self.longest()))
        } else {
            self.must_force(unit, elapsed, step)
        };
        cut.then(|| self.cut(unit))
    }

    /// Tells that other tracks have reached `now` while the watched one is silent. Where that lasts longer than a
    /// segment may, the answer is an edge in the silence, so that the other tracks go on being cut. Ask until None.
    pub fn idle(&mut self, now: Timestamp) -> Option<Edge> {
        let segment = self.segment?;
        let front = self.front?.max(self.floor);
        if self.restart || now - front <= self.targets.longest_between_edges() {
            return None;
        }
        let at = (segment.pts + self.targets.segment).max(front + Span::from_millis(1));
        self.segment = Some(Point { pts: at, dts: segment.dts + (at - segment.pts) });
        self.due = at + self.targets.segment;
        self.floor = at;
        self.gapped = true;
        Some(self.edge(at, false))
    }

    /// The next keyframe begins a segment, however short the running one is: for a new publisher or a new format.
    pub fn restart(&mut self) {
        self.restart = true;
        self.gapped = true;
    }

    /// Every edge at or before this presentation time is decided. Audio may be pushed into its rendition once
    /// `unit.pts + unit.duration` is not later.
    pub fn known_until(&self) -> Timestamp {
        if self.segment.is_none() {
            return self.floor;
        }
        self.front.map_or(self.floor, |front| front.max(self.floor))
    }

    /// The sequence number that the next edge gets.
    pub fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// What the source's GOPs look like so far.
    pub fn gop(&self) -> Gop {
        let running = match (self.front, self.last_key) {
            (Some(front), Some(key)) if !self.gapped => front - key,
            _ => Span::ZERO,
        };
        // One that is lost on a bad line is no habit of the encoder's.
        let aligned = self.in_a_row.is_none_or(|segments| segments > self.targets.window);
        Gop { longest: self.longest().max(running), aligned }
    }

    fn longest(&self) -> Span {
        self.recent.iter().copied().max().unwrap_or(Span::ZERO)
    }

    /// Moves the front; answers how far the next leading unit is likely to be.
    fn advance(&mut self, unit: &AccessUnit) -> Span {
        let gap = self.last_dts.map_or(Span::ZERO, |last| unit.dts - last);
        if gap > unit.duration.times(4).max(Span::from_millis(500)) {
            self.gapped = true;
        }
        self.last_dts = Some(unit.dts);
        let Some(front) = self.front else {
            self.front = Some(unit.pts);
            self.step = unit.duration;
            return unit.duration;
        };
        if unit.pts <= front {
            return self.step.max(unit.duration);
        }
        // The smaller of two: one gap must not look like the distance of reference frames.
        let now = unit.pts - front;
        let step = now.min(self.step).max(unit.duration);
        self.step = now;
        self.front = Some(unit.pts);
        step
    }

    fn count_gop(&mut self, unit: &AccessUnit) {
        if !unit.keyframe {
            return;
        }
        if let Some(last) = self.last_key
            && !self.gapped
        {
            if self.recent.len() >= REMEMBERED_GOPS {
                self.recent.pop_front();
            }
            self.recent.push_back((unit.pts - last).max(Span::ZERO));
        }
        self.last_key = Some(unit.pts);
        self.gapped = false;
    }

    fn wants_key(&self, unit: &AccessUnit, elapsed: Span, step: Span, gop: Span) -> bool {
        let target = self.targets.segment;
        let limit = self.targets.longest_between_edges();
        if gop.times(8) <= target {
            // Cut anywhere (audio, intra-only video): nearest to each multiple of the target, without drift.
            return unit.pts + gop.half() >= self.due || elapsed + gop > limit;
        }
        let long = gop > limit;
        let nearest = (elapsed - target).abs() <= (elapsed + gop - target).abs();
        let last_chance = elapsed + gop + step.half() > limit;
        let short = elapsed < self.targets.shortest_segment();
        (nearest && !short) || (last_chance && !(long && short))
    }

    fn must_force(&self, unit: &AccessUnit, elapsed: Span, step: Span) -> bool {
        let limit = self.targets.longest_between_edges();
        if elapsed + step > limit {
            return true;
        }
        let running = self.last_key.map_or(Span::ZERO, |key| unit.pts - key);
        let long = self.longest() > limit || (running > limit && !self.gapped);
        long && elapsed + step.half() >= self.targets.segment
    }

    fn cut(&mut self, unit: &AccessUnit) -> Edge {
        let near = (unit.pts - self.due).abs() < self.targets.segment.half();
        let from = if self.segment.is_some() && near { self.due } else { unit.pts };
        self.due = from + self.targets.segment;
        self.segment = Some(Point::from(unit));
        self.restart = false;
        self.in_a_row = match self.in_a_row {
            _ if !unit.keyframe => Some(0),
            segments => segments.map(|segments| segments.saturating_add(1)),
        };
        self.edge(unit.pts, unit.keyframe)
    }

    fn edge(&mut self, at: Timestamp, independent: bool) -> Edge {
        let msn = self.next_msn;
        self.next_msn = msn.saturating_add(1);
        Edge { msn, at, independent }
    }
}
