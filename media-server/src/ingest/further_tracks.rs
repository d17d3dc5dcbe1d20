//! Further video tracks of a publisher (Enhanced RTMP's "Multitrack", layers of simulcast): the same pictures in other
//! sizes, which become rungs of their own. They are placed on the timeline by the source's pictures of the same timestamp,
//! so that all of them are cut at the same moments.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use media::intake::{Picture, VideoCodec, VideoIntake};
use media::{AccessUnit, Format, Span, Timestamp, VideoFormat};

use crate::live::{Counters, Publisher};

/// Tracks beyond the source; more are left out.
const MOST_TRACKS: usize = 7;
/// Pictures of the source whose places are remembered.
const PLACES: usize = 128;
/// Pictures whose timestamps are no further apart are the same picture: clocks of layers are known to some milliseconds.
const SAME_MS: i32 = 7;
/// Pictures of a track that wait for the source's at most.
const WAITING: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct FurtherTracks {
    tracks: Vec<Track>,
    /// Timestamp as sent, and where the source's picture was placed.
    places: VecDeque<(u32, Timestamp)>,
    told: bool,
}

struct Track {
    number: u8,
    intake: VideoIntake,
    format: Option<VideoFormat>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    timestamp: u32,
    composition_ms: i32,
    picture: Picture,
    arrived: Instant,
}

impl FurtherTracks {
    fn track(&mut self, number: u8, codec: VideoCodec) -> Option<&mut Track> {
        if let Some(at) = self.tracks.iter().position(|track| track.number == number) {
            let track = self.tracks.get_mut(at)?;
            if track.intake.codec() != codec {
                *track = Track::new(number, codec);
            }
            return Some(track);
        }
        if self.tracks.len() >= MOST_TRACKS {
            return None;
        }
        self.tracks.push(Track::new(number, codec));
        self.tracks.last_mut()
    }

    /// A track's configuration record. A track that cannot be used is left out: the source goes on.
    pub(super) fn header(
        &mut self,
        number: u8,
        codec: VideoCodec,
        record: &Bytes,
        publisher: &mut Publisher,
    ) {
        let Some(track) = self.track(number, codec) else { return self.tell("too many video tracks") };
        match track.intake.header(record) {
            Ok(Some(format)) => track.set_format(format, publisher),
            Ok(None) => {}
            Err(error) => self.tell(&error.to_string()),
        }
    }

    /// One picture of a track; it waits until the source's picture of its time has been placed.
    pub(super) fn picture(
        &mut self,
        number: u8,
        codec: VideoCodec,
        at: (u32, i32),
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) {
        let Some(track) = self.track(number, codec) else { return };
        let Some(picture) = track.intake.picture(data) else {
            Counters::add(&publisher.counters().dropped, 1);
            return;
        };
        if track.format.is_none()
            && let Ok(Some(format)) = track.intake.in_band()
        {
            track.set_format(format, publisher);
        }
        if track.waiting.len() >= WAITING {
            track.waiting.pop_front();
            Counters::add(&publisher.counters().dropped, 1);
        }
        track.waiting.push_back(Waiting { timestamp: at.0, composition_ms: at.1, picture, arrived });
        self.release(publisher);
    }

    /// A picture of the source was placed.
    pub(super) fn placed(&mut self, timestamp: u32, dts: Timestamp, publisher: &mut Publisher) {
        if self.places.len() >= PLACES {
            self.places.pop_front();
        }
        self.places.push_back((timestamp, dts));
        self.release(publisher);
    }

    fn release(&mut self, publisher: &mut Publisher) {
        let Some((newest, _)) = self.places.back().copied() else { return };
        for track in &mut self.tracks {
            while track.waiting.front().is_some_and(|waiting| behind(waiting.timestamp, newest) >= -SAME_MS) {
                let Some(waiting) = track.waiting.pop_front() else { break };
                if track.format.is_none() {
                    Counters::add(&publisher.counters().dropped, 1);
                    continue;
                }
                let unit = unit(&self.places, waiting.timestamp, waiting.composition_ms, waiting.picture);
                publisher.track_unit(track.number, unit, waiting.arrived);
            }
        }
    }

