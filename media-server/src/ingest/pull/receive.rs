//! One connection of a source: what comes is published as from anybody else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use media::doctor::Line;
use rustix::net::sockopt;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wire::srt::{Delivery, SrtUrl};
use wire::{PullUrl, UdpUrl};

use super::child::Remuxer;
use super::rtmp;
use super::source::{Over, Source};
use crate::ingest::publishing::{Allowed, begin};
use crate::ingest::srt::figures::Figures;
use crate::ingest::transport_session::TransportSession;
use crate::live::Link;
use crate::transport::SrtLine;

/// Until the other side has answered.
pub(super) const OPENING: Duration = Duration::from_secs(10);
/// Until a playlist and its first segment, or a file, are read.
const READING: Duration = Duration::from_secs(30);
/// Between two looks at what is not media.
pub(super) const PACE: Duration = Duration::from_millis(250);
/// Longest datagram, and memory that is taken for them at a time.
const LONGEST: usize = 65_536;
/// What the kernel may hold of a source's datagrams.
const KERNEL_BUFFER: usize = 4 << 20;

/// Why a session ended, as events have it.
pub(super) struct End {
    pub(super) reason: &'static str,
    pub(super) over: Over,
}

impl End {
    pub(super) fn dropped() -> Self {
        let text = "another publisher has taken the stream over, or it was dropped";
        Self { reason: "dropped", over: Over::Failed(text.into()) }
    }

    pub(super) fn unwanted() -> Self {
        Self { reason: "unwanted", over: Over::Unwanted }
    }

    pub(super) fn idle(idle: Duration) -> Self {
        Self { reason: "idle", over: Over::Failed(format!("nothing has come for {idle:?}")) }
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        match &self.over {
            Over::Unwanted => "nobody wants to see it".to_owned(),
            Over::Failed(error) => error.clone(),
        }
    }

    pub(super) fn lost(error: impl std::fmt::Display) -> Self {
        Self { reason: "lost", over: Over::Failed(error.to_string()) }
    }
}

/// Where packets come from.
enum Way {
    Srt(Box<(SrtLine, Option<Figures>)>),
    Udp(UdpSocket, BytesMut),
    Child(Box<Remuxer>),
}

/// Connects, and receives until it is over.
pub(super) async fn attempt(source: &Source, stop: &CancellationToken) -> Over {
    if let PullUrl::Rtmp(url) = &source.url {
        return rtmp::attempt(source, url, stop).await;
    }
    let opened = tokio::select! {
        () = stop.cancelled() => return Over::Unwanted,
        opened = open(source) => opened,
    };
    let (mut line, peer, first) = match opened {
        Ok(opened) => opened,
        Err(error) => return Over::Failed(error),
    };
    let halt = CancellationToken::new();
    let link = matches!(line, Way::Srt(..)).then(|| Arc::new(Link::default()));
    let (stream, profile) = (source.state.stream.clone(), source.state.profile.clone());
    let allowed = Allowed::fetched(stream, profile, source.url.protocol(), peer);
    let admitted = match begin(&source.desk, allowed, link.clone(), halt.clone()).await {
        Ok(admitted) => admitted,
        Err(denied) => return Over::Failed(denied.to_string()),
    };
    if let (Way::Srt(srt), Some(link)) = (&mut line, link) {
        srt.1 = Some(Figures::new(&admitted.publishing, link, &source.desk.metrics));
    }
    line.told();
    let mut session = TransportSession::new(admitted, &source.desk);
    source.live();
    let end = receive(source, &mut line, &mut session, first, (&halt, stop)).await;
    let text = end.text();
    session.publishing.close(end.reason, &text).await;
    end.over
}

/// Connects, and waits for the first packets.
async fn open(source: &Source) -> Result<(Way, SocketAddr, Option<Bytes>), String> {
    match &source.url {
        PullUrl::Srt(url) => {
            let line = open_srt(url).await?;
            let peer = line.peer().map_err(|error| error.to_string())?;
            Ok((Way::Srt(Box::new((line, None))), peer, None))
        }
        PullUrl::Udp(url) => {
            let socket =
                open_udp(url).map_err(|error| format!("cannot listen at {}: {error}", url.address))?;
            let mut room = BytesMut::with_capacity(LONGEST);
            // Until somebody sends, there is nothing to publish.
            let heard = timeout(OPENING, async {
                let (_, from) = socket.recv_buf_from(&mut room).await?;
                io::Result::Ok((room.split().freeze(), from))
            });
            let (first, from) = heard
                .await
                .map_err(|_| format!("nobody has sent anything to {} for {OPENING:?}", url.address))?
                .map_err(|error| error.to_string())?;
            Ok((Way::Udp(socket, room), from, Some(first)))
        }
        PullUrl::Hls(uri) => open_child(source, uri, false).await,
        PullUrl::File(uri) => open_child(source, uri, true).await,
        // It has a way of its own.
        PullUrl::Rtmp(_) => Err("no transport stream comes by RTMP".into()),
    }
}

