//! The open ports. Moving one opens the new socket before the old one closes; connections stay.

use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DaemonError;

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
    /// Players.
    Http,
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
        let open = socket.map(|socket| {
            let close = self.stop.child_token();
            self.tasks.spawn(make(socket.listener, close.clone(), self.stop.clone()));
            Open { address: socket.address, close }
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
    address: SocketAddr,
}

/// Binds `address`; the error says what to do.
pub(super) async fn bind(what: &'static str, key: &str, address: SocketAddr) -> Result<Bound, DaemonError> {
    let failed = |source: std::io::Error| {
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
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}
