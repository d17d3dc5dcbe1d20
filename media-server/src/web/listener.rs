//! The accept loop: bounded connections, each in its own owned task, drained at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;

/// A client that has not sent its request's head by then is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Open requests get this long when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// The ends of the connection that a request came by; among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Who asks, or who asks for somebody.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Counts open connections.
    pub gauge: Gauge,
}

/// Serves `answer` on `listener` until `close`. Open connections stay until `stop`; then their requests get a
/// moment to finish.
#[must_use = "nothing is served until this future is polled"]
pub async fn serve<F, R>(
    listener: TcpListener,
    limits: Limits,
    close: CancellationToken,
    stop: CancellationToken,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(20));
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = close.cancelled() => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client is gone already: neither may stop the listener.
                tracing::warn!(%error, "could not accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let answer = answer.clone();
        let ends = stream.local_addr().map(|local| Ends { peer, local });
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Ok(ends) = &ends {
                request.extensions_mut().insert(*ends);
            }
            let response = answer(request);
            async move { Ok::<_, Infallible>(response.await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        let gauge = limits.gauge.clone();
        connections.spawn(async move {
            gauge.inc();
            if let Err(error) = connection.await {
                tracing::debug!(error, "HTTP connection ended early");
            }
            gauge.dec();
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => return,
        () = stop.cancelled() => {}
    }
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::info!("HTTP clients still connected are cut off");
    }
}
