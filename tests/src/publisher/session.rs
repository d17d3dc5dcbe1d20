//! A publisher inside the test: an independent RTMP client opens the session, then tags are written as plain chunks.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{
        ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::Instant,
};

use super::{chunks, flv::Tag};
use crate::rtmp_url::RtmpUrl;

/// How long the server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The message stream that servers give to the first publisher of a connection.
const STREAM: u32 = 1;

/// What a session runs over: TCP, or TLS on it.
pub trait Line: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line for S {}

/// An accepted publisher.
pub struct Session {
    writer: WriteHalf<Box<dyn Line>>,
    reading: JoinSet<()>,
    buffer: BytesMut,
}

/// The handshake done, nothing said yet: where hostile bytes begin.
pub struct Opened {
    /// The connection.
    pub socket: TcpStream,
    left_over: Vec<u8>,
}

/// Connects and does the handshake only.
pub async fn open(address: &str) -> Result<Opened> {
    let mut socket = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    socket.set_nodelay(true)?;
    let left_over = shake_hands(&mut socket).await?;
    Ok(Opened { socket, left_over })
}

async fn shake_hands(socket: &mut impl Line) -> Result<Vec<u8>> {
    let mut handshake = Handshake::new(PeerType::Client);
    let first = handshake.generate_outbound_p0_and_p1().map_err(|error| anyhow::anyhow!("{error}"))?;
    socket.write_all(&first).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = read_some(socket, &mut buffer).await?;
        match handshake.process_bytes(&buffer[..length]).map_err(|error| anyhow::anyhow!("{error}"))? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                socket.write_all(&response_bytes).await?;
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                socket.write_all(&response_bytes).await?;
                return Ok(remaining_bytes);
            }
        }
    }
}

async fn read_some(socket: &mut impl Line, buffer: &mut [u8]) -> Result<usize> {
    let length =
        tokio::time::timeout(PATIENCE, socket.read(buffer)).await.context("the server says nothing")??;
    anyhow::ensure!(length > 0, "the server closed the connection");
    Ok(length)
}

impl Session {
    /// Connects and publishes; an error with the server's words where it refuses.
    pub async fn publish(url: &RtmpUrl) -> Result<Self> {
        let Opened { socket, left_over } = open(&url.address).await?;
        Self::request(Box::new(socket), left_over, url).await
    }

