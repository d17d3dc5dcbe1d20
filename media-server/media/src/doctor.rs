//! The encoder doctor: looks at what a live publisher sends, and says in plain words what is wrong with it and where
//! to put it right in the software that it announces.
//!
//! One [`Doctor`] a publish session. It is told of every unit (constant time, no allocation), and judges when it is
//! asked to ([`Doctor::tick`], about once a second). A finding appears after its cause has lasted for a bounded time
//! and goes when the cause has been gone for one ([`Code::appears_after`], [`Code::clears_after`]), so the list does
//! not flicker. All times are of the arrival clock that the caller gives, of any origin.

mod arrivals;
mod code;
mod finding;
mod judgement;
mod ledger;
mod line;
mod mends;
mod pictures;
mod remedy;
mod scene;
mod software;
mod sound;

pub use code::Code;
pub use finding::{Finding, Severity};
pub use line::Line;
pub use software::Software;
pub use sound::AudioLevels;

use arrivals::Arrivals;
use ledger::Ledger;
use line::Lines;
use mends::Mends;
use pictures::Pictures;
use scene::Scene;
use sound::Sound;

use crate::time::{Span, Timestamp};
use crate::timeline::{Repairs, Stamp};
use crate::unit::Kind;

/// What a doctor needs to know from the start.
#[derive(Clone, Copy, Debug)]
pub struct DoctorConfig<'a> {
    /// What software the publisher says it is: RTMP's `flashVer`, SRT's or HTTP's user agent.
    pub agent: &'a str,
    /// The nominal segment length: what keyframe intervals must divide.
    pub segment_target: Span,
    /// Keyframes come when the server asks for them, as by WebRTC: their interval is not the encoder's.
    pub on_request: bool,
}

/// What a publisher says of its stream (RTMP's `onMetaData`); what it does not say is `None` or empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announced<'a> {
    /// Bits a second.
    pub video_bitrate: Option<u32>,
    /// Bits a second.
    pub audio_bitrate: Option<u32>,
    /// Frames a second.
    pub frame_rate: Option<f64>,
    /// There is a video track.
    pub video: Option<bool>,
    /// There is an audio track.
    pub audio: Option<bool>,
    /// The software by its own name (`encoder`).
    pub encoder: &'a str,
}

/// The doctor of one publish session.
#[derive(Clone, Debug)]
pub struct Doctor {
    agent: Software,
    software: Software,
    target: Span,
    on_request: bool,
    video_bitrate: Option<u32>,
    audio_bitrate: Option<u32>,
    frame_rate: Option<f64>,
    expects: (Option<bool>, Option<bool>),
    pictures: Pictures,
    arrivals: Arrivals,
    mends: Mends,
    sound: Sound,
    lines: Lines,
    scene: Scene,
    in_band_only: bool,
    left_out: Vec<String>,
    slope: Option<f64>,
    began: Option<Timestamp>,
    now: Timestamp,
    ledger: Ledger,
}

impl Doctor {
    /// A doctor that has seen nothing yet.
    pub fn new(config: DoctorConfig<'_>) -> Self {
        let agent = Software::recognize("", config.agent);
        Self {
            agent,
            software: agent,
            target: config.segment_target.max(Span::from_millis(200)),
            on_request: config.on_request,
            video_bitrate: None,
            audio_bitrate: None,
            frame_rate: None,
            expects: (None, None),
            pictures: Pictures::default(),
            arrivals: Arrivals::default(),
            mends: Mends::default(),
            sound: Sound::default(),
            lines: Lines::default(),
            scene: Scene::default(),
            in_band_only: false,
            left_out: Vec::new(),
            slope: None,
            began: None,
            now: Timestamp::ZERO,
            ledger: Ledger::default(),
        }
    }

    /// Rungs that the server leaves out because it cannot encode them in time.
    pub fn left_out(&mut self, rungs: impl IntoIterator<Item = String>) {
        self.left_out = rungs.into_iter().collect();
    }

    /// What the publisher announces; a later announcement replaces an earlier one.
    pub fn announced(&mut self, announced: Announced<'_>) {
        let told = Software::recognize(announced.encoder, "");
        self.software = if told == Software::Unknown { self.agent } else { told };
        self.video_bitrate = announced.video_bitrate.filter(|bits| *bits > 0);
        self.audio_bitrate = announced.audio_bitrate.filter(|bits| *bits > 0);
        self.frame_rate = announced.frame_rate.filter(|rate| rate.is_finite() && *rate >= 1.0);
        self.expects = (announced.video, announced.audio);
    }

    /// The software that remedies are worded for.
    pub fn software(&self) -> Software {
        self.software
    }

    /// A video unit, as the timeline placed it; `bytes` of coded data, `arrival` of its last byte.
    pub fn video(
        &mut self,
        stamp: Stamp,
        bytes: usize,
        keyframe: bool,
        repairs: Repairs,
        arrival: Timestamp,
    ) {
        self.pictures.note(stamp, keyframe, repairs);
        self.scene.picture(arrival);
        self.unit(Kind::Video, stamp, bytes, repairs, arrival);
    }

    /// An audio unit, as the timeline placed it; `bytes` of coded data, `arrival` of its last byte.
    pub fn audio(&mut self, stamp: Stamp, bytes: usize, repairs: Repairs, arrival: Timestamp) {
        self.scene.sound(arrival);
        self.unit(Kind::Audio, stamp, bytes, repairs, arrival);
    }

    /// The picture's size from here on, in pixels.
    pub fn picture_size(&mut self, size: (u32, u32)) {
        self.scene.size(size);
    }

    /// How loud a sample of the sound was. Some seconds between two samples do no harm.
    pub fn levels(&mut self, levels: AudioLevels) {
        self.sound.note(levels, self.now);
    }

    /// `n` units of a track were unusable, or had to be dropped.
    pub fn dropped(&mut self, kind: Kind, n: u64) {
        self.mends.dropped(kind, n, self.now);
    }

    /// The publisher sent no sequence header: the decoder configuration was found inside of the stream.
    pub fn in_band_parameter_sets_only(&mut self) {
        self.in_band_only = true;
    }

    /// How much faster the publisher's clock runs than ours, as measured (`Timeline::slope_ppm`).
    pub fn slope_ppm(&mut self, ppm: f64) {
        self.slope = Some(ppm).filter(|ppm| ppm.is_finite());
    }

    /// How the transport's line does; about once a second.
    pub fn line(&mut self, line: Line, now: Timestamp) {
        self.see(now);
        self.lines.note(line, self.now);
    }

    /// Judges. True: the list of findings is another one than before.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        self.see(now);
        self.arrivals.advance(now);
        self.mends.advance(now);
        self.scene.advance(now);
        let mut changed = false;
        for code in Code::ALL {
            let verdict = self.judge(code);
            changed |= self.ledger.judge(code, verdict, now, |code| {
                remedy::of(
                    code,
                    self.software,
                    &remedy::Wishes::new(self.target, &self.pictures, &self.lines),
                )
            });
        }
        changed
    }

    /// The findings of the last [`Self::tick`], the gravest first.
    pub fn findings(&self) -> &[Finding] {
        self.ledger.findings()
    }

    fn see(&mut self, now: Timestamp) {
        self.began.get_or_insert(now);
        self.now = self.now.max(now);
    }

    fn unit(&mut self, kind: Kind, stamp: Stamp, bytes: usize, repairs: Repairs, arrival: Timestamp) {
        self.see(arrival);
        self.mends.note(repairs, arrival);
        self.arrivals.note(kind, stamp.dts, bytes as u64, repairs, arrival);
    }
}

#[cfg(test)]
mod tests;
