//! A path of datagrams that loses some and takes its time: a proxy on loopback, the same for the same seed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

/// What the path does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// Of a thousand datagrams, in each direction.
    pub lost_in_thousand: u64,
    /// Of ten thousand datagrams so many begin a burst, in which all are lost, and how many a burst is.
    pub bursts: (u64, u64),
    /// Up to so much longer on the way, in the order in which they were sent.
    pub jitter: Duration,
    /// Of a thousand datagrams so many are overtaken by those of the next so long.
    pub overtaken: (u64, Duration),
    /// There and back.
    pub round_trip: Duration,
    /// Bits a second that fit through, in each direction; 0: as many as come. What waits too long for its turn is lost.
    pub bits_per_second: u64,
    /// Which datagrams are lost.
    pub seed: u64,
}

/// Another sender is taken once the one before has been silent for so long: clients of ICE try all of their sockets at once.
const SILENT: Duration = Duration::from_millis(500);
/// The longest queue before a narrow path.
const QUEUE: Duration = Duration::from_millis(400);

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct LossyPath {
    /// Where to send to.
    pub address: SocketAddr,
    /// Of SRT, the number of the connection that the newest datagram there is for.
    connection: Arc<AtomicU32>,
    _running: JoinSet<Result<()>>,
}

impl LossyPath {
    /// A path to `target`, for one sender.
    pub async fn to(target: SocketAddr, path: Path) -> Result<Self> {
        Self::between(IpAddr::V4(Ipv4Addr::LOCALHOST), target, path).await
    }

    /// The same for a sender that sends nothing to loopback (libnice): to this machine's own address.
    pub async fn from_here(target: SocketAddr, path: Path) -> Result<Self> {
        let here = UdpSocket::bind("0.0.0.0:0").await?;
        // Nothing is sent: it is asked by which address that would be.
        here.connect("192.0.2.1:9").await?;
        Self::between(here.local_addr()?.ip(), target, path).await
    }

    async fn between(near: IpAddr, target: SocketAddr, path: Path) -> Result<Self> {
        let near = UdpSocket::bind((near, 0)).await?;
        let far = UdpSocket::bind("127.0.0.1:0").await?;
        far.connect(target).await?;
        let address = near.local_addr()?;
        let mut running = JoinSet::new();
        let connection = Arc::default();
        running.spawn(carry(near, far, path, Arc::clone(&connection)));
        Ok(Self { address, connection, _running: running })
    }

    /// The number by which the receiver knows a caller by SRT.
    pub fn connection(&self) -> Option<u32> {
        Some(self.connection.load(Ordering::Relaxed)).filter(|number| *number > 0)
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

/// One direction.
struct Direction {
    dice: Dice,
    /// Datagrams of a burst that are still to be lost.
    burst: u64,
    /// When the last one that keeps its place arrives.
    last: Option<Instant>,
    /// When a narrow path has room for the next.
    free: Option<Instant>,
}

impl Direction {
    fn new(seed: u64) -> Self {
        Self { dice: Dice(seed | 1), burst: 0, last: None, free: None }
    }

    /// When a datagram that is sent now arrives, if it does.
    fn arrives(&mut self, path: &Path, length: usize) -> Option<Instant> {
        let throw = self.dice.throw();
        if path.bursts.1 > 0 && self.burst == 0 && self.dice.throw() % 10_000 < path.bursts.0 {
            self.burst = path.bursts.1;
        }
        if self.burst > 0 {
            self.burst -= 1;
            return None;
        }
        if throw % 1000 < path.lost_in_thousand {
            return None;
        }
        let now = Instant::now();
        let mut at = now + path.round_trip / 2;
        if path.bits_per_second > 0 {
            let turn = self.free.map_or(now, |free| free.max(now));
            if turn - now > QUEUE {
                return None;
            }
            let through = turn + Duration::from_secs_f64(length as f64 * 8.0 / path.bits_per_second as f64);
            self.free = Some(through);
            at += through - now;
        }
        if path.overtaken.0 > 0 && self.dice.throw() % 1000 < path.overtaken.0 {
            return Some(at + path.overtaken.1);
        }
        if !path.jitter.is_zero() {
            at += path.jitter.mul_f64((self.dice.throw() % 1000) as f64 / 1000.0);
            at = self.last.map_or(at, |last| last.max(at));
            self.last = Some(at);
        }
        Some(at)
    }
}

async fn carry(near: UdpSocket, far: UdpSocket, path: Path, connection: Arc<AtomicU32>) -> Result<()> {
    let (mut there, mut back) = (Direction::new(path.seed), Direction::new(path.seed.rotate_left(32)));
    let mut on_the_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)> = BTreeMap::new();
    let (mut sender, mut heard, mut number) = (None, Instant::now(), 0);
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
                if sender.is_some_and(|sender| sender != from) && heard.elapsed() < SILENT {
                    continue;
                }
                (sender, heard) = (Some(from), Instant::now());
                if let Some(number) = from_near.get(12..16).and_then(<[u8]>::first_chunk) {
                    connection.store(u32::from_be_bytes(*number), Ordering::Relaxed);
                }
                (true, from_near[..length].to_vec())
            }
            received = far.recv(&mut from_far) => match received {
                Ok(length) => (false, from_far[..length].to_vec()),
                // Nobody there yet.
                Err(_) => continue,
            },
        };
        let direction = if outwards { &mut there } else { &mut back };
        if let Some(at) = direction.arrives(&path, datagram.len()) {
            number += 1;
            on_the_way.insert((at, number), (outwards, datagram));
        }
    }
}
