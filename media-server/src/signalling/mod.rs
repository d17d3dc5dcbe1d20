//! WebRTC sessions by HTTP, as WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) have them: an offer is posted, the session that
//! is made has an address, by which it is told more (PATCH) and ended (DELETE).

pub mod answers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{mpsc, oneshot};
use wire::sdp::{self, Credentials};

use crate::transport::rtc::{OpenError, Opened, Peer};
use crate::web::body::Body;
use crate::web::listener::Ends;
use crate::web::respond::{self, Cors, problem};

/// A request's body is there by then.
const PATIENCE: Duration = Duration::from_secs(10);
/// RFC 9725 4.2 and 4.3.
const OFFER: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Of a choice of layers.
const CHOICE: &str = "application/json";
/// Requests to one session that may wait.
const COMMANDS: usize = 8;
/// How long a session may take to answer one.
const ANSWER: Duration = Duration::from_secs(5);
/// Characters of what a client says that it is.
const LONGEST_AGENT: usize = 200;

/// The answer that says why not.
pub type Refused = Box<Response<Body>>;

/// `Link` headers: where STUN and TURN are (RFC 9725 4.6). Replaced whole at a reload.
pub type Links = Arc<ArcSwap<Vec<HeaderValue>>>;

/// An offer that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Behind the endpoint's own path, without slashes around it.
    pub rest: String,
    /// `name=value` pairs of the query, as they stand.
    pub query: Vec<(String, String)>,
    /// RFC 6750 2.1.
    pub bearer: Option<String>,
    /// The software that it says that it is.
    pub agent: String,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The address that it came to.
    pub local: Option<IpAddr>,
    /// A session description.
    pub offer: String,
}

/// Something to be done by a session.
pub enum Command {
    /// ICE begins again: the fragment that answers it, and its new tag.
    Restart(Credentials, oneshot::Sender<Result<(String, String), OpenError>>),
    /// What can be chosen, after this choice where there is one; None: the session has nothing to choose.
    Layers(Option<Layer>, oneshot::Sender<Option<Result<String, Unknown>>>),
    /// Its client has done with it.
    Delete,
}

/// Which layer a viewer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The best that the line carries.
    Auto,
    /// By its name.
    Named(String),
}

/// There is no layer of that name.
#[derive(Clone, Copy, Debug)]
pub struct Unknown;

impl Command {
    /// Restarts ICE. False: the client has done with the session.
    pub fn obey(self, peer: &mut Peer) -> bool {
        match self {
            Self::Delete => false,
            Self::Layers(_, answer) => {
                let _told = answer.send(None).is_ok();
                true
            }
            Self::Restart(credentials, answer) => {
                let restarted = peer.restart(&credentials).map(|fragment| (fragment, peer.ice()));
                // Who asked may have gone.
                let _told = answer.send(restarted).is_ok();
                true
            }
        }
    }
}

/// A session as requests find it.
struct Entry {
    commands: mpsc::Sender<Command>,
    bearer: Option<String>,
    /// Of its ICE session, which each restart replaces.
    tag: String,
}

type Entries = Arc<Mutex<HashMap<String, Entry>>>;

/// A session's end of its address: it is found as long as this is there.
pub struct Door {
    /// What is asked of it.
    pub commands: mpsc::Receiver<Command>,
    entries: Entries,
    id: String,
}

impl Drop for Door {
    fn drop(&mut self) {
        lock(&self.entries).remove(&self.id);
    }
}

/// Runs a session in a task of its own.
pub type Start = Box<dyn FnOnce(Peer, Door) + Send>;

/// One endpoint. Clones share it.
#[derive(Clone)]
pub struct Endpoint {
    path: &'static str,
    cors: Arc<ArcSwap<Cors>>,
    links: Links,
    entries: Entries,
}

fn lock(entries: &Entries) -> MutexGuard<'_, HashMap<String, Entry>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

fn is_of(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
}

/// What a request's body may be read as.
pub trait Readable:
    http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
{
}

impl<B> Readable for B
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
}

