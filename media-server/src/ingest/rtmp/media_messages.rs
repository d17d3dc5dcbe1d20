//! RTMP audio and video messages → access units on the session's timeline. A damaged message is dropped and
//! counted; only a codec that cannot be carried ends the session.

use std::time::Instant;

use bytes::Bytes;
use media::doctor::Announced;
use media::intake::VideoCodec;
use media::timeline::{Clock, Counts};
use media::{Kind, Span, Timestamp, aac, opus};
use wire::amf0::Value;
use wire::flv::{self, AudioCodec, AudioPacket, AudioTag, VideoPacket, VideoTag};
use wire::rtmp::Event;

use super::timed;
use crate::admission::{HealthData, Limits};
use crate::ingest::checkup::Checkup;
use crate::ingest::further_tracks::FurtherTracks;
use crate::ingest::tracks::{Refusal, Sent, Tracks};
use crate::live::{Expect, Publisher};

/// A data message's timestamp is believed as far from the last unit's, in milliseconds.
const APART_MS: i64 = 10_000;

/// Reads one publish session's media messages.
pub(in crate::ingest) struct MediaMessages {
    tracks: Tracks,
    further: FurtherTracks,
    /// Timestamp and place of the last unit.
    newest: Option<(u32, Timestamp)>,
}

impl MediaMessages {
    /// A session whose first unit stands at `start`, watched over by `checkup`.
    pub(in crate::ingest) fn new(
        start: Timestamp,
        stream: String,
        checkup: Box<Checkup>,
        limits: Limits,
    ) -> Self {
        Self {
            tracks: Tracks::new(start, Clock::RTMP, stream, checkup, limits),
            further: FurtherTracks::default(),
            newest: None,
        }
    }

    /// One event of an accepted publish; what is neither media nor about media is left alone.
    pub(in crate::ingest) fn event(
        &mut self,
        event: &Event,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        match event {
            Event::Metadata { timestamp, value } => {
                self.metadata(value, publisher);
                publisher.timed(timed::metadata(value, self.place(*timestamp)));
            }
            Event::Data { timestamp, name, values } => {
                publisher.timed(timed::data(name, values, self.place(*timestamp)));
            }
            Event::Video { timestamp, payload } => self.video(*timestamp, payload, arrived, publisher)?,
            Event::Audio { timestamp, payload } => self.audio(*timestamp, payload, arrived, publisher)?,
            _ => {}
        }
        Ok(())
    }

    /// Where on the timeline a message without media lies: as far from the last unit as its timestamp says, if that is
    /// not far.
    fn place(&self, timestamp: u32) -> Timestamp {
        let Some((raw, at)) = self.newest else { return self.tracks.zero() };
        let off = i64::from(timestamp.wrapping_sub(raw).cast_signed());
        if off.abs() <= APART_MS { at + Span::from_millis(off) } else { at }
    }

    /// `onMetaData`: which tracks come, and how fast.
    fn metadata(&mut self, metadata: &Value, publisher: &mut Publisher) {
        let number = |key| metadata.get(key).and_then(Value::as_f64).filter(|n| n.is_finite());
        let there = |key| metadata.get(key).map(|v| !matches!(v.as_f64(), Some(0.0)));
        let bits = |key| number(key).map(|k| (k * 1000.0).clamp(0.0, 1e9) as u32).filter(|b| *b > 0);
        // An encoder that lists one track and not the other means it; one that lists neither says nothing.
        let (video, audio) = (there("videocodecid"), there("audiocodecid"));
        let said = video.is_some() || audio.is_some();
        let expect = Expect {
            video: video.or(said.then_some(false)),
            audio: audio.or(said.then_some(false)),
            video_bitrate: bits("videodatarate"),
            audio_bitrate: bits("audiodatarate"),
        };
        let frame_rate = number("framerate").filter(|f| (1.0..=480.0).contains(f)).map(rational);
        let announced = Announced {
            video_bitrate: expect.video_bitrate,
            audio_bitrate: expect.audio_bitrate,
            frame_rate: number("framerate"),
            video,
            audio,
            encoder: metadata.get("encoder").and_then(Value::as_str).unwrap_or_default(),
        };
        self.tracks.announced(announced, frame_rate);
        publisher.expect(expect);
    }

    /// One video message; `timestamp` in ms as the wire has it.
    fn video(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        for tag in VideoTag::all(payload) {
            let Ok(tag) = tag else { return self.damaged(Kind::Video, publisher) };
            self.video_tag(tag, timestamp, arrived, publisher)?;
        }
        Ok(())
    }