/// The child, once it has read something.
async fn open_child(
    source: &Source,
    uri: &str,
    repeat: bool,
) -> Result<(Way, SocketAddr, Option<Bytes>), String> {
    let mut child = Remuxer::start(&source.desk.program, uri, repeat).map_err(|error| error.to_string())?;
    let begun = timeout(READING, child.turn()).await;
    begun.map_err(|_| format!("nothing could be read within {READING:?}"))??;
    Ok((Way::Child(Box::new(child)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), None))
}

async fn open_srt(url: &SrtUrl) -> Result<SrtLine, String> {
    match timeout(OPENING, SrtLine::call(url)).await {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            Err(format!("the server did not answer within {OPENING:?}: is it there, does it listen by SRT?"))
        }
    }
}

fn open_udp(url: &UdpUrl) -> io::Result<UdpSocket> {
    let multicast = url.address.ip().is_multicast();
    let socket = match url.address {
        SocketAddr::V4(_) => rustix::net::AddressFamily::INET,
        SocketAddr::V6(_) => rustix::net::AddressFamily::INET6,
    };
    let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(socket, rustix::net::SocketType::DGRAM, flags, None)?;
    // Several programs may take the same group.
    sockopt::set_socket_reuseaddr(&socket, multicast)?;
    // As much as the system lets us have.
    sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BUFFER)?;
    rustix::net::bind(&socket, &url.address)?;
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
    match url.address.ip() {
        IpAddr::V4(group) if multicast => socket.join_multicast_v4(group, url.interface)?,
        IpAddr::V6(group) if multicast => socket.join_multicast_v6(&group, 0)?,
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Ok(socket)
}

async fn receive(
    source: &Source,
    line: &mut Way,
    session: &mut TransportSession,
    first: Option<Bytes>,
    (halt, stop): (&CancellationToken, &CancellationToken),
) -> End {
    if let Some(first) = first
        && let Err(refusal) = session.payload(first, Instant::now())
    {
        return End { reason: "refused", over: Over::Failed(refusal.to_string()) };
    }
    let mut look = tokio::time::interval(PACE);
    loop {
        tokio::select! {
            () = stop.cancelled() => return End { reason: "dropped", over: Over::Unwanted },
            () = halt.cancelled() => return End::dropped(),
            _ = look.tick() => {
                let now = Instant::now();
                if source.is_unwanted() {
                    return End::unwanted();
                }
                let idle = source.desk.rules.load().idle_timeout;
                if session.is_silent(now, idle) {
                    return End::idle(idle);
                }
                if session.is_due(now) {
                    session.check_up(now, line.told());
                }
            }
            came = line.turn() => if let Err(error) = came { return End::lost(error) },
        }
        let now = Instant::now();
        while let Some(delivery) = line.deliver() {
            let taken = match delivery {
                Delivery::Payload(payload) => session.payload(payload, now),
                Delivery::Lost(_) => {
                    session.lost();
                    Ok(())
                }
            };
            if let Err(refusal) = taken {
                return End { reason: "refused", over: Over::Failed(refusal.to_string()) };
            }
        }
    }
}

impl Way {
    /// Waits until something has come, or is due. Cancel safe.
    async fn turn(&mut self) -> Result<(), String> {
        match self {
            Self::Srt(srt) => srt.0.turn().await.map_err(|error| error.to_string()),
            Self::Child(child) => child.turn().await,
            Self::Udp(socket, _) => socket.readable().await.map_err(|error| error.to_string()),
        }
    }

    fn deliver(&mut self) -> Option<Delivery> {
        match self {
            Self::Srt(srt) => srt.0.deliver(),
            Self::Child(child) => child.deliver().map(Delivery::Payload),
            Self::Udp(socket, room) => {
                if room.capacity() < LONGEST {
                    room.reserve(4 * LONGEST);
                }
                socket.try_recv_buf(room).ok()?;
                Some(Delivery::Payload(room.split().freeze()))
            }
        }
    }

    /// Tells API and metrics; the line as the doctor has it.
    fn told(&mut self) -> Line {
        match self {
            Self::Srt(srt) => {
                let (line, figures) = &mut **srt;
                let (stats, bits) = (line.stats(), line.key_bits());
                figures.as_mut().map(|figures| figures.tell(&stats, bits)).unwrap_or_default()
            }
            Self::Udp(..) | Self::Child(_) => Line::default(),
        }
    }
}