/// The text of a request, or the answer that says what is wrong with it.
async fn text<B: Readable>(body: B) -> Result<String, Refused> {
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, sdp::LONGEST).collect());
    let bytes = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("a session description has at most {} bytes", sdp::LONGEST);
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &detail).into());
        }
        Ok(Err(_)) => return Err(problem(StatusCode::BAD_REQUEST, "body", "the body ended early").into()),
        Err(_) => {
            let text = "the body did not come in time";
            return Err(problem(StatusCode::REQUEST_TIMEOUT, "timeout", text).into());
        }
    };
    String::from_utf8(bytes.into())
        .map_err(|_| problem(StatusCode::BAD_REQUEST, "not-text", "the body is no text in UTF-8").into())
}

impl Endpoint {
    /// At `path`, which has no slash at its end.
    pub fn new(path: &'static str, cors: Arc<ArcSwap<Cors>>, links: Links) -> Self {
        Self { path, cors, links, entries: Arc::default() }
    }

    /// Whether a request is this one's.
    pub fn takes(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request. `is_session` tells the address of a session from one that offers are posted to, by what stands
    /// behind the endpoint's path; `open` makes a session of an offer.
    pub async fn answer<B, F>(
        &self,
        request: Request<B>,
        is_session: impl Fn(&str) -> bool,
        open: impl FnOnce(Posted) -> F,
    ) -> Response<Body>
    where
        B: Readable,
        F: Future<Output = Result<(Opened, Start), Refused>>,
    {
        let headers = request.headers().clone();
        let rest =
            request.uri().path().strip_prefix(self.path).unwrap_or_default().trim_matches('/').to_owned();
        let layers = rest.strip_suffix("/layers").filter(|id| is_id(id));
        let answered = match (request.method(), is_session(&rest)) {
            (&Method::OPTIONS, _) => Ok(answers::preflight(&self.links.load())),
            (&Method::GET, _) if let Some(id) = layers => self.layers(id, &headers, None).await,
            (&Method::POST, _) if let Some(id) = layers => self.choose(id, request).await,
            (&Method::POST, false) => self.post(rest, request, open).await,
            (_, false) => Ok(respond::method_not_allowed("POST, OPTIONS")),
            (&Method::PATCH, true) => self.patch(&rest, request).await,
            (&Method::DELETE, true) => self.delete(&rest, &headers).await,
            _ => Ok(respond::method_not_allowed("PATCH, DELETE, OPTIONS")),
        };
        let mut response = answered.unwrap_or_else(|refused| *refused);
        self.cors.load().apply(&headers, response.headers_mut());
        answers::expose(response.headers_mut());
        response
    }

    async fn post<B, F>(
        &self,
        rest: String,
        request: Request<B>,
        open: impl FnOnce(Posted) -> F,
    ) -> Result<Response<Body>, Refused>
    where
        B: Readable,
        F: Future<Output = Result<(Opened, Start), Refused>>,
    {
        let headers = request.headers();
        if !is_of(headers, OFFER) {
            return Err(answers::unsupported(OFFER).into());
        }
        let bearer = bearer(headers).map(str::to_owned);
        let ends = request.extensions().get::<Ends>().copied();
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let posted = Posted {
            rest,
            query: pairs(request.uri().query().unwrap_or_default()),
            bearer: bearer.clone(),
            agent: agent.chars().take(LONGEST_AGENT).collect(),
            peer: ends.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |ends| ends.peer),
            local: ends.and_then(|ends| ends.local),
            offer: text(request.into_body()).await?,
        };
        let (Opened { mut peer, answer }, start) = open(posted).await?;
        if let Some(kind) = sdp::refused(&answer) {
            return Err(answers::no_codec(kind).into());
        }
        let (id, tag) = (new_id(), peer.ice());
        let (commands, received) = mpsc::channel(COMMANDS);
        lock(&self.entries).insert(id.clone(), Entry { commands, bearer, tag: tag.clone() });
        let place = format!("{}/{id}", self.path);
        start(peer, Door { commands: received, entries: Arc::clone(&self.entries), id });
        Ok(answers::created(&place, &tag, answer, &self.links.load()))
    }

