//! RTMP audio and video messages → access units on the session's timeline. A damaged message is dropped and
//! counted; only a codec that cannot be carried ends the session.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::doctor::Announced;
use media::intake::{IntakeError, Picture, VideoCodec, VideoIntake};
use media::timeline::{Clock, Counts, Timeline, TimelineConfig};
use media::{AccessUnit, AudioFormat, Format, Kind, Span, Timestamp, VideoFormat, aac, opus};
use wire::amf0::Value;
use wire::flv::{self, AudioCodec, AudioPacket, AudioTag, VideoPacket, VideoTag};
use wire::rtmp::Event;

use super::further_tracks::FurtherTracks;
use super::timed;
use crate::admission::{HealthData, Limits};
use crate::ingest::budget::{self, Excess};
use crate::ingest::checkup::Checkup;
use crate::live::{Counters, Expect, Publisher};

/// Video without its sequence header for this long will not become playable.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A data message's timestamp is believed as far from the last unit's, in milliseconds.
const APART_MS: i64 = 10_000;

/// Why a publisher cannot be served, with the remedy; told to the broadcaster.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("video codec {0} is not supported: set the encoder to H.264, or to HEVC or AV1 by Enhanced RTMP")]
    VideoCodec(String),
    #[error("audio codec {0} is not supported: set the encoder to AAC or Opus")]
    AudioCodec(String),
    #[error(transparent)]
    Excess(#[from] Excess),
    #[error("the video cannot be decoded: {0}; restart the encoder, or choose another one")]
    VideoConfig(#[from] IntakeError),
    #[error("the AAC stream cannot be decoded: {0}; choose AAC-LC at 44.1 or 48 kHz")]
    AudioConfig(#[from] aac::AacError),
    #[error("the Opus stream cannot be decoded: {0}")]
    OpusConfig(#[from] opus::OpusError),
    #[error(
        "the {codec} stream has no parameter sets (no sequence header for {waited:?}): restart the encoder"
    )]
    NoSequenceHeader { codec: &'static str, waited: Duration },
}

/// Reads one publish session's media messages.
pub(super) struct MediaMessages {
    stream: String,
    timeline: Timeline,
    started: Instant,
    zero: Timestamp,
    expect: Expect,
    announced: bool,
    video: Option<VideoFormat>,
    intake: VideoIntake,
    further: FurtherTracks,
    checkup: Checkup,
    limits: Limits,
    audio: Option<AudioFormat>,
    headerless_since: Option<Instant>,
    frame_rate: Option<(u32, u32)>,
    /// Timestamp and place of the last unit.
    newest: Option<(u32, Timestamp)>,
}

impl MediaMessages {
    /// A session whose first unit stands at `start`, watched over by `checkup`.
    pub(super) fn new(start: Timestamp, stream: String, checkup: Checkup, limits: Limits) -> Self {
        Self {
            stream,
            timeline: Timeline::new(TimelineConfig { clock: Clock::RTMP, start }),
            started: Instant::now(),
            zero: start,
            expect: Expect::default(),
            announced: false,
            video: None,
            intake: VideoIntake::new(VideoCodec::H264),
            further: FurtherTracks::default(),
            checkup,
            limits,
            audio: None,
            headerless_since: None,
            frame_rate: None,
            newest: None,
        }
    }

    /// One event of an accepted publish; what is neither media nor about media is left alone.
    pub(super) fn event(
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
        let Some((raw, at)) = self.newest else { return self.zero };
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
        self.expect = Expect {
            video: video.or(said.then_some(false)),
            audio: audio.or(said.then_some(false)),
            video_bitrate: bits("videodatarate"),
            audio_bitrate: bits("audiodatarate"),
        };
        self.frame_rate = number("framerate").filter(|f| (1.0..=480.0).contains(f)).map(rational);
        if let Some(rate) = self.frame_rate {
            self.timeline.set_frame_rate_hint(Some(rate));
        }
        self.announced = true;
        self.checkup.announced(Announced {
            video_bitrate: self.expect.video_bitrate,
            audio_bitrate: self.expect.audio_bitrate,
            frame_rate: number("framerate"),
            video,
            audio,
            encoder: metadata.get("encoder").and_then(Value::as_str).unwrap_or_default(),
        });
        publisher.expect(self.expect);
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
            (VideoPacket::SequenceHeader, 0) => self.video_header(codec, &tag.data, publisher),
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
        self.set_codec(codec);
        let picture = self.intake.picture(data);
        if self.video.is_none() && !self.in_band_header(arrived, publisher)? {
            return Ok(());
        }
        let Some(Picture { payload, keyframe }) = picture else {
            return self.damaged(Kind::Video, publisher);
        };
        let arrival = self.arrival(arrived);
        let (stamp, repairs) =
            self.timeline.video(u64::from(timestamp), i64::from(composition_time), arrival);
        self.newest = Some((timestamp, stamp.dts));
        Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
        self.checkup.video(stamp, payload.len(), keyframe, repairs, arrival);
        let unit = AccessUnit { dts: stamp.dts, pts: stamp.pts, duration: stamp.duration, keyframe, payload };
        publisher.unit(Kind::Video, unit, arrived);
        self.further.placed(timestamp, stamp.dts, publisher);
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
                self.set_audio(format, publisher);
                Ok(())
            }
            AudioPacket::Raw => {
                if opus && self.audio.is_none() {
                    self.set_audio(opus::format(&opus::default_header())?, publisher);
                }
                let Some(format) = self.audio.as_ref().filter(|format| (format.codec == "opus") == opus)
                else {
                    return self.damaged(Kind::Audio, publisher);
                };
                if tag.data.is_empty() {
                    return Ok(());
                }
                let samples = if opus { opus::samples(&tag.data) } else { Some(format.frame_samples) };
                let (Some(samples), rate) = (samples, format.sample_rate) else {
                    return self.damaged(Kind::Audio, publisher);
                };
                let arrival = self.arrival(arrived);
                let (stamp, repairs) = self.timeline.audio(u64::from(timestamp), samples, rate, arrival);
                self.newest = Some((timestamp, stamp.dts));
                Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
                self.checkup.audio(stamp, &tag.data, repairs, arrival);
                let unit = AccessUnit {
                    dts: stamp.dts,
                    pts: stamp.pts,
                    duration: stamp.duration,
                    keyframe: true,
                    payload: tag.data,
                };
                publisher.unit(Kind::Audio, unit, arrived);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set_audio(&mut self, format: AudioFormat, publisher: &mut Publisher) {
        if self.audio.as_ref() != Some(&format) {
            tracing::info!(stream = %self.stream, codec = format.codec, rate = format.sample_rate, channels = format.channels, "audio");
            self.checkup.audio_format(&format);
            self.audio = Some(format.clone());
            publisher.format(Format::Audio(format));
        }
    }

    fn set_codec(&mut self, codec: VideoCodec) {
        if self.intake.codec() != codec {
            self.intake = VideoIntake::new(codec);
            self.video = None;
        }
    }

    fn video_header(
        &mut self,
        codec: VideoCodec,
        record: &Bytes,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        self.set_codec(codec);
        if let Some(format) = self.intake.header(record)? {
            self.set_video(format, publisher)?;
        }
        Ok(())
    }

    fn set_video(&mut self, mut format: VideoFormat, publisher: &mut Publisher) -> Result<(), Refusal> {
        if let Some(rate) = format.frame_rate.or(self.frame_rate) {
            format.frame_rate = Some(rate);
            self.timeline.set_frame_rate_hint(Some(rate));
        }
        self.headerless_since = None;
        if self.video.as_ref() != Some(&format) {
            tracing::info!(stream = %self.stream, codec = format.codec, width = format.width, height = format.height, frame_rate = ?format.frame_rate, "video");
            budget::fits(&self.limits, &format)?;
            self.video = Some(format.clone());
            publisher.format(Format::Video(format));
        }
        Ok(())
    }

    /// Some encoders send SPS and PPS only in the stream. True once there is a format.
    fn in_band_header(&mut self, arrived: Instant, publisher: &mut Publisher) -> Result<bool, Refusal> {
        if let Some(format) = self.intake.in_band()? {
            self.checkup.in_band_parameter_sets_only();
            self.set_video(format, publisher)?;
            return Ok(true);
        }
        Counters::add(&publisher.counters().dropped, 1);
        let since = *self.headerless_since.get_or_insert(arrived);
        if arrived.duration_since(since) >= HEADER_PATIENCE {
            let codec = self.intake.codec().name();
            return Err(Refusal::NoSequenceHeader { codec, waited: HEADER_PATIENCE });
        }
        Ok(false)
    }

    /// Looks the publisher over, about once a second; what it gives is for the control plane.
    pub(super) fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        let at = self.arrival(now);
        self.checkup.judge(now, at, &self.timeline)
    }

    /// How often which repair of the timestamps was made.
    pub(super) fn repairs(&self) -> &Counts {
        self.timeline.repairs()
    }

    /// Drops what cannot be used, and counts it.
    #[allow(clippy::unnecessary_wraps, reason = "reads as the answer of a message that was dropped")]
    fn damaged(&mut self, kind: Kind, publisher: &Publisher) -> Result<(), Refusal> {
        Counters::add(&publisher.counters().dropped, 1);
        self.checkup.dropped(kind);
        Ok(())
    }

    fn arrival(&self, arrived: Instant) -> Timestamp {
        let ns = arrived.saturating_duration_since(self.started).as_nanos();
        self.zero + Timestamp::from_ticks(i64::try_from(ns).unwrap_or(i64::MAX), 1_000_000_000).since_zero()
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
