//! WHIP (RFC 9725): publishers by WebRTC, browsers among them. The requests are answered here; a session lives on a lane, and
//! touches its stream only once media can come: an offer alone takes nobody's place.

mod answers;
mod media;
mod session;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use str0m::RtcConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::sdp::{self, Credentials};

use super::Desk;
use super::pending::Waiting;
use super::publishing::{Asking, ask};
use crate::live::{Phase, Policy};
use crate::metrics::Outcome;
use crate::transport::rtc::{OpenError, Opened, Port};
use crate::web::body::Body;
use crate::web::listener::Ends;
use crate::web::respond::{self, Cors, problem};
use session::Session;

/// Where offers are posted to.
const ENDPOINT: &str = "/whip";
/// A request's body is there by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 9725 4.2 and 4.3.
const OFFER: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Requests to one session that may wait.
const COMMANDS: usize = 8;
/// How long a session may take to answer one.
const ANSWER: Duration = Duration::from_secs(5);

/// What is told to clients beyond the answer to their offer. Replaced whole at a reload.
#[derive(Clone, Debug, Default)]
pub struct WhipRules {
    /// `Link` headers: where STUN and TURN are (RFC 9725 4.6).
    pub links: Vec<HeaderValue>,
}

/// Something to be done by a session.
enum Command {
    /// ICE begins again: the fragment that answers it, and its new tag.
    Restart(Credentials, oneshot::Sender<Result<(String, String), OpenError>>),
    /// Its client has done with it.
    Delete,
}

/// A session as requests find it.
struct Entry {
    commands: mpsc::Sender<Command>,
    key: String,
    /// Of its ICE session, which each restart replaces.
    tag: String,
}

/// The answer that says why not.
type Refused = Box<Response<Body>>;

type Entries = Arc<Mutex<HashMap<String, Entry>>>;

/// The WHIP endpoint. Clones share it.
#[derive(Clone)]
pub struct Whip {
    desk: Desk,
    port: Port,
    cors: Arc<ArcSwap<Cors>>,
    rules: Arc<ArcSwap<WhipRules>>,
    entries: Entries,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What a session takes a place of.
struct Guards {
    /// Until it publishes.
    waiting: Option<Waiting>,
    _permit: OwnedSemaphorePermit,
    _listed: Listed,
}

/// A session's place among the entries.
struct Listed {
    entries: Entries,
    id: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.entries).remove(&self.id);
    }
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<String, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// RFC 6750 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

fn is_of(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

/// The text of a request, or the answer that says what is wrong with it.
async fn text<B>(request: Request<B>) -> Result<String, Refused>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), sdp::LONGEST).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("a session description has at most {} bytes", sdp::LONGEST);
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &detail).into());
        }
        Ok(Err(_)) => return Err(problem(StatusCode::BAD_REQUEST, "body", "the body ended early").into()),
        Err(_) => {
            return Err(
                problem(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time").into()
            );
        }
    };
    String::from_utf8(bytes.into())
        .map_err(|_| problem(StatusCode::BAD_REQUEST, "not-text", "the body is no text in UTF-8").into())
}

/// Codecs that can be carried, and what is needed to carry them.
fn config() -> RtcConfig {
    RtcConfig::new()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(true)
        .enable_h265(true)
        .enable_av1(true)
        .set_stats_interval(Some(Duration::from_secs(1)))
        // Frames that may wait for packets to be sent again, and how long: some round trips of a bad path.
        .set_reordering_size_audio(25)
        .set_reordering_timeout_audio(Some(Duration::from_millis(400)))
        .set_reordering_size_video(60)
        .set_reordering_timeout_video(Some(media::PATIENCE))
}

impl Whip {
    /// Publishers come by `port`, `most` at a time, and live in `tasks` until `stop`.
    pub fn new(
        desk: Desk,
        port: Port,
        cors: Arc<ArcSwap<Cors>>,
        most: usize,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { desk, port, cors, rules: Arc::default(), entries: Arc::default(), permits, tasks, stop }
    }

    /// For requests from now on.
    pub fn set_rules(&self, rules: WhipRules) {
        self.rules.store(Arc::new(rules));
    }

