//! A push by RTMP or RTMPS: connects, publishes, sends what is on the air.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Format, Kind, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;
use wire::rtmp::{Client, Media, PushUrl};

use super::push::Push;
use super::tags;
use crate::live::{PushState, Tapped};
use crate::transport::{Line, connect};

const AGENT: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));
/// Until the other server takes the publish.
const OPENING: Duration = Duration::from_secs(10);
/// A server that takes nothing for so long is dead.
const WRITE: Duration = Duration::from_secs(10);

/// Until the stream has nothing more, or the connection is lost.
pub(super) async fn send(push: &Push, url: &PushUrl) -> Result<(), String> {
    let opened = timeout(OPENING, open(push, url)).await;
    let (client, reader, writer) =
        opened.map_err(|_| format!("the server did not take the publish within {OPENING:?}"))??;
    push.live();
    // Sound alone has no keyframe to wait for.
    let sound_only = push.stream.snapshot().source_video.is_none();
    let state = &push.state;
    let sending = Sending { client, writer, state, sound_only, began: None, video: None, audio: None };
    sending.serve(push.stream.tap(), reader).await
}

async fn open(
    push: &Push,
    url: &PushUrl,
) -> Result<(Client, ReadHalf<Box<dyn Line>>, WriteHalf<Box<dyn Line>>), String> {
    let line = connect(url, &push.authorities.load_full()).await?;
    let (mut reader, mut writer) = tokio::io::split(line);
    let mut entropy = [0; 1528];
    rand::fill(&mut entropy[..]);
    let mut client = Client::new(url.clone(), AGENT, &entropy);
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

fn lost(error: &std::io::Error) -> String {
    format!("connection lost: {error}")
}

/// A push that is taken.
struct Sending<'a> {
    client: Client,
    writer: WriteHalf<Box<dyn Line>>,
    state: &'a PushState,
    sound_only: bool,
    /// The first keyframe's time: zero for the other server.
    began: Option<Timestamp>,
    /// The formats that it knows.
    video: Option<Arc<Format>>,
    audio: Option<Arc<Format>>,
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
                tapped = tap.recv() => match tapped {
                    // An RTMP server knows one sound.
                    Ok(tapped) if tapped.sound > 0 => {}
                    Ok(tapped) => {
                        whole |= match tapped.format.kind() {
                            Kind::Video => tapped.unit.keyframe,
                            Kind::Audio => self.sound_only,
                        };
                        if whole {
                            self.unit(tapped).await?;
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

    async fn unit(&mut self, Tapped { format, unit, .. }: Tapped) -> Result<(), String> {
        let began = *self.began.get_or_insert(unit.dts);
        // Sound from before the first picture has no place.
        let Ok(ms) = u64::try_from((unit.dts - began).ticks(1000)) else { return Ok(()) };
        // RTMP's clock wraps (5.3.1.2).
        let at = ms as u32;
        let mut pieces = Vec::new();
        let known = match format.kind() {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        };
        let is_new = known.as_ref() != Some(&format);
        if is_new {
            *known = Some(Arc::clone(&format));
            pieces.extend(self.metadata(at));
        }
        let (kind, header, head, config) = match &*format {
            Format::Video(video) => {
                (Media::Video, tags::video_header(video), tags::picture(video, &unit), tags::record(video))
            }
            Format::Audio(audio) => {
                (Media::Audio, tags::audio_header(audio), tags::frame(audio), audio.config.clone())
            }
        };
        if is_new {
            pieces.extend(self.client.media(kind, at, header.as_slice(), &config));
        }
        pieces.extend(self.client.media(kind, at, head.as_slice(), &unit.payload));
        self.write(&pieces).await
    }

    fn metadata(&mut self, at: u32) -> Vec<Bytes> {
        let video = self
            .video
            .as_deref()
            .and_then(|it| if let Format::Video(video) = it { Some(video) } else { None });
        let audio = self
            .audio
            .as_deref()
            .and_then(|it| if let Format::Audio(audio) = it { Some(audio) } else { None });
        let data = tags::metadata(video, audio, AGENT);
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
