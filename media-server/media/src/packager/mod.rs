//! One rendition: units and edges in, playlists and objects out.
//!
//! # The decode timeline
//! A part is closed *early*, on the last frame that fits, so its last sample's duration is a prediction. The decode
//! timeline (`tfdt` and durations) goes on from what was predicted, without a seam; the difference to the source's
//! decoding times is in the composition offsets (presentation times stay exact) and is taken back by the durations
//! of the samples that follow. The timeline is the source's decoding times plus a constant, chosen so that the first
//! IDR's decode time is its presentation time.
//!
//! # Gaps
//! No part is ever longer than PART-TARGET. When a frame comes late by more than fits, the open part is stretched to
//! the full target and the rest is owed: the following parts are stretched too (down to one frame a part) until the
//! decode timeline has caught up. Sound has no composition offsets, so there the few frames after a gap are early by
//! what is still owed. Where two edges are further apart than a segment may be long, the stream was silent: the
//! segment after it carries EXT-X-DISCONTINUITY, in every rendition alike since all see the same edges, and the
//! timeline starts anew there. A rendition on its own never gets a discontinuity (players stall when renditions
//! disagree on them): edges that it missed become EXT-X-GAP segments, after which its timeline is true again.
mod edges;
mod part;

use std::sync::Arc;

use crate::cmaf;
use crate::playlist::{Constants, DateRange, Init, MediaPlaylist, Running, Segment, SegmentHead, part_name};
use crate::segmenter::{Edge, Targets};
use crate::time::{Span, Timestamp};
use crate::unit::{AccessUnit, Format, Kind};
use crate::window::Window;

use edges::Edges;
use part::PartBuilder;

/// Gap segments inserted at most for edges that were missed in a row; beyond, the list begins with them.
const MOST_GAPS: u64 = 1024;

/// How a rendition is packaged.
#[derive(Clone, Debug)]
pub struct PackagerConfig {
    /// The stream's lengths.
    pub targets: Targets,
    /// Unguessable, in every object's name: names are never used twice, also across restarts.
    pub epoch: String,
    /// Unix milliseconds of the timeline's zero, for EXT-X-PROGRAM-DATE-TIME.
    pub wall_zero_ms: i64,
    /// EXT-X-DISCONTINUITY-SEQUENCE to begin with: the same for every rendition that begins at the same moment.
    pub discontinuity_sequence: u64,
}

/// One rendition's packager.
#[derive(Debug)]
pub struct Packager {
    config: PackagerConfig,
    constants: Arc<Constants>,
    /// The announced PART-TARGET; None until the first unit tells how long units are.
    part_target: Option<Span>,
    format: Option<Format>,
    init: Option<Arc<Init>>,
    inits: u64,
    /// Ticks a second.
    scale: u32,
    edges: Edges,
    /// The running segment. Units without one wait for an edge.
    running: Option<Running>,
    part: PartBuilder,
    /// Decode time of the next sample, in ticks.
    end: i64,
    /// Where the running segment began, by the source's times.
    true_start: i64,
    /// Ticks from the source's decoding times to the decode timeline.
    shift: i64,
    /// The sequence number after the last closed segment's. None before the first.
    next_msn: Option<u64>,
    /// The segment of that number, or the first after it, carries EXT-X-DISCONTINUITY.
    discontinuity: Option<u64>,
    reanchor: bool,
    last_dts: Option<Timestamp>,
    parts_made: u64,
    sequence: u32,
    dropped: u64,
    ended: bool,
    date_ranges: Arc<[Arc<DateRange>]>,
    window: Window,
    current: Arc<MediaPlaylist>,
}