    /// Whether a request is WHIP's.
    pub fn takes(path: &str) -> bool {
        path.strip_prefix(ENDPOINT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = request.headers().clone();
        let rest =
            request.uri().path().strip_prefix(ENDPOINT).unwrap_or_default().trim_matches('/').to_owned();
        let mut response = match (request.method(), rest.as_str()) {
            (&Method::OPTIONS, _) => answers::preflight(&self.rules.load().links),
            (&Method::POST, "") => self.offer(request).await.unwrap_or_else(|refused| *refused),
            (_, "") => respond::method_not_allowed("POST, OPTIONS"),
            (&Method::PATCH, id) => {
                let id = id.to_owned();
                self.patch(&id, request).await.unwrap_or_else(|refused| *refused)
            }
            (&Method::DELETE, id) => self.delete(id, &headers).await.unwrap_or_else(|refused| *refused),
            _ => respond::method_not_allowed("PATCH, DELETE, OPTIONS"),
        };
        self.cors.load().apply(&headers, response.headers_mut());
        answers::expose(response.headers_mut());
        response
    }

    async fn offer<B>(&self, request: Request<B>) -> Result<Response<Body>, Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !is_of(request.headers(), OFFER) {
            return Err(answers::unsupported(OFFER).into());
        }
        let key = bearer(request.headers()).ok_or_else(answers::no_key)?.to_owned();
        let ends = request.extensions().get::<Ends>().copied();
        let peer = ends.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |ends| ends.peer);
        let rules = self.desk.rules.load_full();
        let waiting = self.desk.pending.enter(peer.ip(), rules.max_pending_per_ip);
        let waiting =
            waiting.ok_or_else(|| answers::busy("too many sessions of this address have not published"))?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| answers::busy("[webrtc] max_sessions is reached"))?;
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.unwrap_or_default().chars().take(200).collect();
        let query = pairs(request.uri().query().unwrap_or_default());
        let offer = text(request).await?;
        let asking = Asking { protocol: "whip", key: key.clone(), app: String::new(), query, peer, agent };
        let allowed = ask(&self.desk, asking).await.map_err(|denied| answers::denied(&denied))?;
        let taken = self.desk.directory.get(&allowed.grant.stream).is_some_and(|stream| {
            let now = stream.snapshot();
            let refuses = rules.settings.policy == Policy::Reject && allowed.is_primary();
            refuses && now.phase == Phase::Live && now.session.is_some() && !now.holding
        });
        if taken {
            let text = format!("stream {} is already live", allowed.grant.stream);
            return Err(problem(StatusCode::CONFLICT, "already-live", &text).into());
        }
        let Opened { mut peer, answer } = self
            .port
            .open(config(), &offer, ends.map(|ends| ends.local.ip()))
            .map_err(|error| answers::unopened(&error))?;
        if let Some(kind) = sdp::refused(&answer) {
            return Err(answers::no_codec(kind).into());
        }
        let (id, tag) = (new_id(), peer.ice());
        let (commands, received) = mpsc::channel(COMMANDS);
        let entry = Entry { commands, key, tag: tag.clone() };
        lock(&self.entries).insert(id.clone(), entry);
        let listed = Listed { entries: Arc::clone(&self.entries), id: id.clone() };
        let guards = Guards { waiting: Some(waiting), _permit: permit, _listed: listed };
        let session = Session::new(peer, self.desk.clone(), allowed, received);
        let stop = self.stop.child_token();
        let berth = self.desk.lanes.berth();
        let lane = berth.as_ref().map(|berth| berth.lane.clone());
        let metrics = self.desk.metrics.clone();
        let run = async move {
            let _berth = berth;
            metrics.webrtc_sessions.inc();
            let outcome = Box::pin(session.run(guards, stop)).await;
            metrics.webrtc_sessions.dec();
            metrics.webrtc_closed.get_or_create(&Outcome { outcome }).inc();
        };
        match lane {
            Some(lane) => drop(self.tasks.spawn_on(run, &lane)),
            None => drop(self.tasks.spawn(run)),
        }
        Ok(answers::created(&format!("{ENDPOINT}/{id}"), &tag, answer, &self.rules.load().links))
    }

    /// The session's door, for who may use it: the address of a session is secret, and so is its key where one is shown.
    fn find<T>(&self, id: &str, headers: &HeaderMap, look: impl FnOnce(&Entry) -> T) -> Result<T, Refused> {
        let entries = lock(&self.entries);
        let missing =
            || problem(StatusCode::NOT_FOUND, "no-session", "there is no such session: it has ended");
        let entry = entries.get(id).ok_or_else(missing)?;
        if headers.contains_key(AUTHORIZATION) && bearer(headers) != Some(entry.key.as_str()) {
            return Err(answers::wrong_key().into());
        }
        Ok(look(entry))
    }

    async fn delete(&self, id: &str, headers: &HeaderMap) -> Result<Response<Body>, Refused> {
        let commands = self.find(id, headers, |entry| entry.commands.clone())?;
        // A session that takes no command has ended.
        let _told = commands.send_timeout(Command::Delete, ANSWER).await.is_ok();
        Ok(Response::new(Body::empty()))
    }

    async fn patch<B>(&self, id: &str, request: Request<B>) -> Result<Response<Body>, Refused>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = request.headers().clone();
        let (commands, tag) = self.find(id, &headers, |entry| (entry.commands.clone(), entry.tag.clone()))?;
        if !is_of(&headers, FRAGMENT) {
            return Err(answers::unsupported(FRAGMENT).into());
        }
        let matched = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
        let matched = matched.ok_or_else(answers::no_tag)?.to_owned();
        let fragment = text(request).await?;
        if matched == answers::quoted(&tag) {
            // Candidates: whoever reaches the server shows where it is by doing so.
            return Ok(answers::no_content());
        }
        if matched != "*" {
            return Err(answers::other_tag().into());
        }
        let credentials = Credentials::of(&fragment).ok_or_else(answers::no_credentials)?;
        let (answer, answered) = oneshot::channel();
        let gone = || problem(StatusCode::NOT_FOUND, "no-session", "the session has ended");
        commands.send_timeout(Command::Restart(credentials, answer), ANSWER).await.map_err(|_| gone())?;
        let restarted =
            tokio::time::timeout(ANSWER, answered).await.ok().and_then(Result::ok).ok_or_else(gone)?;
        let (fragment, tag) = restarted.map_err(|error| answers::unopened(&error))?;
        if let Some(entry) = lock(&self.entries).get_mut(id) {
            entry.tag.clone_from(&tag);
        }
        Ok(answers::restarted(&tag, fragment))
    }
}

/// 128 bits that nobody guesses.
fn new_id() -> String {
    let bytes: [u8; 16] = rand::random();
    bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
        // Writing to a string cannot fail.
        write!(id, "{byte:02x}").ok();
        id
    })
}

/// `name=value` pairs of a query, as they stand.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(32);
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (n.into(), v.into())).collect()
}
