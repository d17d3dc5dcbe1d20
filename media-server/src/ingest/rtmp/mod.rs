//! RTMP ingest: sockets around `wire::rtmp`.

mod connection;
pub(in crate::ingest) mod media_messages;
mod timed;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Desk;
use crate::metrics::Outcome;
use crate::web::pending::Waiting;

/// A TLS handshake must be done in this time.
const TLS_HANDSHAKE: Duration = Duration::from_secs(5);
/// Publishers get this long to be told goodbye when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Takes RTMP connections from `listener` until `cancel`, by TLS (RTMPS) where `tls` says how. Connections outlive a rebind of the listener: they end
/// with `sessions`.
#[must_use = "nothing is accepted until this future is polled"]
pub async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    desk: Desk,
    max_connections: usize,
    cancel: CancellationToken,
    sessions: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept an RTMP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let most = desk.rules.load().max_pending_per_ip;
        let Some(waiting) = desk.pending.enter(peer.ip(), most) else {
            tracing::warn!(%peer, most, "RTMP connection refused: this address has [rtmp] max_pending_per_ip connections that have not published");
            desk.metrics.rtmp_closed.get_or_create(&Outcome { outcome: "too-many" }).inc();
            continue;
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            tracing::warn!(%peer, max_connections, "RTMP connection refused: [rtmp] max_connections is reached");
            desk.metrics.rtmp_closed.get_or_create(&Outcome { outcome: "too-many" }).inc();
            continue;
        };
        let (Some(berth), Ok(socket)) = (desk.lanes.berth(), socket.into_std()) else { continue };
        let lane = berth.lane.clone();
        let desk = desk.clone();
        let sessions = sessions.clone();
        let tls = tls.clone();
        let connection = async move {
            let _berth = berth;
            desk.metrics.rtmp_connections.inc();
            let outcome = match TcpStream::from_std(socket) {
                Ok(socket) => serve(socket, (peer, waiting), tls, &desk, sessions).await,
                Err(error) => {
                    tracing::warn!(%peer, %error, "an RTMP connection could not be taken");
                    "socket"
                }
            };
            desk.metrics.rtmp_connections.dec();
            desk.metrics.rtmp_closed.get_or_create(&Outcome { outcome }).inc();
            drop(permit);
        };
        connections.spawn_on(connection, &lane);
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = async { sessions.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::info!(left = connections.len(), "RTMP publishers still connected are cut off");
        }
    }
}

/// Serves one connection; a stable word says how it ended.
async fn serve(
    socket: TcpStream,
    (peer, waiting): (SocketAddr, Waiting),
    tls: Option<TlsAcceptor>,
    desk: &Desk,
    sessions: CancellationToken,
) -> &'static str {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection lost before it began");
        return "socket";
    }
    let Some(tls) = tls else {
        return connection::serve(socket, "rtmp", (peer, waiting), desk, sessions).await.name();
    };
    match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(socket)).await {
        Ok(Ok(socket)) => connection::serve(socket, "rtmps", (peer, waiting), desk, sessions).await.name(),
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "TLS handshake failed: is the encoder set to rtmps://, and does it trust the certificate?");
            "tls"
        }
        Err(_) => {
            tracing::info!(%peer, "no TLS handshake within {TLS_HANDSHAKE:?}");
            "tls"
        }
    }
}
