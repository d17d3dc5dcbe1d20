//! A rung for viewers by WebRTC alone: where no rung of a stream is what browsers play (its pictures have another codec, or
//! B-frames), its best is encoded while somebody watches, and no longer.

use std::sync::Arc;

use media::{Format, Span, Timestamp, VideoFormat, ladder};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::live::{Rendition, RungEvent, RungFactory, RungRequest, Rungs, Snapshot, StreamHandle, Tapped};

/// Whoever joins waits for no keyframe that is further away, however far apart the source's are.
const KEYFRAMES: Span = Span::from_millis(2000);

/// An encoder of one format.
struct Encoder {
    of: Arc<Format>,
    rungs: Rungs,
    /// How what it makes decodes.
    makes: Option<Arc<Format>>,
    /// The last keyframe that it was asked for.
    keyframe: Option<Timestamp>,
    /// Units were missed: what builds on them cannot be decoded.
    broken: bool,
}

impl Encoder {
    fn start(stream: &str, of: &Arc<Format>, video: &VideoFormat, factory: &RungFactory) -> Self {
        let rung = ladder::like(video);
        tracing::info!(
            stream,
            source = video.codec,
            width = rung.width,
            height = rung.height,
            bits_per_second = rung.video_bitrate,
            "no rung is H.264 without B-frames, which is what browsers play by WebRTC: one is encoded while somebody watches"
        );
        let rungs = factory(RungRequest {
            stream: stream.to_owned(),
            source: video.clone(),
            rungs: vec![rung],
            wanted: vec![true],
        });
        Self { of: Arc::clone(of), rungs, makes: None, keyframe: None, broken: true }
    }

    fn push(&mut self, Tapped { unit, .. }: Tapped) {
        self.broken &= !unit.keyframe;
        if self.broken {
            return;
        }
        let due = self.keyframe.is_none_or(|last| unit.pts - last >= KEYFRAMES);
        let edge = unit.keyframe || due;
        if edge {
            self.keyframe = Some(unit.pts);
        }
        self.rungs.sink.push(unit, edge);
    }
}

/// What is encoded: the best that the stream has.
fn source(snapshot: &Snapshot) -> Option<&Rendition> {
    snapshot.video.first()
}

/// How large the picture will be, and its bits a second; None of a stream without pictures.
pub(super) fn rung(snapshot: &Snapshot) -> Option<ladder::Rung> {
    match &source(snapshot)?.format {
        Format::Video(video) => Some(ladder::like(video)),
        Format::Audio(_) => None,
    }
}

/// Encodes until the encoder cannot be kept alive, or the stream is gone. Cancelled, it lets its worker go.
pub(super) async fn encode(handle: &StreamHandle, factory: &RungFactory, out: &broadcast::Sender<Tapped>) {
    let mut snapshots = handle.watch();
    let stream = Arc::clone(&handle.snapshot().name);
    let mut encoder: Option<Encoder> = None;
    let mut heard: Option<broadcast::Receiver<Tapped>> = None;
    loop {
        if heard.is_none()
            && let Some(rendition) = source(&snapshots.borrow_and_update())
        {
            let (group, next) = rendition.join();
            let format = Arc::new(rendition.format.clone());
            for unit in group {
                let tapped = Tapped { sound: 0, language: None, format: Arc::clone(&format), unit };
                take(&mut encoder, tapped, &stream, factory);
            }
            heard = Some(next);
        }
        let pictures = async {
            match &mut heard {
                Some(heard) => heard.recv().await,
                None => std::future::pending().await,
            }
        };
        let made = async {
            match &mut encoder {
                Some(encoder) => encoder.rungs.events.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard_now = pictures => match heard_now {
                Ok(tapped) => take(&mut encoder, tapped, &stream, factory),
                Err(RecvError::Lagged(_)) => {
                    if let Some(encoder) = &mut encoder {
                        encoder.broken = true;
                    }
                }
                Err(RecvError::Closed) => heard = None,
            },
            event = made => match event {
                Some(event) => give(&mut encoder, event, out),
                None => return,
            },
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// A unit of the source; one of another format has another encoder.
fn take(encoder: &mut Option<Encoder>, tapped: Tapped, stream: &str, factory: &RungFactory) {
    let Format::Video(video) = &*tapped.format else { return };
    let known = encoder.take().filter(|it| Arc::ptr_eq(&it.of, &tapped.format) || *it.of == *tapped.format);
    let known = known.unwrap_or_else(|| Encoder::start(stream, &tapped.format, video, factory));
    encoder.insert(known).push(tapped);
}

/// What the encoder has made goes to whoever makes packets of it.
fn give(encoder: &mut Option<Encoder>, event: RungEvent, out: &broadcast::Sender<Tapped>) {
    let Some(known) = encoder else { return };
    match event {
        RungEvent::Format { format, .. } => known.makes = Some(Arc::new(Format::Video(format))),
        RungEvent::Unit { unit, .. } => {
            if let Some(format) = &known.makes {
                let tapped = Tapped { sound: 0, language: None, format: Arc::clone(format), unit };
                // Nobody may be left meanwhile.
                let _heard = out.send(tapped).is_ok();
            }
        }
        // The one that replaces it goes on where it was; its end comes as the end of its events.
        RungEvent::Restarted { .. }
        | RungEvent::Left { .. }
        | RungEvent::Refused { .. }
        | RungEvent::Failed { .. } => {}
    }
}
