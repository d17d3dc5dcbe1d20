//! An MPEG transport stream of a publisher, taken apart into its tracks: the first picture that can be carried, and its
//! sounds. What is missing of them is dropped and counted; what else there is, is left alone.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media::doctor::Line;
use media::h264::from_annex_b;
use media::intake::VideoCodec;
use media::timeline::{Clock, Counts};
use media::{Kind, Timestamp};
use wire::ts::{Coding, Demuxer, Event, Program, Times};

use super::checkup::Checkup;
use super::sound_worker::SoundWorkers;
use super::tracks::{Refusal, Sent, Tracks};
use super::ts_metadata;
use super::ts_sound::{self, Heard, TsSound};
use crate::admission::{HealthData, Limits};
use crate::live::{Expect, Publisher, Voice};

/// Bits of a timestamp.
const MASK: u64 = (1 << 33) - 1;

/// A time of metadata is believed as far from the last unit's, ticks.
const APART: i64 = 60 * 90_000;

/// Reads one publish session's transport stream.
pub(super) struct TransportStream {
    stream: String,
    demuxer: Demuxer,
    tracks: Tracks,
    video: Option<(u16, VideoCodec)>,
    sounds: Vec<TsSound>,
    /// The program, as it was last told.
    program: Arc<Program>,
    /// Timestamp and place of the last unit.
    newest: Option<(u64, Timestamp)>,
}

/// From a decoding time to a presentation time, over the wrap.
fn composition(pts: u64, dts: u64) -> i64 {
    let off = (pts.wrapping_sub(dts) & MASK).cast_signed();
    if off > (MASK >> 1).cast_signed() { off - (MASK.cast_signed() + 1) } else { off }
}

impl TransportStream {
    /// A session whose first unit stands at `start`, watched over by `checkup`. Without `workers` sound that would have
    /// to be encoded is left out.
    pub(super) fn new(
        start: Timestamp,
        stream: String,
        checkup: Box<Checkup>,
        limits: Limits,
        workers: Option<SoundWorkers>,
    ) -> Self {
        let tracks = Tracks::new(start, Clock::MPEG_TS, stream.clone(), checkup, limits);
        Self {
            demuxer: Demuxer::default(),
            tracks: tracks.with_workers(workers),
            stream,
            video: None,
            sounds: Vec::new(),
            program: Arc::default(),
            newest: None,
        }
    }

    fn of(&self, pid: u16) -> Option<Coding> {
        self.program.streams.iter().find(|stream| stream.pid == pid).map(|stream| stream.coding)
    }

    /// Where on the timeline a time of the stream lies: as far from the last unit as it says, if that is not far. At the
    /// last unit where nothing is said.
    fn place(&self, at: Option<u64>) -> Timestamp {
        let Some((newest, place)) = self.newest else { return self.tracks.zero() };
        let off = at.map_or(0, |at| composition(at, newest));
        if off.abs() <= APART { place + Timestamp::from_ticks(off, 90_000).since_zero() } else { place }
    }

    /// Takes bytes in, whole packets or not.
    pub(super) fn feed(
        &mut self,
        bytes: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        self.demuxer.push(bytes);
        while let Some(event) = self.demuxer.next() {
            match event {
                Event::Program(program) => self.program(&program, publisher),
                Event::Unit { pid, times, data, .. } => self.unit(pid, times, data, arrived, publisher)?,
                Event::Damaged { pid } => self.damaged(pid, publisher),
                Event::Section { pid, data } => {
                    if self.of(pid) == Some(Coding::Scte35)
                        && let Some(timed) = ts_metadata::splice(&data, |at| self.place(at))
                    {
                        publisher.timed(timed);
                    }
                }
            }
        }
        Ok(())
    }

    /// The transport has lost something.
    pub(super) fn lost(&mut self) {
        self.demuxer.lost();
    }

    /// How often which repair of the timestamps was made.
    pub(super) fn repairs(&self) -> &Counts {
        self.tracks.repairs()
    }

    /// How its line does; about once a second.
    pub(super) fn line(&mut self, line: Line, now: Instant) {
        self.tracks.line(line, now);
    }

