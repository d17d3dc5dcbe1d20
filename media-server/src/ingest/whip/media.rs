//! The pictures and the sound of a WHIP publisher, as they go to its stream.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::doctor::Line;
use media::h264::from_annex_b;
use media::intake::VideoCodec;
use media::rtp_clock::RtpClock;
use media::{AudioFormat, Kind, Span, Timestamp, h264, opus};
use str0m::format::Codec;
use str0m::media::{KeyframeRequestKind, MediaData, Mid, Rid};
use str0m::rtp::rtcp::SenderInfo;
use wire::sdp;

use crate::admission::{HealthData, Limits};
use crate::ingest::checkup::Checkup;
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

/// One of the publisher's tracks, once something of it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    mid: Mid,
    rid: Option<Rid>,
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
    clock: RtpClock,
    began: Instant,
    video: Option<Track>,
    audio: Option<Mid>,
    /// Of H.264, as the offer had it.
    header: Option<Bytes>,
    format: Option<AudioFormat>,
    /// Where the next frame of sound belongs, the samples of the last, and what stands for one like it that is lost.
    heard: Option<(u64, u32, Option<Bytes>)>,
    /// What was sent is missing: pictures that build on it are left out.
    broken: bool,
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
        header: Option<Bytes>,
    ) -> Self {
        let tracks = Tracks::new(start, RtpClock::CLOCK, stream, checkup, limits);
        Self {
            tracks: tracks.in_band().with_workers(Some(workers)).encoding_opus(),
            clock: RtpClock::default(),
            began: Instant::now(),
            video: None,
            audio: None,
            header,
            format: None,
            heard: None,
            broken: false,
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
            Codec::Opus => return self.sound(&data, now, publisher),
            // What was not negotiated is not sent.
            _ => return Ok(()),
        };
        let track = Track { mid: data.mid, rid: data.rid };
        if *self.video.get_or_insert(track) != track {
            return Ok(());
        }
        let keyframe = data.is_keyframe();
        if !data.contiguous && self.keyframe.is_some() {
            self.gaps = self.gaps.saturating_add(1);
            self.broken = true;
        }
        if keyframe {
            self.broken = false;
            self.keyframe = Some(now);
        }
        if self.broken {
            self.tracks.damaged(Kind::Video, publisher);
            return Ok(());
        }
        self.report(Kind::Video, data.last_sender_info.as_ref());
        if let Some(header) = self.header.take().filter(|_| video == VideoCodec::H264)
            && let Err(error) = self.tracks.header(video, &header, publisher)
        {
            tracing::debug!(%error, "the offer's parameter sets cannot be used");
        }
        let raw = self.clock.raw(Kind::Video, data.time.numer(), self.arrival(data.network_time));
        let bytes = Bytes::from_owner(Shared(data.data));
        let payload = if video == VideoCodec::Av1 { bytes } else { from_annex_b(&bytes) };
        let sent = Sent { raw, composition: 0 };
        self.tracks.picture(video, sent, payload, now, publisher).map(drop)
    }

    fn sound(&mut self, data: &MediaData, now: Instant, publisher: &mut Publisher) -> Result<(), Refusal> {
        if *self.audio.get_or_insert(data.mid) != data.mid {
            return Ok(());
        }
        self.report(Kind::Audio, data.last_sender_info.as_ref());
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

    fn report(&mut self, kind: Kind, info: Option<&SenderInfo>) {
        let Some(info) = info else { return };
        let Ok(wall) = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH) else { return };
        let wall = Span::from_ticks(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX), 1_000_000_000);
        self.clock.report(kind, info.rtp_time.numer() as u32, wall);
    }

    fn arrival(&self, at: Instant) -> Timestamp {
        let ns = at.saturating_duration_since(self.began).as_nanos();
        Timestamp::from_ticks(i64::try_from(ns).unwrap_or(i64::MAX), 1_000_000_000)
    }

    /// A keyframe is needed, of this track: one is missing, a segment should end, or a viewer has lost too much (`wished`).
    pub(super) fn wanted(
        &mut self,
        wished: bool,
        now: Instant,
    ) -> Option<(Mid, Option<Rid>, KeyframeRequestKind)> {
        let track = self.video?;
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        self.wished |= wished;
        let due =
            self.broken || self.wished || since(self.keyframe).is_none_or(|since| since >= self.segment);
        if !due || since(self.asked).is_some_and(|since| since < PACE) {
            return None;
        }
        self.asked = Some(now);
        self.wished = false;
        Some((track.mid, track.rid, KeyframeRequestKind::Pli))
    }

    /// When [`Self::wanted`] should be asked again.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let wanted =
            if self.broken || self.wished { now } else { self.keyframe.map_or(now, |at| at + self.segment) };
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
