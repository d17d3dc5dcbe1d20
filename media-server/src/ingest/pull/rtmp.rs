//! A source by RTMP or RTMPS: another server's stream is played, and published here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wire::rtmp::{Client, PushUrl};

use super::receive::{End, OPENING, PACE};
use super::source::{Over, Source};
use crate::ingest::black_box::BlackBox;
use crate::ingest::budget::Budget;
use crate::ingest::publishing::{Admitted, Allowed, begin};
use crate::ingest::rtmp::media_messages::MediaMessages;
use crate::transport::{Line, connect};

const AGENT: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));
/// What one read may bring.
const READ: usize = 64 * 1024;
/// A server that does not take our few answers for so long is dead.
const WRITE: Duration = Duration::from_secs(10);

struct Playing {
    client: Client,
    line: Box<dyn Line>,
    buffer: Vec<u8>,
}

impl Playing {
    async fn open(source: &Source, url: &PushUrl) -> Result<Self, String> {
        let authorities = source.desk.rules.load().authorities.clone();
        let line = connect(url, &authorities).await?;
        let mut entropy = [0; 1528];
        rand::fill(&mut entropy[..]);
        let client = Client::player(url.clone(), AGENT, &entropy);
        let mut playing = Self { client, line, buffer: vec![0; READ] };
        playing.answer().await?;
        while !playing.client.is_live() {
            let length = playing.line.read(&mut playing.buffer).await.map_err(lost).and_then(some)?;
            playing.feed(length, Instant::now(), None)?;
            playing.answer().await?;
        }
        Ok(playing)
    }

    /// Takes in the first `length` bytes of the buffer, and has them recorded.
    fn feed(&mut self, length: usize, now: Instant, black_box: Option<&mut BlackBox>) -> Result<(), String> {
        let bytes = self.buffer.get(..length).unwrap_or_default();
        let mut black_box = black_box;
        if let Some(black_box) = black_box.as_mut().filter(|it| it.is_due(now))
            && let Some(state) = self.client.checkpoint()
        {
            black_box.turn(now, state, self.client.unfinished());
        }
        self.client.feed(bytes).map_err(|error| error.to_string())?;
        if let Some(black_box) = black_box {
            black_box.read(now, bytes, self.client.traced());
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<(), String> {
        let out = self.client.output();
        if out.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE, async {
            self.line.write_all(&out).await?;
            self.line.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("connection lost: {error}")),
            Err(_) => Err(format!("the server took nothing for {WRITE:?}")),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn lost(error: std::io::Error) -> String {
    format!("connection lost: {error}")
}

/// What a read gave, if not the end.
fn some(length: usize) -> Result<usize, String> {
    if length > 0 {
        Ok(length)
    } else {
        Err("the server closed the connection: is there such a stream?".into())
    }
}

/// Connects, and receives until it is over.
pub(super) async fn attempt(source: &Source, url: &PushUrl, stop: &CancellationToken) -> Over {
    let opened = tokio::select! {
        () = stop.cancelled() => return Over::Unwanted,
        opened = timeout(OPENING, Playing::open(source, url)) => opened,
    };
    let mut playing = match opened {
        Ok(Ok(playing)) => playing,
        Ok(Err(error)) => return Over::Failed(error),
        Err(_) => return Over::Failed(format!("the server did not begin to play within {OPENING:?}")),
    };
    let halt = CancellationToken::new();
    let (stream, profile) = (source.state.stream.clone(), source.state.profile.clone());
    // By its name: which of its addresses it was is TCP's business.
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, url.port));
    let allowed = Allowed::fetched(stream, profile, source.url.protocol(), nowhere);
    let Admitted { mut publishing, checkup, limits, .. } =
        match begin(&source.desk, allowed, None, halt.clone()).await {
            Ok(admitted) => admitted,
            Err(denied) => return Over::Failed(denied.to_string()),
        };
    source.live();
    if publishing.black_box.is_some() {
        playing.client.trace();
    }
    let (start, name) = (publishing.publisher.start(), publishing.stream.clone());
    let mut messages = MediaMessages::new(start, name, checkup, limits);
    let mut budget = Budget::new(limits, Instant::now());
    let mut heard = Instant::now();
    let mut look = tokio::time::interval(PACE);
    let end = loop {
        let length = tokio::select! {
            () = stop.cancelled() => break End { reason: "dropped", over: Over::Unwanted },
            () = halt.cancelled() => break End::dropped(),
            _ = look.tick() => {
                if source.is_unwanted() {
                    break End::unwanted();
                }
                let idle = source.desk.rules.load().idle_timeout;
                if heard.elapsed() >= idle {
                    break End::idle(idle);
                }
                let health = messages.check_up(Instant::now());
                publishing.check_up(0, health);
                continue;
            }
            read = playing.line.read(&mut playing.buffer) => match read.map_err(lost).and_then(some) {
                Ok(length) => length,
                Err(error) => break End::lost(error),
            },
        };
        let now = Instant::now();
        if let Err(error) = playing.feed(length, now, publishing.black_box.as_mut()) {
            break End::lost(error);
        }
        let mut refused = budget.spend(now, length as u64, 1).err().map(|excess| excess.to_string());
        while let Some(event) = playing.client.next() {
            heard = now;
            if let Err(refusal) = messages.event(&event, now, &mut publishing.publisher) {
                refused = Some(refusal.to_string());
            }
        }
        if let Some(refused) = refused {
            break End { reason: "refused", over: Over::Failed(refused) };
        }
        if let Err(error) = playing.answer().await {
            break End::lost(error);
        }
    };
    let text = end.text();
    publishing.close(end.reason, &text).await;
    end.over
}
