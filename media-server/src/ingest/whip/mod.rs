//! WHIP (RFC 9725): publishers by WebRTC, browsers among them. A session lives on a lane, and touches its stream only once
//! media can come: an offer alone takes nobody's place.

pub(in crate::ingest) mod heard;
pub(in crate::ingest) mod layers;
pub(in crate::ingest) mod media;
mod session;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use str0m::RtcConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::sdp;

use super::Desk;
use super::publishing::{Asking, Denied, ask};
use crate::live::{OnAir, Phase, Policy, PublishError};
use crate::metrics::Outcome;
use crate::signalling::{Endpoint, Links, Posted, Readable, Refused, Start, answers};
use crate::transport::rtc::{Opened, Port};
use crate::web::body::Body;
use crate::web::pending::Waiting;
use crate::web::respond::{Cors, problem};
use session::Session;

/// The WHIP endpoint. Clones share it.
#[derive(Clone)]
pub struct Whip {
    desk: Desk,
    port: Port,
    endpoint: Endpoint,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What a session takes a place of.
struct Guards {
    /// Until it publishes.
    waiting: Option<Waiting>,
    _permit: OwnedSemaphorePermit,
}

/// Codecs that can be carried, and what is needed to carry them.
fn config() -> RtcConfig {
    RtcConfig::new()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(true)
        .enable_h265(true)
        .enable_av1(true)
        .enable_vp9(true)
        .enable_vp8(true)
        .set_stats_interval(Some(Duration::from_secs(1)))
        // Frames that may wait for packets to be sent again, and how long: some round trips of a bad path.
        .set_reordering_size_audio(25)
        .set_reordering_timeout_audio(Some(Duration::from_millis(400)))
        .set_reordering_size_video(60)
        .set_reordering_timeout_video(Some(media::PATIENCE))
}

impl Whip {
    /// Publishers come by `port`, each has one of `permits`, and live in `tasks` until `stop`.
    pub fn new(
        desk: Desk,
        port: Port,
        (cors, links): (Arc<ArcSwap<Cors>>, Links),
        permits: Arc<Semaphore>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        Self { desk, port, endpoint: Endpoint::new("/whip", cors, links), permits, tasks, stop }
    }

    /// Whether a request is WHIP's.
    pub fn takes(&self, path: &str) -> bool {
        self.endpoint.takes(path)
    }

    /// Answers one request.
    pub async fn answer<B: Readable>(&self, request: Request<B>) -> Response<Body> {
        self.endpoint.answer(request, |rest| !rest.is_empty(), |posted| self.open(posted)).await
    }

    async fn open(&self, posted: Posted) -> Result<(Opened, Start), Refused> {
        let no_key = || {
            let text = "send the stream key as \"Authorization: Bearer KEY\"";
            answers::unauthorized("no-key", text, "Bearer")
        };
        let key = posted.bearer.ok_or_else(no_key)?;
        let rules = self.desk.rules.load_full();
        let waiting = self.desk.pending.enter(posted.peer.ip(), rules.max_pending_per_ip);
        let crowd = "too many sessions of this address have not published";
        let waiting = waiting.ok_or_else(|| answers::busy(crowd))?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| answers::busy("[webrtc] max_sessions is reached"))?;
        let asking = Asking {
            protocol: "whip",
            key,
            app: String::new(),
            query: posted.query,
            peer: posted.peer,
            agent: posted.agent,
        };
        let allowed = ask(&self.desk, asking).await.map_err(|it| denied(&it))?;
        let taken = self.desk.directory.get(&allowed.grant.stream).is_some_and(|stream| {
            let now = stream.snapshot();
            let refuses = rules.settings.policy == Policy::Reject && allowed.is_primary();
            let heard = now.on_air == OnAir::Primary && !now.holding;
            refuses && now.phase == Phase::Live && now.session.is_some() && heard
        });
        if taken {
            return Err(denied(&PublishError::AlreadyLive(allowed.grant.stream).into()).into());
        }
        let picture = (sdp::layers(&posted.offer), media::header(&posted.offer));
        let opened = self.port.open(config(), &posted.offer, posted.local);
        let mut opened = opened.map_err(|error| answers::unopened(&error))?;
        // Browsers name VP8 first, which no player takes: it would have to be encoded anew.
        opened.answer = sdp::with_last(&opened.answer, &["VP8", "VP9"]);
        let guards = Guards { waiting: Some(waiting), _permit: permit };
        let (desk, tasks, stop) = (self.desk.clone(), self.tasks.clone(), self.stop.child_token());
        let start: Start = Box::new(move |peer, door| {
            let berth = desk.lanes.berth();
            let lane = berth.as_ref().map(|berth| berth.lane.clone());
            let metrics = desk.metrics.clone();
            let session = Session::new(peer, desk, allowed, picture);
            let run = async move {
                let _berth = berth;
                metrics.webrtc_sessions.inc();
                let outcome = Box::pin(session.run(door, guards, stop)).await;
                metrics.webrtc_sessions.dec();
                metrics.webrtc_closed.get_or_create(&Outcome { outcome }).inc();
            };
            match lane {
                Some(lane) => drop(tasks.spawn_on(run, &lane)),
                None => drop(tasks.spawn(run)),
            }
        });
        Ok((opened, start))
    }
}

/// A publisher who is not let in.
fn denied(denied: &Denied) -> Response<Body> {
    let text = denied.to_string();
    let (status, slug) = match denied {
        Denied::Role => (StatusCode::BAD_REQUEST, "role"),
        Denied::Key { reason, .. } => match reason.as_str() {
            "unknown-key" | "bad-name" => {
                return answers::unauthorized("unknown-key", &text, "Bearer error=\"invalid_token\"");
            }
            "already-live" => (StatusCode::CONFLICT, "already-live"),
            "over-limit" => (StatusCode::TOO_MANY_REQUESTS, "over-limit"),
            _ => (StatusCode::FORBIDDEN, "forbidden"),
        },
        Denied::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "unreachable"),
        Denied::Profile => (StatusCode::INTERNAL_SERVER_ERROR, "profile"),
        Denied::Stream(PublishError::TooMany(_) | PublishError::ShuttingDown) => {
            (StatusCode::SERVICE_UNAVAILABLE, "busy")
        }
        Denied::Stream(PublishError::AlreadyLive(_)) => (StatusCode::CONFLICT, "already-live"),
    };
    problem(status, slug, &text)
}
