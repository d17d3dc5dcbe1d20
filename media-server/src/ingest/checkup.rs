//! The encoder doctor at work: what one publish session sends is shown to it, what it finds goes to the API, the log,
//! the metrics and the control plane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::doctor::{Announced, Doctor, DoctorConfig, Line};
use media::timeline::{Repairs, Stamp, Timeline};
use media::{AudioFormat, Kind, Span, Timestamp, VideoFormat};

use super::loudness::Loudness;
use crate::admission::{FindingData, HealthData};
use crate::live::{Health, LinkState};
use crate::metrics::{FindingLabels, Metrics};

/// Between two judgements.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// The control plane is told this often where nothing changes; at once where something does.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Between two samples of the sound: the most expensive thing that the doctor does.
const HEARD_EVERY: Span = Span::from_millis(5000);

/// A line as the doctor has it.
pub(super) fn line(state: &LinkState) -> Line {
    let span = |time: Duration| Span::from_millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    Line {
        round_trip: span(state.round_trip),
        latency: span(state.latency),
        packets: state.packets,
        missing: state.missing,
        lost: state.too_late,
    }
}

/// Watches over one publish session.
pub(super) struct Checkup {
    doctor: Doctor,
    loudness: Loudness,
    health: Arc<Health>,
    metrics: Metrics,
    stream: String,
    /// What the gauges count of us.
    counted: Vec<FindingLabels>,
    judged: Instant,
    told: Instant,
    since_told: Traffic,
}

/// What came since the control plane was told.
#[derive(Default)]
struct Traffic {
    bytes: u64,
    pictures: u64,
}

impl Checkup {
    /// `health` is where the API reads.
    pub(super) fn new(
        config: DoctorConfig<'_>,
        health: Arc<Health>,
        metrics: Metrics,
        stream: String,
    ) -> Self {
        let now = Instant::now();
        Self {
            doctor: Doctor::new(config),
            loudness: Loudness::default(),
            health,
            metrics,
            stream,
            counted: Vec::new(),
            judged: now,
            told: now,
            since_told: Traffic::default(),
        }
    }

    pub(super) fn announced(&mut self, announced: Announced<'_>) {
        self.doctor.announced(announced);
    }

    pub(super) fn video(
        &mut self,
        stamp: Stamp,
        bytes: usize,
        keyframe: bool,
        repairs: Repairs,
        at: Timestamp,
    ) {
        self.doctor.video(stamp, bytes, keyframe, repairs, at);
        self.took(bytes, repairs);
        self.since_told.pictures += 1;
    }

    pub(super) fn audio(&mut self, stamp: Stamp, frame: &Bytes, repairs: Repairs, at: Timestamp) {
        self.doctor.audio(stamp, frame.len(), repairs, at);
        self.took(frame.len(), repairs);
        if let Some(levels) = self.loudness.frame(frame, at, HEARD_EVERY) {
            self.doctor.levels(levels);
        }
    }

    pub(super) fn video_format(&mut self, format: &VideoFormat) {
        self.doctor.picture_size((format.width, format.height));
    }

    pub(super) fn audio_format(&mut self, format: &AudioFormat) {
        self.loudness.format(format);
    }

    pub(super) fn dropped(&mut self, kind: Kind) {
        self.doctor.dropped(kind, 1);
    }

    pub(super) fn in_band_parameter_sets_only(&mut self) {
        self.doctor.in_band_parameter_sets_only();
    }

    pub(super) fn line(&mut self, line: Line, at: Timestamp) {
        self.doctor.line(line, at);
    }

    fn took(&mut self, bytes: usize, repairs: Repairs) {
        self.since_told.bytes += bytes as u64;
        for repair in repairs.iter() {
            self.metrics.repaired(repair.name(), 1);
        }
    }

    /// Judges, at most once in [`PACE`]; `at` is `now` on the session's arrival clock. What it gives is for the
    /// control plane.
    pub(super) fn judge(&mut self, now: Instant, at: Timestamp, timeline: &Timeline) -> Option<HealthData> {
        if now.duration_since(self.judged) < PACE {
            return None;
        }
        self.judged = now;
        if let Some(ppm) = timeline.slope_ppm() {
            self.doctor.slope_ppm(ppm);
        }
        self.doctor.left_out(self.health.left_out().iter().map(ToString::to_string));
        let changed = self.doctor.tick(at);
        self.health.repairs(*timeline.repairs());
        if changed {
            self.tell();
        }
        let since = now.duration_since(self.told);
        if !changed && since < TOLD_EVERY {
            return None;
        }
        self.told = now;
        let Traffic { bytes, pictures } = std::mem::take(&mut self.since_told);
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let a_second = |n: u64, unit: u64| u32::try_from(n.saturating_mul(unit) / ms).unwrap_or(u32::MAX);
        Some(HealthData {
            bitrate_kbps: a_second(bytes, 8),
            millifps: a_second(pictures, 1_000_000),
            repairs: timeline.repairs().total(),
            findings: self.doctor.findings().iter().map(FindingData::from).collect(),
        })
    }

    /// What is new goes to the log, what is listed to API and metrics.
    fn tell(&mut self) {
        let before = self.health.findings();
        let now = self.doctor.findings();
        for new in now.iter().filter(|f| !before.iter().any(|b| b.code == f.code)) {
            tracing::warn!(
                stream = %self.stream, finding = new.code.name(), severity = new.severity.name(),
                remedy = %new.remedy, "{}", new.text
            );
        }
        for gone in before.iter().filter(|b| !now.iter().any(|f| f.code == b.code)) {
            tracing::info!(stream = %self.stream, finding = gone.code.name(), "no longer so: {}", gone.text);
        }
        self.count(now.iter().map(FindingLabels::from).collect());
        self.health.found(self.doctor.findings().to_vec());
    }

    fn count(&mut self, labels: Vec<FindingLabels>) {
        for label in &self.counted {
            self.metrics.findings.get_or_create(label).dec();
        }
        for label in &labels {
            self.metrics.findings.get_or_create(label).inc();
        }
        self.counted = labels;
    }
}

impl Drop for Checkup {
    fn drop(&mut self) {
        self.count(Vec::new());
    }
}
