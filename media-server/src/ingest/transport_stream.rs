//! An MPEG transport stream of a publisher, taken apart into its tracks: the first picture and the first sound that can be
//! carried. What is missing of them is dropped and counted; what else there is, is left alone.

use std::time::Instant;

use bytes::Bytes;
use media::adts::Adts;
use media::doctor::Line;
use media::h264::from_annex_b;
use media::intake::VideoCodec;
use media::latm::{Latm, LatmError};
use media::timeline::{Clock, Counts};
use media::{Kind, Timestamp, aac, opus};
use wire::ts::{Coding, Demuxer, Event, Program, Times};

use super::checkup::Checkup;
use super::tracks::{Refusal, Sent, Tracks};
use super::ts_metadata;
use crate::admission::{HealthData, Limits};
use crate::live::{Expect, Publisher};

/// Ticks a second of its timestamps, and the bits that they have.
const RATE: u64 = 90_000;
const MASK: u64 = (1 << 33) - 1;

/// A time of metadata is believed as far from the last unit's, ticks.
const APART: i64 = 60 * 90_000;

/// What is carried of the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sound {
    Adts,
    Latm,
    Opus { channels: u8 },
}

/// Reads one publish session's transport stream.
pub(super) struct TransportStream {
    stream: String,
    demuxer: Demuxer,
    tracks: Tracks,
    video: Option<(u16, VideoCodec)>,
    audio: Option<(u16, Sound)>,
    adts: Adts,
    latm: Latm,
    /// The configuration that the sound's format was made of.
    config: Option<[u8; 2]>,
    /// When the next frame of sound is, where nothing says it.
    next_sound: Option<u64>,
    /// The program, as it was last told.
    program: Program,
    /// Timestamp and place of the last unit.
    newest: Option<(u64, Timestamp)>,
}

/// From a decoding time to a presentation time, over the wrap.
fn composition(pts: u64, dts: u64) -> i64 {
    let off = (pts.wrapping_sub(dts) & MASK).cast_signed();
    if off > (MASK >> 1).cast_signed() { off - (MASK.cast_signed() + 1) } else { off }
}

