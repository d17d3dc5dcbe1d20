//! A call to an SRT listener, over a socket of its own.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::{UdpSocket, lookup_host};
use wire::srt::{Call, CallError, Closed, Connection, Delivery, Dialer, LARGEST, PAYLOAD, SrtUrl, Stats};

/// What is held back where the address does not say.
const LATENCY: Duration = Duration::from_millis(120);
/// Datagrams that are read before what is due is done.
const BATCH: usize = 64;
/// Memory that is taken for datagrams at a time.
const ROOM: usize = 64 * LARGEST;

/// Why a call failed, or ended.
#[derive(Debug, thiserror::Error)]
pub enum SrtLineError {
    /// The name has no address.
    #[error("{0} has no address: {1}")]
    Name(String, io::Error),
    /// The socket failed.
    #[error("the network failed: {0}")]
    Network(#[from] io::Error),
    /// The other side said no.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The other side has ended it.
    #[error("the server closed the connection")]
    Left,
    /// Nothing is heard of the other side.
    #[error("nothing was heard of the server for 5 s")]
    Silent,
}

/// A call that was taken.
pub struct SrtLine {
    socket: UdpSocket,
    connection: Connection,
    /// Zero of the connection's times.
    zero: Instant,
    room: BytesMut,
}

impl SrtLine {
    /// Calls. It is tried until the other side says something: the caller bounds the time.
    pub async fn call(url: &SrtUrl) -> Result<Self, SrtLineError> {
        let named = lookup_host((url.host.as_str(), url.port)).await;
        let mut found = named.map_err(|error| SrtLineError::Name(url.host.clone(), error))?;
        let to = found
            .next()
            .ok_or_else(|| SrtLineError::Name(url.host.clone(), io::Error::from(io::ErrorKind::NotFound)))?;
        let any: SocketAddr =
            if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        let mut entropy = [0; 32];
        rand::fill(&mut entropy);
        let call = Call {
            stream_id: url.stream_id.clone(),
            latency: url.latency.unwrap_or(LATENCY),
            secret: url.secret.clone(),
            to: to.ip(),
            entropy,
        };
        let zero = Instant::now();
        let mut dialer = Dialer::new(zero.elapsed(), call)?;
        let mut room = BytesMut::new();
        loop {
            while let Some(datagram) = dialer.transmit(zero.elapsed()) {
                send(&socket, &datagram);
            }
            let due = tokio::time::Instant::from_std(zero + dialer.timeout());
            tokio::select! {
                ready = socket.readable() => ready?,
                () = tokio::time::sleep_until(due) => continue,
            }
            while let Some(datagram) = receive(&socket, &mut room) {
                if let Some(over) = dialer.receive(zero.elapsed(), &datagram) {
                    return Ok(Self { socket, connection: over?, zero, room });
                }
            }
        }
    }

    /// What was seen of it.
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// Bits of its keys; 0: it is not encrypted.
    pub fn key_bits(&self) -> usize {
        self.connection.key_bits()
    }

    /// Who is called.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Hands transport packets over, as many a datagram as it may have.
    pub fn give(&mut self, packets: &Bytes) {
        let at = self.zero.elapsed();
        give(&mut self.connection, at, packets);
        self.flush();
    }

    /// What has come and is due.
    pub fn deliver(&mut self) -> Option<Delivery> {
        self.connection.deliver(self.zero.elapsed())
    }

    /// Waits until something has come or is due, and does it. Cancel safe.
    pub async fn turn(&mut self) -> Result<(), SrtLineError> {
        let due = tokio::time::Instant::from_std(self.zero + self.connection.timeout());
        tokio::select! {
            ready = self.socket.readable() => ready?,
            () = tokio::time::sleep_until(due) => {}
        }
        for _ in 0..BATCH {
            let Some(datagram) = receive(&self.socket, &mut self.room) else { break };
            self.connection.receive(self.zero.elapsed(), &datagram);
        }
        self.connection.tick(self.zero.elapsed());
        self.flush();
        match self.connection.closed() {
            None => Ok(()),
            Some(Closed::Left) => Err(SrtLineError::Left),
            Some(Closed::Silent) => Err(SrtLineError::Silent),
        }
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.connection.transmit(self.zero.elapsed()) {
            send(&self.socket, &datagram);
        }
    }
}

impl Drop for SrtLine {
    /// Says goodbye.
    fn drop(&mut self) {
        self.connection.shut_down(self.zero.elapsed());
        self.flush();
    }
}

/// Hands transport packets to a connection, as many a datagram as it may have.
pub fn give(connection: &mut Connection, at: Duration, packets: &Bytes) {
    let mut from = 0;
    while from < packets.len() {
        let to = packets.len().min(from + PAYLOAD);
        connection.send(at, packets.slice(from..to));
        from = to;
    }
}

/// What the kernel does not take at once is lost like any datagram.
fn send(socket: &UdpSocket, datagram: &[u8]) {
    if let Err(error) = socket.try_send(datagram) {
        tracing::debug!(%error, "SRT datagram not sent");
    }
}

/// The next datagram that is there. Nobody at the other end is no error: it may come.
fn receive(socket: &UdpSocket, room: &mut BytesMut) -> Option<Bytes> {
    if room.capacity() < LARGEST {
        *room = BytesMut::with_capacity(ROOM);
    }
    match socket.try_recv_buf(room) {
        Ok(_) => Some(room.split().freeze()),
        Err(_) => None,
    }
}
