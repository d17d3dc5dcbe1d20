//! An HTTP/3 client for tests: one connection to each server, kept.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::{Buf as _, Bytes, BytesMut};
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use http::{Request, response::Parts};
use http_body_util::{BodyExt as _, Full};
use quinn::{ClientConfig, Endpoint, crypto::rustls::QuicClientConfig};
use tokio::{sync::Mutex, task::JoinSet};

use crate::certificate::Trust;

/// See the module.
pub struct Http3 {
    endpoint: Endpoint,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    servers: HashMap<SocketAddr, SendRequest<OpenStreams, Bytes>>,
    drivers: JoinSet<()>,
}

impl Http3 {
    /// One that trusts this certificate alone.
    pub fn new(trust: &Trust) -> Result<Self> {
        let mut tls = trust.config();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        Ok(Self { endpoint, open: Mutex::default() })
    }

    async fn connected(&self, server: SocketAddr) -> Result<SendRequest<OpenStreams, Bytes>> {
        let mut open = self.open.lock().await;
        if let Some(requests) = open.servers.get(&server) {
            return Ok(requests.clone());
        }
        let connection = self.endpoint.connect(server, "localhost")?.await?;
        let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
        open.drivers.spawn(async move {
            // Ends with the connection; why, a request says.
            std::future::poll_fn(|context| driver.poll_close(context)).await;
        });
        open.servers.insert(server, requests.clone());
        Ok(requests)
    }

    /// One request, and its whole answer of at most `most` bytes.
    pub async fn request(&self, request: Request<Full<Bytes>>, most: usize) -> Result<(Parts, Bytes)> {
        let (head, body) = request.into_parts();
        let server = head.uri.authority().context("no server in the address")?.as_str().parse()?;
        let mut requests = self.connected(server).await?;
        let sent = requests.send_request(Request::from_parts(head, ())).await;
        let mut stream = match sent {
            Ok(stream) => stream,
            Err(error) => {
                self.open.lock().await.servers.remove(&server);
                return Err(error.into());
            }
        };
        let body = body.collect().await?.to_bytes();
        if !body.is_empty() {
            stream.send_data(body).await?;
        }
        stream.finish().await?;
        let (parts, ()) = stream.recv_response().await?.into_parts();
        let mut whole = BytesMut::new();
        while let Some(data) = stream.recv_data().await? {
            anyhow::ensure!(whole.len() + data.remaining() <= most, "more than {most} bytes");
            bytes::BufMut::put(&mut whole, data);
        }
        Ok((parts, whole.freeze()))
    }
}
