//! `GET /api/v1/streams[/NAME]`, `DELETE /api/v1/streams/NAME`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Response, StatusCode};
use media::Language;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::json;
use crate::admission::FindingData;
use crate::live::{Directory, DropOutcome, LinkState, PushState, Rendition, SessionInfo, StreamHandle};
use crate::web::body::Body;
use crate::web::respond::problem;

#[derive(Serialize)]
pub(super) struct List {
    items: Vec<Stream>,
}

#[derive(Serialize)]
struct Stream {
    name: String,
    state: &'static str,
    epoch: String,
    /// Which input viewers are shown.
    on_air: &'static str,
    /// The last picture is held, for want of media.
    holding: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<Publisher>,
    /// The publisher that is held warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Publisher>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<Video>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Audio>,
    /// Which ladder is made of it; none before that is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    ladder: Option<Ladder>,
    renditions: Vec<RenditionState>,
    /// Wished rungs that are not there, and why.
    missing: Vec<Missing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<Worker>,
    /// Where it is sent on to.
    pushes: Vec<Push>,
    counters: Counters,
}

#[derive(Serialize)]
struct Publisher {
    session: String,
    protocol: &'static str,
    address: String,
    agent: String,
    since: String,
    profile: String,
    /// What the encoder doctor finds wrong, the gravest first.
    findings: Vec<FindingData>,
    /// Repairs of its timestamps, by kind; kinds that never happened are left out.
    repairs: BTreeMap<&'static str, u64>,
    /// Its line, where the transport counts packets (SRT).
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkFigures>,
}

#[derive(Serialize)]
struct LinkFigures {
    round_trip_ms: f64,
    round_trip_variance_ms: f64,
    latency_ms: u64,
    /// Packets that are held back now.
    waiting: usize,
    bitrate_bps: u64,
    /// 0: not encrypted.
    key_bits: usize,
    packets: u64,
    missing: u64,
    recovered: u64,
    retransmitted: u64,
    too_late: u64,
    redundant: u64,
    undecryptable: u64,
}

#[derive(Serialize)]
struct Push {
    /// The address without its key.
    target: String,
    /// `connecting`, `live`, `waiting` or `stopped`.
    state: &'static str,
    since: String,
    attempts: u64,
    bytes: u64,
    /// Units left out because the other server was too slow.
    dropped: u64,
    /// Why it last failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Video {
    codec: String,
    width: u32,
    height: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_rate: Option<f64>,
}

#[derive(Serialize)]
struct Audio {
    codec: String,
    sample_rate: u32,
    channels: u16,
}

#[derive(Serialize)]
struct RenditionState {
    name: String,
    codec: String,
    /// RFC 5646, of sound whose language is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'static str>,
    passthrough: bool,
    peak_bps: u64,
    average_bps: u64,
    last_msn: u64,
}

#[derive(Serialize)]
struct Ladder {
    /// Its name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    /// `admitted`, `hook` or `fallback:…`.
    from: &'static str,
}

#[derive(Serialize)]
struct Missing {
    rung: String,
    reason: String,
}

#[derive(Serialize)]
struct Worker {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    restarts: u64,
    dropped: u64,
    /// Media time between the source's newest picture and the slowest rung's.
    behind_ms: i64,
}

#[derive(Serialize)]
struct Counters {
    bytes: u64,
    video_units: u64,
    audio_units: u64,
    repairs: u64,
    dropped: u64,
}

/// Every stream, by name.
pub(super) fn list(directory: &Directory) -> List {
    List { items: directory.all().iter().map(describe).collect() }
}

/// One stream.
pub(super) fn show(directory: &Directory, name: &str) -> Response<Body> {
    match directory.get(name) {
        Some(handle) => json(StatusCode::OK, &describe(&handle)),
        None => missing(),
    }
}

/// Drops the publisher and ends the stream, at once.
pub(super) async fn delete(directory: &Directory, name: &str) -> Response<Body> {
    let Some(handle) = directory.get(name) else { return missing() };
    match handle.drop_publisher().await {
        Some(outcome) => {
            let was_live = outcome == DropOutcome::Dropped;
            tracing::info!(stream = name, was_live, "stream ended by the admin API");
            json(StatusCode::OK, &serde_json::json!({ "name": name, "was_live": was_live }))
        }
        None => missing(),
    }
}

