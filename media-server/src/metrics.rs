//! What the daemon counts, in Prometheus' text format. Labels name streams' protocols and outcomes, never a viewer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use media::doctor::Finding;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// `{outcome="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// What came of it, a stable lower-case word.
    pub outcome: &'static str,
}

/// `{cause="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Cause {
    /// Why it was done, a stable lower-case word.
    pub cause: &'static str,
}

/// `{kind="…",status="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// `multivariant`, `playlist`, `object`, `page` or `other`.
    pub kind: &'static str,
    /// HTTP status code.
    pub status: u16,
}

/// `{kind="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// A stable lower-case word.
    pub kind: &'static str,
}

/// `{code="…",severity="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FindingLabels {
    /// What the encoder doctor found.
    pub code: &'static str,
    /// How grave it is.
    pub severity: &'static str,
}

impl From<&Finding> for FindingLabels {
    fn from(finding: &Finding) -> Self {
        Self { code: finding.code.name(), severity: finding.severity.name() }
    }
}

/// `{device="…"}` of one that encodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeviceLabel {
    /// E.g. `cuda 0`.
    pub device: String,
}

/// `{stream="…",session="…"}` of a publisher that is connected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LinkLabels {
    /// The stream's public name.
    pub stream: String,
    /// The publish session's id.
    pub session: String,
}

/// `{stream="…",session="…",kind="…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LinkKind {
    /// The stream's public name.
    pub stream: String,
    /// The publish session's id.
    pub session: String,
    /// What became of the packets.
    pub kind: &'static str,
}

/// The lines of SRT publishers, while they are connected.
#[derive(Clone, Default)]
pub struct Links {
    /// Seconds.
    pub round_trip: Family<LinkLabels, Gauge<f64, AtomicU64>>,
    /// Seconds.
    pub latency: Family<LinkLabels, Gauge<f64, AtomicU64>>,
    /// Packets that are held back.
    pub waiting: Family<LinkLabels, Gauge>,
    /// Bits a second.
    pub bitrate: Family<LinkLabels, Gauge>,
    /// Packets by what became of them.
    pub packets: Family<LinkKind, Gauge>,
}

/// One stream's rungs in the gauges; they leave with it.
#[derive(Debug)]
pub struct RungTally {
    gauges: [Gauge; 2],
    counted: [AtomicI64; 2],
}

impl RungTally {
    /// So many are shed now, and so many parked.
    pub fn set(&self, shed: usize, parked: usize) {
        for ((gauge, counted), now) in self.gauges.iter().zip(&self.counted).zip([shed, parked]) {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            gauge.inc_by(now - counted.swap(now, Ordering::Relaxed));
        }
    }
}

