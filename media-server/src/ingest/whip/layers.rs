//! Layers of simulcast (RFC 8853): the same pictures in several sizes, each with a key of its own (RFC 8851, "rid").
//!
//! The largest layer is the source; the others are rungs that nobody encodes. Browsers stop their largest layers when
//! the line gets worse: where the source falls silent, the largest of those that still come takes its place, as a new
//! size of the same picture, and gives it back once the larger one has come for a while.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::intake::{VideoCodec, VideoIntake};
use media::rtp_clock::{MOST_LAYERS, RtpClock};
use str0m::media::{Mid, Rid};

/// The layers of the offer that have not come by then may be long in coming: browsers begin with the smallest.
const GATHER: Duration = Duration::from_secs(1);
/// A source whose pictures stay away for so long, while others come, is another one.
const SILENT: Duration = Duration::from_millis(1_500);
/// A layer comes while its newest picture is no older.
const COMES: Duration = Duration::from_millis(400);
/// Before a larger layer is made the source, it has come for so long.
const STEADY: Duration = Duration::from_secs(5);

/// One of the publisher's tracks, once something of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) mid: Mid,
    pub(super) rid: Option<Rid>,
}

/// What comes of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) track: Track,
    /// Pixels of its picture; 0 until a keyframe has said.
    area: u64,
    /// It has come without a pause since, and came last.
    since: Instant,
    last: Instant,
    /// It is, or was, a rung of its own, and goes on as one.
    pub(super) rung: bool,
    /// What was sent is missing: pictures that build on it are left out.
    pub(super) broken: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Layers {
    all: Vec<Layer>,
    /// Layers of the offer.
    announced: usize,
    began: Option<Instant>,
    source: Option<usize>,
}

impl Layers {
    /// Of an offer that has so many.
    pub(in crate::ingest) fn announced(announced: usize) -> Self {
        Self { announced, ..Self::default() }
    }

    /// Which layer a picture is of; None where it is none of this stream's.
    pub(super) fn index(&mut self, track: Track, now: Instant) -> Option<usize> {
        if let Some(known) = self.all.iter().position(|layer| layer.track == track) {
            return Some(known);
        }
        let fits = self.all.first().is_none_or(|first| first.track.mid == track.mid);
        if !fits || self.all.len() >= MOST_LAYERS {
            return None;
        }
        self.all.push(Layer { track, area: 0, since: now, last: now, rung: false, broken: true });
        self.all.len().checked_sub(1)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Layer> {
        self.all.get_mut(index)
    }

    /// A picture of a layer came; the one that is the source from it on. `payload`: of a keyframe.
    pub(super) fn came(
        &mut self,
        index: usize,
        keyframe: Option<(VideoCodec, &Bytes)>,
        clock: &mut RtpClock,
        now: Instant,
    ) -> Option<usize> {
        self.began.get_or_insert(now);
        let layer = self.all.get_mut(index)?;
        if now.saturating_duration_since(layer.last) > COMES {
            layer.since = now;
        }
        layer.last = now;
        if let Some((codec, payload)) = keyframe {
            let track = layer.track;
            layer.area = area(codec, payload).unwrap_or(layer.area).max(1);
            if self.source != Some(index) && self.best(now) == Some(index) && clock.promote(index) {
                if self.source.is_some() {
                    tracing::info!(rid = ?track.rid, "another layer is the source");
                }
                self.source = Some(index);
            }
        }
        self.source
    }

    /// The layer that should be the source.
    fn best(&self, now: Instant) -> Option<usize> {
        let silent = |layer: &Layer, time: Duration| now.saturating_duration_since(layer.last) > time;
        let came = self.all.iter().enumerate().filter(|(_, layer)| layer.area > 0 && !silent(layer, COMES));
        let largest = |of: &mut dyn Iterator<Item = (usize, &Layer)>| {
            of.max_by_key(|(_, layer)| layer.area).map(|(index, _)| index)
        };
        let Some(current) = self.source.and_then(|source| self.all.get(source)) else {
            let gathered = self.all.iter().filter(|layer| layer.area > 0).count() >= self.announced.max(1);
            let waited = self.began.is_some_and(|began| now.saturating_duration_since(began) >= GATHER);
            return if gathered || waited { largest(&mut came.into_iter()) } else { None };
        };
        if silent(current, SILENT) {
            return largest(&mut came.into_iter());
        }
        let steady = |layer: &Layer| now.saturating_duration_since(layer.since) >= STEADY;
        largest(&mut came.filter(|(_, layer)| layer.area > current.area && steady(layer)))
    }

    /// There are others beside the source, to be placed by it.
    pub(super) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// A layer waits for a keyframe, and could use it.
    pub(super) fn is_broken(&self, clock: &RtpClock, now: Instant) -> bool {
        self.all.iter().enumerate().any(|(index, layer)| {
            let used = self.source.is_none_or(|source| source == index) || clock.is_placed(index);
            layer.broken && used && now.saturating_duration_since(layer.last) <= COMES
        })
    }

    /// All that has come.
    pub(super) fn tracks(&self) -> impl Iterator<Item = Track> {
        self.all.iter().map(|layer| layer.track)
    }
}

/// Pixels of a keyframe's picture, by its parameter sets.
fn area(codec: VideoCodec, payload: &Bytes) -> Option<u64> {
    let mut intake = VideoIntake::new(codec);
    intake.picture(payload.clone())?;
    let format = intake.in_band().ok()??;
    Some(u64::from(format.width).saturating_mul(u64::from(format.height)))
}

#[cfg(test)]
mod tests {
    use media::{Kind, Span, Timestamp};

