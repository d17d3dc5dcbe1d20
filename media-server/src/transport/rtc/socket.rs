//! The UDP socket of every session, many datagrams a system call in both directions.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::registry::{Arrived, Way};
use super::{Port, tcp};

/// What the kernel may hold for the socket: some tenths of a second of all sessions.
const KERNEL_BUFFER: usize = 4 << 20;
/// One datagram, or as many of one sender as the kernel gives together.
const BUFFER: usize = 64 << 10;
/// Ports that are tried where any will do.
const TRIES: usize = 20;
/// How often a socket that was moved looks whether its last session has gone.
const LOOK: Duration = Duration::from_secs(1);

/// The port, bound and not yet served.
#[derive(Debug)]
pub struct Sockets {
    udp: std::net::UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl Sockets {
    /// Binds `address` for datagrams, and for connections. Where any port will do (0), one that is free for both.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let mut bound = Self::bind_one(address);
        for _ in 1..if address.port() == 0 { TRIES } else { 1 } {
            match &bound {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => bound = Self::bind_one(address),
                _ => break,
            }
        }
        bound
    }

    fn bind_one(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        // As much as the system lets us have.
        sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BUFFER)?;
        sockopt::set_socket_send_buffer_size(&socket, KERNEL_BUFFER)?;
        bind(&socket, &address)?;
        let udp = std::net::UdpSocket::from(socket);
        let address = udp.local_addr()?;
        let tcp = TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { udp, tcp, address })
    }

    /// Where they are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A socket in use.
pub(super) struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl UdpPort {
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    /// Datagrams of one length, of which the last may be shorter, that go to one place by one call.
    pub(super) fn most_together(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends datagrams of `size` bytes each. What the kernel does not take at once is lost like any datagram.
    pub(super) fn send(&self, to: SocketAddr, from: Option<IpAddr>, contents: &[u8], size: usize) {
        let segment_size = (contents.len() > size).then_some(size);
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: from };
        let sent = self
            .socket
            .try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.socket), &transmit));
        if let Err(error) = sent {
            tracing::debug!(%to, %error, "datagram not sent");
        }
    }

    /// Waits for datagrams, and gives each to `each`.
    async fn receive(
        &self,
        buffers: &mut [Vec<u8>],
        mut each: impl FnMut(SocketAddr, Option<IpAddr>, &[u8]),
    ) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = self
            .socket
            .async_io(Interest::READABLE, || {
                let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
                self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas)
            })
            .await?;
        for (meta, buffer) in metas.iter().zip(buffers.iter()).take(count) {
            let whole = buffer.get(..meta.len).unwrap_or_default();
            for datagram in whole.chunks(meta.stride.max(1)) {
                each(meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(())
    }
}

/// Serves the port until `close`, and the sessions that there are by then until the last has gone, or `stop`.
#[must_use = "nothing is received until this future is polled"]
pub async fn listen(sockets: Sockets, port: Port, close: CancellationToken, stop: CancellationToken) {
    let Sockets { udp, tcp, address } = sockets;
    port.registry.set_listening(address);
    let closing = async {
        close.cancelled().await;
        port.registry.close(address);
    };
    let socket = match UdpPort::new(udp) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%error, "the WebRTC socket could not be taken into use"),
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { tokio::join!(closing, tcp::accept(tcp, &port, &close), unused(&socket, &close)); } => {}
        () = receive(&socket, &port) => {}
    }
}

/// Resolves when the port was closed and no session has a way by it.
async fn unused(socket: &Arc<UdpPort>, close: &CancellationToken) {
    close.cancelled().await;
    loop {
        tokio::time::sleep(LOOK).await;
        if Arc::strong_count(socket) == 1 {
            return;
        }
    }
}

async fn receive(socket: &Arc<UdpPort>, port: &Port) {
    let length = BUFFER.min(socket.state.gro_segments().saturating_mul(2048));
    let mut buffers = vec![vec![0; length]; BATCH_SIZE];
    loop {
        let received = socket.receive(&mut buffers, |to, from, datagram| {
            let source = SocketAddr::new(to.ip().to_canonical(), to.port());
            let Some(inbox) = port.registry.of(source, datagram) else {
                port.tally.strays.inc();
                return;
            };
            let way = Way::Udp { port: Arc::clone(socket), to, from };
            let bytes = Bytes::copy_from_slice(datagram);
            if !inbox.put(Arrived { source, at: Instant::now(), bytes, way }) {
                port.tally.overflow.inc();
            }
        });
        if let Err(error) = received.await {
            // An answer of ours found nobody, or there is no memory: neither may stop the port.
            tracing::debug!(%error, "datagrams not read");
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_port_is_one_that_is_free_for_both() {
        let all: Vec<_> = (0..50).map(|_| Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap()).collect();
        assert!(all.iter().all(|it| it.tcp.local_addr().unwrap() == it.udp.local_addr().unwrap()));
        let taken = all[0].address();
        assert_eq!(Sockets::bind(taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