impl Drop for RungTally {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

/// Every metric of the daemon. Clones share the counters.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Publishers connected and admitted.
    pub streams_live: Gauge,
    /// TCP connections that speak RTMP.
    pub rtmp_connections: Gauge,
    /// RTMP connections by how they ended.
    pub rtmp_closed: Family<Outcome, Counter>,
    /// SRT callers that publish.
    pub srt_connections: Gauge,
    /// SRT callers that are sent a stream.
    pub srt_players: Gauge,
    /// SRT callers by how they ended.
    pub srt_closed: Family<Outcome, Counter>,
    /// SRT data packets by what became of them.
    pub srt_packets: Family<KindLabel, Counter>,
    /// Seconds from an SRT packet due to it delivered.
    pub srt_lateness: Histogram,
    /// The line of each SRT publisher that is connected.
    pub links: Links,
    /// Datagrams at the SRT port that belong to nobody.
    pub srt_strays: Counter,
    /// Publishers by WebRTC, connected or not.
    pub webrtc_sessions: Gauge,
    /// Viewers by WebRTC.
    pub webrtc_viewers: Gauge,
    /// WebRTC sessions by how they ended.
    pub webrtc_closed: Family<Outcome, Counter>,
    /// Datagrams and frames at the WebRTC port that belong to nobody, or are not what they should be.
    pub webrtc_strays: Counter,
    /// Datagrams that a WebRTC session was too slow for, or its client.
    pub webrtc_overflow: Counter,
    /// Datagrams that were not sent: who is there has not shown that it hears us.
    pub webrtc_held: Counter,
    /// Publish requests by outcome: `allowed`, `denied`, `unreachable`, `already-live`, `refused`.
    pub admissions: Family<Outcome, Counter>,
    /// Questions which ladder a source is to have, by outcome: `chosen`, `refused`, `unanswered`, `unusable`.
    pub ladder_answers: Family<Outcome, Counter>,
    /// Publishers with a finding of the encoder doctor.
    pub findings: Family<FindingLabels, Gauge>,
    /// Repairs of publishers' timestamps and messages, by kind.
    pub repairs: Family<KindLabel, Counter>,
    /// Recordings of publishers that were saved, by cause: `asked` or `storm`.
    pub flight_saved: Family<Cause, Counter>,
    /// Seconds from a part's last frame read from the socket to the part available.
    pub part_latency: Histogram,
    /// Encoder workers replaced after a crash or a hang.
    pub worker_restarts: Counter,
    /// Rungs by what was done with them: `shed`, `taken-back`, `parked`, `woken`.
    pub rung_changes: Family<KindLabel, Counter>,
    /// Rungs that are not made because the machine cannot keep up.
    pub rungs_shed: Gauge,
    /// Rungs that are not made because nobody watches them.
    pub rungs_parked: Gauge,
    /// Pixels a second that devices are given to encode.
    pub device_pixels: Family<DeviceLabel, Gauge>,
    /// Encoders that are open on devices.
    pub device_sessions: Family<DeviceLabel, Gauge>,
    /// HTTP requests answered.
    pub requests: Family<Request, Counter>,
    /// HTTP connections open.
    pub http_connections: Gauge,
    /// Requests waiting for media that is not made yet.
    pub blocked_requests: Gauge,
    /// Configuration reloads by outcome: `applied`, `unchanged`, `rejected`, `refused`.
    pub reloads: Family<Outcome, Counter>,
    /// Pushes to other servers that are taken.
    pub restreams_live: Gauge,
    /// What became of pushes to other servers: `attempt`, `live`, `failed`.
    pub restreams: Family<Outcome, Counter>,
    /// Events that were lost because too many waited.
    pub outbox_lost: Counter,
    /// Events waiting for the control plane's acknowledgement.
    pub outbox_pending: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        // 50 us to 1.6 s: a part is late beyond its own length.
        let buckets = [
            0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8,
            1.6,
        ];
        let mut metrics = Self {
            registry: Arc::default(),
            streams_live: Gauge::default(),
            rtmp_connections: Gauge::default(),
            rtmp_closed: Family::default(),
            srt_connections: Gauge::default(),
            srt_players: Gauge::default(),
            srt_closed: Family::default(),
            srt_packets: Family::default(),
            srt_lateness: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.08, 0.2]),
            links: Links::default(),
            srt_strays: Counter::default(),
            webrtc_sessions: Gauge::default(),
            webrtc_viewers: Gauge::default(),
            webrtc_closed: Family::default(),
            webrtc_strays: Counter::default(),
            webrtc_overflow: Counter::default(),
            webrtc_held: Counter::default(),
            admissions: Family::default(),
            ladder_answers: Family::default(),
            findings: Family::default(),
            repairs: Family::default(),
            flight_saved: Family::default(),
            part_latency: Histogram::new(buckets),
            worker_restarts: Counter::default(),
            rung_changes: Family::default(),
            rungs_shed: Gauge::default(),
            rungs_parked: Gauge::default(),
            device_pixels: Family::default(),
            device_sessions: Family::default(),
            requests: Family::default(),
            http_connections: Gauge::default(),
            blocked_requests: Gauge::default(),
            reloads: Family::default(),
            restreams_live: Gauge::default(),
            restreams: Family::default(),
            outbox_lost: Counter::default(),
            outbox_pending: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }

    fn registered(&self) -> Registry {
        let mut r = Registry::with_prefix("weir");
        r.register("streams_live", "Publishers connected and admitted", self.streams_live.clone());
        r.register("rtmp_connections", "Open RTMP connections", self.rtmp_connections.clone());
        r.register("rtmp_closed", "RTMP connections by how they ended", self.rtmp_closed.clone());
        r.register("srt_connections", "SRT callers that publish", self.srt_connections.clone());
        r.register("srt_players", "SRT callers that are sent a stream", self.srt_players.clone());
        r.register("srt_closed", "SRT callers by how they ended", self.srt_closed.clone());
        r.register("srt_packets", "SRT data packets by what became of them", self.srt_packets.clone());
        r.register("srt_strays", "Datagrams at the SRT port that belong to nobody", self.srt_strays.clone());
        r.register("webrtc_sessions", "Publishers by WebRTC, connected or not", self.webrtc_sessions.clone());
        r.register("webrtc_viewers", "Viewers by WebRTC", self.webrtc_viewers.clone());
        r.register("webrtc_closed", "WebRTC sessions by how they ended", self.webrtc_closed.clone());
        let help = "Datagrams at the WebRTC port that belong to nobody, or are not what they should be";
        r.register("webrtc_strays", help, self.webrtc_strays.clone());
        let help = "Datagrams that a WebRTC session or its client was too slow for";
        r.register("webrtc_overflow", help, self.webrtc_overflow.clone());
        let help = "Datagrams not sent because who is there has not shown that it hears us";
        r.register("webrtc_held", help, self.webrtc_held.clone());
        r.register_with_unit(
            "srt_delivery_lateness",
            "From an SRT packet due to it delivered",
            Unit::Seconds,
            self.srt_lateness.clone(),
        );
        let links = &self.links;
        r.register_with_unit(
            "srt_link_round_trip",
            "Round trip time to an SRT publisher",
            Unit::Seconds,
            links.round_trip.clone(),
        );
        r.register_with_unit(
            "srt_link_latency",
            "What an SRT publisher's packets are held back by",
            Unit::Seconds,
            links.latency.clone(),
        );
        r.register("srt_link_waiting_packets", "Packets that are held back", links.waiting.clone());
        r.register("srt_link_bits_per_second", "What an SRT publisher sends", links.bitrate.clone());
        r.register(
            "srt_link_packets",
            "Packets of an SRT publisher by what became of them",
            links.packets.clone(),
        );
        r.register("admissions", "Publish requests by outcome", self.admissions.clone());
        let help = "Questions which ladder a source is to have, by what came of them";
        r.register("ladder_questions", help, self.ladder_answers.clone());
        r.register(
            "publisher_findings",
            "Publishers with a finding of the encoder doctor",
            self.findings.clone(),
        );
        r.register("repairs", "Repairs of publishers' timestamps, by kind", self.repairs.clone());
        r.register(
            "flight_recordings",
            "Recordings of publishers that were saved",
            self.flight_saved.clone(),
        );
        let help = "From a part's last frame read from the socket to the part available";
        r.register_with_unit("part_latency", help, Unit::Seconds, self.part_latency.clone());
        r.register("worker_restarts", "Encoder workers replaced", self.worker_restarts.clone());
        r.register("rung_changes", "Rungs by what was done with them", self.rung_changes.clone());
        let help = "Rungs that are not made because the machine cannot keep up";
        r.register("rungs_shed", help, self.rungs_shed.clone());
        r.register("rungs_parked", "Rungs that nobody watches and nobody makes", self.rungs_parked.clone());
        r.register(
            "device_pixels_per_second",
            "Pixels a second that devices are given to encode",
            self.device_pixels.clone(),
        );
        r.register("device_sessions", "Encoders open on devices", self.device_sessions.clone());
        r.register("http_requests", "HTTP requests answered", self.requests.clone());
        r.register("http_connections", "Open HTTP connections", self.http_connections.clone());
        r.register("http_blocked_requests", "Requests waiting for media", self.blocked_requests.clone());
        r.register("config_reloads", "Configuration reloads by outcome", self.reloads.clone());
        r.register("restreams_live", "Pushes that another server takes", self.restreams_live.clone());
        r.register("restreams", "Pushes by what became of them", self.restreams.clone());
        r.register("outbox_lost", "Events lost because too many waited", self.outbox_lost.clone());
        r.register("outbox_pending", "Events not yet acknowledged", self.outbox_pending.clone());
        r
    }

    /// The exposition text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    /// Counts one admission outcome.
    pub fn admission(&self, outcome: &'static str) {
        self.admissions.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts what came of a question for a ladder.
    pub fn ladder_answer(&self, outcome: &'static str) {
        self.ladder_answers.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts repairs.
    pub fn repaired(&self, kind: &'static str, n: u64) {
        self.repairs.get_or_create(&KindLabel { kind }).inc_by(n);
    }

    /// Counts what was done with `n` rungs.
    pub fn rungs_changed(&self, kind: &'static str, n: usize) {
        self.rung_changes.get_or_create(&KindLabel { kind }).inc_by(n as u64);
    }

    /// One stream's part of the gauges of rungs.
    pub fn rung_tally(&self) -> RungTally {
        RungTally {
            gauges: [self.rungs_shed.clone(), self.rungs_parked.clone()],
            counted: [const { AtomicI64::new(0) }; 2],
        }
    }

    /// Counts `n` SRT packets of a kind.
    pub fn srt_packets(&self, kind: &'static str, n: u64) {
        self.srt_packets.get_or_create(&KindLabel { kind }).inc_by(n);
    }

    /// Counts one event of a push.
    pub fn restream(&self, outcome: &'static str) {
        self.restreams.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts one reload outcome.
    pub fn reload(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}
