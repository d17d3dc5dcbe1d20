//! Which session what arrives belongs to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use wire::stun::{self, Stun};

use super::socket::UdpPort;

/// Datagrams that may wait for a session; more are lost, as they may be anywhere on their way.
const WAITING: usize = 512;

/// The way back to where something came from.
#[derive(Clone)]
pub(super) enum Way {
    Udp {
        port: Arc<UdpPort>,
        /// The address as the socket has it, and ours that it was sent to.
        to: SocketAddr,
        from: Option<IpAddr>,
    },
    Tcp(mpsc::Sender<Bytes>),
}

/// A datagram, or a frame of a TCP connection.
pub(super) struct Arrived {
    pub(super) source: SocketAddr,
    pub(super) at: Instant,
    pub(super) bytes: Bytes,
    pub(super) way: Way,
}

/// Where a session's datagrams go.
#[derive(Clone)]
pub(super) struct Inbox {
    id: u64,
    sender: mpsc::Sender<Arrived>,
}

impl Inbox {
    /// False: it is full, or gone.
    pub(super) fn put(&self, arrived: Arrived) -> bool {
        self.sender.try_send(arrived).is_ok()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }
}

/// An address, and whose it is.
struct Claim {
    inbox: Inbox,
    answered: bool,
}

#[derive(Default)]
struct Known {
    by_ufrag: HashMap<String, Inbox>,
    by_address: HashMap<SocketAddr, Claim>,
}

/// Every session.
#[derive(Default)]
pub(super) struct Registry {
    known: RwLock<Known>,
    next: AtomicU64,
    /// What is listened on.
    listening: RwLock<Option<SocketAddr>>,
}

/// A session's place in the registry, until it is dropped.
pub(super) struct Registration {
    registry: Arc<Registry>,
    inbox: Inbox,
    ufrag: String,
}

impl Registry {
    pub(super) fn listening(&self) -> Option<SocketAddr> {
        *self.listening.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_listening(&self, address: SocketAddr) {
        *self.listening.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// No longer, unless another is listened on by now.
    pub(super) fn close(&self, address: SocketAddr) {
        let mut listening = self.listening.write().unwrap_or_else(PoisonError::into_inner);
        *listening = listening.filter(|now| *now != address);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session, whose ICE user name fragment is `ufrag`.
    pub(super) fn enter(self: &Arc<Self>, ufrag: String) -> (Registration, mpsc::Receiver<Arrived>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let inbox = Inbox { id: self.next.fetch_add(1, Ordering::Relaxed), sender };
        self.write().by_ufrag.insert(ufrag.clone(), inbox.clone());
        (Registration { registry: Arc::clone(self), inbox, ufrag }, receiver)
    }

    /// Whose a datagram is: its own session's for a check of a path, else the one that the address belongs to.
    pub(super) fn of(&self, source: SocketAddr, datagram: &[u8]) -> Option<Inbox> {
        let known = self.read();
        if stun::is_stun(datagram)
            && let Some(Stun::Request { ufrag, .. }) = stun::read(datagram)
        {
            return known.by_ufrag.get(ufrag).cloned();
        }
        known.by_address.get(&source).map(|claim| claim.inbox.clone())
    }
}

impl Registration {
    /// What comes from there is this session's: it has the session's password. An address that another session's client has
    /// shown to be its own stays with that one.
    pub(super) fn claim(&self, address: SocketAddr, answered: bool) {
        let mut known = self.registry.write();
        let claim =
            known.by_address.entry(address).or_insert_with(|| Claim { inbox: self.inbox.clone(), answered });
        if claim.inbox.id == self.inbox.id {
            claim.answered |= answered;
        } else if !claim.answered || claim.inbox.is_gone() {
            *claim = Claim { inbox: self.inbox.clone(), answered };
        }
    }

    pub(super) fn release(&self, address: SocketAddr) {
        let mut known = self.registry.write();
        if known.by_address.get(&address).is_some_and(|claim| claim.inbox.id == self.inbox.id) {
            known.by_address.remove(&address);
        }
    }

    /// ICE was restarted: checks name this fragment from now on.
    pub(super) fn rename(&mut self, ufrag: String) {
        let mut known = self.registry.write();
        known.by_ufrag.remove(&self.ufrag);
        known.by_ufrag.insert(ufrag.clone(), self.inbox.clone());
        drop(known);
        self.ufrag = ufrag;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut known = self.registry.write();
        known.by_ufrag.remove(&self.ufrag);
        known.by_address.retain(|_, claim| claim.inbox.id != self.inbox.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn an_address_stays_with_whom_it_answered() {
        let registry = Arc::new(Registry::default());
        let (one, _first) = registry.enter("one".into());
        let (two, _second) = registry.enter("two".into());
        let owner = |address| registry.of(address, &[0x80]).map(|inbox| inbox.id);
        one.claim(at(1), false);
        two.claim(at(1), false);
        assert_eq!(owner(at(1)), Some(two.inbox.id), "nobody has answered from there");
        two.claim(at(1), true);
        one.claim(at(1), true);
        assert_eq!(owner(at(1)), Some(two.inbox.id));
        one.release(at(1));
        assert_eq!(owner(at(1)), Some(two.inbox.id));
        drop(two);
        assert_eq!((owner(at(1)), registry.read().by_ufrag.len()), (None, 1));
    }
}
