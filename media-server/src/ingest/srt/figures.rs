//! What a caller's connection counts, as the API, the metrics and the doctor have it.

use std::sync::Arc;
use std::time::Duration;

use media::doctor::Line;
use wire::srt::Stats;

use crate::ingest::checkup;
use crate::ingest::publishing::Publishing;
use crate::live::{Link, LinkState};
use crate::metrics::{LinkKind, LinkLabels, Links, Metrics};

/// Tells API, metrics and doctor.
pub(in crate::ingest) struct Figures {
    link: Arc<Link>,
    gauges: Gauges,
    metrics: Metrics,
    /// What the metrics have of it.
    counted: Stats,
}

impl Figures {
    pub(in crate::ingest) fn new(publishing: &Publishing, link: Arc<Link>, metrics: &Metrics) -> Self {
        let labels = LinkLabels { stream: publishing.stream.clone(), session: publishing.id.clone() };
        let gauges = Gauges::new(metrics, labels);
        Self { link, gauges, metrics: metrics.clone(), counted: Stats::default() }
    }

    /// A packet was delivered so long after it was due.
    pub(in crate::ingest) fn late(&self, by: Duration) {
        self.metrics.srt_lateness.observe(by.as_secs_f64());
    }

    /// What is new; the line as the doctor has it.
    pub(in crate::ingest) fn tell(&mut self, stats: &Stats, key_bits: usize) -> Line {
        let state = state(stats, key_bits);
        self.link.set(state);
        self.gauges.set(stats);
        let before = std::mem::replace(&mut self.counted, *stats);
        for ((kind, now), (_, before)) in kinds(stats).into_iter().zip(kinds(&before)) {
            if now > before {
                self.metrics.srt_packets(kind, now - before);
            }
        }
        checkup::line(&state)
    }
}

/// Packets by what became of them.
fn kinds(stats: &Stats) -> [(&'static str, u64); 7] {
    [
        ("received", stats.packets),
        ("missing", stats.missing),
        ("recovered", stats.recovered),
        ("too-late", stats.too_late),
        ("retransmitted", stats.retransmitted),
        ("redundant", stats.redundant),
        ("undecryptable", stats.undecryptable),
    ]
}

/// The metrics of one line: there while it is.
struct Gauges {
    links: Links,
    labels: LinkLabels,
}

impl Gauges {
    fn new(metrics: &Metrics, labels: LinkLabels) -> Self {
        Self { links: metrics.links.clone(), labels }
    }

    fn kind(&self, kind: &'static str) -> LinkKind {
        LinkKind { stream: self.labels.stream.clone(), session: self.labels.session.clone(), kind }
    }

    fn set(&self, stats: &Stats) {
        let (links, labels) = (&self.links, &self.labels);
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        links.round_trip.get_or_create(labels).set(stats.round_trip.as_secs_f64());
        links.latency.get_or_create(labels).set(stats.latency.as_secs_f64());
        links.waiting.get_or_create(labels).set(signed(stats.waiting as u64));
        links.bitrate.get_or_create(labels).set(signed(stats.bitrate));
        for (kind, count) in kinds(stats) {
            links.packets.get_or_create(&self.kind(kind)).set(signed(count));
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        let (links, labels) = (&self.links, &self.labels);
        links.round_trip.remove(labels);
        links.latency.remove(labels);
        links.waiting.remove(labels);
        links.bitrate.remove(labels);
        for (kind, _) in kinds(&Stats::default()) {
            links.packets.remove(&self.kind(kind));
        }
    }
}

fn state(stats: &Stats, key_bits: usize) -> LinkState {
    LinkState {
        round_trip: stats.round_trip,
        variance: stats.variance,
        latency: stats.latency,
        waiting: stats.waiting,
        bitrate: stats.bitrate,
        key_bits,
        packets: stats.packets,
        missing: stats.missing,
        recovered: stats.recovered,
        retransmitted: stats.retransmitted,
        too_late: stats.too_late,
        redundant: stats.redundant,
        undecryptable: stats.undecryptable,
    }
}