    /// Said once: what is wrong with a track that the stream can do without.
    pub(super) fn tell(&mut self, reason: &str) {
        if !self.told {
            self.told = true;
            tracing::warn!(reason, "a further track of the publisher is left out");
        }
    }
}

impl Track {
    fn new(number: u8, codec: VideoCodec) -> Self {
        Self { number, intake: VideoIntake::new(codec), format: None, waiting: VecDeque::new() }
    }

    fn set_format(&mut self, format: VideoFormat, publisher: &mut Publisher) {
        if self.format.as_ref() != Some(&format) {
            tracing::info!(
                track = self.number,
                codec = format.codec,
                width = format.width,
                height = format.height,
                "further video track"
            );
            publisher.track_format(self.number, Format::Video(format.clone()));
            self.format = Some(format);
        }
    }
}

/// Milliseconds by which `timestamp` lies before `reference`, the short way around.
fn behind(timestamp: u32, reference: u32) -> i32 {
    reference.wrapping_sub(timestamp).cast_signed()
}

/// The unit, where the source has its picture of about this timestamp, or as far from the nearest one before.
fn unit(
    places: &VecDeque<(u32, Timestamp)>,
    timestamp: u32,
    composition_ms: i32,
    picture: Picture,
) -> AccessUnit {
    let off = |placed: u32| behind(placed, timestamp).saturating_abs();
    let nearest = places.iter().min_by_key(|(placed, _)| off(*placed));
    let same = nearest.filter(|(placed, _)| off(*placed) <= SAME_MS);
    let before =
        || places.iter().rev().find(|(placed, _)| behind(*placed, timestamp) >= 0).or(places.front());
    let (dts, next) = same.or_else(before).map_or((Timestamp::ZERO, None), |(placed, dts)| {
        let next = places.iter().find(|(_, later)| later > dts).map(|(_, later)| *later - *dts);
        let off = if same.is_some() { 0 } else { behind(*placed, timestamp) };
        (*dts + Span::from_millis(i64::from(off)), next)
    });
    AccessUnit {
        dts,
        pts: dts + Span::from_millis(i64::from(composition_ms)),
        duration: next.unwrap_or(Span::from_millis(33)),
        keyframe: picture.keyframe,
        payload: picture.payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> VecDeque<(u32, Timestamp)> {
        // 30 frames a second in milliseconds, over the wrap.
        let place = |n: i64| {
            let sent = (n * 1000 / 30) as u32;
            (u32::MAX.wrapping_sub(50).wrapping_add(sent), Timestamp::from_ticks(n, 30))
        };
        (0..10).map(place).collect()
    }

    fn placed(timestamp: u32) -> AccessUnit {
        let picture = Picture { payload: Bytes::from_static(b"x"), keyframe: true };
        unit(&places(), timestamp, 0, picture)
    }

    #[test]
    fn a_picture_of_the_same_timestamp_stands_at_the_same_place() {
        for (timestamp, dts) in places() {
            assert_eq!(placed(timestamp).dts, dts);
        }
        assert_eq!(placed(places()[3].0).duration, Span::from_ticks(1, 30));
        let (timestamp, dts) = places()[4];
        for off in [1, 6] {
            assert_eq!(placed(timestamp.wrapping_add(off)).dts, dts);
            assert_eq!(placed(timestamp.wrapping_sub(off)).dts, dts);
        }
    }

    #[test]
    fn a_picture_between_two_stands_as_far_behind_the_first() {
        let (timestamp, dts) = places()[4];
        assert_eq!(placed(timestamp.wrapping_add(10)).dts, dts + Span::from_millis(10));
    }
}
