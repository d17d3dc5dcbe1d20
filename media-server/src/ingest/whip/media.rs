//! The pictures and the sound of a WHIP publisher, as they go to its stream.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::doctor::Line;
use media::intake::VideoCodec;
use media::rtp_clock::{MOST_LAYERS, RtpClock};
use media::timeline::Counts;
use media::{AudioFormat, Kind, Timestamp, h264, opus};
use str0m::media::Mid;
use wire::sdp;

use super::heard::{Codec, Heard, Report};
use super::layers::{Layers, Track};
use crate::admission::{HealthData, Limits};
use crate::ingest::checkup::Checkup;
use crate::ingest::further_tracks::FurtherTracks;
use crate::ingest::sound_worker::SoundWorkers;
use crate::ingest::tracks::{Refusal, Sent, Tracks};
use crate::live::{Expect, Publisher, Voice};

/// How long a frame may wait for packets that are sent again.
pub(super) const PATIENCE: Duration = Duration::from_millis(600);
/// Between two requests for a keyframe: one takes a round trip and an encoder's time.
const PACE: Duration = Duration::from_millis(500);

/// Bits a second of a picture that browsers send at most where their page asks for nothing else. What comes varies with
/// the line, and may rise to this after a playlist was read.
const USUAL_MOST: u32 = 2_500_000;
/// Frames of sound in a row that are made up.
const CONCEALED: u64 = 10;

/// Reports that come sooner are of a time at which a sender empties its queues: GStreamer's are wrong by a tenth of a second
/// then.
const EARLY: Duration = Duration::from_secs(1);

/// Sender reports, each taken once.
#[derive(Default)]
struct Reports {
    /// The newest of each source.
    known: Vec<Report>,
}

impl Reports {
    /// One that is new, and was sent when the line was up.
    fn take(&mut self, report: Option<Report>, since: Duration) -> Option<Report> {
        let report = report?;
        let known = self.known.iter().position(|known| known.source == report.source);
        let before = known.map(|at| self.known.swap_remove(at));
        if self.known.len() <= MOST_LAYERS {
            self.known.push(report);
        }
        Some(report).filter(|_| since >= EARLY && before.is_none_or(|before| before.wall != report.wall))
    }
}

/// Of the common clock, by which pictures of several layers are told to be the same.
fn milliseconds(raw: u64) -> u32 {
    (raw / u64::from(RtpClock::CLOCK.rate / 1_000)) as u32
}

/// The configuration record of the H.264 pictures that an offer announces, where it names parameter sets.
pub(super) fn header(offer: &str) -> Option<Bytes> {
    let sets = sdp::parameter_sets(offer).filter_map(|set| STANDARD.decode(set).ok()).map(Bytes::from);
    let (sps, rest): (Vec<_>, Vec<_>) =
        sets.partition(|set| set.first().is_some_and(|head| head & 0x1f == 7));
    let pps: Vec<_> =
        rest.into_iter().filter(|set| set.first().is_some_and(|head| head & 0x1f == 8)).collect();
    if sps.is_empty() || pps.is_empty() { None } else { h264::config_record(&sps, &pps).ok() }
}

/// See the module.
pub(in crate::ingest) struct WhipMedia {
    tracks: Tracks,
    layers: Layers,
    further: FurtherTracks,
    clock: RtpClock,
    reports: Reports,
    began: Instant,
    audio: Option<Mid>,
    /// Of H.264, as the offer had it.
    header: Option<Bytes>,
    format: Option<AudioFormat>,
    /// Where the next frame of sound belongs, the samples of the last, and what stands for one like it that is lost.
    heard: Option<(u64, u32, Option<Bytes>)>,
    /// Access units and frames that never came whole.
    pub(super) gaps: u64,
    /// A viewer asks for one.
    wished: bool,
    keyframe: Option<Instant>,
    asked: Option<Instant>,
    /// A keyframe begins a segment.
    segment: Duration,
}

