//! What is wrong now: one verdict for each code.

use super::arrivals::Track;
use super::finding::Sign;
use super::ledger::Verdict;
use super::{Code, Doctor};
use crate::time::Span;
use crate::unit::Kind;

/// A track that does not come for this long is missing.
const TRACK_PATIENCE: Span = Span::from_millis(10_000);
/// Nothing at all for this long is a silence of the publisher.
const SILENCE: Span = Span::from_millis(1_000);
/// Tracks that begin further apart than this are told of.
const START_APART: Span = Span::from_millis(1_000);
/// How long the beginning of a session is worth a finding.
const START_MATTERS: Span = Span::from_millis(60_000);
/// Sound and picture apart: worth a note, and beyond what viewers accept (ITU-R BT.1359: 45 and 125 ms).
const APART_NOTED: Span = Span::from_millis(40);
const APART_BAD: Span = Span::from_millis(150);
/// Clocks apart by more than this are worth a finding; a crystal is good for 100 ppm.
const SLOPE: f64 = 300.0;
/// From one in a hundred on it is no crystal but a wrong speed.
const WRONG_SPEED: f64 = 10_000.0;
/// Bounds of the measured bitrate, against the announced.
const BITRATE_OVER: f64 = 1.3;
const BITRATE_UNDER: f64 = 0.5;
/// The measured frame rate may be this far from the announced.
const FRAME_RATE_OFF: f64 = 0.05;
/// Damaged or dropped units in a minute.
const DROPPED: u64 = 3;

impl Doctor {
    /// Time since the session began.
    fn age(&self) -> Span {
        self.began.map_or(Span::ZERO, |began| self.now - began)
    }

    fn silent(&self) -> bool {
        self.arrivals.last().is_none_or(|last| self.now - last > SILENCE)
    }

    pub(super) fn judge(&self, code: Code) -> Verdict {
        match code {
            Code::NoMedia => self.no_media(),
            Code::KeyframesFar => self.pictures.keyframes_far(),
            Code::KeyframesUneven | Code::KeyframesVary if self.on_request => Verdict::Good,
            Code::KeyframesUneven => self.pictures.keyframes_uneven(self.target),
            Code::KeyframesVary => self.pictures.keyframes_vary(),
            Code::FrameRateVaries => self.pictures.frame_rate_varies(),
            Code::FramesMissing => self.pictures.frames_missing(),
            Code::FrameRate => self.frame_rate(),
            Code::ManyBFrames => self.pictures.many_b_frames(),
            Code::VideoBitrate => self.bitrate(Kind::Video, self.video_bitrate),
            Code::AudioBitrate => self.bitrate(Kind::Audio, self.audio_bitrate),
            Code::SoundOffset => self.sound_offset(),
            Code::TracksStartApart => self.tracks_start_apart(),
            Code::ClockSpeed => self.clock_speed(),
            Code::Stalls => self.arrivals.stalls(),
            Code::LateData => self.arrivals.late_data(),
            Code::Bursts => self.arrivals.bursts(),
            Code::Dropped => self.dropped_units(),
            Code::PacketsLost => self.lines.lost(),
            Code::PacketsMissing => self.lines.missing(),
            Code::LatencyShort => self.lines.hurry(),
            Code::Repairs(repair) => self.mends.storm(repair),
            Code::NoSequenceHeader => Verdict::sign(self.in_band_only, || {
                Sign::info("SPS and PPS come only inside of the video, not in a sequence header: viewers can start only after the first keyframe that carries them".into())
            }),
            Code::PictureFrozen => self.scene.frozen(),
            Code::PictureShrunk => self.scene.shrunk(),
            Code::NoVideo => self.missing(Kind::Video, self.expects.0),
            Code::NoAudio => self.missing(Kind::Audio, self.expects.1),
            Code::Silent => self.sound.silent(self.now),
            Code::Clipping => self.sound.clipping(),
            Code::ServerShort => Verdict::sign(!self.left_out.is_empty(), || {
                Sign::warning(format!(
                    "The server cannot encode all rungs in time and leaves out {}: viewers are offered the others",
                    self.left_out.join(", ")
                ))
            }),
        }
    }

    fn no_media(&self) -> Verdict {
        let last = self.arrivals.last().or(self.began);
        let silence = last.map_or(Span::ZERO, |last| self.now - last);
        let patience = if self.arrivals.last().is_some() { SILENCE } else { TRACK_PATIENCE };
        Verdict::sign(silence > patience, || {
            let seconds = silence.seconds();
            Sign::critical(format!("No sound and no picture has arrived for {seconds:.0} s"))
                .figures(seconds, patience.seconds())
        })
    }

    fn frame_rate(&self) -> Verdict {
        let Some(announced) = self.frame_rate else { return Verdict::Good };
        if self.silent() {
            return Verdict::Unknown;
        }
        // A rate that varies has a finding of its own.
        if self.ledger.lists(Code::FrameRateVaries) {
            return Verdict::Good;
        }
        let Some(measured) = self.pictures.frame_rate() else { return Verdict::Unknown };
        Verdict::sign((measured / announced - 1.0).abs() > FRAME_RATE_OFF, || {
            Sign::warning(format!(
                "{measured:.1} frames a second arrive where the encoder announces {announced:.2}"
            ))
            .figures(measured, announced)
        })
    }

