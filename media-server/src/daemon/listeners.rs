//! The open ports. Moving one opens the new socket before the old one closes; connections stay.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DaemonError;
use crate::ingest::srt::Sockets;
use crate::transport::rtc;

/// One open port.
struct Open {
    address: SocketAddr,
    close: CancellationToken,
}

/// What a port is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Door {
    /// Publishers.
    Rtmp,
    /// Publishers, by TLS.
    Rtmps,
    /// Publishers, by SRT.
    Srt,
    /// WebRTC media.
    Webrtc,
    /// Players.
    Http,
    /// Players, by TLS.
    Https,
    /// The same port by QUIC.
    Http3,
    /// Operators.
    Admin,
}

/// Every open port of the daemon.
pub(super) struct Listeners {
    tasks: TaskTracker,
    stop: CancellationToken,
    doors: HashMap<Door, Open>,
}

impl Listeners {
    pub(super) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { tasks, stop, doors: HashMap::new() }
    }

    /// Where a door is, if it is open.
    pub(super) fn address(&self, door: Door) -> Option<SocketAddr> {
        self.doors.get(&door).map(|open| open.address)
    }

    /// Serves `make(listener, close, stop)` on `socket` in place of what was there; without a socket the door closes.
    pub(super) fn set<F>(
        &mut self,
        door: Door,
        socket: Option<Bound>,
        make: impl FnOnce(TcpListener, CancellationToken, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.set_any(door, socket.map(|socket| (socket.address, socket.listener)), make);
    }

    /// The same for sockets of any kind.
    pub(super) fn set_any<S, F>(
        &mut self,
        door: Door,
        socket: Option<(SocketAddr, S)>,
        make: impl FnOnce(S, CancellationToken, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = socket.map(|(address, socket)| {
            let close = self.stop.child_token();
            self.tasks.spawn(make(socket, close.clone(), self.stop.clone()));
            Open { address, close }
        });
        let old = match open {
            Some(open) => self.doors.insert(door, open),
            None => self.doors.remove(&door),
        };
        if let Some(old) = old {
            old.close.cancel();
        }
    }
}

/// A socket that is bound, and not yet served.
pub(super) struct Bound {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// Binds `address`; the error says what to do.
pub(super) async fn bind(what: &'static str, key: &str, address: SocketAddr) -> Result<Bound, DaemonError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address })
    };
    bound.await.map_err(|source| failed(what, key, address, source))
}

/// Binds `address` for datagrams, `count` times.
pub(super) fn bind_udp(
    what: &'static str,
    key: &str,
    address: SocketAddr,
    count: usize,
) -> Result<Sockets, DaemonError> {
    Sockets::bind(address, count).map_err(|source| failed(what, key, address, source))
}

/// Binds `address` for HTTP/3.
pub(super) fn bind_quic(address: SocketAddr) -> Result<UdpSocket, DaemonError> {
    UdpSocket::bind(address).map_err(|source| failed("HTTP/3", "http", address, source))
}

/// Binds `address` for WebRTC media.
pub(super) fn bind_webrtc(address: SocketAddr) -> Result<rtc::Sockets, DaemonError> {
    rtc::Sockets::bind(address).map_err(|source| failed("WebRTC", "webrtc", address, source))
}

fn failed(what: &'static str, key: &str, address: SocketAddr, source: std::io::Error) -> DaemonError {
    let remedy = match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("another program has this port: stop it, or set [{key}] listen to a free one")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE: set [{key}] listen to a higher one")
        }
        _ => format!("set [{key}] listen to an address of this machine"),
    };
    DaemonError::Bind { what, address, source, remedy }
}