impl WhipMedia {
    pub(in crate::ingest) fn new(
        start: Timestamp,
        stream: String,
        (checkup, limits): (Box<Checkup>, Limits),
        workers: Option<SoundWorkers>,
        segment: Duration,
        (layers, header): (Layers, Option<Bytes>),
    ) -> Self {
        let tracks = Tracks::new(start, RtpClock::CLOCK, stream, checkup, limits).in_band();
        // A replay has nobody to encode it: it is looked at as it was sent.
        let tracks = if workers.is_some() { tracks.encoding_opus() } else { tracks };
        Self {
            tracks: tracks.with_workers(workers),
            layers,
            further: FurtherTracks::default(),
            clock: RtpClock::default(),
            reports: Reports::default(),
            began: Instant::now(),
            audio: None,
            header,
            format: None,
            heard: None,
            gaps: 0,
            wished: false,
            keyframe: None,
            asked: None,
            segment,
        }
    }

    /// Which tracks the offer has; sound is encoded at so many bits a second.
    pub(super) fn expect(video: bool, audio: bool, sound_bitrate: u32, publisher: &mut Publisher) {
        publisher.expect(Expect {
            video: Some(video),
            audio: Some(audio),
            video_bitrate: Some(USUAL_MOST),
            audio_bitrate: Some(sound_bitrate),
        });
        publisher.voices(audio.then_some(Voice { number: 0, language: None }).into_iter().collect());
    }

    /// An access unit or a frame of sound.
    pub(in crate::ingest) fn heard(
        &mut self,
        heard: &Heard,
        now: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        match heard.codec {
            Codec::Picture(codec) => self.picture(codec, heard, now, publisher),
            Codec::Opus => self.sound(heard, now, publisher),
        }
    }

    fn picture(
        &mut self,
        codec: VideoCodec,
        heard: &Heard,
        now: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let Some(index) = self.layers.index(heard.track, now) else { return Ok(()) };
        let (keyframe, contiguous, time) = (heard.keyframe, heard.contiguous, heard.time);
        let arrival = self.arrival(heard.arrived);
        let told = self.reports.take(heard.report, now.saturating_duration_since(self.began));
        let payload = heard.carried();
        let source = self.layers.came(index, keyframe.then_some((codec, &payload)), &mut self.clock, now);
        let is_source = source == Some(index);
        let Some(layer) = self.layers.get_mut(index) else { return Ok(()) };
        if !contiguous && !layer.broken {
            self.gaps = self.gaps.saturating_add(1);
            layer.broken = true;
        }
        let raw = if is_source {
            layer.broken &= !keyframe;
            if let Some(Report { timestamp, wall, .. }) = told {
                self.clock.report(Kind::Video, timestamp, wall);
            }
            Some(self.clock.raw(Kind::Video, time, arrival))
        } else {
            let raw = self.clock.layer(index, time);
            if let Some(Report { timestamp, wall, .. }) = told {
                self.clock.layer_report(index, timestamp, wall);
            }
            layer.broken &= raw.is_none() || !keyframe;
            layer.rung |= source.is_some();
            raw
        };
        let (broken, rung) = (layer.broken, layer.rung);
        let Some(raw) = raw.filter(|_| !broken) else {
            if is_source {
                self.tracks.damaged(Kind::Video, publisher);
            }
            return Ok(());
        };
        if is_source {
            self.source(codec, raw, (keyframe, payload.clone()), now, publisher)?;
        }
        if rung {
            // Numbers of further tracks begin with 1.
            let number = u8::try_from(index).unwrap_or(u8::MAX).saturating_add(1);
            self.further.picture(number, codec, (milliseconds(raw), 0), payload, now, publisher);
        }
        Ok(())
    }

    fn source(
        &mut self,
        codec: VideoCodec,
        raw: u64,
        (keyframe, payload): (bool, Bytes),
        now: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        if keyframe {
            self.keyframe = Some(now);
        }
        if let Some(header) = self.header.take().filter(|_| codec == VideoCodec::H264)
            && let Err(error) = self.tracks.header(codec, &header, publisher)
        {
            tracing::debug!(%error, "the offer's parameter sets cannot be used");
        }
        let sent = Sent { raw, composition: 0 };
        if let Some(dts) = self.tracks.picture(codec, sent, payload, now, publisher)?
            && self.layers.are_several()
        {
            self.further.placed(milliseconds(raw), dts, publisher);
        }
        Ok(())
    }