    /// The same from another address of this machine.
    pub async fn publish_from(from: IpAddr, url: &RtmpUrl) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        let socket = socket.connect(url.address.parse()?).await?;
        socket.set_nodelay(true)?;
        Self::publish_on(socket, url).await
    }

    /// The same over a connection that there is.
    pub async fn publish_on(mut socket: impl Line, url: &RtmpUrl) -> Result<Self> {
        let left_over = shake_hands(&mut socket).await?;
        Self::request(Box::new(socket), left_over, url).await
    }

    async fn request(mut socket: Box<dyn Line>, left_over: Vec<u8>, url: &RtmpUrl) -> Result<Self> {
        let mut config = ClientSessionConfig::new();
        config.flash_version = "FMLE/3.0 (compatible; weir-tests)".into();
        config.tc_url = Some(url.server());
        let (mut session, results) =
            ClientSession::new(config).map_err(|error| anyhow::anyhow!("{error}"))?;
        send(&mut socket, results).await?;
        let connect =
            session.request_connection(url.app.clone()).map_err(|error| anyhow::anyhow!("{error}"))?;
        send(&mut socket, vec![connect]).await?;
        let mut input = left_over;
        let mut buffer = vec![0; 16_384];
        loop {
            let results = session.handle_input(&input).map_err(|error| anyhow::anyhow!("{error}"))?;
            let mut packets = Vec::new();
            for result in results {
                match result {
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestAccepted) => {
                        let request = session.request_publishing(url.key.clone(), PublishRequestType::Live);
                        packets.push(request.map_err(|error| anyhow::anyhow!("{error}"))?);
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::PublishRequestAccepted) => {
                        send(&mut socket, packets).await?;
                        return Self::accepted(socket).await;
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestRejected {
                        description,
                    }) => {
                        bail!("connection refused: {description}")
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::UnhandleableOnStatusCode {
                        code,
                    }) => {
                        bail!("publishing refused: {code}")
                    }
                    packet @ ClientSessionResult::OutboundResponse(_) => packets.push(packet),
                    _ => {}
                }
            }
            send(&mut socket, packets).await?;
            let length = read_some(&mut socket, &mut buffer).await?;
            input = buffer[..length].to_vec();
        }
    }

    async fn accepted(socket: Box<dyn Line>) -> Result<Self> {
        let (reader, mut writer) = tokio::io::split(socket);
        let mut first = BytesMut::new();
        chunks::set_chunk_size(&mut first);
        writer.write_all(&first).await?;
        let mut reading = JoinSet::new();
        reading.spawn(drain(reader));
        Ok(Self { writer, reading, buffer: BytesMut::new() })
    }

    /// Writes one tag at that timestamp (milliseconds) and says when the last byte was handed over.
    pub async fn send(&mut self, tag: &Tag, timestamp: u32) -> Result<Instant> {
        self.buffer.clear();
        chunks::media(&mut self.buffer, tag, timestamp, STREAM);
        self.writer.write_all(&self.buffer).await.context("the server closed the connection")?;
        Ok(Instant::now())
    }

    /// Writes bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).await.context("the server closed the connection")
    }

    /// Writes tags in real time, once.
    pub async fn play(&mut self, tags: &[Tag]) -> Result<()> {
        let start = Instant::now();
        for tag in tags {
            tokio::time::sleep_until(start + Duration::from_millis(u64::from(tag.timestamp))).await;
            self.send(tag, tag.timestamp).await?;
        }
        Ok(())
    }

    /// Writes tags in real time, again and again from the first keyframe, until `end`.
    pub async fn replay(&mut self, tags: &[Tag], end: Instant) -> Result<()> {
        let lasts = tags.last().map_or(0, |tag| tag.timestamp) + 33;
        let start = Instant::now();
        for lap in 0_u32.. {
            for tag in tags {
                if lap > 0 && (tag.is_configuration() || tag.kind == super::flv::SCRIPT) {
                    continue;
                }
                let timestamp = tag.timestamp + lap * lasts;
                let due = start + Duration::from_millis(u64::from(timestamp));
                if due >= end {
                    tokio::time::sleep_until(end).await;
                    return Ok(());
                }
                tokio::time::sleep_until(due).await;
                self.send(tag, timestamp).await?;
            }
        }
        Ok(())
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&mut self, within: Duration) -> Result<()> {
        tokio::time::timeout(within, self.reading.join_next())
            .await
            .with_context(|| format!("the server did not close the connection within {within:?}"))?;
        Ok(())
    }
}

/// Publishes to `url` in the background and sends `tags` in real time, again and again, for that long; then it leaves
/// without a word. `Err` is how the server ended it.
pub fn sending(url: RtmpUrl, tags: &[Tag], lasts: Duration) -> JoinSet<Result<()>> {
    let tags = tags.to_vec();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut session = Session::publish(&url).await?;
        session.replay(&tags, Instant::now() + lasts).await
    });
    task
}

async fn send(socket: &mut Box<dyn Line>, results: Vec<ClientSessionResult>) -> Result<()> {
    for result in results {
        if let ClientSessionResult::OutboundResponse(packet) = result {
            socket.write_all(&packet.bytes).await?;
        }
    }
    Ok(())
}

/// Takes what the server says, so that it never has to wait for us.
async fn drain(mut reader: ReadHalf<Box<dyn Line>>) {
    let mut buffer = vec![0; 16_384];
    while matches!(reader.read(&mut buffer).await, Ok(length) if length > 0) {}
}

/// Reads until the server closes, at most `limit` bytes.
pub async fn read_to_close(socket: &mut TcpStream, limit: usize, within: Duration) -> Result<Bytes> {
    let mut all = BytesMut::new();
    let reading = async {
        while all.len() < limit {
            match socket.read_buf(&mut all).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(within, reading).await.with_context(|| format!("not closed within {within:?}"))?;
    Ok(all.freeze())
}
