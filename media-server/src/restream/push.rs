//! One push: connects, publishes, sends what is on the air; after a failure waits, and tries again until the stream
//! is over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use media::{AudioFormat, Timestamp, VideoFormat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use wire::rtmp::{Media, PushClient, PushUrl};

use super::backoff::Backoff;
use super::line::{self, Line};
use super::tags;
use crate::live::{Phase, PushState, StreamHandle, Tapped};

const AGENT: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));
/// Until the other server takes the publish.
const OPENING: Duration = Duration::from_secs(10);
/// A server that takes nothing for so long is dead.
const WRITE: Duration = Duration::from_secs(10);
/// A push that has lived this long starts over with short pauses.
const STEADY: Duration = Duration::from_secs(30);

pub(super) struct Push {
    name: Arc<str>,
    url: PushUrl,
    stream: StreamHandle,
    state: Arc<PushState>,
    authorities: Arc<ArcSwap<PathBuf>>,
}

impl Push {
    pub(super) fn new(
        url: PushUrl,
        stream: StreamHandle,
        state: Arc<PushState>,
        authorities: Arc<ArcSwap<PathBuf>>,
    ) -> Self {
        let name = Arc::clone(&stream.snapshot().name);
        Self { name, url, stream, state, authorities }
    }

    /// Until the stream ends, or `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut snapshots = self.stream.watch();
        let over = async {
            // An error: the stream is gone.
            let _ended = snapshots.wait_for(|snapshot| snapshot.phase == Phase::Ended).await.is_ok();
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = over => {}
            () = self.again_and_again() => {}
        }
        self.state.stopped();
        tracing::info!(stream = %self.name, target = %self.url, bytes = self.state.bytes(), "push ended");
    }

    async fn again_and_again(&self) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let error = self.attempt().await;
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            let pause = backoff.next(rand::random());
            tracing::warn!(stream = %self.name, target = %self.url, error, again_in = ?pause, "push failed");
            self.state.failed(error);
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection; why it ended.
    async fn attempt(&self) -> String {
        self.state.attempt();
        let opened = timeout(OPENING, self.open()).await;
        let (client, reader, writer) = match opened {
            Ok(Ok(open)) => open,
            Ok(Err(error)) => return error,
            Err(_) => return format!("the server did not take the publish within {OPENING:?}"),
        };
        self.state.live();
        tracing::info!(stream = %self.name, target = %self.url, "push is live");
        // Sound alone has no keyframe to wait for.
        let sound_only = self.stream.snapshot().source_video.is_none();
        let state = &self.state;
        let sending = Sending { client, writer, state, sound_only, began: None, video: None, audio: None };
        match sending.serve(self.stream.tap(), reader).await {
            Ok(()) => "the stream has nothing more to send".into(),
            Err(error) => error,
        }
    }

    async fn open(&self) -> Result<(PushClient, ReadHalf<Box<dyn Line>>, WriteHalf<Box<dyn Line>>), String> {
        let line = line::connect(&self.url, &self.authorities.load_full()).await?;
        let (mut reader, mut writer) = tokio::io::split(line);
        let mut entropy = [0; 1528];
        rand::fill(&mut entropy[..]);
        let mut client = PushClient::new(self.url.clone(), AGENT, &entropy);
        let mut buffer = vec![0; 8192];
        while !client.is_live() {
            let out = client.output();
            writer.write_all(&out).await.map_err(|error| lost(&error))?;
            writer.flush().await.map_err(|error| lost(&error))?;
            let length = reader.read(&mut buffer).await.map_err(|error| lost(&error))?;
            if length == 0 {
                return Err("the server closed the connection: is the stream key right?".into());
            }
            client.feed(buffer.get(..length).unwrap_or_default()).map_err(|error| error.to_string())?;
        }
        Ok((client, reader, writer))
    }
}

fn lost(error: &std::io::Error) -> String {
    format!("connection lost: {error}")
}

/// A push that is taken.
struct Sending<'a> {
    client: PushClient,
    writer: WriteHalf<Box<dyn Line>>,
    state: &'a PushState,
    sound_only: bool,
    /// The first keyframe's time: zero for the other server.
    began: Option<Timestamp>,
    /// The formats that it knows.
    video: Option<Arc<VideoFormat>>,
    audio: Option<Arc<AudioFormat>>,
}

impl Sending<'_> {
    async fn serve(
        mut self,
        mut tap: broadcast::Receiver<Tapped>,
        mut reader: ReadHalf<Box<dyn Line>>,
    ) -> Result<(), String> {
        // After a loss nothing goes out until the next keyframe.
        let mut whole = false;
        let mut buffer = vec![0; 8192];
        loop {
            tokio::select! {
                read = reader.read(&mut buffer) => {
                    let length = read.map_err(|error| lost(&error))?;
                    if length == 0 {
                        return Err("the server closed the connection".into());
                    }
                    self.client.feed(buffer.get(..length).unwrap_or_default()).map_err(|error| error.to_string())?;
                    let out = self.client.output();
                    self.write(&[out]).await?;
                }
                unit = tap.recv() => match unit {
                    Ok(unit) => {
                        whole |= match &unit {
                            Tapped::Video(_, unit) => unit.keyframe,
                            Tapped::Audio(..) => self.sound_only,
                        };
                        if whole {
                            self.unit(unit).await?;
                        }
                    }
                    Err(RecvError::Lagged(units)) => {
                        self.state.lost(units);
                        whole = false;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    async fn unit(&mut self, tapped: Tapped) -> Result<(), String> {
        let dts = match &tapped {
            Tapped::Video(_, unit) | Tapped::Audio(_, unit) => unit.dts,
        };
        let began = *self.began.get_or_insert(dts);
        // Sound from before the first picture has no place.
        let Ok(ms) = u64::try_from((dts - began).ticks(1000)) else { return Ok(()) };
        // RTMP's clock wraps (5.3.1.2).
        let at = ms as u32;
        let mut pieces = Vec::new();
        match tapped {
            Tapped::Video(format, unit) => {
                if self.video.as_ref() != Some(&format) {
                    self.video = Some(Arc::clone(&format));
                    pieces.extend(self.metadata(at));
                    let head = tags::video_header(&format);
                    pieces.extend(self.client.media(Media::Video, at, head.as_slice(), &format.config));
                }
                let head = tags::picture(&format, &unit);
                pieces.extend(self.client.media(Media::Video, at, head.as_slice(), &unit.payload));
            }
            Tapped::Audio(format, unit) => {
                if self.audio.as_ref() != Some(&format) {
                    self.audio = Some(Arc::clone(&format));
                    pieces.extend(self.metadata(at));
                    let head = tags::audio_header(&format);
                    pieces.extend(self.client.media(Media::Audio, at, head.as_slice(), &format.config));
                }
                let head = tags::frame(&format);
                pieces.extend(self.client.media(Media::Audio, at, head.as_slice(), &unit.payload));
            }
        }
        self.write(&pieces).await
    }

    fn metadata(&mut self, at: u32) -> Vec<Bytes> {
        let data = tags::metadata(self.video.as_deref(), self.audio.as_deref(), AGENT);
        self.client.media(Media::Data, at, &[], &data)
    }

    async fn write(&mut self, pieces: &[Bytes]) -> Result<(), String> {
        let writer = &mut self.writer;
        let written = timeout(WRITE, async {
            for piece in pieces {
                writer.write_all(piece).await?;
            }
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {
                self.state.sent(pieces.iter().map(|piece| piece.len() as u64).sum());
                Ok(())
            }
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(format!("the server took nothing for {WRITE:?}")),
        }
    }
}
