//! The accept loop of HTTP/1.1 and 2, plain or by TLS: bounded connections, each in its own owned task, drained at the end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;
use super::respond;

/// A client that has not sent its request's head by then is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A TLS handshake must be done by then.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// Open requests get this long when the daemon stops.
pub(super) const DRAIN: Duration = Duration::from_secs(3);

/// The ends of the connection that a request came by; among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Who asks, or who asks for somebody.
    pub peer: SocketAddr,
    /// Ours, where it is known.
    pub local: Option<IpAddr>,
}

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Counts open connections.
    pub gauge: Gauge,
}

/// Serves `answer` on `listener` until `close`, by TLS where `tls` says how. Open connections stay until `stop`; then their
/// requests get a moment to finish.
#[must_use = "nothing is served until this future is polled"]
pub async fn serve<F, R>(
    (listener, tls): (TcpListener, Option<TlsAcceptor>),
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
        let ends = Ends { peer, local: stream.local_addr().ok().map(|local| local.ip()) };
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ends);
            let asks_for_head = request.method() == Method::HEAD;
            let response = answer(request);
            async move {
                let response = response.await;
                Ok::<_, Infallible>(if asks_for_head { respond::head_only(response) } else { response })
            }
        });
        let (builder, watcher, tls) = (builder.clone(), graceful.watcher(), tls.clone());
        let gauge = limits.gauge.clone();
        connections.spawn(async move {
            gauge.inc();
            match tls {
                None => speak(&builder, watcher, stream, service).await,
                Some(tls) => match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => speak(&builder, watcher, stream, service).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "no TLS handshake within {TLS_HANDSHAKE:?}"),
                },
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

/// One connection, to its end. HTTP/2 is told from HTTP/1.1 by its first bytes, whatever ALPN said.
async fn speak<S, V>(builder: &auto::Builder<TokioExecutor>, watcher: Watcher, stream: S, service: V)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    V::Future: Send + 'static,
{
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "HTTP connection ended early");
    }
}
