//! One socket and the callers that come over it.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use wire::srt::{Greeting, LARGEST, Listener, Mode, Reject, Request, StreamId};

use super::caller::{Caller, Ended};
use super::let_in::{Entered, Turned, let_in};
use super::player::Player;
use crate::ingest::Desk;
use crate::ingest::publishing::Asking;
use crate::metrics::Outcome;
use crate::web::pending::Waiting;

/// Datagrams that are read before what is due is done.
const BATCH: usize = 64;
/// Memory that is taken for datagrams at a time.
const ROOM: usize = 64 * LARGEST;

/// Datagrams of a player that may wait for it.
const WAITING: usize = 256;

/// Where a caller is, and its own socket id.
type Peer = (SocketAddr, u32);

/// A caller that was let in, or not.
struct Answered {
    request: Arc<Request>,
    /// Our socket id for it.
    id: u32,
    halt: CancellationToken,
    entered: Result<Entered, Turned>,
    guards: Guards,
}

/// What a caller takes a place of.
pub(super) struct Guards {
    pub(super) waiting: Option<Waiting>,
    _permit: OwnedSemaphorePermit,
}

/// A caller that is sent a stream.
struct Playing {
    to: SocketAddr,
    peer: Peer,
    task: task::Id,
    /// What it says goes here.
    datagrams: mpsc::Sender<Bytes>,
}

struct Line {
    caller: Caller,
    to: SocketAddr,
    peer: Peer,
    /// When its turn is, as `schedule` has it.
    due: Duration,
    _guards: Guards,
}

/// See the module.
pub(super) struct Endpoint {
    socket: Arc<UdpSocket>,
    desk: Desk,
    permits: Arc<Semaphore>,
    listener: Listener,
    /// Zero of every time that `wire::srt` is given.
    zero: Instant,
    room: BytesMut,
    /// Callers by our socket id for them.
    lines: HashMap<u32, Line>,
    /// Whose turn it is when.
    schedule: BTreeSet<(Duration, u32)>,
    /// Those to whom something has happened since their last turn.
    touched: Vec<u32>,
    ids: HashMap<Peer, u32>,
    /// The last socket id that was given. They begin anywhere, and come again after four thousand million callers.
    next_id: u32,
    /// Callers about whom admission is asked, by whom.
    asked: HashMap<Peer, task::Id>,
    asking: JoinSet<Answered>,
    /// Callers that are sent a stream, by our socket id for them.
    players: HashMap<u32, Playing>,
    playing: JoinSet<()>,
    /// Players end with it.
    over: CancellationToken,
    /// Sessions that end: the control plane is told.
    closing: JoinSet<()>,
    /// No datagrams of new callers are answered any more.
    shut: bool,
}

impl Endpoint {
    pub(super) fn new(socket: UdpSocket, secret: [u8; 32], desk: Desk, permits: Arc<Semaphore>) -> Self {
        Self {
            socket: Arc::new(socket),
            desk,
            permits,
            listener: Listener::new(secret),
            zero: Instant::now(),
            room: BytesMut::new(),
            lines: HashMap::new(),
            schedule: BTreeSet::new(),
            touched: Vec::new(),
            ids: HashMap::new(),
            next_id: rand::random(),
            asked: HashMap::new(),
            asking: JoinSet::new(),
            players: HashMap::new(),
            playing: JoinSet::new(),
            over: CancellationToken::new(),
            closing: JoinSet::new(),
            shut: false,
        }
    }