    use super::*;

    fn track(rid: &str) -> Track {
        Track { mid: "0".into(), rid: Some(rid.into()) }
    }

    /// As [`Layers::came`], of a keyframe of so many pixels.
    fn keyframe(
        layers: &mut Layers,
        rid: &str,
        area: u64,
        clock: &mut RtpClock,
        now: Instant,
    ) -> Option<usize> {
        let index = layers.index(track(rid), now)?;
        layers.get_mut(index)?.area = area;
        layers.came(index, Some((VideoCodec::H264, &Bytes::new())), clock, now)
    }

    /// Every layer's clock is known.
    fn placed(clock: &mut RtpClock) {
        clock.raw(Kind::Video, 0, Timestamp::ZERO);
        clock.report(Kind::Video, 0, Span::ZERO);
        for layer in 0..MOST_LAYERS {
            clock.layer(layer, 0);
            clock.layer_report(layer, 0, Span::ZERO);
        }
    }

    #[test]
    fn the_largest_is_the_source_once_all_have_come() {
        let (mut layers, mut clock, now) = (Layers::announced(3), RtpClock::default(), Instant::now());
        assert_eq!(keyframe(&mut layers, "q", 1, &mut clock, now), None);
        assert_eq!(keyframe(&mut layers, "f", 16, &mut clock, now), None);
        assert_eq!(
            keyframe(&mut layers, "h", 4, &mut clock, now),
            None,
            "the largest begins with its next keyframe"
        );
        assert_eq!(keyframe(&mut layers, "f", 16, &mut clock, now), Some(1));
        assert_eq!(layers.index(Track { mid: "1".into(), rid: None }, now), None, "one picture");
    }

    #[test]
    fn one_that_is_missing_is_not_waited_for() {
        let (mut layers, mut clock, now) = (Layers::announced(2), RtpClock::default(), Instant::now());
        assert_eq!(keyframe(&mut layers, "q", 1, &mut clock, now), None);
        assert_eq!(keyframe(&mut layers, "q", 1, &mut clock, now + GATHER), Some(0));
    }

    #[test]
    fn a_source_that_falls_silent_is_replaced_until_it_has_come_back_for_good() {
        let (mut layers, mut clock, start) = (Layers::announced(2), RtpClock::default(), Instant::now());
        keyframe(&mut layers, "q", 1, &mut clock, start);
        assert_eq!(keyframe(&mut layers, "f", 16, &mut clock, start), Some(1));
        placed(&mut clock);
        let mut sources = Vec::new();
        for tenths in 1..200 {
            let now = start + Duration::from_millis(100 * tenths);
            let mut source = keyframe(&mut layers, "q", 1, &mut clock, now);
            if !(20..100).contains(&tenths) {
                source = keyframe(&mut layers, "f", 16, &mut clock, now);
            }
            if sources.last().is_none_or(|(_, last)| *last != source) {
                sources.push((tenths, source));
            }
        }
        assert_eq!(sources, [(1, Some(1)), (35, Some(0)), (150, Some(1))]);
    }
}
