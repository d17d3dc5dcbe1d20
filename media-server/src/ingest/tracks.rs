//! A publisher's picture and sound, whatever protocol brings them: access units placed on the session's timeline, their
//! formats announced, the doctor shown all of it. A damaged unit is dropped and counted; only what cannot be carried at
//! all ends the session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::doctor::{Announced, Line};
use media::intake::{IntakeError, Picture, VideoCodec, VideoIntake};
use media::timeline::{Clock, Counts, Timeline, TimelineConfig};
use media::{AccessUnit, AudioFormat, Format, Kind, Timestamp, VideoFormat, aac, opus};

use super::budget::{self, Excess};
use super::checkup::Checkup;
use super::sound_worker::{SoundEncoder, SoundWorkers};
use crate::admission::{HealthData, Limits};
use crate::live::{Counters, Publisher};

/// Video without its sequence header for this long will not become playable.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);

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

/// When a unit was sent, in ticks of its protocol's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Its timestamp as it came: of decoding.
    pub(super) raw: u64,
    /// From there to its presentation.
    pub(super) composition: i64,
}

/// One of the publisher's sounds.
struct Sound {
    number: u8,
    format: AudioFormat,
    way: Way,
}

/// Where a sound goes.
enum Way {
    Stream,
    /// Players do not decode it as it is.
    Encoder(SoundEncoder),
    /// And nobody encodes it.
    Nowhere,
}

/// One publish session's source picture and its sounds.
pub(super) struct Tracks {
    stream: String,
    timeline: Timeline,
    started: Instant,
    zero: Timestamp,
    video: Option<VideoFormat>,
    intake: VideoIntake,
    checkup: Box<Checkup>,
    limits: Limits,
    /// By number; the first is 0.
    sounds: Vec<Sound>,
    /// Encoders of sound that players do not decode.
    workers: Option<SoundWorkers>,
    headerless_since: Option<Instant>,
    frame_rate: Option<(u32, u32)>,
    /// The protocol has no place for parameter sets outside of the pictures.
    all_in_band: bool,
    /// Opus is encoded as AAC: some players do not decode it in a playlist.
    encodes_opus: bool,
    /// The first sound as it comes, for those who play it as it is, where players are given another made of it.
    beside: Option<Arc<Format>>,
}

impl Tracks {
    /// A session that was let in when the stream stood at `start`, watched over by `checkup`. Its first unit stands
    /// where it arrives: a stream that goes on without it meanwhile, with a slate or a backup, is not behind it then.
    pub(super) fn new(
        start: Timestamp,
        clock: Clock,
        stream: String,
        checkup: Box<Checkup>,
        limits: Limits,
    ) -> Self {
        Self {
            stream,
            timeline: Timeline::new(TimelineConfig { clock, start }),
            started: Instant::now(),
            zero: start,
            video: None,
            intake: VideoIntake::new(VideoCodec::H264),
            checkup,
            limits,
            sounds: Vec::new(),
            workers: None,
            headerless_since: None,
            frame_rate: None,
            all_in_band: clock == Clock::MPEG_TS,
            encodes_opus: false,
            beside: None,
        }
    }

    /// Parameter sets come within the pictures, as the protocol has it.
    pub(super) fn in_band(self) -> Self {
        Self { all_in_band: true, ..self }
    }

    /// Opus goes where other sound goes that players do not decode.
    pub(super) fn encoding_opus(self) -> Self {
        Self { encodes_opus: true, ..self }
    }

    /// Players decode it.
    fn is_played(&self, format: &AudioFormat) -> bool {
        format.codec.starts_with("mp4a.40.") || (format.codec == "opus" && !self.encodes_opus)
    }

    /// Where the session was let in.
    pub(super) fn zero(&self) -> Timestamp {
        self.zero
    }

    /// Where sound goes that players do not decode.
    pub(super) fn with_workers(self, workers: Option<SoundWorkers>) -> Self {
        Self { workers, ..self }
    }

    /// The first sound's format, once it is known.
    pub(super) fn audio_format(&self) -> Option<&AudioFormat> {
        self.sounds.iter().find(|sound| sound.number == 0).map(|sound| &sound.format)
    }

    /// What the publisher says of its tracks. `frame_rate`: as a ratio, where it is a sane one.
    pub(super) fn announced(&mut self, announced: Announced<'_>, frame_rate: Option<(u32, u32)>) {
        self.frame_rate = frame_rate;
        if frame_rate.is_some() {
            self.timeline.set_frame_rate_hint(frame_rate);
        }
        self.checkup.announced(announced);
    }

