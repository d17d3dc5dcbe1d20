//! WHEP (draft-ietf-wish-whep): viewers by WebRTC, a few tenths of a second behind. A stream's pictures and sound are made into
//! packets once (`packets`); a session (`session`) numbers and encrypts them for its viewer.

mod encoded;
mod layers;
mod packets;
mod session;
mod voice;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use media::{AccessUnit, AudioFormat};
use str0m::RtcConfig;
use str0m::bwe::Bitrate;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::live::{Directory, RungFactory};
use crate::metrics::{Metrics, Outcome};
use crate::signalling::{self, Endpoint, Links, Posted, Readable, Refused, Start, answers};
use crate::transport::NoFeed;
use crate::transport::rtc::{Opened, Port};
use crate::web::body::Body;
use crate::web::pending::Pending;
use crate::web::respond::{Cors, problem};
use packets::{NoPackets, PacketFeeds};
use session::Session;

/// A stream that is fetched when it is wanted is there by then.
const FETCHED: Duration = Duration::from_secs(8);
/// Viewers of one address that are not connected yet.
const MOST_PENDING: usize = 64;

/// Encodes a stream's sound (AAC of this format) as Opus: takes frames by what it answers, gives packets by what it is given,
/// and ends when either is dropped. Given by the wiring.
pub type OpusFactory =
    Arc<dyn Fn(&str, &AudioFormat, mpsc::Sender<AccessUnit>) -> mpsc::Sender<AccessUnit> + Send + Sync>;

/// What is made for viewers by WebRTC, while there are any.
#[derive(Clone)]
pub struct Encoders {
    /// Of sound.
    pub opus: OpusFactory,
    /// Of pictures.
    pub rungs: RungFactory,
    /// Whether pictures are encoded at all.
    pub encode: Arc<AtomicBool>,
}

/// The WHEP endpoint. Clones share it.
#[derive(Clone)]
pub struct Whep {
    feeds: PacketFeeds,
    port: Port,
    endpoint: Endpoint,
    permits: Arc<Semaphore>,
    pending: Pending,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Of a line of which nothing is known yet: what is not carried is found out within a second or two.
const FIRST_ESTIMATE: Bitrate = Bitrate::mbps(5);

fn config() -> RtcConfig {
    RtcConfig::new()
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(true)
        .set_stats_interval(None)
}

impl Whep {
    /// Viewers of the streams of `directory` come by `port`, each has one of `permits` and counts as `pending` until it is
    /// connected, and live in `tasks` until `stop`.
    pub fn new(
        (directory, encoders): (Directory, Encoders),
        port: Port,
        (cors, links): (Arc<ArcSwap<Cors>>, Links),
        (permits, pending): (Arc<Semaphore>, Pending),
        metrics: Metrics,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let feeds = PacketFeeds::new(directory, encoders, tasks.clone(), stop.clone());
        Self {
            feeds,
            port,
            endpoint: Endpoint::new("/whep", cors, links),
            permits,
            pending,
            metrics,
            tasks,
            stop,
        }
    }

    /// Whether a request is WHEP's.
    pub fn takes(&self, path: &str) -> bool {
        self.endpoint.takes(path)
    }

    /// Answers one request.
    pub async fn answer<B: Readable>(&self, request: Request<B>) -> Response<Body> {
        // A stream's name may look like a session's: offers are posted to streams, and nothing else is.
        let to_stream = request.method() == http::Method::POST;
        let is_session = |rest: &str| !to_stream && signalling::is_id(rest);
        self.endpoint.answer(request, is_session, |posted| self.open(posted)).await
    }

    async fn open(&self, posted: Posted) -> Result<(Opened, Start), Refused> {
        let waiting = self.pending.enter(posted.peer.ip(), MOST_PENDING);
        let waiting =
            waiting.ok_or_else(|| answers::busy("too many viewers of this address are not connected yet"))?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| answers::busy("[webrtc] max_sessions is reached"))?;
        let rung = posted.query.iter().find(|(name, _)| name == "rung").map(|(_, rung)| rung.as_str());
        let taken = tokio::time::timeout(FETCHED, self.feeds.take(&posted.rest, rung)).await;
        let feed = taken.unwrap_or(Err(NoFeed::Starting.into())).map_err(|none| unplayable(&none))?;
        // Where there is nothing to choose, nothing is estimated: packets go out as they come.
        let several = packets::layers(&feed.stream.snapshot()).len() > 1;
        let config = config().enable_bwe(several.then_some(FIRST_ESTIMATE));
        let opened = self.port.open(config, &posted.offer, posted.local);
        let opened = opened.map_err(|error| answers::unopened(&error))?;
        let (feeds, fixed) = (self.feeds.clone(), rung.is_some_and(|rung| !rung.is_empty()));
        let (metrics, tasks, stop) = (self.metrics.clone(), self.tasks.clone(), self.stop.child_token());
        let start: Start = Box::new(move |peer, door| {
            let session = Session::new(peer, feeds, feed, fixed, waiting);
            tasks.spawn(async move {
                let _permit = permit;
                metrics.webrtc_viewers.inc();
                let outcome = Box::pin(session.run(door, stop)).await;
                metrics.webrtc_viewers.dec();
                metrics.webrtc_closed.get_or_create(&Outcome { outcome }).inc();
            });
        });
        Ok((opened, start))
    }
}

fn unplayable(none: &NoPackets) -> Refused {
    let (status, slug) = match none {
        NoPackets::Feed(NoFeed::Stream) => (StatusCode::NOT_FOUND, "no-stream"),
        NoPackets::Feed(NoFeed::Starting) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        NoPackets::Feed(NoFeed::Rung(_)) => (StatusCode::NOT_FOUND, "no-rung"),
        NoPackets::Rung | NoPackets::Codec => (StatusCode::CONFLICT, "not-playable"),
    };
    problem(status, slug, &none.to_string()).into()
}
