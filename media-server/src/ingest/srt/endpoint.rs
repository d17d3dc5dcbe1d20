//! One socket and the callers that come over it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wire::srt::{Accept, Connection, Greeting, LARGEST, Listener, Mode, Reject, Request};

use super::caller::{Caller, Ended};
use crate::ingest::Desk;
use crate::ingest::pending::Waiting;
use crate::ingest::publishing::{Admitted, Asking, Denied, admit};
use crate::live::PublishError;
use crate::metrics::Outcome;

/// Datagrams that are read before what is due is done.
const BATCH: usize = 64;
/// Memory that is taken for datagrams at a time.
const ROOM: usize = 64 * LARGEST;

/// Where a caller is, and its own socket id.
type Peer = (SocketAddr, u32);

/// A caller that admission lets in, or not.
struct Answered {
    request: Box<Request>,
    /// Our socket id for it, and its connection.
    line: (u32, Connection),
    halt: CancellationToken,
    admitted: Result<Admitted, Denied>,
    guards: Guards,
}

/// What a caller takes a place of.
struct Guards {
    waiting: Option<Waiting>,
    _permit: OwnedSemaphorePermit,
}

struct Line {
    caller: Caller,
    to: SocketAddr,
    _guards: Guards,
}

/// See the module.
pub(super) struct Endpoint {
    socket: UdpSocket,
    desk: Desk,
    permits: Arc<Semaphore>,
    listener: Listener,
    /// Zero of every time that `wire::srt` is given.
    zero: Instant,
    room: BytesMut,
    /// Callers by our socket id for them.
    lines: HashMap<u32, Line>,
    ids: HashMap<Peer, u32>,
    /// The last socket id that was given. They begin anywhere, and come again after four thousand million callers.
    next_id: u32,
    /// Callers about whom admission is asked.
    asked: HashSet<Peer>,
    asking: JoinSet<Answered>,
    /// Sessions that end: the control plane is told.
    closing: JoinSet<()>,
    /// No datagrams of new callers are answered any more.
    shut: bool,
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket, secret: [u8; 32], desk: Desk, permits: Arc<Semaphore>) -> Self {
        Self {
            socket,
            desk,
            permits,
            listener: Listener::new(secret),
            zero: Instant::now(),
            room: BytesMut::new(),
            lines: HashMap::new(),
            ids: HashMap::new(),
            next_id: rand::random(),
            asked: HashSet::new(),
            asking: JoinSet::new(),
            closing: JoinSet::new(),
            shut: false,
        }
    }

    /// Serves until `cancel`, and those that publish by then to their end, or until `sessions`.
    pub(super) async fn run(mut self, cancel: CancellationToken, sessions: CancellationToken) {
        while !(self.shut && self.lines.is_empty() && self.asking.is_empty()) {
            let due = self.lines.values().map(|line| line.caller.due(self.at())).min();
            let due = due.map(|due| tokio::time::Instant::from_std(self.zero + due));
            tokio::select! {
                biased;
                () = sessions.cancelled() => break,
                () = cancel.cancelled(), if !self.shut => self.shut = true,
                Some(answered) = self.asking.join_next() => match answered {
                    Ok(answered) => self.answered(answered),
                    Err(error) => tracing::error!(%error, "asking for an SRT caller failed"),
                },
                Some(_) = self.closing.join_next() => {}
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "an SRT socket failed");
                        break;
                    }
                    self.read();
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
            }
            self.turn();
        }
        let all: Vec<_> = self.lines.keys().copied().collect();
        for id in all {
            self.end(id, &Ended::Dropped);
        }
        while self.closing.join_next().await.is_some() {}
    }

    fn at(&self) -> Duration {
        self.zero.elapsed()
    }

    fn read(&mut self) {
        for _ in 0..BATCH {
            if self.room.capacity() < LARGEST {
                self.room = BytesMut::with_capacity(ROOM);
            }
            match self.socket.try_recv_buf_from(&mut self.room) {
                Ok((_, from)) => {
                    let datagram = self.room.split().freeze();
                    self.datagram(from, &datagram);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // An answer of ours found nobody: the caller's silence will tell.
                Err(error) => tracing::debug!(%error, "SRT datagram not read"),
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, datagram: &Bytes) {
        let at = self.at();
        match Listener::destination(datagram) {
            Some(0) => self.greet(at, from, datagram),
            Some(id) => {
                // Only from where the caller is: others may send what they like.
                if let Some(line) = self.lines.get_mut(&id).filter(|line| line.to == from) {
                    line.caller.connection.receive(at, datagram);
                } else {
                    self.desk.metrics.srt_strays.inc();
                }
            }
            None => _ = self.desk.metrics.srt_strays.inc(),
        }
    }

    fn greet(&mut self, at: Duration, from: SocketAddr, datagram: &Bytes) {
        if self.shut {
            return;
        }
        match self.listener.greet(at, from, datagram) {
            Greeting::Answer(answer) => self.send(from, &answer),
            Greeting::Request(request) => self.request(at, request, datagram),
            Greeting::Ignored => _ = self.desk.metrics.srt_strays.inc(),
        }
    }

    fn request(&mut self, at: Duration, request: Box<Request>, datagram: &Bytes) {
        let peer = (request.from(), request.peer());
        if let Some(line) = self.ids.get(&peer).and_then(|id| self.lines.get_mut(id)) {
            // It has not heard our answer.
            return line.caller.connection.receive(at, datagram);
        }
        if self.asked.contains(&peer) {
            return;
        }
        let id = match request.stream_id() {
            Ok(id) if id.mode == Mode::Publish => id,
            Ok(_) => return self.refuse(&request, Reject::BadMode, "to play by SRT is not offered yet"),
            Err(error) => return self.refuse(&request, Reject::BadRequest, &error.to_string()),
        };
        let rules = self.desk.rules.load();
        let Some(waiting) = self.desk.pending.enter(request.from().ip(), rules.max_pending_per_ip) else {
            return self.refuse(
                &request,
                Reject::Overload,
                "too many callers of this address are not yet let in",
            );
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.refuse(&request, Reject::Resource, "[srt] max_connections is reached");
        };
        if request.is_encrypted() != rules.srt.passphrase.is_some() {
            let text = if request.is_encrypted() {
                "it encrypts, and [srt] passphrase is not set"
            } else {
                "it does not encrypt, and [srt] passphrase is set"
            };
            return self.refuse(&request, Reject::Unsecure, text);
        }
        // Before admission is asked: who has not the passphrase is nobody's publisher.
        let line = match self.accept(&request) {
            Ok(line) => line,
            Err(reject) => {
                return self.refuse(&request, reject, "its passphrase is not that of [srt] passphrase");
            }
        };
        let version = request.version();
        let agent = format!("libsrt {}.{}.{}", version >> 16, (version >> 8) & 0xff, version & 0xff);
        let asking = Asking {
            protocol: "srt",
            key: id.resource,
            app: String::new(),
            query: id.query,
            peer: request.from(),
            agent,
        };
        self.asked.insert(peer);
        let (desk, halt) = (self.desk.clone(), CancellationToken::new());
        self.asking.spawn(async move {
            let admitted = Box::pin(admit(&desk, asking, halt.clone())).await;
            let guards = Guards { waiting: Some(waiting), _permit: permit };
            Answered { request, line, halt, admitted, guards }
        });
    }

    fn refuse(&self, request: &Request, reject: Reject, text: &str) {
        tracing::info!(peer = %request.from(), reason = text, code = reject.code(), "SRT caller refused");
        self.desk.metrics.srt_closed.get_or_create(&Outcome { outcome: "refused" }).inc();
        self.send(request.from(), &request.reject(reject));
    }

    fn answered(&mut self, answered: Answered) {
        let Answered { request, line: (id, connection), halt, admitted, mut guards } = answered;
        let peer = (request.from(), request.peer());
        self.asked.remove(&peer);
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(denied) => {
                let reject = match &denied {
                    Denied::Role => Reject::BadRequest,
                    Denied::Key { .. } => Reject::Unauthorized,
                    Denied::Unreachable | Denied::Profile => Reject::Gateway,
                    Denied::Stream(PublishError::TooMany(_)) => Reject::Overload,
                    Denied::Stream(_) => Reject::Conflict,
                };
                return self.refuse(&request, reject, &denied.to_string());
            }
        };
        guards.waiting = None;
        let idle = self.desk.rules.load().idle_timeout;
        let Admitted { publishing, checkup, limits } = admitted;
        let metrics = self.desk.metrics.clone();
        let caller = Caller::new(connection, publishing, (checkup, limits), (halt, idle), metrics);
        self.desk.metrics.srt_connections.inc();
        self.lines.insert(id, Line { caller, to: request.from(), _guards: guards });
        self.ids.insert(peer, id);
    }

    fn accept(&mut self, request: &Request) -> Result<(u32, Connection), Reject> {
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let socket = self.next_id;
        let srt = &self.desk.rules.load().srt;
        let accept = Accept { socket, latency: srt.latency, passphrase: srt.passphrase.clone() };
        Ok((socket, request.accept(&accept)?))
    }

    /// Does what is due for everyone.
    fn turn(&mut self) {
        let (now, at) = (Instant::now(), self.at());
        let mut ended = Vec::new();
        for (id, line) in &mut self.lines {
            if let Err(why) = line.caller.turn(now, at) {
                ended.push((*id, why));
            }
            while let Some(datagram) = line.caller.connection.transmit() {
                send(&self.socket, line.to, &datagram);
            }
        }
        for (id, why) in ended {
            self.end(id, &why);
        }
    }

    fn end(&mut self, id: u32, why: &Ended) {
        let Some(mut line) = self.lines.remove(&id) else { return };
        self.ids.retain(|_, known| *known != id);
        line.caller.end(why, Instant::now(), self.at());
        while let Some(datagram) = line.caller.connection.transmit() {
            send(&self.socket, line.to, &datagram);
        }
        self.desk.metrics.srt_connections.dec();
        self.desk.metrics.srt_closed.get_or_create(&Outcome { outcome: why.name() }).inc();
        let (name, text) = (why.name(), why.to_string());
        let publishing = line.caller.publishing;
        self.closing.spawn(async move { publishing.close(name, &text).await });
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        send(&self.socket, to, datagram);
    }
}

/// What the kernel does not take at once is lost like any datagram.
fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    if let Err(error) = socket.try_send_to(datagram, to) {
        tracing::debug!(%to, %error, "SRT datagram not sent");
    }
}
