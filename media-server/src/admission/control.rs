//! For tests: a control plane of a few lines, on a real socket.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Endpoint, Secrets};

/// What the next call gets.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// A status and a body.
    Answer(u16, Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// The connection is cut after the request.
    Cut,
}

/// One call as it came.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// The control plane. Dropping it closes its port and cuts its connections.
pub(super) struct ControlPlane {
    pub(super) address: SocketAddr,
    calls: watch::Receiver<Vec<Call>>,
    _tasks: JoinSet<()>,
}

/// The secret of these tests.
pub(super) fn secret() -> Secrets {
    "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".parse().unwrap()
}

/// An endpoint at a local port.
pub(super) fn endpoint(address: SocketAddr, timeout: Duration) -> Endpoint {
    Endpoint { url: format!("http://{address}/internal/hooks/publish"), timeout, secret: secret() }
}

impl ControlPlane {
    /// Gives `replies` in turn, and 204 after them.
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), replies).await
    }

    pub(super) async fn start_at(address: SocketAddr, replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let (tell, calls) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, replies, tell));
        Self { address, calls, _tasks: tasks }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        endpoint(self.address, Duration::from_secs(5))
    }

    /// All calls so far, once there are that many.
    pub(super) async fn calls(&mut self, at_least: usize) -> Vec<Call> {
        let enough = self.calls.wait_for(|calls| calls.len() >= at_least);
        tokio::time::timeout(Duration::from_secs(20), enough).await.expect("the calls come").unwrap().clone()
    }
}

async fn serve(listener: TcpListener, replies: Arc<Mutex<VecDeque<Reply>>>, tell: watch::Sender<Vec<Call>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (replies, tell) = (Arc::clone(&replies), tell.clone());
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &replies, &tell));
            // A cut connection is one of the replies.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await,
            );
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    replies: &Mutex<VecDeque<Reply>>,
    tell: &watch::Sender<Vec<Call>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Answer(204, Vec::new()));
    tell.send_modify(|calls| calls.push(Call { headers: parts.headers, body: body.to_bytes() }));
    match reply {
        Reply::Answer(status, body) => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            Ok(response)
        }
        Reply::Hang => {
            std::future::pending::<Infallible>().await;
            Err(std::io::ErrorKind::TimedOut.into())
        }
        Reply::Cut => Err(std::io::ErrorKind::ConnectionReset.into()),
    }
}
