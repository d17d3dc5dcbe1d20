//! The open ports. Moving one opens the new socket before the old one closes; connections stay.

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

/// Every open port of the daemon.
pub(super) struct Listeners {
    tasks: TaskTracker,
    stop: CancellationToken,
    rtmp: Option<Open>,
    http: Option<Open>,
    admin: Option<Open>,
}

impl Listeners {
    pub(super) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { tasks, stop, rtmp: None, http: None, admin: None }
    }

    /// Where RTMP is taken.
    pub(super) fn rtmp(&self) -> Option<SocketAddr> {
        self.rtmp.as_ref().map(|o| o.address)
    }

    /// Where players are served.
    pub(super) fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|o| o.address)
    }

    /// Where operators are served.
    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|o| o.address)
    }

    /// Serves `make(listener, close, stop)` for RTMP on `socket` in place of what was there.
    pub(super) fn set_rtmp<F>(
        &mut self,
        socket: Option<Bound>,
        make: impl FnOnce(TcpListener, CancellationToken, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = socket.map(|s| self.open(s, make));
        replace(&mut self.rtmp, open);
    }

    /// As [`Self::set_rtmp`], for players.
    pub(super) fn set_http<F>(
        &mut self,
        socket: Option<Bound>,
        make: impl FnOnce(TcpListener, CancellationToken, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = socket.map(|s| self.open(s, make));
        replace(&mut self.http, open);
    }

    /// As [`Self::set_rtmp`], for operators.
    pub(super) fn set_admin<F>(
        &mut self,
        socket: Bound,
        make: impl FnOnce(TcpListener, CancellationToken, CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let open = self.open(socket, make);
        replace(&mut self.admin, Some(open));
    }

    fn open<F>(
        &self,
        socket: Bound,
        make: impl FnOnce(TcpListener, CancellationToken, CancellationToken) -> F,
    ) -> Open
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let close = self.stop.child_token();
        self.tasks.spawn(make(socket.listener, close.clone(), self.stop.clone()));
        Open { address: socket.address, close }
    }
}

fn replace(slot: &mut Option<Open>, with: Option<Open>) {
    if let Some(old) = std::mem::replace(slot, with) {
        old.close.cancel();
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
