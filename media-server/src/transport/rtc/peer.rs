//! One session at its sockets: what arrives goes into str0m, what str0m wants sent goes out.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m::change::SdpOffer;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::mpsc;
use wire::reach::Reach;
use wire::sdp::{self, Credentials};
use wire::stun;

use super::registry::{Arrived, Registration, Way};
use super::socket::UdpPort;
use super::{Candidates, OpenError, Tally, accept};

/// Ways that a session has at a time; the one that was used first is forgotten.
const WAYS: usize = 16;
/// Bytes that go out by one call.
const TOGETHER: usize = 60_000;
/// Datagrams of an address that has not answered yet: clients begin DTLS while our check is still on its way.
const HELD: usize = 8;
/// A client whose path has broken has this long to find another, or to restart ICE.
const GRACE: Duration = Duration::from_secs(15);
/// str0m is looked after at least so often.
const IDLE: Duration = Duration::from_secs(1);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub enum Over {
    /// The client said goodbye.
    #[error("the client left")]
    Left,
    /// It does not answer any more.
    #[error("nothing was heard of the client")]
    Silent,
    /// What it sent cannot be.
    #[error("the session broke: {0}")]
    Failed(RtcError),
    /// The port is no more.
    #[error("the port was closed")]
    Closed,
}

/// Datagrams of one length that go to one place.
#[derive(Default)]
struct Batch {
    to: Option<(Arc<UdpPort>, SocketAddr, Option<IpAddr>)>,
    bytes: Vec<u8>,
    size: usize,
    count: usize,
}

impl Batch {
    fn push(&mut self, port: &Arc<UdpPort>, to: SocketAddr, from: Option<IpAddr>, datagram: &[u8]) {
        let fits = self.to.as_ref().is_some_and(|(_, known, _)| *known == to)
            && datagram.len() <= self.size
            && self.count < port.most_together()
            && self.bytes.len().saturating_add(datagram.len()) <= TOGETHER;
        if !fits {
            self.flush();
            self.to = Some((Arc::clone(port), to, from));
            self.size = datagram.len();
        }
        self.bytes.extend_from_slice(datagram);
        self.count = self.count.saturating_add(1);
        if datagram.len() < self.size {
            // Only the last may be shorter.
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some((port, to, from)) = self.to.take() {
            port.send(to, from, &self.bytes, self.size);
        }
        self.bytes.clear();
        self.count = 0;
    }
}

/// See the module.
pub struct Peer {
    rtc: Box<Rtc>,
    registration: Registration,
    inbox: mpsc::Receiver<Arrived>,
    reach: Reach,
    ways: Vec<(SocketAddr, Way)>,
    held: Vec<Arrived>,
    /// Since when there is no path to the client.
    lost: Option<Instant>,
    candidates: Candidates,
    /// As it was accepted, without candidates.
    offer: String,
    batch: Batch,
    tally: Tally,
}

impl Peer {
    pub(super) fn new(
        rtc: Box<Rtc>,
        registration: Registration,
        inbox: mpsc::Receiver<Arrived>,
        offer: String,
        candidates: Candidates,
        tally: Tally,
    ) -> Self {
        let (reach, batch) = (Reach::default(), Batch::default());
        let (ways, held) = (Vec::new(), Vec::new());
        Self { rtc, registration, inbox, reach, ways, held, lost: None, candidates, offer, batch, tally }
    }

    /// For whatever str0m offers. [`Self::next`] must be called after each change.
    pub fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }

    /// Names this ICE session: it changes with each restart.
    pub fn ice(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Restarts ICE with the client's new credentials; the fragment that answers it.
    pub fn restart(&mut self, credentials: &Credentials) -> Result<String, OpenError> {
        let offer = sdp::with_credentials(&self.offer, credentials);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| OpenError::syntax(&error))?;
        let answer = accept(&mut self.rtc, parsed, &self.candidates)?;
        self.offer = offer;
        let ufrag = self.ice();
        self.registration.rename(ufrag);
        sdp::fragment(&answer).ok_or_else(|| OpenError::Library("an answer without ICE".into()))
    }