fn missing() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "not-found", "no such stream")
}

fn publisher(session: &SessionInfo) -> Publisher {
    Publisher {
        session: session.session.clone(),
        protocol: session.protocol,
        address: session.client.to_string(),
        agent: session.agent.clone(),
        since: OffsetDateTime::from(session.since).format(&Rfc3339).unwrap_or_default(),
        profile: session.profile.clone(),
        findings: session.health.findings().iter().map(FindingData::from).collect(),
        repairs: session
            .health
            .counts()
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(kind, n)| (kind.name(), n))
            .collect(),
        link: session.link.as_ref().map(|link| link_figures(&link.state())),
    }
}

fn link_figures(state: &LinkState) -> LinkFigures {
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    LinkFigures {
        round_trip_ms: ms(state.round_trip),
        round_trip_variance_ms: ms(state.variance),
        latency_ms: u64::try_from(state.latency.as_millis()).unwrap_or(u64::MAX),
        waiting: state.waiting,
        bitrate_bps: state.bitrate,
        key_bits: state.key_bits,
        packets: state.packets,
        missing: state.missing,
        recovered: state.recovered,
        retransmitted: state.retransmitted,
        too_late: state.too_late,
        redundant: state.redundant,
        undecryptable: state.undecryptable,
    }
}

fn push(state: &PushState) -> Push {
    Push {
        target: state.target().to_owned(),
        state: state.phase().name(),
        since: OffsetDateTime::from(state.since()).format(&Rfc3339).unwrap_or_default(),
        attempts: state.attempts(),
        bytes: state.bytes(),
        dropped: state.dropped(),
        error: state.error(),
    }
}

fn describe(handle: &StreamHandle) -> Stream {
    let snapshot = &handle.snapshot();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &snapshot.counters;
    Stream {
        name: snapshot.name.to_string(),
        state: snapshot.phase.name(),
        epoch: snapshot.epoch.to_string(),
        on_air: snapshot.on_air.name(),
        holding: snapshot.holding,
        publisher: snapshot.session.as_ref().map(publisher),
        backup: snapshot.backup.as_ref().map(publisher),
        video: snapshot.source_video.as_ref().map(|v| Video {
            codec: v.codec.clone(),
            width: v.width,
            height: v.height,
            frame_rate: v.frame_rate.map(|(num, den)| f64::from(num) / f64::from(den.max(1))),
        }),
        audio: snapshot.source_audio.as_ref().map(|a| Audio {
            codec: a.codec.clone(),
            sample_rate: a.sample_rate,
            channels: a.channels,
        }),
        ladder: snapshot
            .ladder
            .as_ref()
            .map(|ladder| Ladder { profile: ladder.profile.clone(), from: ladder.by.name() }),
        renditions: snapshot.renditions().map(rendition).collect(),
        missing: snapshot
            .missing
            .iter()
            .map(|(rung, reason)| Missing { rung: rung.clone(), reason: reason.clone() })
            .collect(),
        worker: snapshot.worker().map(|w| Worker {
            pid: w.pid,
            restarts: w.restarts,
            dropped: w.dropped,
            behind_ms: w.behind.millis(),
        }),
        pushes: handle.pushes().iter().map(|state| push(state)).collect(),
        counters: Counters {
            bytes: read(&counters.bytes),
            video_units: read(&counters.video_units),
            audio_units: read(&counters.audio_units),
            repairs: read(&counters.repairs),
            dropped: read(&counters.dropped),
        },
    }
}

fn rendition(rendition: &Rendition) -> RenditionState {
    let view = rendition.view();
    let (peak_bps, average_bps) = view.playlist.bandwidth().unwrap_or_default();
    RenditionState {
        name: rendition.name.to_string(),
        codec: rendition.format.codec().to_owned(),
        language: rendition.language.map(Language::tag),
        passthrough: rendition.passthrough,
        peak_bps,
        average_bps,
        last_msn: view.playlist.last().0,
    }
}
