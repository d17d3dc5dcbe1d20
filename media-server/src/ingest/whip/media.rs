//! The pictures and the sound of a WHIP publisher, as they go to its stream.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::doctor::Line;
use media::h264::from_annex_b;
use media::intake::VideoCodec;
use media::rtp_clock::{MOST_LAYERS, RtpClock};
use media::{AudioFormat, Kind, Span, Timestamp, h264, opus};
use str0m::format::Codec;
use str0m::media::{MediaData, Mid};
use str0m::rtp::rtcp::SenderInfo;
use wire::sdp;

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
    known: Vec<SenderInfo>,
}

impl Reports {
    /// What a new one says: an RTP timestamp, and the sender's wall clock.
    fn take(&mut self, info: Option<&SenderInfo>, since: Duration) -> Option<(u32, Span)> {
        let info = *info?;
        let known = self.known.iter().position(|known| known.ssrc == info.ssrc);
        let before = known.map(|at| self.known.swap_remove(at));
        if self.known.len() <= MOST_LAYERS {
            self.known.push(info);
        }
        if since < EARLY || before.is_some_and(|before| before.ntp_time == info.ntp_time) {
            return None;
        }
        let wall = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let wall = Span::from_ticks(i64::try_from(wall.as_nanos()).ok()?, 1_000_000_000);
        Some((info.rtp_time.numer() as u32, wall))
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
pub(super) struct WhipMedia {
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
    pub(super) fn new(
        start: Timestamp,
        stream: String,
        (checkup, limits): (Box<Checkup>, Limits),
        workers: SoundWorkers,
        segment: Duration,
        (layers, header): (Layers, Option<Bytes>),
    ) -> Self {
        let tracks = Tracks::new(start, RtpClock::CLOCK, stream, checkup, limits);
        Self {
            tracks: tracks.in_band().with_workers(Some(workers)).encoding_opus(),
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
    pub(super) fn data(
        &mut self,
        data: MediaData,
        now: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let codec = data.params.spec().codec;
        let video = match codec {
            Codec::H264 => VideoCodec::H264,
            Codec::H265 => VideoCodec::H265,
            Codec::Av1 => VideoCodec::Av1,
            Codec::Vp8 => VideoCodec::Vp8,
            Codec::Vp9 => VideoCodec::Vp9,
            Codec::Opus => return self.sound(&data, now, publisher),
            // What was not negotiated is not sent.
            _ => return Ok(()),
        };
        self.picture(video, data, now, publisher)
    }

    fn picture(
        &mut self,
        codec: VideoCodec,
        data: MediaData,
        now: Instant,
        publisher: &mut Publisher,
    ) -> Result<(), Refusal> {
        let track = Track { mid: data.mid, rid: data.rid };
        let Some(index) = self.layers.index(track, now) else { return Ok(()) };
        let (keyframe, contiguous, time) = (data.is_keyframe(), data.contiguous, data.time.numer());
        let arrival = self.arrival(data.network_time);
        let told = self.reports.take(data.last_sender_info.as_ref(), self.began.elapsed());
        let bytes = Bytes::from_owner(Shared(data.data));
        let is_annex_b = matches!(codec, VideoCodec::H264 | VideoCodec::H265);
        let payload = if is_annex_b { from_annex_b(&bytes) } else { bytes };
        let source = self.layers.came(index, keyframe.then_some((codec, &payload)), &mut self.clock, now);
        let is_source = source == Some(index);
        let Some(layer) = self.layers.get_mut(index) else { return Ok(()) };
        if !contiguous && !layer.broken {
            self.gaps = self.gaps.saturating_add(1);
            layer.broken = true;
        }
        let raw = if is_source {
            layer.broken &= !keyframe;
            if let Some((timestamp, wall)) = told {
                self.clock.report(Kind::Video, timestamp, wall);
            }
            Some(self.clock.raw(Kind::Video, time, arrival))
        } else {
            let raw = self.clock.layer(index, time);
            if let Some((timestamp, wall)) = told {
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

    fn sound(&mut self, data: &MediaData, now: Instant, publisher: &mut Publisher) -> Result<(), Refusal> {
        if *self.audio.get_or_insert(data.mid) != data.mid {
            return Ok(());
        }
        let told = self.reports.take(data.last_sender_info.as_ref(), self.began.elapsed());
        if let Some((timestamp, wall)) = told {
            self.clock.report(Kind::Audio, timestamp, wall);
        }
        let raw = self.clock.raw(Kind::Audio, data.time.numer(), self.arrival(data.network_time));
        let payload = Bytes::from_owner(Shared(Arc::clone(&data.data)));
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
        let time = data.time.numer();
        if !data.contiguous {
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
        let due = broken || self.wished || since(self.keyframe).is_none_or(|since| since >= self.segment);
        if !due || since(self.asked).is_some_and(|since| since < PACE) {
            return Vec::new();
        }
        self.asked = Some(now);
        self.wished = false;
        // All at once: layers are cut where the source is.
        self.layers.tracks().collect()
    }

    /// When [`Self::wanted`] should be asked again.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let at_once = self.wished || self.layers.is_broken(&self.clock, now);
        let wanted = if at_once { now } else { self.keyframe.map_or(now, |at| at + self.segment) };
        wanted.max(self.asked.map_or(now, |at| at + PACE))
    }

    /// How its line does; about once a second.
    pub(super) fn line(&mut self, line: Line, now: Instant) {
        self.tracks.line(line, now);
    }

    /// Looks the publisher over, about once a second; what it gives is for the control plane.
    pub(super) fn check_up(&mut self, now: Instant) -> Option<HealthData> {
        self.tracks.check_up(now)
    }
}

/// Memory of str0m's.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
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
