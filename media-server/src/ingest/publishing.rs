//! A publish session, whatever protocol brings it: asked of admission, given its stream, recorded, told to the control
//! plane from its beginning to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use media::doctor::DoctorConfig;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::PushTarget;

use super::black_box::BlackBox;
use super::checkup::Checkup;
use super::{Desk, Rules};
use crate::admission::{
    Client, Decision, EventData, Grant, HealthData, Limits, Outbox, PublishRequest, StoppedData,
};
use crate::flight::Recorder;
use crate::live::{Health, Link, PublishError, PublishSpec, Publisher, Role, SessionInfo};

/// Bits a second of sound that is encoded, whatever the profile's rungs say.
const LEAST_SOUND: u32 = 128_000;

/// Who asks to publish, and as what.
pub(super) struct Asking {
    /// `rtmp`, `rtmps`, `srt` or `whip`.
    pub(super) protocol: &'static str,
    pub(super) key: String,
    pub(super) app: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) peer: SocketAddr,
    /// The software that it says that it is.
    pub(super) agent: String,
}

/// Why a publisher is not let in. The text is for the broadcaster.
#[derive(Debug, thiserror::Error)]
pub(super) enum Denied {
    #[error("role is \"primary\" or \"backup\"")]
    Role,
    /// Admission says no: a stable word, and what is said to the broadcaster.
    #[error("{text}")]
    Key { reason: String, text: String },
    /// The admission room has logged what failed and what to do.
    #[error("the server cannot check stream keys at the moment; try again")]
    Unreachable,
    #[error("the server's ladder profile for this stream is missing")]
    Profile,
    #[error(transparent)]
    Stream(#[from] PublishError),
}

/// A publisher whom admission lets in. Nothing has begun yet.
pub(super) struct Allowed {
    pub(super) grant: Grant,
    id: String,
    role: Role,
    protocol: &'static str,
    client: Client,
}

impl Allowed {
    /// It is to be the stream's publisher, not its backup.
    pub(super) fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// A stream that we fetch ourselves: nobody is asked.
    pub(super) fn fetched(stream: String, profile: String, protocol: &'static str, from: SocketAddr) -> Self {
        let client = Client { ip: from.ip(), port: from.port(), agent: "fetched by the server".into() };
        let grant = Grant { stream, profile, ..Grant::default() };
        Self { grant, id: new_id(), role: Role::Primary, protocol, client }
    }
}

fn new_id() -> String {
    format!("ses_{}", uuid::Uuid::now_v7().simple())
}

/// What a session that was let in needs.
pub(super) struct Admitted {
    pub(super) publishing: Publishing,
    pub(super) checkup: Box<Checkup>,
    pub(super) limits: Limits,
    /// Bits a second of sound that has to be encoded.
    pub(super) sound_bitrate: u32,
}

/// A publish session that was let in.
pub(super) struct Publishing {
    pub(super) id: String,
    pub(super) stream: String,
    pub(super) publisher: Publisher,
    /// Records what it sends.
    pub(super) black_box: Option<BlackBox>,
    outbox: Outbox,
    /// Health on its way to the outbox: the disk may take long, media does not wait for it.
    telling: JoinSet<()>,
    since: Instant,
}

/// Asks admission.
pub(super) async fn ask(desk: &Desk, asking: Asking) -> Result<Allowed, Denied> {
    let id = new_id();
    let role = match asking.query.iter().find(|(name, _)| name == "role").map(|(_, role)| role.as_str()) {
        None | Some("" | "primary") => Role::Primary,
        Some("backup") => Role::Backup,
        Some(_) => return Err(Denied::Role),
    };
    let client = Client { ip: asking.peer.ip(), port: asking.peer.port(), agent: asking.agent };
    let request = PublishRequest {
        session: id.clone(),
        protocol: asking.protocol,
        key: asking.key,
        app: asking.app,
        query: asking.query,
        client: client.clone(),
    };
    match desk.admission.publish(request).await {
        Decision::Allow(grant) => Ok(Allowed { grant, id, role, protocol: asking.protocol, client }),
        Decision::Deny { reason, message } => {
            desk.metrics.admission("denied");
            tracing::info!(peer = %asking.peer, reason, "publish denied");
            let text = if message.is_empty() { reason.clone() } else { message };
            Err(Denied::Key { reason, text })
        }
        Decision::Unreachable { .. } => {
            desk.metrics.admission("unreachable");
            Err(Denied::Unreachable)
        }
    }
}

/// Begins what was allowed. `link` is where its line is shown, `halt` is cancelled when the stream no longer wants it.
pub(super) async fn begin(
    desk: &Desk,
    allowed: Allowed,
    link: Option<Arc<Link>>,
    halt: CancellationToken,
) -> Result<Admitted, Denied> {
    let Allowed { grant, id, role, protocol, client } = allowed;
    let peer = SocketAddr::new(client.ip, client.port);
    let rules = desk.rules.load_full();
    let Some(profile) = rules.profiles.get(&grant.profile) else {
        desk.metrics.admission("refused");
        tracing::error!(stream = %grant.stream, profile = %grant.profile, "admission names a profile that [profiles] does not have");
        return Err(Denied::Profile);
    };
    let health = Arc::new(Health::default());
    let recorder = rules.recorder.map(|keep| Arc::new(Recorder::new(keep)));
    let session = SessionInfo {
        session: id.clone(),
        protocol,
        client: peer,
        agent: client.agent.clone(),
        since: SystemTime::now(),
        profile: grant.profile.clone(),
        health: Arc::clone(&health),
        link,
        recorder: recorder.clone(),
    };
    let header = session.flight_header(&grant.stream, "storm");
    let (profile, settings) = (profile.clone(), rules.settings.clone());
    let wished = profile.rungs.iter().map(|rung| rung.audio_bitrate).max();
    let sound_bitrate = wished.unwrap_or(0).max(LEAST_SOUND);
    let spec = PublishSpec { role, session, profile, settings, ended: halt };
    let publisher = match desk.directory.publish(&grant.stream, spec, rules.max_streams).await {
        Ok(publisher) => publisher,
        Err(error) => {
            desk.metrics.admission("already-live");
            tracing::info!(%peer, stream = %grant.stream, %error, "publish refused");
            return Err(error.into());
        }
    };
    desk.metrics.admission("allowed");
    tracing::info!(
        stream = %grant.stream, session = %id, %peer, protocol, agent = %client.agent, profile = %grant.profile,
        "publishing"
    );
    restream(desk, &grant, &rules);
    let config = DoctorConfig {
        agent: &client.agent,
        segment_target: rules.settings.targets.segment,
        on_request: protocol == "whip",
    };
    let checkup = Box::new(Checkup::new(config, health, desk.metrics.clone(), grant.stream.clone()));
    desk.outbox.record(&grant.stream, &id, EventData::Started { protocol, client }).await;
    let mut limits = grant.limits;
    if limits.bitrate_kbps == 0 {
        limits.bitrate_kbps = rules.max_bitrate_kbps;
    }
    let (flights, metrics) = (desk.flights.clone(), desk.metrics.clone());
    let black_box = recorder.map(|it| BlackBox::new(it, rules.storm, header, flights, metrics));
    let publishing = Publishing {
        id,
        stream: grant.stream,
        publisher,
        black_box,
        outbox: desk.outbox.clone(),
        telling: JoinSet::new(),
        since: Instant::now(),
    };
    Ok(Admitted { publishing, checkup, limits, sound_bitrate })
}

/// Sends the stream on to where the configuration and admission say.
fn restream(desk: &Desk, grant: &Grant, rules: &Rules) {
    let Some(stream) = desk.directory.get(&grant.stream) else { return };
    let configured = rules.targets.iter().filter(|t| t.stream == "*" || t.stream == grant.stream);
    let mut urls: Vec<PushTarget> = configured.map(|target| target.url.clone()).collect();
    for push in &grant.push {
        match PushTarget::parse(&push.url) {
            Ok(url) if urls.contains(&url) => {}
            Ok(url) => urls.push(url),
            Err(error) => {
                tracing::warn!(stream = %grant.stream, %error, "admission names a push that is no address");
            }
        }
    }
    (desk.forward)(&stream, &urls);
}

impl Publishing {
    /// About once a second: has a storm of repairs recorded, and tells the control plane what is new. `repairs` are the
    /// wire's own, `health` what there is to tell.
    pub(super) fn check_up(&mut self, repairs: u64, health: Option<HealthData>) {
        if let Some(black_box) = &mut self.black_box {
            let counters = self.publisher.counters();
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            black_box.look(Instant::now(), repairs + read(&counters.repairs) + read(&counters.dropped));
        }
        let Some(health) = health else { return };
        while self.telling.try_join_next().is_some() {}
        if self.telling.is_empty() {
            let (outbox, stream, id) = (self.outbox.clone(), self.stream.clone(), self.id.clone());
            self.telling.spawn(async move { outbox.record(&stream, &id, EventData::Health(health)).await });
        }
    }

    /// It is over: `reason` is a stable word, `text` says it in full.
    pub(super) async fn close(self, reason: &'static str, text: &str) {
        let farewell = self.publisher.farewell().map(str::to_owned);
        let (reason, text) = farewell.as_deref().map_or((reason, text), |message| ("refused", message));
        let data = StoppedData {
            reason,
            duration_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: self.publisher.counters().bytes.load(Ordering::Relaxed),
        };
        tracing::info!(stream = %self.stream, session = %self.id, reason = text, bytes = data.bytes, "publishing ended");
        drop(self.publisher);
        self.telling.join_all().await;
        if let Some(black_box) = self.black_box {
            black_box.close().await;
        }
        self.outbox.record(&self.stream, &self.id, EventData::Stopped(data)).await;
    }
}
