//! What Prometheus sees. Labels are few and known in advance: never a key, a viewer or a text from outside.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Of an admission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdmissionLabels {
    /// `allow`, `deny`, `unsigned` or `replayed`.
    pub result: &'static str,
    /// The reason's stable word.
    pub reason: &'static str,
}

/// Of an answer which profile a source is to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProfileLabels {
    /// `admitted`, `changed` or `refused`.
    pub result: &'static str,
}

/// Of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// The type, where this program knows it.
    pub kind: &'static str,
    /// `yes` where it had been told before.
    pub repeated: &'static str,
}

/// Of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// `GET`, … or `other`.
    pub method: &'static str,
    /// The route's pattern.
    pub route: String,
    /// The status code.
    pub status: u16,
}

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admissions: Family<AdmissionLabels, Counter>,
    profiles: Family<ProfileLabels, Counter>,
    events: Family<EventLabels, Counter>,
    requests: Family<HttpLabels, Counter>,
    request_seconds: Histogram,
    /// Open HTTP connections.
    pub connections: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("weir_control");
        let metrics = Self {
            admissions: Family::default(),
            profiles: Family::default(),
            events: Family::default(),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 15)),
            connections: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "admissions",
            "Requests to publish, by result and reason",
            metrics.admissions.clone(),
        );
        let help = "Questions which profile a source is to have, by result";
        registry.register("profiles", help, metrics.profiles.clone());
        registry.register("events", "Events told by the media server", metrics.events.clone());
        registry.register("http_requests", "HTTP requests, by route and status", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's headers to its answer",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        registry.register("http_connections", "Open HTTP connections", metrics.connections.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts an admission.
    pub fn admission(&self, labels: &AdmissionLabels) {
        self.admissions.get_or_create(labels).inc();
    }

    /// Counts an answer which profile a source is to have.
    pub fn profile(&self, labels: &ProfileLabels) {
        self.profiles.get_or_create(labels).inc();
    }

    /// Counts an event.
    pub fn event(&self, labels: &EventLabels) {
        self.events.get_or_create(labels).inc();
    }

    /// Counts a request.
    pub fn request(&self, labels: &HttpLabels, took: Duration) {
        self.requests.get_or_create(labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// The exposition text (OpenMetrics 1.0).
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