    fn bitrate(&self, kind: Kind, announced: Option<u32>) -> Verdict {
        let Some(announced) = announced.map(f64::from) else { return Verdict::Good };
        let Some(measured) = self.arrivals.track(kind).bitrate().filter(|_| !self.silent()) else {
            return Verdict::Unknown;
        };
        let ratio = measured / announced;
        let name = name_of(kind);
        let text = || {
            format!(
                "{name} comes at {:.0} kbit/s where the encoder announces {:.0} kbit/s",
                measured / 1e3,
                announced / 1e3
            )
        };
        if ratio > BITRATE_OVER {
            Verdict::Bad(Sign::warning(text()).figures(measured, announced))
        } else if ratio < BITRATE_UNDER {
            // A still picture and a quiet room need few bits.
            Verdict::Bad(Sign::info(text()).figures(measured, announced))
        } else {
            Verdict::Good
        }
    }

    fn sound_offset(&self) -> Verdict {
        if self.silent() {
            return Verdict::Unknown;
        }
        let Some(offset) = self.arrivals.sound_offset() else { return Verdict::Unknown };
        // Units leave the encoder one after the other: a frame is no offset.
        let apart = offset.abs() - self.pictures.interval();
        Verdict::sign(apart > APART_NOTED, || {
            let ms = offset.millis();
            let side = if ms > 0 { "later" } else { "earlier" };
            let text = format!(
                "Sound and picture that arrive together are {} ms apart by their timestamps: the sound is played {side}",
                ms.abs()
            );
            let sign = if apart > APART_BAD { Sign::warning(text) } else { Sign::info(text) };
            sign.figures(offset.seconds() * 1e3, 0.0)
        })
    }

    fn tracks_start_apart(&self) -> Verdict {
        let firsts = (self.arrivals.track(Kind::Video).first(), self.arrivals.track(Kind::Audio).first());
        let (Some(video), Some(audio)) = firsts else { return Verdict::Unknown };
        let apart = video - audio;
        Verdict::sign(apart.abs() > START_APART && self.age() < START_MATTERS, || {
            let seconds = apart.abs().seconds();
            let (early, late) =
                if apart > Span::ZERO { ("Sound", "the picture") } else { ("Pictures", "the sound") };
            Sign::info(format!(
                "{early} began {seconds:.1} s before {late}: that much of the beginning has only one of the two"
            ))
            .figures(seconds, 0.0)
        })
    }

    fn clock_speed(&self) -> Verdict {
        let Some(ppm) = self.slope else { return Verdict::Unknown };
        let bound = if self.ledger.lists(Code::ClockSpeed) { SLOPE * 0.8 } else { SLOPE };
        Verdict::sign(ppm.abs() > bound, || {
            let (percent, side) = (100.0 + ppm / 1e4, if ppm > 0.0 { "fast" } else { "slow" });
            if ppm.abs() > WRONG_SPEED {
                let minutes = ppm.abs() * 86_400.0 / 1e6 / 60.0;
                let effect = if ppm > 0.0 { "delay grows" } else { "players run dry" };
                Sign::critical(format!(
                    "The stream runs at {percent:.1} % of real time: {effect}, by {minutes:.0} minutes a day"
                ))
            } else {
                Sign::warning(format!("The encoder's clock runs {:.0} ppm {side}", ppm.abs()))
            }
            .figures(ppm, 0.0)
        })
    }

    fn dropped_units(&self) -> Verdict {
        let (video, audio) = self.mends.dropped_a_minute();
        let all = video.saturating_add(audio);
        Verdict::sign(all >= DROPPED, || {
            Sign::warning(format!(
                "{video} video and {audio} audio units of the last minute were damaged or had to be dropped"
            ))
            .figures(all as f64, 0.0)
        })
    }

    fn missing(&self, kind: Kind, expected: Option<bool>) -> Verdict {
        let of = |track: &Track| track.last();
        let (own, other) = match kind {
            Kind::Video => (of(self.arrivals.track(Kind::Video)), of(self.arrivals.track(Kind::Audio))),
            Kind::Audio => (of(self.arrivals.track(Kind::Audio)), of(self.arrivals.track(Kind::Video))),
        };
        if other.is_none_or(|other| self.now - other > SILENCE) {
            return Verdict::Unknown;
        }
        let gone = self.now - own.or(self.began).unwrap_or(self.now);
        let patience = if own.is_some() { TRACK_PATIENCE.half() } else { TRACK_PATIENCE };
        Verdict::sign(gone > patience, || {
            let (seconds, name) = (gone.seconds(), name_of(kind));
            match own {
                Some(_) => Sign::warning(format!("{name} has stopped, {seconds:.0} s ago")),
                None if expected == Some(false) => Sign::info(format!("{name} is not sent, as announced")),
                None => Sign::warning(format!("{name} is not sent")),
            }
        })
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "Video",
        Kind::Audio => "Audio",
    }
}
