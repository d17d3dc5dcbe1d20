//! One caller that is sent a stream: a task of its own, which takes the stream's chunks and sends them on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::srt::{Accept, Connection, Reject, Request};

use super::endpoint::{Guards, send};
use crate::ingest::Desk;
use crate::metrics::{Metrics, Outcome};
use crate::transport::{Chunk, NoFeed, give};

/// A stream that is fetched when it is wanted must be there by then: callers give up after 3 s.
const FETCHED: Duration = Duration::from_millis(2500);
const AGAIN: Duration = Duration::from_millis(100);
/// What the metrics are told of at this pace.
const TELL: Duration = Duration::from_secs(1);

/// A caller that asks to be sent a stream.
pub(super) struct Player {
    pub(super) request: Arc<Request>,
    pub(super) desk: Desk,
    pub(super) socket: Arc<UdpSocket>,
    /// Our socket id for it.
    pub(super) id: u32,
    /// Zero of its connection's times.
    pub(super) zero: Instant,
    /// What comes of it.
    pub(super) datagrams: mpsc::Receiver<Bytes>,
    pub(super) guards: Guards,
}

impl Player {
    /// Sends `stream` until it is over, the caller leaves, or `stop`. `query`: `rung` and `latency` in milliseconds.
    pub(super) async fn run(mut self, stream: String, query: Vec<(String, String)>, stop: CancellationToken) {
        let asked = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let rung = asked("rung").filter(|rung| !rung.is_empty());
        let taken = tokio::time::timeout(FETCHED, async {
            loop {
                match (self.desk.play)(&stream, rung) {
                    Err(NoFeed::Starting) => tokio::time::sleep(AGAIN).await,
                    taken => return taken,
                }
            }
        });
        let feed = match taken.await.unwrap_or(Err(NoFeed::Starting)) {
            Ok(feed) => feed,
            Err(none) => return self.refuse(Reject::NotFound, &none.to_string()),
        };
        let latency = match asked("latency").map(str::parse) {
            None => None,
            Some(Ok(ms @ 0..=8000)) => Some(Duration::from_millis(ms)),
            Some(_) => {
                return self.refuse(Reject::BadRequest, "latency is a number of milliseconds up to 8000");
            }
        };
        let connection = match self.accept(latency).await {
            Ok(connection) => connection,
            Err(reject) => return self.refuse(reject, "its passphrase is not that of [srt]"),
        };
        self.guards.waiting = None;
        self.desk.metrics.srt_players.inc();
        tracing::info!(%stream, peer = %self.request.from(), rung, "playing by SRT");
        let metrics = self.desk.metrics.clone();
        let why = self.play(connection, feed, stop).await;
        tracing::info!(%stream, why, "player by SRT left");
        metrics.srt_players.dec();
        metrics.srt_closed.get_or_create(&Outcome { outcome: why }).inc();
    }

    fn refuse(&self, reject: Reject, reason: &str) {
        let peer = self.request.from();
        tracing::info!(%peer, reason, code = reject.code(), "SRT player refused");
        self.desk.metrics.srt_closed.get_or_create(&Outcome { outcome: "refused" }).inc();
        send(&self.socket, peer, &self.request.reject(reject));
    }

    async fn accept(&self, latency: Option<Duration>) -> Result<Connection, Reject> {
        let mut entropy = [0; 32];
        rand::fill(&mut entropy);
        let srt = self.desk.rules.load().srt.clone();
        let peer_latency = latency.unwrap_or(srt.latency);
        let terms = Accept {
            socket: self.id,
            latency: srt.latency,
            peer_latency,
            passphrase: srt.passphrase,
            entropy,
        };
        let (request, zero) = (Arc::clone(&self.request), self.zero);
        // A key is derived in a millisecond of work: not on the thread that others' media pass through.
        let accepted = tokio::task::spawn_blocking(move || request.accept(zero.elapsed(), &terms));
        accepted.await.map_err(|_| Reject::Resource)?
    }

    async fn play(
        mut self,
        mut connection: Connection,
        mut feed: broadcast::Receiver<Chunk>,
        stop: CancellationToken,
    ) -> &'static str {
        // It begins where it can be decoded, and after a loss again.
        let mut joined = false;
        let (mut told, mut counted) = (Instant::now(), Counted::default());
        let why = loop {
            let at = self.zero.elapsed();
            connection.tick(at);
            while let Some(datagram) = connection.transmit(at) {
                send(&self.socket, self.request.from(), &datagram);
            }
            if connection.closed().is_some() {
                break "left";
            }
            // A publisher that has its stream id wrong learns it so.
            if connection.deliver(at).is_some() {
                break "sends";
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                counted.tell(&connection, &self.desk.metrics);
            }
            let due = tokio::time::Instant::from_std(self.zero + connection.timeout());
            tokio::select! {
                () = stop.cancelled() => break "dropped",
                datagram = self.datagrams.recv() => match datagram {
                    Some(datagram) => connection.receive(self.zero.elapsed(), &datagram),
                    None => break "dropped",
                },
                chunk = feed.recv() => match chunk {
                    Ok(chunk) => {
                        joined |= chunk.joins;
                        if joined {
                            let at = self.zero.elapsed();
                            give(&mut connection, at, &chunk.bytes);
                        }
                    }
                    Err(RecvError::Lagged(_)) => joined = false,
                    Err(RecvError::Closed) => break "over",
                },
                () = tokio::time::sleep_until(due) => {}
            }
        };
        counted.tell(&connection, &self.desk.metrics);
        let at = self.zero.elapsed();
        connection.shut_down(at);
        while let Some(datagram) = connection.transmit(at) {
            send(&self.socket, self.request.from(), &datagram);
        }
        why
    }
}

/// What the metrics have of a player.
#[derive(Default)]
struct Counted {
    sent: u64,
    sent_again: u64,
    given_up: u64,
}

impl Counted {
    fn tell(&mut self, connection: &Connection, metrics: &Metrics) {
        let stats = connection.stats();
        metrics.srt_packets("sent", stats.sent - self.sent);
        metrics.srt_packets("sent-again", stats.sent_again - self.sent_again);
        metrics.srt_packets("given-up", stats.given_up - self.given_up);
        *self = Self { sent: stats.sent, sent_again: stats.sent_again, given_up: stats.given_up };
    }
}
