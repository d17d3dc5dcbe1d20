//! ICE over TCP (RFC 6544): for clients whose network lets no UDP through. Frames have their length before them (RFC 4571).

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Port;
use super::registry::{Arrived, Inbox, Way};

/// Connections at a time.
const MOST: usize = 2_000;
/// Of those, that no session has.
const MOST_STRANGERS: usize = 200;
/// A connection that has not said by then whose it is, is closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing came for so long: consent is asked for every few seconds, and answered.
const SILENCE: Duration = Duration::from_secs(30);
/// A frame is what a datagram would be.
const LONGEST: usize = 2_000;
/// Frames that may wait to be written.
const WAITING: usize = 512;

/// Takes connections until `close`, and serves them to their end; when it is dropped they are closed.
pub(super) async fn accept(listener: TcpListener, port: &Port, close: &CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the WebRTC TCP port could not be taken into use"),
    };
    let (all, strangers) = (Arc::new(Semaphore::new(MOST)), Arc::new(Semaphore::new(MOST_STRANGERS)));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = close.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a WebRTC connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let permits = (Arc::clone(&all).try_acquire_owned(), Arc::clone(&strangers).try_acquire_owned());
        let (Ok(place), Ok(stranger)) = permits else {
            port.tally.strays.inc();
            continue;
        };
        let port = port.clone();
        connections.spawn(async move {
            let _place = place;
            let source = SocketAddr::new(source.ip().to_canonical(), source.port());
            let mut connection = Connection { stream, buffer: BytesMut::new() };
            let first = timeout(PATIENCE, connection.frame()).await.ok().flatten();
            let known = first.and_then(|first| Some((port.registry.of(source, &first)?, first)));
            let Some((inbox, first)) = known else {
                port.tally.strays.inc();
                return;
            };
            drop(stranger);
            connection.serve(first, source, &inbox).await;
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// Takes the next whole frame. None: more is to come; an error: it is too long.
fn cut(buffer: &mut BytesMut) -> Result<Option<Bytes>, ()> {
    let Some((length, _)) = buffer.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST {
        return Err(());
    }
    if buffer.len() < length.saturating_add(2) {
        return Ok(None);
    }
    buffer.advance(2);
    Ok(Some(buffer.split_to(length).freeze()))
}

impl Connection {
    /// The next frame. None: it is over. Cancel safe.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            match cut(&mut self.buffer) {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(()) => return None,
            }
            self.buffer.reserve(LONGEST);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn serve(mut self, first: Bytes, source: SocketAddr, inbox: &Inbox) {
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let (out, mut waiting) = mpsc::channel::<Bytes>(WAITING);
        let mut next = Some(first);
        loop {
            if let Some(bytes) = next.take() {
                let way = Way::Tcp(out.clone());
                inbox.put(Arrived { source, at: Instant::now(), bytes, way });
                if inbox.is_gone() {
                    return;
                }
            }
            tokio::select! {
                frame = timeout(SILENCE, self.frame()) => match frame {
                    Ok(Some(frame)) => next = Some(frame),
                    _ => return,
                },
                Some(frame) = waiting.recv() => {
                    let length = u16::try_from(frame.len()).unwrap_or(0).to_be_bytes();
                    let written = async {
                        self.stream.write_all(&length).await?;
                        self.stream.write_all(&frame).await
                    };
                    match timeout(SILENCE, written).await {
                        Ok(Ok(())) => {}
                        _ => return,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_wherever_they_were_split() {
        let mut buffer = BytesMut::from(&[0, 3, 1, 2][..]);
        assert_eq!(cut(&mut buffer), Ok(None));
        buffer.extend_from_slice(&[3, 0]);
        assert_eq!(cut(&mut buffer), Ok(Some(Bytes::from_static(&[1, 2, 3]))));
        assert_eq!(cut(&mut buffer), Ok(None));
        buffer.extend_from_slice(&[0]);
        assert_eq!(cut(&mut buffer), Ok(Some(Bytes::new())));
        assert_eq!(cut(&mut BytesMut::from(&[0xff, 0xff][..])), Err(()));
    }
}