    /// Serves until `cancel`, and those that publish by then to their end, or until `sessions`.
    pub(super) async fn run(mut self, cancel: CancellationToken, sessions: CancellationToken) {
        while !(self.shut && self.lines.is_empty() && self.players.is_empty() && self.asking.is_empty()) {
            let due = self.schedule.first().map(|(due, _)| *due);
            let due = due.map(|due| tokio::time::Instant::from_std(self.zero + due));
            tokio::select! {
                biased;
                () = sessions.cancelled() => break,
                () = cancel.cancelled(), if !self.shut => self.shut = true,
                Some(answered) = self.asking.join_next() => match answered {
                    Ok(answered) => self.answered(answered),
                    Err(error) => {
                        self.asked.retain(|_, task| *task != error.id());
                        tracing::error!(%error, "asking for an SRT caller failed");
                    }
                },
                Some(_) = self.closing.join_next() => {}
                Some(played) = self.playing.join_next_with_id() => {
                    let id = played.map_or_else(|error| error.id(), |(id, ())| id);
                    if let Some((socket, _)) = self.players.iter().find(|(_, player)| player.task == id) {
                        let socket = *socket;
                        self.forget_player(socket);
                    }
                }
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
        // Whoever is let in by now is told that it is over, like the others.
        while let Some(answered) = self.asking.join_next().await {
            if let Ok(answered) = answered {
                self.answered(answered);
            }
        }
        let all: Vec<_> = self.lines.keys().copied().collect();
        for id in all {
            self.end(id, &Ended::Dropped);
        }
        self.over.cancel();
        while self.playing.join_next().await.is_some() {}
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
            Some(id) if self.players.contains_key(&id) => self.to_player(id, from, datagram),
            Some(id) => {
                // Only from where the caller is: others may send what they like.
                if let Some(line) = self.lines.get_mut(&id).filter(|line| line.to == from) {
                    line.caller.connection.receive(at, datagram);
                    if self.touched.last() != Some(&id) {
                        self.touched.push(id);
                    }
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
        if let Some((id, line)) = self.ids.get(&peer).and_then(|id| Some((*id, self.lines.get_mut(id)?))) {
            // It has not heard our answer.
            line.caller.connection.receive(at, datagram);
            return self.touched.push(id);
        }
        if let Some(id) = self.ids.get(&peer).copied() {
            return self.to_player(id, request.from(), datagram);
        }
        if self.asked.contains_key(&peer) {
            return;
        }
        let id = match request.stream_id() {
            Ok(id) => id,
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
        if !request.is_encrypted() && rules.srt.passphrase.is_some() {
            let text = "it does not encrypt, and [srt] passphrase is set";
            return self.refuse(&request, Reject::Unsecure, text);
        }
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let guards = Guards { waiting: Some(waiting), _permit: permit };
        if id.mode == Mode::Play {
            return self.player(request, id, guards);
        }
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
        let (desk, id, zero) = (self.desk.clone(), self.next_id, self.zero);
        let halt = CancellationToken::new();
        let request = Arc::from(request);
        let task = self.asking.spawn(async move {
            let entered = let_in(&desk, Arc::clone(&request), asking, (id, zero), halt.clone()).await;
            Answered { request, id, halt, entered, guards }
        });
        self.asked.insert(peer, task.id());
    }

    /// Sends a stream to a caller, in a task of its own.
    fn player(&mut self, request: Box<Request>, id: StreamId, guards: Guards) {
        let (to, peer, socket) = (request.from(), (request.from(), request.peer()), self.next_id);
        let (datagrams, heard) = mpsc::channel(WAITING);
        let player = Player {
            request: Arc::from(request),
            desk: self.desk.clone(),
            socket: Arc::clone(&self.socket),
            id: socket,
            zero: self.zero,
            datagrams: heard,
            guards,
        };
        let task = self.playing.spawn(Box::pin(player.run(id.resource, id.query, self.over.clone())));
        self.ids.insert(peer, socket);
        self.players.insert(socket, Playing { to, peer, task: task.id(), datagrams });
    }

    /// What a player says. Where it says more than is taken in, it says it again.
    fn to_player(&self, id: u32, from: SocketAddr, datagram: &Bytes) {
        match self.players.get(&id).filter(|player| player.to == from) {
            Some(player) => drop(player.datagrams.try_send(datagram.clone())),
            None => _ = self.desk.metrics.srt_strays.inc(),
        }
    }

    fn forget_player(&mut self, id: u32) {
        if let Some(player) = self.players.remove(&id) {
            self.ids.remove(&player.peer);
        }
    }

    fn refuse(&self, request: &Request, reject: Reject, text: &str) {
        tracing::info!(peer = %request.from(), reason = text, code = reject.code(), "SRT caller refused");
        self.desk.metrics.srt_closed.get_or_create(&Outcome { outcome: "refused" }).inc();
        self.send(request.from(), &request.reject(reject));
    }

    fn answered(&mut self, answered: Answered) {
        let Answered { request, id, halt, entered, mut guards } = answered;
        let peer = (request.from(), request.peer());
        self.asked.remove(&peer);
        let Entered { connection, admitted, link } = match entered {
            Ok(entered) => entered,
            Err(turned) => return self.refuse(&request, turned.reject(), &turned.to_string()),
        };
        guards.waiting = None;
        let idle = self.desk.rules.load().idle_timeout;
        let caller = Caller::new(connection, admitted, (halt, idle), link, &self.desk);
        self.desk.metrics.srt_connections.inc();
        let due = self.at();
        self.lines.insert(id, Line { caller, to: request.from(), peer, due, _guards: guards });
        self.schedule.insert((due, id));
        self.ids.insert(peer, id);
    }

    /// Does what is due, and what follows from the datagrams that came.
    fn turn(&mut self) {
        let (now, at) = (Instant::now(), self.at());
        while let Some((due, id)) = self.schedule.pop_first() {
            if due > at {
                self.schedule.insert((due, id));
                break;
            }
            self.touched.push(id);
        }
        for id in std::mem::take(&mut self.touched) {
            let Some(line) = self.lines.get_mut(&id) else { continue };
            self.schedule.remove(&(line.due, id));
            let over = line.caller.turn(now, at);
            while let Some(datagram) = line.caller.connection.transmit(at) {
                send(&self.socket, line.to, &datagram);
            }
            match over {
                Ok(()) => {
                    line.due = line.caller.due(at);
                    self.schedule.insert((line.due, id));
                }
                Err(why) => self.end(id, &why),
            }
        }
    }

    fn end(&mut self, id: u32, why: &Ended) {
        let Some(mut line) = self.lines.remove(&id) else { return };
        self.ids.remove(&line.peer);
        self.schedule.remove(&(line.due, id));
        let at = self.at();
        line.caller.end(why, Instant::now(), at);
        while let Some(datagram) = line.caller.connection.transmit(at) {
            send(&self.socket, line.to, &datagram);
        }
        self.desk.metrics.srt_connections.dec();
        self.desk.metrics.srt_closed.get_or_create(&Outcome { outcome: why.name() }).inc();
        let (name, text) = (why.name(), why.to_string());
        let publishing = line.caller.session.publishing;
        self.closing.spawn(async move { publishing.close(name, &text).await });
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        send(&self.socket, to, datagram);
    }
}

/// What the kernel does not take at once is lost like any datagram.
pub(super) fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    if let Err(error) = socket.try_send_to(datagram, to) {
        tracing::debug!(%to, %error, "SRT datagram not sent");
    }
}
