//! SRT ingest: UDP sockets around `wire::srt`. One socket a lane shares the port with the others; the kernel gives all of
//! a caller's datagrams to the same one, so that a caller lives on one thread from the socket to its stream.

mod caller;
mod endpoint;
pub(super) mod figures;
mod let_in;
mod player;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Desk;
use endpoint::Endpoint;

/// What the kernel may hold for a socket: some tenths of a second of all its callers.
const KERNEL_BUFFER: usize = 4 << 20;
/// Callers get this long to be told goodbye when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Sockets of one port.
#[derive(Debug)]
pub struct Sockets {
    sockets: Vec<UdpSocket>,
    address: SocketAddr,
}

impl Sockets {
    /// Binds `address` `count` times.
    pub fn bind(address: SocketAddr, count: usize) -> io::Result<Self> {
        // Another program on the port would be let share it: asked for alone first.
        drop(UdpSocket::bind(address)?);
        let first = shared(address)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(shared(address)?);
        }
        Ok(Self { sockets, address })
    }

    /// Where they are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    // As much as the system lets us have.
    sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BUFFER)?;
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

/// Takes SRT callers until `cancel`; those that publish outlive it, and end with `sessions`.
#[must_use = "nothing is answered until this future is polled"]
pub async fn listen(
    sockets: Sockets,
    desk: Desk,
    max_connections: usize,
    cancel: CancellationToken,
    sessions: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let endpoints = TaskTracker::new();
    let mut secret = [0; 32];
    rand::fill(&mut secret);
    let lanes: Vec<_> = desk.lanes.each().cloned().collect();
    for (socket, lane) in sockets.sockets.into_iter().zip(lanes.iter().cycle()) {
        let (desk, permits) = (desk.clone(), Arc::clone(&permits));
        let (cancel, sessions) = (cancel.clone(), sessions.clone());
        let endpoint = async move {
            match tokio::net::UdpSocket::from_std(socket) {
                Ok(socket) => Endpoint::new(socket, secret, desk, permits).run(cancel, sessions).await,
                Err(error) => tracing::error!(%error, "an SRT socket could not be taken into use"),
            }
        };
        endpoints.spawn_on(endpoint, lane);
    }
    endpoints.close();
    tokio::select! {
        () = endpoints.wait() => {}
        () = async { sessions.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::info!("SRT publishers still connected are cut off");
        }
    }
}
