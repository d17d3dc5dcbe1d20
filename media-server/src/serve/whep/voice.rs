//! A stream's first sound as Opus: as its publisher sent it, or, where that was something else, encoded while somebody watches.

use std::time::{Duration, Instant};

use media::{AccessUnit, AudioFormat, Format};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use super::OpusFactory;
use crate::live::{Rendition, Snapshot, StreamHandle, Tapped};

/// Packets that may wait.
const WAITING: usize = 64;
/// A publisher who sends Opus sends a packet at least so often; where none comes, it is encoded.
const PATIENCE: Duration = Duration::from_millis(300);

/// An encoder of this feed's own.
struct Encoder {
    of: AudioFormat,
    frames: mpsc::Sender<AccessUnit>,
    packets: mpsc::Receiver<AccessUnit>,
}

/// See the module.
pub(super) struct Voice {
    name: String,
    opus: OpusFactory,
    /// As the publisher sent it.
    sent: broadcast::Receiver<Tapped>,
    sent_last: Instant,
    /// The rendition that players by LL-HLS hear.
    heard: Option<broadcast::Receiver<Tapped>>,
    encoder: Option<Encoder>,
}

impl Voice {
    pub(super) fn new(stream: &StreamHandle, opus: &OpusFactory) -> Self {
        let snapshot = stream.snapshot();
        let mut voice = Self {
            name: snapshot.name.to_string(),
            opus: opus.clone(),
            sent: stream.beside(),
            sent_last: Instant::now(),
            heard: None,
            encoder: None,
        };
        voice.listen(&snapshot);
        voice
    }

    /// Listens to a rendition of sound that has come since.
    pub(super) fn listen(&mut self, snapshot: &Snapshot) {
        if self.heard.is_none() {
            self.heard = snapshot.audio.first().map(Rendition::listen);
        }
    }

    /// The next packet; None when the stream is over. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<AccessUnit> {
        loop {
            let heard = async {
                match &mut self.heard {
                    Some(heard) => heard.recv().await,
                    None => std::future::pending().await,
                }
            };
            let encoded = async {
                match &mut self.encoder {
                    Some(encoder) => encoder.packets.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                sent = self.sent.recv() => match sent {
                    Ok(Tapped { unit, .. }) => {
                        self.sent_last = Instant::now();
                        self.encoder = None;
                        return Some(unit);
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                packet = encoded => match packet {
                    Some(packet) => return Some(packet),
                    None => self.encoder = None,
                },
                heard = heard => match heard {
                    Ok(tapped) => {
                        if let Some(unit) = self.rendered(tapped) {
                            return Some(unit);
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => self.heard = None,
                },
            }
        }
    }

    /// What players by LL-HLS hear: Opus goes on as it is, AAC to the encoder where nothing better comes.
    fn rendered(&mut self, tapped: Tapped) -> Option<AccessUnit> {
        let Tapped { format, unit, .. } = tapped;
        let Format::Audio(format) = &*format else { return None };
        if self.sent_last.elapsed() < PATIENCE {
            return None;
        }
        if format.codec == "opus" {
            return Some(unit);
        }
        if self.encoder.as_ref().is_none_or(|encoder| encoder.of != *format) {
            let (give, packets) = mpsc::channel(WAITING);
            let frames = (self.opus)(&self.name, format, give);
            self.encoder = Some(Encoder { of: format.clone(), frames, packets });
        }
        let encoder = self.encoder.as_ref()?;
        // An encoder that is too slow misses it.
        let _taken = encoder.frames.try_send(unit).is_ok();
        None
    }
}
