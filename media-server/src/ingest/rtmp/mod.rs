//! RTMP ingest: sockets around `wire::rtmp`.

mod connection;
mod further_tracks;
mod media_messages;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Desk;
use crate::metrics::Outcome;

/// Publishers get this long to be told goodbye when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Takes RTMP connections from `listener` until `cancel`. Connections outlive a rebind of the listener: they end
/// with `sessions`.
#[must_use = "nothing is accepted until this future is polled"]
pub async fn listen(
    listener: TcpListener,
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
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            tracing::warn!(%peer, max_connections, "RTMP connection refused: [rtmp] max_connections is reached");
            desk.metrics.rtmp_closed.get_or_create(&Outcome { outcome: "too-many" }).inc();
            continue;
        };
        let desk = desk.clone();
        let sessions = sessions.clone();
        connections.spawn(async move {
            desk.metrics.rtmp_connections.inc();
            let outcome = connection::serve(socket, peer, &desk, sessions).await;
            desk.metrics.rtmp_connections.dec();
            desk.metrics.rtmp_closed.get_or_create(&Outcome { outcome: outcome.name() }).inc();
            drop(permit);
        });
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