    /// The configuration record of the pictures that follow.
    pub(super) fn header(
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

    /// A picture of the source; its decoding time, where it was placed.
    pub(super) fn picture(
        &mut self,
        codec: VideoCodec,
        sent: Sent,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Result<Option<Timestamp>, Refusal> {
        self.set_codec(codec);
        let picture = self.intake.picture(data);
        if self.video.is_none() && !self.in_band_header(arrived, publisher)? {
            return Ok(None);
        }
        let Some(Picture { payload, keyframe }) = picture else {
            self.damaged(Kind::Video, publisher);
            return Ok(None);
        };
        // Browsers change the size of their pictures as their line gets better or worse.
        if keyframe
            && self.all_in_band
            && let Ok(Some(format)) = self.intake.in_band()
        {
            self.set_video(format, publisher)?;
        }
        let arrival = self.arrival(arrived);
        self.timeline.begin(arrival);
        let (stamp, repairs) = self.timeline.video(sent.raw, sent.composition, arrival);
        Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
        self.checkup.video(stamp, payload.len(), keyframe, repairs, arrival);
        let unit = AccessUnit { dts: stamp.dts, pts: stamp.pts, duration: stamp.duration, keyframe, payload };
        publisher.unit(Kind::Video, unit, arrived);
        Ok(Some(stamp.dts))
    }

    /// A frame of a sound of `samples`, sent at `raw`; where it was placed. Its format must be known.
    pub(super) fn sound(
        &mut self,
        number: u8,
        raw: u64,
        samples: u32,
        data: Bytes,
        arrived: Instant,
        publisher: &mut Publisher,
    ) -> Option<Timestamp> {
        let arrival = self.arrival(arrived);
        let sound = self.sounds.iter_mut().find(|sound| sound.number == number)?;
        let rate = sound.format.sample_rate;
        self.timeline.begin(arrival);
        let (stamp, repairs) = self.timeline.sound(usize::from(number), raw, samples, rate, arrival);
        Counters::add(&publisher.counters().repairs, repairs.iter().count() as u64);
        if number == 0 {
            self.checkup.audio(stamp, &data, repairs, arrival);
        }
        let unit = AccessUnit {
            dts: stamp.dts,
            pts: stamp.pts,
            duration: stamp.duration,
            keyframe: true,
            payload: data,
        };
        match &sound.way {
            Way::Stream => publisher.sound(number, unit, arrived),
            Way::Encoder(encoder) => {
                if number == 0
                    && let Some(beside) = &self.beside
                {
                    publisher.beside(Arc::clone(beside), unit.clone());
                }
                encoder.push(unit, publisher);
            }
            Way::Nowhere => {}
        }
        Some(stamp.dts)
    }

    /// Frames of a sound before the next one are lost.
    pub(super) fn lost_sound(&mut self, number: u8) {
        self.timeline.lost_sound(usize::from(number));
    }

    /// How a sound decodes from here on.
    pub(super) fn set_audio(&mut self, number: u8, format: AudioFormat, publisher: &mut Publisher) {
        let known = self.sounds.iter().position(|sound| sound.number == number);
        let before = known.map(|at| self.sounds.swap_remove(at));
        let before = match before {
            Some(same) if same.format == format => return self.sounds.push(same),
            Some(Sound { way: Way::Encoder(encoder), .. }) if encoder.takes(&format) => Some(encoder),
            _ => None,
        };
        let AudioFormat { codec, sample_rate, channels, .. } = &format;
        tracing::info!(stream = %self.stream, number, codec, rate = sample_rate, channels, "audio");
        if number == 0 {
            self.checkup.audio_format(&format);
            self.beside = (format.codec == "opus").then(|| Arc::new(Format::Audio(format.clone())));
        }
        let way = match (before, &self.workers) {
            _ if self.is_played(&format) => {
                publisher.sound_format(number, format.clone());
                Way::Stream
            }
            (Some(encoder), _) => Way::Encoder(encoder),
            (None, Some(workers)) => Way::Encoder(workers.start(&self.stream, number, &format, publisher)),
            (None, None) => Way::Nowhere,
        };
        self.sounds.push(Sound { number, format, way });
    }

    fn set_codec(&mut self, codec: VideoCodec) {
        if self.intake.codec() != codec {
            self.intake = VideoIntake::new(codec);
            self.video = None;
        }
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
            self.checkup.video_format(&format);
            self.video = Some(format.clone());
            publisher.format(Format::Video(format));
        }
        Ok(())
    }

    /// Some encoders send SPS and PPS only in the stream. True once there is a format.
    fn in_band_header(&mut self, arrived: Instant, publisher: &mut Publisher) -> Result<bool, Refusal> {
        if let Some(format) = self.intake.in_band()? {
            if !self.all_in_band {
                self.checkup.in_band_parameter_sets_only();
            }
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

    /// How its line does; about once a second.
    pub(super) fn line(&mut self, line: Line, now: Instant) {
        let at = self.arrival(now);
        self.checkup.line(line, at);
    }

    /// How often which repair of the timestamps was made.
    pub(super) fn repairs(&self) -> &Counts {
        self.timeline.repairs()
    }

    /// Something that cannot be used was dropped: counted.
    pub(super) fn damaged(&mut self, kind: Kind, publisher: &Publisher) {
        Counters::add(&publisher.counters().dropped, 1);
        self.checkup.dropped(kind);
    }

    fn arrival(&self, arrived: Instant) -> Timestamp {
        let ns = arrived.saturating_duration_since(self.started).as_nanos();
        self.zero + Timestamp::from_ticks(i64::try_from(ns).unwrap_or(i64::MAX), 1_000_000_000).since_zero()
    }
}