    /// Looks the publisher over, about once a second; what it gives is for the control plane.
    pub(super) fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        self.tracks.check_up(now)
    }

    /// Chooses what is carried. What was, stays where it still is there.
    fn program(&mut self, program: &Arc<Program>, publisher: &mut Publisher) {
        let video = |coding| match coding {
            Coding::H264 => Some(VideoCodec::H264),
            Coding::Hevc => Some(VideoCodec::H265),
            _ => None,
        };
        let pictures = program.streams.iter().filter_map(|stream| Some((stream.pid, video(stream.coding)?)));
        self.video = pictures.clone().find(|it| Some(*it) == self.video).or(pictures.clone().next());
        self.sounds = ts_sound::choose(std::mem::take(&mut self.sounds), program);
        for stream in &program.streams {
            let heard = self.sounds.iter().any(|sound| sound.pid == stream.pid);
            let carried = heard || self.video.is_some_and(|(pid, _)| pid == stream.pid);
            tracing::info!(stream = %self.stream, pid = stream.pid, coding = ?stream.coding, carried, "elementary stream");
        }
        self.program = Arc::clone(program);
        publisher.expect(Expect {
            // Muxers that learn of their tracks one after the other name the picture later: sound alone waits a second.
            video: self.video.map(|_| true),
            audio: Some(!self.sounds.is_empty()),
            ..Expect::default()
        });
        self.tell_voices(publisher);
    }

    fn tell_voices(&self, publisher: &mut Publisher) {
        let voices = self.sounds.iter().map(|it| Voice { number: it.number, language: it.language });
        publisher.voices(voices.collect());
    }

    fn unit(
        &mut self,
        pid: u16,
        times: Times,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        if let Some((_, codec)) = self.video.filter(|(video, _)| *video == pid) {
            let Some(pts) = times.pts else {
                self.tracks.damaged(Kind::Video, publisher);
                return Ok(());
            };
            let dts = times.dts.unwrap_or(pts);
            let sent = Sent { raw: dts, composition: composition(pts, dts) };
            if let Some(place) = self.tracks.picture(codec, sent, from_annex_b(&data), arrived, publisher)? {
                self.newest = Some((dts, place));
            }
        } else if let Some(index) = self.sounds.iter().position(|sound| sound.pid == pid) {
            self.sound(index, times.pts, data, arrived, publisher)?;
        } else {
            let at = self.place(times.pts);
            let timed = match self.of(pid) {
                Some(Coding::Id3) => ts_metadata::id3(data, at),
                Some(Coding::Klv) => ts_metadata::klv(data, at),
                _ => None,
            };
            if let Some(timed) = timed {
                publisher.timed(timed);
            }
        }
        Ok(())
    }

    fn sound(
        &mut self,
        index: usize,
        pts: Option<u64>,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let Some(sound) = self.sounds.get_mut(index) else { return Ok(()) };
        let number = sound.number;
        let heard = match sound.read(pts, data) {
            Ok(heard) => heard,
            Err(refusal) if number == 0 => return Err(refusal),
            Err(refusal) => {
                // The stream can do without it.
                tracing::warn!(stream = %self.stream, pid = sound.pid, %refusal, "a further sound is left out");
                self.sounds.remove(index);
                self.tell_voices(publisher);
                return Ok(());
            }
        };
        for heard in heard {
            match heard {
                Heard::Format(format) => self.tracks.set_audio(number, format, publisher),
                Heard::Damaged => self.tracks.damaged(Kind::Audio, publisher),
                Heard::Frame { raw, samples, payload } => {
                    let placed = self.tracks.sound(number, raw, samples, payload, arrived, publisher);
                    if let Some(place) = placed.filter(|_| number == 0 && self.video.is_none()) {
                        self.newest = Some((raw, place));
                    }
                }
            }
        }
        Ok(())
    }

    fn damaged(&mut self, pid: u16, publisher: &Publisher) {
        if self.video.is_some_and(|(video, _)| video == pid) {
            self.tracks.damaged(Kind::Video, publisher);
        } else if let Some(sound) = self.sounds.iter_mut().find(|sound| sound.pid == pid) {
            sound.lose();
            self.tracks.lost_sound(sound.number);
            self.tracks.damaged(Kind::Audio, publisher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presentation_may_lie_on_either_side_of_decoding_and_of_the_wrap() {
        assert_eq!(composition(9000, 3000), 6000);
        assert_eq!(composition(3000, MASK - 2999), 6000);
        assert_eq!(composition(3000, 9000), -6000);
        assert_eq!(composition(MASK - 2999, 3000), -6000);
    }
}