    /// Looks at a session, for who may: the address of a session is secret, and so is its key where one is shown.
    fn find<T>(&self, id: &str, headers: &HeaderMap, look: impl FnOnce(&Entry) -> T) -> Result<T, Refused> {
        let entries = lock(&self.entries);
        let missing =
            || problem(StatusCode::NOT_FOUND, "no-session", "there is no such session: it has ended");
        let entry = entries.get(id).ok_or_else(missing)?;
        if headers.contains_key(AUTHORIZATION) && bearer(headers) != entry.bearer.as_deref() {
            return Err(answers::wrong_key().into());
        }
        Ok(look(entry))
    }

    async fn layers(
        &self,
        id: &str,
        headers: &HeaderMap,
        choice: Option<Layer>,
    ) -> Result<Response<Body>, Refused> {
        let commands = self.find(id, headers, |entry| entry.commands.clone())?;
        let (answer, answered) = oneshot::channel();
        let gone = || problem(StatusCode::NOT_FOUND, "no-session", "the session has ended");
        commands.send_timeout(Command::Layers(choice, answer), ANSWER).await.map_err(|_| gone())?;
        let answered = tokio::time::timeout(ANSWER, answered).await.ok().and_then(Result::ok);
        match answered.ok_or_else(gone)? {
            Some(Ok(text)) => Ok(answers::layers(text)),
            Some(Err(Unknown)) => Err(answers::no_layer().into()),
            None => {
                Err(problem(StatusCode::NOT_FOUND, "no-layers", "this session has none to choose of").into())
            }
        }
    }

    async fn choose<B: Readable>(&self, id: &str, request: Request<B>) -> Result<Response<Body>, Refused> {
        let headers = request.headers().clone();
        if !is_of(&headers, CHOICE) {
            return Err(answers::unsupported(CHOICE).into());
        }
        let text = text(request.into_body()).await?;
        let wish: Wish =
            serde_json::from_str(&text).map_err(|error| answers::no_choice(&error.to_string()))?;
        let choice = wish.encoding_id.map_or(Layer::Auto, Layer::Named);
        self.layers(id, &headers, Some(choice)).await
    }

    async fn delete(&self, id: &str, headers: &HeaderMap) -> Result<Response<Body>, Refused> {
        let commands = self.find(id, headers, |entry| entry.commands.clone())?;
        // A session that takes no command has ended.
        let _told = commands.send_timeout(Command::Delete, ANSWER).await.is_ok();
        Ok(Response::new(Body::empty()))
    }

    async fn patch<B: Readable>(&self, id: &str, request: Request<B>) -> Result<Response<Body>, Refused> {
        let headers = request.headers().clone();
        let (commands, tag) = self.find(id, &headers, |entry| (entry.commands.clone(), entry.tag.clone()))?;
        if !is_of(&headers, FRAGMENT) {
            return Err(answers::unsupported(FRAGMENT).into());
        }
        let matched = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
        let matched = matched.ok_or_else(answers::no_tag)?.to_owned();
        let fragment = text(request.into_body()).await?;
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
        let command = Command::Restart(credentials, answer);
        commands.send_timeout(command, ANSWER).await.map_err(|_| gone())?;
        let restarted = tokio::time::timeout(ANSWER, answered).await.ok().and_then(Result::ok);
        let (fragment, tag) = restarted.ok_or_else(gone)?.map_err(|error| answers::unopened(&error))?;
        if let Some(entry) = lock(&self.entries).get_mut(id) {
            entry.tag.clone_from(&tag);
        }
        Ok(answers::restarted(&tag, fragment))
    }
}

/// The body of a choice (draft-ietf-wish-whep, layer selection).
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    /// A layer; null for what the line carries.
    encoding_id: Option<String>,
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

/// Whether a name may be a session's.
pub fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(32);
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (n.into(), v.into())).collect()
}