    fn sound(&mut self, heard: &Heard, now: Instant, publisher: &mut Publisher) -> Result<(), Refusal> {
        if *self.audio.get_or_insert(heard.track.mid) != heard.track.mid {
            return Ok(());
        }
        let told = self.reports.take(heard.report, now.saturating_duration_since(self.began));
        if let Some(Report { timestamp, wall, .. }) = told {
            self.clock.report(Kind::Audio, timestamp, wall);
        }
        let raw = self.clock.raw(Kind::Audio, heard.time, self.arrival(heard.arrived));
        let payload = heard.carried();
        let Some(samples) = opus::samples(&payload) else {
            self.tracks.damaged(Kind::Audio, publisher);
            return Ok(());
        };
        if self.format.is_none() {
            // RFC 7587 7: whatever is sent, it is decoded as two channels.
            let format = opus::format(&opus::header(2))?;
            self.format = Some(format.clone());
            self.tracks.set_audio(0, format, publisher);
        }
        let time = heard.time;
        if !heard.contiguous {
            self.gaps = self.gaps.saturating_add(1);
            self.conceal(time, now, publisher);
        }
        self.heard = Some((time.wrapping_add(u64::from(samples)), samples, opus::lost(&payload)));
        self.tracks.sound(0, raw, samples, payload, now, publisher);
        Ok(())
    }

    /// Fills what is missing before `time`: the decoder makes something up that is hardly heard. More than that is a hole.
    fn conceal(&mut self, time: u64, now: Instant, publisher: &mut Publisher) {
        let Some((mut at, samples, packet)) = self.heard.take() else { return };
        let missing = time.wrapping_sub(at).checked_div(u64::from(samples)).unwrap_or(u64::MAX);
        let Some(packet) = packet.filter(|_| missing <= CONCEALED) else {
            return self.tracks.lost_sound(0);
        };
        for _ in 0..missing {
            let raw = self.clock.raw(Kind::Audio, at, self.arrival(now));
            self.tracks.sound(0, raw, samples, packet.clone(), now, publisher);
            at = at.wrapping_add(u64::from(samples));
        }
    }

    fn arrival(&self, at: Instant) -> Timestamp {
        let ns = at.saturating_duration_since(self.began).as_nanos();
        Timestamp::from_ticks(i64::try_from(ns).unwrap_or(i64::MAX), 1_000_000_000)
    }

    /// Keyframes are needed, of these tracks: one is missing, a segment should end, or a viewer has lost too much (`wished`).
    pub(super) fn wanted(&mut self, wished: bool, now: Instant) -> Vec<Track> {
        self.wished |= wished;
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let broken = self.layers.is_broken(&self.clock, now);
        let due = broken || self.wished || since(self.regular()).is_none_or(|since| since >= self.segment);
        if !due || since(self.asked).is_some_and(|since| since < PACE) {
            return Vec::new();
        }
        self.asked = Some(now);
        self.wished = false;
        // All at once: layers are cut where the source is.
        self.layers.tracks().collect()
    }

    /// What the next regular keyframe is counted from. A browser begins one layer anew by itself, where its picture changes
    /// much, and not the others: only keyframes that were asked for stand at the same place in all of them.
    fn regular(&self) -> Option<Instant> {
        if self.layers.are_several() { self.asked } else { self.keyframe }
    }

    /// When [`Self::wanted`] should be asked again.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let at_once = self.wished || self.layers.is_broken(&self.clock, now);
        let wanted = if at_once { now } else { self.regular().map_or(now, |at| at + self.segment) };
        wanted.max(self.asked.map_or(now, |at| at + PACE))
    }

    /// How its line does; about once a second.
    pub(super) fn line(&mut self, line: Line, now: Instant) {
        self.tracks.line(line, now);
    }

    /// Repairs of the timestamps, by kind.
    pub(in crate::ingest) fn repairs(&self) -> &Counts {
        self.tracks.repairs()
    }

    /// Looks the publisher over, about once a second; what it gives is for the control plane.
    pub(in crate::ingest) fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        self.tracks.check_up(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_of_an_offer_are_a_configuration() {
        let offer = "a=fmtp:96 sprop-parameter-sets=Z0LAHtoCgL/lwEQAAAMABAAAAwDwPFi6gA==,aM4PyA==;packetization-mode=1\r\n";
        let format = h264::format(&header(offer).unwrap()).unwrap();
        assert_eq!((format.codec.as_str(), format.width, format.height), ("avc1.42c01e", 640, 360));
        assert_eq!(header("a=fmtp:96 sprop-parameter-sets=%%%,aM4PyA==\r\n"), None);
    }
}