impl Packager {
    /// A packager without a format: units are dropped until it has one.
    pub fn new(mut config: PackagerConfig) -> Self {
        config.epoch.retain(|c| c.is_ascii_alphanumeric() || c == '_');
        let (targets, discontinuities) = (config.targets, config.discontinuity_sequence);
        let constants = Arc::new(Constants::new(config.epoch.clone(), &targets, targets.part_target()));
        let current = Arc::new(MediaPlaylist {
            constants: Arc::clone(&constants),
            targets,
            segments: Vec::new(),
            retired: Vec::new(),
            running: None,
            next_msn: 0,
            hint: part_name(&config.epoch, 0),
            discontinuities: config.discontinuity_sequence,
            ended: false,
            bits: None,
            frame_rate: None,
            date_ranges: Arc::new([]),
            init: None,
        });
        Self {
            config,
            constants,
            part_target: None,
            format: None,
            init: None,
            inits: 0,
            scale: 90_000,
            edges: Edges::default(),
            running: None,
            part: PartBuilder::default(),
            end: 0,
            true_start: 0,
            shift: 0,
            next_msn: None,
            discontinuity: None,
            reanchor: true,
            last_dts: None,
            parts_made: 0,
            sequence: 0,
            dropped: 0,
            ended: false,
            date_ranges: Arc::new([]),
            window: Window::new(targets, discontinuities),
            current,
        }
    }

    /// What was said beside the media, oldest first; listed from the next part on.
    pub fn set_date_ranges(&mut self, ranges: Arc<[Arc<DateRange>]>) {
        self.date_ranges = ranges;
    }

    /// Says how the units that follow decode. The same format again changes nothing. A different one closes what is
    /// open; units then wait for the next edge, where a new init begins behind a discontinuity (give the stream's
    /// other renditions a [`Self::discontinuity`] too). False: the format cannot be packaged, units are dropped.
    pub fn set_format(&mut self, format: Format) -> bool {
        if self.format.as_ref() == Some(&format) {
            return true;
        }
        if self.format.is_some() {
            self.flush();
            self.discontinuity.get_or_insert(0);
            self.reanchor = true;
        }
        let Ok(bytes) = cmaf::init_segment(&format) else {
            self.format = None;
            self.init = None;
            return false;
        };
        let scale = cmaf::timescale(&format);
        self.end = Timestamp::from_ticks(self.end, self.scale).ticks(scale);
        self.scale = scale;
        self.init = Some(Init::new(&self.config.epoch, self.inits, bytes));
        self.inits = self.inits.saturating_add(1);
        self.format = Some(format);
        self.publish();
        true
    }

    /// Closes what is open; the next segment carries EXT-X-DISCONTINUITY and a timeline of its own. Give it to every
    /// rendition of the stream, and restart the GOP clock.
    pub fn discontinuity(&mut self) {
        self.flush();
        self.discontinuity = Some(0);
        self.reanchor = true;
    }

    /// The segment of that number carries EXT-X-DISCONTINUITY, though its units go on as they were: where another
    /// rendition's format changes there. Give it to every rendition of the stream.
    pub fn discontinuity_at(&mut self, msn: u64) {
        self.discontinuity = Some(self.discontinuity.map_or(msn, |known| known.min(msn)));
    }

    /// Takes the next edge, in order. It may come long before the units that it cuts, and must not come after them.
    pub fn edge(&mut self, edge: Edge) {
        let done = self.running.as_ref().map(|running| running.head.msn);
        self.edges.push(edge, done.or(self.next_msn.and_then(|next| next.checked_sub(1))));
    }

