//! One viewer by WebRTC from the answer to the end.

use std::sync::Arc;
use std::time::Duration;

use media::Kind;
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Event, Rtc};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::packets::{Feed, Packets};
use crate::signalling::Door;
use crate::transport::rtc::{Over, Peer};
use crate::web::pending::Waiting;

/// A client that is not connected by then has gone, or cannot reach us.
const CONNECT: Duration = Duration::from_secs(15);

/// A track as it was negotiated, and how far it is.
struct Track {
    mid: Mid,
    pt: Pt,
    next: u64,
}

/// See the module.
pub(super) struct Session {
    peer: Peer,
    feed: Feed,
    video: Option<Track>,
    audio: Option<Track>,
    connected: bool,
    /// Until then.
    waiting: Option<Waiting>,
    /// A keyframe was sent, and nothing was missed since.
    joined: bool,
}

impl Session {
    pub(super) fn new(peer: Peer, feed: Feed, waiting: Waiting) -> Self {
        let waiting = Some(waiting);
        Self { peer, feed, video: None, audio: None, connected: false, waiting, joined: false }
    }

    /// Runs to its end; a stable word for how that was.
    pub(super) async fn run(mut self, mut door: Door, stop: CancellationToken) -> &'static str {
        let ended = self.drive(&mut door, &stop).await;
        self.peer.close();
        tracing::info!(reason = ended, "viewer by WHEP left");
        ended
    }

    async fn drive(&mut self, door: &mut Door, stop: &CancellationToken) -> &'static str {
        let connect_by = tokio::time::Instant::now() + CONNECT;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return "dropped",
                Some(command) = door.commands.recv() => {
                    if !command.obey(&mut self.peer) {
                        return "left";
                    }
                }
                event = self.peer.next() => match event {
                    Ok(event) => self.event(event),
                    Err(Over::Left) => return "left",
                    Err(Over::Silent) => return "silent",
                    Err(Over::Closed) => return "dropped",
                    Err(Over::Failed(error)) => {
                        tracing::debug!(%error, "a viewer's session broke");
                        return "error";
                    }
                },
                packets = self.feed.next.recv(), if self.connected => match packets {
                    Ok(packets) => self.send(&packets),
                    // What was missed cannot be decoded over: it goes on with the next keyframe.
                    Err(RecvError::Lagged(_)) => self.joined = false,
                    Err(RecvError::Closed) => return "ended",
                },
                () = tokio::time::sleep_until(connect_by), if !self.connected => return "unconnected",
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::MediaAdded(media) => {
                let rtc = self.peer.rtc();
                match media.kind {
                    MediaKind::Video if self.video.is_none() => {
                        self.video = track(rtc, media.mid, Codec::H264);
                    }
                    MediaKind::Audio if self.audio.is_none() => {
                        self.audio = track(rtc, media.mid, Codec::Opus);
                    }
                    _ => {}
                }
            }
            Event::KeyframeRequest(_) => self.feed.stream.want_keyframe(),
            Event::Connected if !self.connected => {
                self.connected = true;
                self.waiting = None;
                for packets in self.feed.begin() {
                    self.send(&packets);
                }
            }
            _ => {}
        }
    }

    /// Sends a unit on, where it can be decoded.
    fn send(&mut self, packets: &Arc<Packets>) {
        let track = match packets.kind {
            Kind::Video => {
                self.joined |= packets.keyframe;
                self.video.as_mut().filter(|_| self.joined)
            }
            Kind::Audio => self.audio.as_mut(),
        };
        let Some(track) = track else { return };
        let mut direct = self.peer.rtc().direct_api();
        let Some(stream) = direct.stream_tx_by_mid(track.mid, None) else { return };
        let last = packets.payloads.len().saturating_sub(1);
        for (index, payload) in packets.payloads.iter().enumerate() {
            let number = SeqNo::from(track.next);
            track.next = track.next.saturating_add(1);
            let marker = packets.kind == Kind::Video && index == last;
            let write = RtpWrite::new(track.pt, number, packets.time, packets.wall, Arc::clone(payload));
            stream.write_rtp(write.marker(marker).nackable(packets.kind == Kind::Video));
        }
    }
}

/// The track as it was negotiated: of H.264 in pieces (packetization mode 1), whatever the profile.
fn track(rtc: &mut Rtc, mid: Mid, codec: Codec) -> Option<Track> {
    let known = rtc.media(mid)?.remote_pts().to_vec();
    let fits = |params: &&str0m::format::PayloadParams| {
        let spec = params.spec();
        spec.codec == codec
            && known.contains(&params.pt())
            && (codec != Codec::H264 || spec.format.packetization_mode == Some(1))
    };
    let pt = rtc.codec_config().params().iter().find(fits)?.pt();
    Some(Track { mid, pt, next: u64::from(rand::random::<u16>()) })
}