    fn video_tag(
        &mut self,
        tag: VideoTag,
        timestamp: u32,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let codec = match tag.codec {
            flv::VideoCodec::H264 => VideoCodec::H264,
            flv::VideoCodec::Hevc => VideoCodec::H265,
            flv::VideoCodec::Av1 => VideoCodec::Av1,
            flv::VideoCodec::Unnamed => return Ok(()),
            other if tag.track == 0 => return Err(Refusal::VideoCodec(other.name().to_string())),
            other => {
                self.further.tell(&format!("video codec {} is not supported", other.name()));
                return Ok(());
            }
        };
        match (tag.packet, tag.track) {
            (VideoPacket::SequenceHeader, 0) => self.tracks.header(codec, &tag.data, publisher),
            (VideoPacket::SequenceHeader, number) => {
                self.further.header(number, codec, &tag.data, publisher);
                Ok(())
            }
            (VideoPacket::CodedFrames { composition_time }, 0) => {
                self.picture(codec, (timestamp, composition_time), tag.data, arrived, publisher)
            }
            (VideoPacket::CodedFrames { composition_time }, number) => {
                let at = (timestamp, composition_time);
                self.further.picture(number, codec, at, tag.data, arrived, publisher);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A picture of the source; `at`: its timestamp as sent and its composition time.
    fn picture(
        &mut self,
        codec: VideoCodec,
        (timestamp, composition_time): (u32, i32),
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let sent = Sent { raw: u64::from(timestamp), composition: i64::from(composition_time) };
        if let Some(dts) = self.tracks.picture(codec, sent, data, arrived, publisher)? {
            self.newest = Some((timestamp, dts));
            self.further.placed(timestamp, dts, publisher);
        }
        Ok(())
    }

    /// One audio message; `timestamp` in ms as the wire has it.
    fn audio(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        for tag in AudioTag::all(payload) {
            let Ok(tag) = tag else { return self.damaged(Kind::Audio, publisher) };
            if tag.track == 0 {
                self.audio_tag(tag, timestamp, arrived, publisher)?;
            } else {
                self.further.tell("only the first audio track is carried");
            }
        }
        Ok(())
    }

    fn audio_tag(
        &mut self,
        tag: AudioTag,
        timestamp: u32,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let opus = match tag.codec {
            AudioCodec::Aac => false,
            AudioCodec::Opus => true,
            other => return Err(Refusal::AudioCodec(other.name().to_string())),
        };
        match tag.packet {
            AudioPacket::SequenceHeader => {
                let format = if opus { opus::format(&tag.data)? } else { aac::format(&tag.data)? };
                self.tracks.set_audio(0, format, publisher);
                Ok(())
            }
            AudioPacket::Raw => {
                if opus && self.tracks.audio_format().is_none() {
                    self.tracks.set_audio(0, opus::format(&opus::default_header())?, publisher);
                }
                let format = self.tracks.audio_format().filter(|format| (format.codec == "opus") == opus);
                let Some(format) = format else {
                    return self.damaged(Kind::Audio, publisher);
                };
                if tag.data.is_empty() {
                    return Ok(());
                }
                let samples = if opus { opus::samples(&tag.data) } else { Some(format.frame_samples) };
                let Some(samples) = samples else { return self.damaged(Kind::Audio, publisher) };
                let placed =
                    self.tracks.sound(0, u64::from(timestamp), samples, tag.data, arrived, publisher);
                self.newest = placed.map(|at| (timestamp, at)).or(self.newest);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Looks the publisher over, about once a second; what it gives is for the control plane.
    pub(in crate::ingest) fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        self.tracks.check_up(now)
    }

    /// How often which repair of the timestamps was made.
    pub(in crate::ingest) fn repairs(&self) -> &Counts {
        self.tracks.repairs()
    }

    /// Drops what cannot be used, and counts it.
    #[allow(clippy::unnecessary_wraps, reason = "reads as the answer of a message that was dropped")]
    fn damaged(&mut self, kind: Kind, publisher: &Publisher) -> Result<(), Refusal> {
        self.tracks.damaged(kind, publisher);
        Ok(())
    }
}

/// A frame rate as encoders announce it, to the ratio that they mean.
fn rational(fps: f64) -> (u32, u32) {
    for base in [24_u32, 30, 48, 60, 120] {
        let ntsc = f64::from(base) * 1000.0 / 1001.0;
        if (fps - ntsc).abs() < 0.006 {
            return (base * 1000, 1001);
        }
    }
    let whole = fps.round();
    if (fps - whole).abs() < 0.005 { (whole as u32, 1) } else { ((fps * 1000.0).round() as u32, 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_frame_rates_become_the_ratio_that_is_meant() {
        assert_eq!(rational(30.0), (30, 1));
        assert_eq!(rational(29.97), (30_000, 1001));
        assert_eq!(rational(59.94), (60_000, 1001));
        assert_eq!(rational(23.976), (24_000, 1001));
        assert_eq!(rational(12.5), (12_500, 1000));
    }
}