    /// Takes the next unit, in decode order. True: the playlist changed.
    pub fn push(&mut self, unit: AccessUnit) -> bool {
        let Some(kind) = self.format.as_ref().map(Format::kind).filter(|_| !self.ended) else {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        };
        if self.last_dts.is_some_and(|last| unit.dts <= last) {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        let mut changed = false;
        if let Some(found) = self.find_edge(&unit, kind) {
            changed |= self.begin_segment(&found, &unit, kind);
        }
        if self.running.is_none() || !self.has_room(&unit) {
            self.dropped = self.dropped.saturating_add(1);
        } else {
            self.last_dts = Some(unit.dts);
            changed |= self.append(unit, kind);
        }
        if changed {
            self.publish();
        }
        changed
    }

    /// Closes the open part and segment, as when the publisher went away. Units then wait for the next edge.
    pub fn flush(&mut self) -> bool {
        let mut changed = self.close_part();
        changed |= self.close_segment();
        if changed {
            self.publish();
        }
        changed
    }

    /// Closes what is open and lists nothing more of what was: after an absence the list begins anew with the next edge, as
    /// one of a rendition that begins then, with `discontinuities` as its EXT-X-DISCONTINUITY-SEQUENCE. Names are still never
    /// used twice, and what was listed can be fetched for a while.
    pub fn begin_anew(&mut self, discontinuities: u64) {
        self.close_part();
        self.close_segment();
        self.window.begin_anew(discontinuities);
        self.edges = Edges::default();
        self.next_msn = None;
        self.discontinuity = None;
        self.reanchor = true;
        self.publish();
    }

    /// Closes everything for good: EXT-X-ENDLIST.
    pub fn end(&mut self) -> bool {
        let changed = !self.ended;
        self.close_part();
        self.close_segment();
        self.ended = true;
        if changed {
            self.publish();
        }
        changed
    }

    /// The rendition as it stands. Immutable and shared.
    pub fn playlist(&self) -> Arc<MediaPlaylist> {
        Arc::clone(&self.current)
    }

    /// The format that units are packaged in.
    pub fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// Units that had no place: before the first edge, after a format change until the next, out of order.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn target_ticks(&self) -> i64 {
        let target = self.part_target.unwrap_or_else(|| self.config.targets.part_target());
        floor_ticks(target, self.scale)
    }

    fn longest_ticks(&self) -> i64 {
        floor_ticks(self.config.targets.longest_segment(), self.scale)
    }

    /// Decode time at which the running segment must have ended.
    fn segment_limit(&self) -> i64 {
        self.running.as_ref().map_or(i64::MAX, |running| {
            running.head.start.ticks(self.scale).saturating_add(self.longest_ticks())
        })
    }

    /// Where the unit lies on the decode timeline, if the source is right.
    fn true_decode(&self, unit: &AccessUnit) -> i64 {
        unit.dts.ticks(self.scale).saturating_add(self.shift)
    }

    /// A unit past the segment's limits has no place until an edge comes.
    fn has_room(&self, unit: &AccessUnit) -> bool {
        self.part.least_end(self.end) < self.segment_limit()
            && self.since_start(unit) <= self.longest_ticks().saturating_mul(2)
    }

    /// How far the unit is into the running segment, if the source is right.
    fn since_start(&self, unit: &AccessUnit) -> i64 {
        self.true_decode(unit).saturating_sub(self.true_start)
    }

    fn find_edge(&mut self, unit: &AccessUnit, kind: Kind) -> Option<edges::Found> {
        let started = self.next_msn.is_some() || self.running.is_some();
        // A segment without room for two more frames cannot wait for a keyframe that the edge promised.
        let frames = unit.duration.ticks(self.scale).saturating_mul(2);
        let full = self.since_start(unit).saturating_add(frames) > self.longest_ticks();
        // After a loss of coding state only a keyframe can begin anything.
        let needs_key = kind == Kind::Video && (self.running.is_none() || self.reanchor);
        self.edges.take(unit, kind, started, full, needs_key)
    }

    fn begin_segment(&mut self, found: &edges::Found, unit: &AccessUnit, kind: Kind) -> bool {
        let edge = found.edge;
        self.stretch_open_part(unit, kind);
        let mut changed = self.close_part();
        changed |= self.close_segment();
        let started = self.next_msn.is_some();
        let silent = started && found.spread > self.config.targets.longest_segment();
        let missed = self.next_msn.map_or(0, |next| edge.msn.saturating_sub(next));
        if missed > 0 {
            self.fill_gaps(edge, missed);
            changed = true;
        }
        let truth = self.true_decode(unit);
        let owed = truth.saturating_sub(self.end);
        self.true_start = truth;
        if self.reanchor || silent || missed > 0 || owed > self.longest_ticks() {
            let at = self.anchor(unit);
            self.true_start = at;
            // Time never runs backwards in what players have.
            self.end = at.max(if started { self.end } else { 0 });
            self.reanchor = false;
        }
        self.part_target.get_or_insert_with(|| {
            let target = self.config.targets.part_target_for(unit.duration, kind == Kind::Audio);
            self.constants =
                Arc::new(Constants::new(self.config.epoch.clone(), &self.config.targets, target));
            target
        });
        let start = Timestamp::from_ticks(self.end, self.scale);
        let due = self.discontinuity.take_if(|msn| *msn <= edge.msn).is_some();
        self.running = Some(Running {
            head: SegmentHead {
                msn: edge.msn,
                start,
                wall_ms: self.wall_ms(start),
                independent: unit.keyframe,
                discontinuity: started && (due || silent),
                init: self.init.clone(),
            },
            parts: Vec::new(),
        });
        changed
    }

