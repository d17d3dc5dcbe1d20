//! RTMP audio and video messages → access units on the session's timeline. A damaged message is dropped and
//! counted; only a codec that cannot be carried ends the session.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::h264::{Intake, Picture};
use media::timeline::{Clock, Timeline, TimelineConfig};
use media::{AccessUnit, AudioFormat, Format, Kind, Timestamp, VideoFormat, aac, h264};
use wire::amf0::Value;
use wire::flv::{AudioCodec, AudioPacket, AudioTag, VideoCodec, VideoPacket, VideoTag};

use crate::live::{Counters, Expect, Publisher};

/// Video without its sequence header for this long will not become playable.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

/// Why a publisher cannot be served, with the remedy; told to the broadcaster.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("video codec {0} is not supported: set the encoder to H.264 (x264, NVENC H.264 …)")]
    VideoCodec(String),
    #[error("audio codec {0} is not supported: set the encoder to AAC")]
    AudioCodec(String),
    #[error("the H.264 stream cannot be decoded: {0}; restart the encoder, or choose another H.264 encoder")]
    VideoConfig(#[from] h264::H264Error),
    #[error("the AAC stream cannot be decoded: {0}; choose AAC-LC at 44.1 or 48 kHz")]
    AudioConfig(#[from] aac::AacError),
    #[error("the H.264 stream has no SPS (no sequence header for {0:?}): restart the encoder")]
    NoSequenceHeader(Duration),
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
    intake: Intake,
    length_size: u8,
    audio: Option<AudioFormat>,
    headerless_since: Option<Instant>,
    frame_rate: Option<(u32, u32)>,
}

impl MediaMessages {
    /// A session whose first unit stands at `start`.
    pub(super) fn new(start: Timestamp, stream: String) -> Self {
        Self {
            stream,
            timeline: Timeline::new(TimelineConfig { clock: Clock::RTMP, start }),
            started: Instant::now(),
            zero: start,
            expect: Expect::default(),
            announced: false,
            video: None,
            intake: Intake::new(4),
            length_size: 4,
            audio: None,
            headerless_since: None,
            frame_rate: None,
        }
    }

    /// `onMetaData`: which tracks come, and how fast.
    pub(super) fn metadata(&mut self, metadata: &Value, publisher: &mut Publisher) {
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
        publisher.expect(self.expect);
    }

    /// One video message; `timestamp` in ms as the wire has it.
    pub(super) fn video(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let Ok(tag) = VideoTag::parse(payload) else { return damaged(publisher) };
        if tag.codec != VideoCodec::H264 {
            return Err(Refusal::VideoCodec(tag.codec.name().to_string()));
        }
        match tag.packet {
            VideoPacket::SequenceHeader => self.video_header(&tag.data, publisher),
            VideoPacket::CodedFrames { composition_time } => {
                let picture = self.intake.accept(tag.data);
                if self.video.is_none() && !self.in_band_header(arrived, publisher)? {
                    return Ok(());
                }
                let Some(Picture { payload, idr: keyframe, .. }) = picture else {
                    return damaged(publisher);
                };
                let arrival = self.arrival(arrived);
                let (stamp, repairs) =
                    self.timeline.video(u64::from(timestamp), i64::from(composition_time), arrival);
                Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
                let unit = AccessUnit {
                    dts: stamp.dts,
                    pts: stamp.pts,
                    duration: stamp.duration,
                    keyframe,
                    payload,
                };
                publisher.unit(Kind::Video, unit, arrived);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One audio message; `timestamp` in ms as the wire has it.
    pub(super) fn audio(
        &mut self,
        timestamp: u32,
        payload: &Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let Ok(tag) = AudioTag::parse(payload) else { return damaged(publisher) };
        if tag.codec != AudioCodec::Aac {
            return Err(Refusal::AudioCodec(tag.codec.name().to_string()));
        }
        match tag.packet {
            AudioPacket::SequenceHeader => {
                let format = aac::format(&tag.data)?;
                if self.audio.as_ref() != Some(&format) {
                    tracing::info!(stream = %self.stream, codec = format.codec, rate = format.sample_rate, channels = format.channels, "audio");
                    self.audio = Some(format.clone());
                    publisher.format(Format::Audio(format));
                }
                Ok(())
            }
            AudioPacket::Raw => {
                let arrival = self.arrival(arrived);
                let Some(format) = &self.audio else { return damaged(publisher) };
                if tag.data.is_empty() {
                    return Ok(());
                }
                let (stamp, repairs) = self.timeline.audio(
                    u64::from(timestamp),
                    format.frame_samples,
                    format.sample_rate,
                    arrival,
                );
                Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
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

    fn video_header(&mut self, record: &Bytes, publisher: &mut Publisher) -> Result<(), Refusal> {
        let length_size = h264::Config::parse(record)?.length_size;
        let format = h264::format(record)?;
        if length_size != self.length_size {
            self.length_size = length_size;
            self.intake = Intake::new(length_size);
        }
        self.set_video(format, publisher);
        Ok(())
    }

    fn set_video(&mut self, mut format: VideoFormat, publisher: &mut Publisher) {
        if let Some(rate) = format.frame_rate.or(self.frame_rate) {
            format.frame_rate = Some(rate);
            self.timeline.set_frame_rate_hint(Some(rate));
        }
        self.headerless_since = None;
        if self.video.as_ref() != Some(&format) {
            tracing::info!(stream = %self.stream, codec = format.codec, width = format.width, height = format.height, frame_rate = ?format.frame_rate, "video");
            self.video = Some(format.clone());
            publisher.format(Format::Video(format));
        }
    }

    /// Some encoders send SPS and PPS only in the stream. True once there is a format.
    fn in_band_header(&mut self, arrived: Instant, publisher: &mut Publisher) -> Result<bool, Refusal> {
        let sets = self.intake.in_band();
        if !sets.sps.is_empty() && !sets.pps.is_empty() {
            let record = h264::config_record(&sets.sps, &sets.pps)?;
            self.set_video(h264::format(&record)?, publisher);
            return Ok(true);
        }
        Counters::add(&publisher.counters().dropped, 1);
        let since = *self.headerless_since.get_or_insert(arrived);
        if arrived.duration_since(since) >= HEADER_PATIENCE {
            return Err(Refusal::NoSequenceHeader(HEADER_PATIENCE));
        }
        Ok(false)
    }

    fn arrival(&self, arrived: Instant) -> Timestamp {
        let ns = arrived.saturating_duration_since(self.started).as_nanos();
        self.zero + Timestamp::from_ticks(i64::try_from(ns).unwrap_or(i64::MAX), 1_000_000_000).since_zero()
    }
}

/// Drops what cannot be used, and counts it.
#[allow(clippy::unnecessary_wraps, reason = "reads as the answer of a message that was dropped")]
fn damaged(publisher: &Publisher) -> Result<(), Refusal> {
    Counters::add(&publisher.counters().dropped, 1);
    Ok(())
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
