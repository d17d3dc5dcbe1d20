//! One RTMP connection: reads the socket, feeds the session, asks admission, hands media on.
//!
//! One read buffer serves the whole connection: the session gathers each message into a buffer of its own, which is
//! what the player is sent in the end. Nothing of the read buffer is kept, so a slow trickle pins no memory.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wire::rtmp::{Event, Limits, Session, SessionError};

use super::media_messages::MediaMessages;
use crate::admission;
use crate::ingest::budget::Budget;
use crate::ingest::publishing::{Admitted, Asking, Denied, Publishing, ask, begin};
use crate::ingest::tracks::Refusal;
use crate::ingest::{Desk, checkup};
use crate::web::pending::Waiting;

/// What one read may bring. Large reads keep system calls and wake-ups few at high bitrates.
const READ: usize = 64 * 1024;
/// A peer that does not take our few answers for this long is dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    /// The publisher stopped, or hung up.
    #[error("the publisher left")]
    Left,
    /// Not published in time, or published and sent nothing.
    #[error("nothing was sent for {0:?}")]
    Idle(Duration),
    /// Admission, or the stream, said no; the client was told.
    #[error("refused: {0}")]
    Refused(String),
    /// It sent more than it may; the client was told.
    #[error("over its limit: {0}")]
    OverLimit(String),
    /// An operator dropped it, or a newcomer took over, or the daemon stops.
    #[error("dropped by the server")]
    Dropped,
    /// Not RTMP, or RTMP beyond the limits.
    #[error("protocol error: {0}")]
    Protocol(#[from] SessionError),
    /// The socket failed.
    #[error("socket error: {0}")]
    Socket(#[from] std::io::Error),
}

impl Closed {
    /// Stable word for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Idle(_) => "idle",
            Self::Refused(_) => "refused",
            Self::OverLimit(_) => "over-limit",
            Self::Dropped => "dropped",
            Self::Protocol(_) => "protocol",
            Self::Socket(_) => "socket",
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: S,
    protocol: &'static str,
    (peer, waiting): (SocketAddr, Waiting),
    desk: &Desk,
    stop: CancellationToken,
) -> Closed {
    let rules = desk.rules.load_full();
    let mut entropy = [0; 1528];
    rand::fill(&mut entropy[..]);
    let limits = Limits { max_media_message: rules.max_message_bytes, ..Limits::default() };
    let session = Session::new(limits, entropy);
    let mut connection = Connection {
        socket,
        protocol,
        peer,
        desk,
        budget: Budget::new(admission::Limits::default(), Instant::now()),
        messages: 0,
        counted: session.stats().repairs.by_kind(),
        session,
        halt: stop.child_token(),
        read: vec![0; READ],
        agent: String::new(),
        waiting: Some(waiting),
        live: None,
        idle: rules.idle_timeout,
        heard: Instant::now(),
    };
    let closed = connection.run().await;
    connection.close(&closed).await;
    closed
}

struct Connection<'a, S> {
    socket: S,
    /// `rtmp` or `rtmps`.
    protocol: &'static str,
    peer: SocketAddr,
    desk: &'a Desk,
    session: Session,
    /// The daemon stops, or the stream no longer wants this publisher.
    halt: CancellationToken,
    read: Vec<u8>,
    agent: String,
    /// Until it publishes.
    waiting: Option<Waiting>,
    live: Option<Live>,
    idle: Duration,
    /// The wire's repairs that the metrics have.
    counted: [(&'static str, u64); 10],
    budget: Budget,
    /// Messages that the budget has.
    messages: u64,
    /// When the peer last did what it came for: began, published, sent media.
    heard: Instant,
}

/// A publish session that was let in.
struct Live {
    publishing: Publishing,
    messages: Box<MediaMessages>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<'_, S> {
    async fn run(&mut self) -> Closed {
        // Kept over the reads: to begin to wait anew for each of them is dear.
        let mut halted = pin!(self.halt.clone().cancelled_owned());
        let mut checks = tokio::time::interval(checkup::PACE);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Before it publishes; afterwards the checks see to it. Looked at when it rings, not set anew with every read.
        let mut patience = pin!(tokio::time::sleep(self.idle));
        loop {
            let read = tokio::select! {
                biased;
                () = &mut halted => return self.halted().await,
                _ = checks.tick(), if self.live.is_some() => {
                    self.count_repairs();
                    if self.heard.elapsed() >= self.idle {
                        return Closed::Idle(self.idle);
                    }
                    if let Some(live) = &mut self.live {
                        let health = live.messages.check_up(Instant::now());
                        live.publishing.check_up(self.session.stats().repairs.total(), health);
                    }
                    continue;
                }
                () = &mut patience, if self.live.is_none() => {
                    let until = self.heard + self.idle;
                    if until <= Instant::now() {
                        return Closed::Idle(self.idle);
                    }
                    patience.as_mut().reset(until.into());
                    continue;
                }
                read = self.socket.read(&mut self.read) => read,
            };
            let length = match read {
                Err(error) if is_hang_up(&error) => return Closed::Left,
                Err(error) => return error.into(),
                Ok(0) => return Closed::Left,
                Ok(length) => length,
            };
            if let Err(closed) = self.feed(length).await {
                return closed;
            }
        }
    }

    /// Takes the first `length` bytes of the read buffer in.
    async fn feed(&mut self, length: usize) -> Result<(), Closed> {
        let arrived = Instant::now();
        let bytes = self.read.get(..length).unwrap_or_default();
        let mut black_box = self.live.as_mut().and_then(|live| live.publishing.black_box.as_mut());
        if let Some(black_box) = black_box.as_mut().filter(|it| it.is_due(arrived))
            && let Some(state) = self.session.checkpoint()
        {
            black_box.turn(arrived, state, self.session.unfinished());
        }
        let fed = self.session.feed_slice(bytes);
        match black_box {
            Some(black_box) if self.session.is_live() => {
                black_box.read(arrived, bytes, self.session.traced());
            }
            // The command that ends a publish names its key.
            Some(black_box) => black_box.forget_unfinished(),
            None => {}
        }
        while let Some(event) = self.session.next() {
            self.event(event, arrived).await?;
        }
        self.spend(arrived, length as u64).await?;
        self.flush().await?;
        Ok(fed?)
    }

    /// Holds the peer to what it may send: before it publishes, that is a bound on messages.
    async fn spend(&mut self, now: Instant, bytes: u64) -> Result<(), Closed> {
        let messages = self.session.stats().messages;
        let new = messages.saturating_sub(std::mem::replace(&mut self.messages, messages));
        match self.budget.spend(now, bytes, new) {
            Ok(()) => Ok(()),
            Err(excess) => self.end(Refusal::Excess(excess)).await,
        }
    }

    /// Repairs of the wire's own kinds go to the metrics.
    fn count_repairs(&mut self) {
        let now = self.session.stats().repairs.by_kind();
        for ((kind, n), (_, before)) in now.into_iter().zip(self.counted) {
            if n > before {
                self.desk.metrics.repaired(kind, n - before);
            }
        }
        self.counted = now;
    }

    async fn event(&mut self, event: Event, arrived: Instant) -> Result<(), Closed> {
        match event {
            Event::Connect { agent, .. } => {
                self.agent = agent;
                Ok(())
            }
            Event::Publish { app, key, query, .. } => self.publish(app, key, query).await,
            Event::Metadata { .. } | Event::Data { .. } | Event::Video { .. } | Event::Audio { .. } => {
                self.media(&event, arrived).await
            }
            Event::Unpublish => Err(Closed::Left),
            Event::PlayRefused => Err(Closed::Refused("RTMP playback is not offered".into())),
        }
    }

    async fn media(&mut self, event: &Event, arrived: Instant) -> Result<(), Closed> {
        let Some(live) = &mut self.live else { return Ok(()) };
        if matches!(event, Event::Video { .. } | Event::Audio { .. }) {
            self.heard = arrived;
        }
        match live.messages.event(event, arrived, &mut live.publishing.publisher) {
            Ok(()) => Ok(()),
            Err(refusal) => self.end(refusal).await,
        }
    }

    /// The stream no longer wants this publisher, or the daemon stops.
    async fn halted(&mut self) -> Closed {
        let farewell = self.live.as_ref().and_then(|live| live.publishing.publisher.farewell());
        let Some(message) = farewell.map(str::to_owned) else { return Closed::Dropped };
        self.session.fail("NetStream.Publish.Rejected", &message);
        match self.flush().await {
            Ok(()) => Closed::Refused(message),
            Err(error) => error.into(),
        }
    }

    /// Ends a publisher that cannot go on, and tells it why.
    async fn end(&mut self, refusal: Refusal) -> Result<(), Closed> {
        let stream = self.live.as_ref().map_or("", |live| &live.publishing.stream);
        let message = refusal.to_string();
        tracing::warn!(stream, peer = %self.peer, agent = %self.agent, message, "publisher refused");
        self.session.fail("NetStream.Publish.Rejected", &message);
        self.flush().await?;
        Err(if matches!(refusal, Refusal::Excess(_)) {
            Closed::OverLimit(message)
        } else {
            Closed::Refused(message)
        })
    }

    async fn publish(
        &mut self,
        app: String,
        key: String,
        query: Vec<(String, String)>,
    ) -> Result<(), Closed> {
        if self.live.is_some() {
            return self
                .refuse("NetStream.Publish.BadName", "this connection already publishes a stream")
                .await;
        }
        let asking =
            Asking { protocol: self.protocol, key, app, query, peer: self.peer, agent: self.agent.clone() };
        let admitted = async {
            let allowed = ask(self.desk, asking).await?;
            begin(self.desk, allowed, None, self.halt.clone()).await
        };
        match Box::pin(admitted).await {
            Ok(admitted) => self.begin(admitted).await,
            Err(denied) => {
                let code = match denied {
                    Denied::Unreachable | Denied::Profile => "NetStream.Publish.Denied",
                    Denied::Role | Denied::Key { .. } | Denied::Stream(_) => "NetStream.Publish.BadName",
                };
                self.refuse(code, &denied.to_string()).await
            }
        }
    }

    async fn begin(&mut self, admitted: Admitted) -> Result<(), Closed> {
        let Admitted { publishing, checkup, limits, .. } = admitted;
        self.budget = Budget::new(limits, Instant::now());
        let (start, stream) = (publishing.publisher.start(), publishing.stream.clone());
        let messages = Box::new(MediaMessages::new(start, stream, checkup, limits));
        if publishing.black_box.is_some() {
            self.session.trace();
        }
        self.live = Some(Live { publishing, messages });
        self.heard = Instant::now();
        self.waiting = None;
        if !self.session.accept_publish() {
            // The peer has taken its publish back while it was being decided.
            return Err(Closed::Left);
        }
        self.flush().await?;
        Ok(())
    }

    async fn refuse(&mut self, code: &str, description: &str) -> Result<(), Closed> {
        self.session.reject_publish(code, description);
        self.flush().await?;
        Err(Closed::Refused(description.into()))
    }

    async fn flush(&mut self) -> Result<(), std::io::Error> {
        let out = self.session.output();
        if out.is_empty() {
            return Ok(());
        }
        // TLS keeps what the socket does not take at once until it is flushed.
        let written = async {
            self.socket.write_all(&out).await?;
            self.socket.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, written).await {
            Ok(written) => written,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    /// Says goodbye, and tells the control plane.
    async fn close(&mut self, closed: &Closed) {
        self.count_repairs();
        if matches!(closed, Closed::Dropped | Closed::Idle(_)) && self.live.is_some() {
            let text = if matches!(closed, Closed::Dropped) {
                "the stream was ended by the server"
            } else {
                "no media arrived"
            };
            self.session.fail("NetStream.Unpublish.Success", text);
        }
        if let Err(error) = self.flush().await {
            tracing::debug!(peer = %self.peer, %error, "could not say goodbye");
        }
        if !matches!(closed, Closed::Left | Closed::Socket(_)) {
            linger(&mut self.socket).await;
        }
        let Some(live) = self.live.take() else {
            match closed {
                Closed::Refused(_) | Closed::Left => {}
                other => {
                    tracing::info!(peer = %self.peer, reason = %other, "RTMP connection closed before publishing");
                }
            }
            return;
        };
        live.publishing.close(closed.name(), &closed.to_string()).await;
    }
}

/// Lets the last answer reach a client that still sends: closing with unread bytes would reset the connection and
/// take the error message with it. Bounded in bytes and time.
async fn linger(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let drained = async {
        if socket.shutdown().await.is_err() {
            return;
        }
        let mut sink = vec![0; 16 * 1024];
        for _ in 0..256 {
            if !matches!(socket.read(&mut sink).await, Ok(n) if n > 0) {
                return;
            }
        }
    };
    // A client that keeps the connection open gets no more than this.
    let _done = tokio::time::timeout(Duration::from_millis(500), drained).await.is_ok();
}

fn is_hang_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
}