    /// Where the decode timeline goes on anew: at a keyframe's presentation time. How far it is decoded ahead is the
    /// reordering delay, unless it is so much that a gap must lie between the two: then what was known before holds.
    fn anchor(&mut self, unit: &AccessUnit) -> i64 {
        let presented = unit.pts.ticks(self.scale);
        let most = unit.duration.times(16).min(Span::from_millis(500));
        let ahead = unit.pts - unit.dts;
        if !unit.keyframe {
            let truth = self.true_decode(unit);
            return if presented.saturating_sub(truth) > most.ticks(self.scale) { presented } else { truth };
        }
        if ahead <= most {
            self.shift = ahead.ticks(self.scale);
        } else if self.next_msn.is_none() {
            self.shift = unit.duration.times(2).ticks(self.scale);
        }
        presented
    }

    fn wall_ms(&self, at: Timestamp) -> i64 {
        self.config.wall_zero_ms.saturating_add(at.since_zero().millis())
    }

    /// Edges were missed: something must stand in the list for each, or sequence numbers would no longer agree.
    fn fill_gaps(&mut self, edge: Edge, missed: u64) {
        let count = missed.min(MOST_GAPS);
        if count < missed {
            self.window.clear();
        }
        let first = edge.msn.saturating_sub(count);
        let from = Timestamp::from_ticks(self.end, self.scale);
        let length =
            Span::from_flicks((edge.at - from).flicks().max(0) / i64::try_from(count).unwrap_or(1).max(1));
        let length = length.max(Span::from_millis(1)).min(self.config.targets.longest_segment());
        for (index, msn) in (first..edge.msn).enumerate() {
            let start = from + length.times(i64::try_from(index).unwrap_or(0));
            let head = SegmentHead {
                msn,
                start,
                wall_ms: self.wall_ms(start),
                independent: true,
                discontinuity: false,
                init: self.init.clone(),
            };
            self.window.push(Segment::new(&self.config.epoch, head, Vec::new(), Some(length)));
        }
    }

    fn close_segment(&mut self) -> bool {
        let Some(running) = self.running.take() else { return false };
        if running.parts.is_empty() {
            // Nothing was put into it; its number stays open and becomes a gap if it is not taken.
            self.next_msn.get_or_insert(running.head.msn);
            return false;
        }
        self.next_msn = Some(running.head.msn.saturating_add(1));
        self.window.push(Segment::new(&self.config.epoch, running.head, running.parts, None));
        true
    }

    fn publish(&mut self) {
        let next_msn = self.running.as_ref().map(|running| running.head.msn).or(self.next_msn);
        self.current = Arc::new(MediaPlaylist {
            constants: Arc::clone(&self.constants),
            targets: self.config.targets,
            segments: self.window.listed(),
            retired: self.window.retired(),
            running: self.running.clone(),
            next_msn: next_msn.unwrap_or(0),
            hint: part_name(&self.config.epoch, self.parts_made),
            discontinuities: self.window.discontinuities(),
            ended: self.ended,
            bits: self.window.bandwidth(),
            frame_rate: self.window.sample_rate(),
            date_ranges: Arc::clone(&self.date_ranges),
            init: self.init.clone(),
        });
    }
}

/// Whole ticks that fit into a span.
fn floor_ticks(span: Span, scale: u32) -> i64 {
    let ticks = i128::from(span.flicks()) * i128::from(scale) / i128::from(crate::time::FLICKS_PER_SECOND);
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