    /// Drives the session until something happens. Cancel safe.
    pub async fn next(&mut self) -> Result<Event, Over> {
        loop {
            let due = match self.rtc.poll_output().map_err(Over::Failed)? {
                Output::Transmit(transmit) => {
                    self.transmit(transmit);
                    continue;
                }
                Output::Event(Event::IceConnectionStateChange(state)) => {
                    let lost = (state == IceConnectionState::Disconnected).then(Instant::now);
                    self.lost = lost.map(|now| self.lost.unwrap_or(now));
                    continue;
                }
                Output::Event(event) => {
                    self.batch.flush();
                    return Ok(event);
                }
                Output::Timeout(due) => due,
            };
            if !self.rtc.is_alive() {
                self.batch.flush();
                return Err(Over::Left);
            }
            if self.lost.is_some_and(|since| since.elapsed() >= GRACE) {
                return Err(Over::Silent);
            }
            if let Some(arrived) = self.ready().or_else(|| self.inbox.try_recv().ok()) {
                self.arrived(arrived)?;
                continue;
            }
            self.batch.flush();
            let due = due.min(Instant::now() + IDLE);
            tokio::select! {
                biased;
                arrived = self.inbox.recv() => self.arrived(arrived.ok_or(Over::Closed)?)?,
                () = tokio::time::sleep_until(due.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).map_err(Over::Failed)?;
                }
            }
        }
    }

    /// Says goodbye, as far as that goes without waiting.
    pub fn close(&mut self) {
        if self.rtc.close().is_err() {
            return;
        }
        while let Ok(Output::Transmit(transmit)) = self.rtc.poll_output() {
            self.transmit(transmit);
        }
        self.batch.flush();
    }

    /// What was held until its sender answered.
    fn ready(&mut self) -> Option<Arrived> {
        let answered = self.held.iter().position(|held| self.reach.has_answered(held.source))?;
        Some(self.held.remove(answered))
    }

    fn arrived(&mut self, arrived: Arrived) -> Result<(), Over> {
        let held = matches!(arrived.way, Way::Udp { .. })
            && !stun::is_stun(&arrived.bytes)
            && !self.reach.has_answered(arrived.source);
        if held && self.held.len() < HELD && self.ways.iter().any(|(address, _)| *address == arrived.source) {
            self.held.push(arrived);
            return Ok(());
        }
        let Arrived { source, at, bytes, way } = arrived;
        if !self.take(source, at, &bytes, way)? {
            self.tally.strays.inc();
        }
        Ok(())
    }

    /// False: it is none of this session's.
    fn take(&mut self, source: SocketAddr, at: Instant, bytes: &Bytes, way: Way) -> Result<bool, Over> {
        let (udp, check) = (matches!(way, Way::Udp { .. }), stun::is_stun(bytes));
        if udp && !check && !self.reach.has_answered(source) {
            return Ok(false);
        }
        let Some(destination) = self.candidates.base(udp, source) else { return Ok(false) };
        let proto = if udp { Protocol::Udp } else { Protocol::Tcp };
        let Ok(receive) = Receive::new(proto, source, destination, bytes) else { return Ok(false) };
        let input = Input::Receive(at, receive);
        if !self.rtc.accepts(&input) {
            return Ok(false);
        }
        let shown = udp && self.reach.heard(source, bytes);
        if let Some((_, known)) = self.ways.iter_mut().find(|(address, _)| *address == source) {
            *known = way;
        } else {
            if self.ways.len() >= WAYS {
                let (gone, _) = self.ways.remove(0);
                self.registration.release(gone);
            }
            self.ways.push((source, way));
            self.registration.claim(source, !udp);
        }
        if shown {
            self.registration.claim(source, true);
        }
        // What str0m cannot read is dropped like what did not come: only its own state ends a session.
        match self.rtc.handle_input(input) {
            Err(RtcError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(RtcError::Net(_) | RtcError::Rtp(_) | RtcError::Packet(..)) => Ok(false),
            other => other.map(|()| true).map_err(Over::Failed),
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let Transmit { proto, destination, contents, .. } = transmit;
        let way = self.ways.iter().find(|(address, _)| *address == destination).map(|(_, way)| way);
        match way {
            Some(Way::Udp { port, to, from }) if proto == Protocol::Udp => {
                if self.reach.may_send(destination, &contents) {
                    self.batch.push(port, *to, *from, &contents);
                } else {
                    self.tally.held.inc();
                }
            }
            Some(Way::Tcp(out)) if proto == Protocol::Tcp => {
                // A connection that does not take it loses it, as a datagram would be lost.
                if out.try_send(Bytes::copy_from_slice(&contents)).is_err() {
                    self.tally.overflow.inc();
                }
            }
            _ => _ = self.tally.held.inc(),
        }
    }
}
