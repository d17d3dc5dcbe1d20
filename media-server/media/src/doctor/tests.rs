//! Simulated publishers, healthy and ill; the doctor sees what the timeline makes of them.

mod flow;
mod rhythm;
mod sound;
mod wording;

use super::*;
use crate::timeline::{Clock, Timeline, TimelineConfig};

pub(super) fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ticks(ms, 1000)
}

/// A publisher, by the deviations from a healthy one that a test sets.
pub(super) struct Publisher {
    pub(super) doctor: Doctor,
    timeline: Timeline,
    /// Milliseconds of one frame.
    pub(super) frame_ms: i64,
    /// Frames of each GOP in turn.
    pub(super) gops: Vec<i64>,
    /// Bytes of one frame: 33 ms of 2 Mbit/s.
    pub(super) frame_bytes: usize,
    pub(super) has_video: bool,
    pub(super) has_audio: bool,
    /// Media time that passes in a thousand milliseconds.
    pub(super) speed: i64,
    /// Added to timestamps of sound.
    pub(super) sound_later: i64,
    /// Added to a frame's time, by its number.
    pub(super) shift: fn(i64) -> i64,
    /// Frames that are left out.
    pub(super) lost: fn(i64) -> bool,
    /// Delay on the way, by the time.
    pub(super) delay: fn(i64) -> i64,
    pub(super) composition: fn(i64) -> i64,
    now: i64,
    frame: i64,
    in_gop: i64,
    gop: usize,
    sounds: i64,
    held: Vec<(i64, Unit)>,
    /// All codes that were ever listed, with the time of their first listing.
    pub(super) ever: Vec<(&'static str, i64)>,
    pub(super) changes: usize,
}

enum Unit {
    Video { raw: i64, composition: i64, key: bool },
    Audio { raw: i64 },
}

impl Publisher {
    pub(super) fn new(agent: &str) -> Self {
        let doctor =
            Doctor::new(DoctorConfig { agent, segment_target: Span::from_millis(2000), on_request: false });
        Self {
            doctor,
            timeline: Timeline::new(TimelineConfig { start: Timestamp::ZERO, clock: Clock::RTMP }),
            frame_ms: 40,
            gops: vec![50],
            frame_bytes: 10_000,
            has_video: true,
            has_audio: true,
            speed: 1000,
            sound_later: 0,
            shift: |_| 0,
            lost: |_| false,
            delay: |_| 20,
            composition: |_| 0,
            now: 0,
            frame: 0,
            in_gop: 0,
            gop: 0,
            sounds: 0,
            held: Vec::new(),
            ever: Vec::new(),
            changes: 0,
        }
    }

    /// Goes on for so many seconds, with a look every second.
    pub(super) fn run(&mut self, seconds: i64) -> &mut Self {
        let until = self.now + seconds * 1000;
        while self.now < until {
            self.now += 1;
            self.produce();
            self.deliver();
            if self.now % 1000 == 0 {
                self.changes += usize::from(self.doctor.tick(ms(self.now)));
                let slope = self.timeline.slope_ppm();
                if let Some(slope) = slope {
                    self.doctor.slope_ppm(slope);
                }
                for finding in self.doctor.findings() {
                    if self.ever.iter().all(|(code, _)| *code != finding.code.name()) {
                        self.ever.push((finding.code.name(), self.now / 1000));
                    }
                }
            }
        }
        self
    }

    fn produce(&mut self) {
        let media = self.now * self.speed / 1000;
        while self.frame * self.frame_ms <= media {
            let n = self.frame;
            let key = self.in_gop == 0;
            self.in_gop += 1;
            if self.in_gop >= self.gops[self.gop % self.gops.len()] {
                (self.in_gop, self.gop) = (0, self.gop + 1);
            }
            self.frame += 1;
            if self.has_video && !(self.lost)(n) {
                let raw = n * self.frame_ms + (self.shift)(n);
                self.send(Unit::Video { raw, composition: (self.composition)(n), key });
            }
        }
        while self.sounds * 64 / 3 <= media {
            if self.has_audio {
                self.send(Unit::Audio { raw: self.sounds * 64 / 3 + self.sound_later });
            }
            self.sounds += 1;
        }
    }

    fn send(&mut self, unit: Unit) {
        // One connection: nothing overtakes.
        let due = self.now + (self.delay)(self.now);
        let due = self.held.last().map_or(due, |(before, _)| due.max(*before));
        self.held.push((due, unit));
    }

    fn deliver(&mut self) {
        let due = self.held.iter().take_while(|(due, _)| *due <= self.now).count();
        for (_, unit) in self.held.drain(..due) {
            let arrival = ms(self.now);
            match unit {
                Unit::Video { raw, composition, key } => {
                    let (stamp, repairs) = self.timeline.video((raw + 10_000) as u64, composition, arrival);
                    self.doctor.video(stamp, self.frame_bytes, key, repairs, arrival);
                }
                Unit::Audio { raw } => {
                    let (stamp, repairs) = self.timeline.audio((raw + 10_000) as u64, 1024, 48_000, arrival);
                    self.doctor.audio(stamp, 340, repairs, arrival);
                }
            }
        }
    }

    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.doctor.findings().iter().map(|finding| finding.code.name()).collect()
    }

    pub(super) fn finding(&self, code: &str) -> &Finding {
        let found = self.doctor.findings().iter().find(|finding| finding.code.name() == code);
        found.unwrap_or_else(|| panic!("no {code} in {:?}", self.codes()))
    }

    pub(super) fn first_listed(&self, code: &str) -> i64 {
        let found = self.ever.iter().find(|(name, _)| *name == code);
        found.unwrap_or_else(|| panic!("{code} was never listed: {:?}", self.ever)).1
    }
}

const OBS: &str = "FMLE/3.0 (compatible; FMSc/1.0)";

#[test]
fn a_healthy_publisher_has_no_findings() {
    for frame_ms in [20, 40, 100] {
        let mut publisher = Publisher::new(OBS);
        publisher.frame_ms = frame_ms;
        publisher.gops = vec![2000 / frame_ms];
        publisher.doctor.announced(Announced {
            video_bitrate: Some(8_000 * 10_000 / frame_ms as u32),
            audio_bitrate: Some(128_000),
            frame_rate: Some(1000.0 / frame_ms as f64),
            video: Some(true),
            audio: Some(true),
            encoder: "obs-output module (libobs version 30.0.2)",
        });
        publisher.run(120);
        assert_eq!(publisher.ever, [], "{frame_ms}");
    }
}

#[test]
fn codes_are_unique_and_kebab_case() {
    let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
    for (place, code) in Code::ALL.into_iter().enumerate() {
        assert_eq!(code.index(), place);
    }
}
