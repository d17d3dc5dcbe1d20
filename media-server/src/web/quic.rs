//! HTTP/3 (RFC 9114) over QUIC: bounded connections and requests, each connection with its requests in a task of its own, drained at
//! the end. 0-RTT is off: what it carries can be sent again by others.

use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::quic::BidiStream;
use h3::server::RequestStream;
use http::header::{CONTENT_LENGTH, DATE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime, TransportConfig, VarInt};
use rustls::ServerConfig;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::Body;
use super::listener::{DRAIN, Ends, Limits};
use super::respond;

/// ALPN of HTTP/3.
pub const H3: &[u8] = b"h3";

/// A client that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(30);
/// Requests of one connection at a time: as many as a player has renditions, and a few more.
const MOST_REQUESTS: u32 = 128;
/// Control and QPACK streams, and some that are not known here.
const MOST_STREAMS: u32 = 8;
/// What a client may send ahead of being read: an offer of WebRTC is the most there is.
const WINDOW: u32 = 256 << 10;
/// Largest head of a request, in bytes (RFC 9114 4.2.2).
const MOST_HEAD: u64 = 16 << 10;
/// From this share of the connections on a client has to show that it is where it says (RFC 9000 8.1.2), which costs it a
/// round trip.
const CROWDED: usize = 4;

/// How long a connection stays behind its last answer, when all is over.
const LINGER: Duration = Duration::from_millis(300);

/// `H3_NO_ERROR`, RFC 9114 8.1.
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

/// Why there is no HTTP/3.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// Without TLS 1.3 there is no QUIC.
    #[error("TLS cannot be used with QUIC: {0}")]
    Tls(#[from] NoInitialCipherSuite),
    /// The socket.
    #[error("the UDP socket: {0}")]
    Socket(#[from] io::Error),
}

/// Takes connections on a socket.
pub fn endpoint(socket: UdpSocket, tls: Arc<ServerConfig>) -> Result<Endpoint, QuicError> {
    socket.set_nonblocking(true)?;
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE.as_millis() as u32))))
        .max_concurrent_bidi_streams(MOST_REQUESTS.into())
        .max_concurrent_uni_streams(MOST_STREAMS.into())
        .receive_window(WINDOW.into())
        .stream_receive_window(WINDOW.into())
        .datagram_receive_buffer_size(None);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?)
}

/// Serves `answer` on `endpoint` until `close`. Open connections stay until `stop`; then their requests get a moment to
/// finish.
#[must_use = "nothing is served until this future is polled"]
pub async fn serve<F, R>(
    endpoint: Endpoint,
    limits: Limits,
    close: CancellationToken,
    stop: CancellationToken,
    answer: F,
) where
    F: Fn(Request<Upload>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let most = limits.connections.min(Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let connections = TaskTracker::new();
    loop {
        let incoming = tokio::select! {
            () = close.cancelled() => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let crowded = permits.available_permits() < most - most / CROWDED;
        if crowded && !incoming.remote_address_validated() {
            // Not with one that has been asked already, which is validated.
            incoming.retry().ok();
            continue;
        }
        let (answer, stop, gauge) = (answer.clone(), stop.clone(), limits.gauge.clone());
        connections.spawn(async move {
            gauge.inc();
            let peer = incoming.remote_address();
            if let Err(error) = connection(incoming, stop, answer).await {
                tracing::debug!(%peer, %error, "HTTP/3 connection ended early");
            }
            gauge.dec();
            drop(permit);
        });
    }
    endpoint.set_server_config(None);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::info!(left = connections.len(), "HTTP/3 clients still connected are cut off");
        }
    }
    endpoint.close(NO_ERROR, b"");
}

/// Why a connection ended otherwise than by a goodbye.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Quic(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Http(#[from] h3::error::ConnectionError),
}

async fn connection<F, R>(incoming: Incoming, stop: CancellationToken, answer: F) -> Result<(), Ended>
where
    F: Fn(Request<Upload>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let local = incoming.local_ip();
    let connection = incoming.await?;
    let ends = Ends { peer: connection.remote_address(), local };
    let mut builder = h3::server::builder();
    builder.max_field_section_size(MOST_HEAD);
    let mut http = builder.build(h3_quinn::Connection::new(connection.clone())).await?;
    let mut requests = JoinSet::new();
    let mut stopping = false;
    while !stopping || !requests.is_empty() {
        let next = tokio::select! {
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                http.shutdown(0).await?;
                continue;
            }
            Some(_done) = requests.join_next(), if !requests.is_empty() => continue,
            next = http.accept() => next,
        };
        // The client has said goodbye.
        let Some(resolver) = next? else { break };
        let answer = answer.clone();
        requests.spawn(async move {
            let one = async move {
                let (head, stream) = resolver.resolve_request().await?;
                let (mut send, receive) = stream.split();
                let mut request = head.map(|()| Upload(receive));
                request.extensions_mut().insert(ends);
                let asks_for_head = request.method() == Method::HEAD;
                let response = answer(request).await;
                let response = if asks_for_head { respond::head_only(response) } else { response };
                send_all(&mut send, response).await
            };
            if let Err(error) = one.await {
                tracing::debug!(%error, "an HTTP/3 request ended early");
            }
        });
    }
    while requests.join_next().await.is_some() {}
    // What was answered last is on its way: with the connection it would be lost.
    drop(tokio::time::timeout(LINGER, connection.closed()).await);
    Ok(())
}

async fn send_all<S: h3::quic::SendStream<Bytes>>(
    stream: &mut RequestStream<S, Bytes>,
    response: Response<Body>,
) -> Result<(), h3::error::StreamError> {
    let (mut head, mut body) = response.into_parts();
    // What hyper says of itself for other versions.
    if let Some(date) = date(OffsetDateTime::now_utc()) {
        head.headers.entry(DATE).or_insert(date);
    }
    if !matches!(head.status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
        head.headers.entry(CONTENT_LENGTH).or_insert(body.len().into());
    }
    stream.send_response(Response::from_parts(head, ())).await?;
    // Its error is infallible.
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            stream.send_data(data).await?;
        }
    }
    stream.finish().await
}

/// As HTTP writes it (RFC 9110 5.6.7).
fn date(at: OffsetDateTime) -> Option<HeaderValue> {
    const IMF: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    HeaderValue::from_str(&at.format(IMF).ok()?).ok()
}

type Receive = RequestStream<<h3_quinn::BidiStream<Bytes> as BidiStream<Bytes>>::RecvStream, Bytes>;

/// What comes with a request.
pub struct Upload(Receive);

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = h3::error::StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let read = std::task::ready!(self.0.poll_recv_data(context));
        Poll::Ready(match read {
            Ok(Some(mut data)) => Some(Ok(Frame::data(data.copy_to_bytes(data.remaining())))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_date_is_written_as_http_does() {
        let date = date(datetime!(1994-11-06 08:49:37 UTC));
        assert_eq!(date.unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