impl TransportStream {
    /// A session whose first unit stands at `start`, watched over by `checkup`.
    pub(super) fn new(start: Timestamp, stream: String, checkup: Box<Checkup>, limits: Limits) -> Self {
        Self {
            demuxer: Demuxer::default(),
            tracks: Tracks::new(start, Clock::MPEG_TS, stream.clone(), checkup, limits),
            stream,
            video: None,
            audio: None,
            adts: Adts::default(),
            latm: Latm::default(),
            config: None,
            next_sound: None,
            program: Program::default(),
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
    fn program(&mut self, program: &Program, publisher: &mut Publisher) {
        let video = |coding| match coding {
            Coding::H264 => Some(VideoCodec::H264),
            Coding::Hevc => Some(VideoCodec::H265),
            _ => None,
        };
        let pictures = program.streams.iter().filter_map(|stream| Some((stream.pid, video(stream.coding)?)));
        let sounds = program.streams.iter().filter_map(|stream| match stream.coding {
            Coding::Adts => Some((stream.pid, Sound::Adts)),
            Coding::Latm => Some((stream.pid, Sound::Latm)),
            Coding::Opus => Some((stream.pid, Sound::Opus { channels: stream.channels })),
            _ => None,
        });
        let picture = pictures.clone().find(|it| Some(*it) == self.video).or(pictures.clone().next());
        let sound = sounds.clone().find(|it| Some(*it) == self.audio).or(sounds.clone().next());
        if sound != self.audio {
            let is_latm = matches!(sound, Some((_, Sound::Latm)));
            self.adts = if is_latm { Adts::loas() } else { Adts::default() };
            self.latm = Latm::default();
            (self.config, self.next_sound) = (None, None);
        }
        for stream in &program.streams {
            let carried = [picture.map(|it| it.0), sound.map(|it| it.0)].contains(&Some(stream.pid));
            tracing::info!(stream = %self.stream, pid = stream.pid, coding = ?stream.coding, carried, "elementary stream");
        }
        let other = program.streams.iter().map(|stream| stream.coding);
        let other = other.filter(|coding| matches!(coding, Coding::MpegAudio | Coding::Ac3 | Coding::Eac3));
        if let (None, Some(coding)) = (sound, other.into_iter().next()) {
            tracing::warn!(stream = %self.stream, ?coding, "its sound is left out: set the encoder to AAC or Opus");
        }
        (self.video, self.audio) = (picture, sound);
        self.program = program.clone();
        publisher.expect(Expect {
            video: Some(picture.is_some()),
            audio: Some(sound.is_some()),
            ..Expect::default()
        });
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
        } else if let Some((_, sound)) = self.audio.filter(|(audio, _)| *audio == pid) {
            match sound {
                Sound::Adts => self.adts(times.pts, data, arrived, publisher)?,
                Sound::Latm => self.latm(times.pts, data, arrived, publisher)?,
                Sound::Opus { channels } => self.opus(channels, times.pts, data, arrived, publisher)?,
            }
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

    /// Frames of AAC. The time is the first one's that begins in these bytes (2.4.3.7).
    fn adts(
        &mut self,
        pts: Option<u64>,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        self.adts.push(data);
        let mut said = pts;
        while let Some(frame) = self.adts.next() {
            if self.config != Some(frame.config) {
                let format = aac::format(&Bytes::copy_from_slice(&frame.config))?;
                self.tracks.set_audio(format, publisher);
                self.config = Some(frame.config);
            }
            let Some(samples) = self.tracks.audio_format().map(|format| format.frame_samples) else {
                return Ok(());
            };
            let at = if frame.begun_here { said.take().or(self.next_sound) } else { self.next_sound };
            self.sound(at, samples, frame.payload, arrived, publisher);
        }
        Ok(())
    }

    /// Elements of LATM, each with one frame of AAC or several.
    fn latm(
        &mut self,
        pts: Option<u64>,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        self.adts.push(data);
        let mut said = pts;
        while let Some(element) = self.adts.next() {
            let (config, frames) = match self.latm.element(&element.payload) {
                Ok(read) => read,
                Err(LatmError::NoConfig) => continue,
                Err(error @ LatmError::Unsupported(_)) => {
                    return Err(Refusal::AudioCodec(format!("LATM ({error})")));
                }
                Err(LatmError::Damaged) => {
                    self.tracks.damaged(Kind::Audio, publisher);
                    continue;
                }
            };
            let format = aac::format(&config)?;
            let samples = format.frame_samples;
            self.tracks.set_audio(format, publisher);
            for frame in frames {
                let at = if element.begun_here { said.take().or(self.next_sound) } else { self.next_sound };
                self.sound(at, samples, frame, arrived, publisher);
            }
        }
        Ok(())
    }

    /// Opus access units, each with a control header in front.
    fn opus(
        &mut self,
        channels: u8,
        pts: Option<u64>,
        mut data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        if self.tracks.audio_format().is_none() {
            self.tracks.set_audio(opus::format(&opus::header(channels.clamp(1, 2)))?, publisher);
        }
        let mut said = pts;
        while let Some(packet) = opus::split_ts(&mut data) {
            let Some(samples) = opus::samples(&packet) else {
                self.tracks.damaged(Kind::Audio, publisher);
                continue;
            };
            let at = said.take().or(self.next_sound);
            self.sound(at, samples, packet, arrived, publisher);
        }
        Ok(())
    }

    fn sound(
        &mut self,
        at: Option<u64>,
        samples: u32,
        payload: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) {
        let rate = self.tracks.audio_format().map_or(0, |format| u64::from(format.sample_rate));
        let Some((at, lasts)) = at.zip((u64::from(samples) * RATE).checked_div(rate)) else {
            // Nothing ever said when.
            return self.tracks.damaged(Kind::Audio, publisher);
        };
        self.next_sound = Some(at.wrapping_add(lasts) & MASK);
        if let Some(place) = self.tracks.sound(at, samples, payload, arrived, publisher)
            && self.video.is_none()
        {
            self.newest = Some((at, place));
        }
    }

    fn damaged(&mut self, pid: u16, publisher: &Publisher) {
        if self.video.is_some_and(|(video, _)| video == pid) {
            self.tracks.damaged(Kind::Video, publisher);
        } else if self.audio.is_some_and(|(audio, _)| audio == pid) {
            self.tracks.damaged(Kind::Audio, publisher);
            self.adts.lose();
            self.next_sound = None;
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
