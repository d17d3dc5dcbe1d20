//! A path of datagrams that loses some and takes its time: a proxy on loopback, the same for the same seed.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

/// What the path does.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Of a thousand datagrams, in each direction.
    pub lost_in_thousand: u64,
    /// There and back.
    pub round_trip: Duration,
    /// Which datagrams are lost.
    pub seed: u64,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct LossyPath {
    /// Where to send to.
    pub address: SocketAddr,
    _running: JoinSet<Result<()>>,
}

impl LossyPath {
    /// A path to `target`, for one sender.
    pub async fn to(target: SocketAddr, path: Path) -> Result<Self> {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let far = UdpSocket::bind("127.0.0.1:0").await?;
        far.connect(target).await?;
        let address = near.local_addr()?;
        let mut running = JoinSet::new();
        running.spawn(carry(near, far, path));
        Ok(Self { address, _running: running })
    }
}

/// A generator that is good enough for dice (xorshift64*).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

async fn carry(near: UdpSocket, far: UdpSocket, path: Path) -> Result<()> {
    let (mut there, mut back) = (Dice(path.seed | 1), Dice(path.seed.rotate_left(32) | 1));
    let mut on_the_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)> = BTreeMap::new();
    let (mut sender, mut number) = (None, 0);
    let (mut from_near, mut from_far) = (vec![0; 2048], vec![0; 2048]);
    loop {
        let next = on_the_way.keys().next().map(|(at, _)| *at);
        let (outwards, datagram) = tokio::select! {
            biased;
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                while let Some(entry) = on_the_way.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
                    let (outwards, datagram) = entry.remove();
                    // A receiver that is not there is a loss like any other.
                    let _sent = match sender {
                        _ if outwards => far.send(&datagram).await.is_ok(),
                        Some(sender) => near.send_to(&datagram, sender).await.is_ok(),
                        None => false,
                    };
                }
                continue;
            }
            received = near.recv_from(&mut from_near) => {
                let (length, from) = received?;
                sender = Some(from);
                (true, from_near[..length].to_vec())
            }
            received = far.recv(&mut from_far) => match received {
                Ok(length) => (false, from_far[..length].to_vec()),
                // Nobody there yet.
                Err(_) => continue,
            },
        };
        let dice = if outwards { &mut there } else { &mut back };
        if dice.throw() % 1000 >= path.lost_in_thousand {
            number += 1;
            on_the_way.insert((Instant::now() + path.round_trip / 2, number), (outwards, datagram));
        }
    }
}
