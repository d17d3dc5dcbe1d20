//! One viewer by WebRTC from the answer to the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::Kind;
use str0m::bwe::{Bitrate, BweKind};
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Event, Rtc};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::layers::Choice;
use super::packets::{Feed, PacketFeeds, Packets, is_played, layers};
use crate::signalling::{self, Command, Door};
use crate::transport::rtc::{Over, Peer};
use crate::web::pending::Waiting;

/// A client that is not connected by then has gone, or cannot reach us.
const CONNECT: Duration = Duration::from_secs(15);

/// Between two looks at whether another rung is better.
const LOOK: Duration = Duration::from_millis(500);
/// How much more than the best rung a line is asked whether it carries, in hundredths.
const PROBED: u64 = 160;

/// Ticks of its clock by which one rung may be behind another.
const BEHIND: i32 = 5 * 90_000;

/// A track as it was negotiated, and how far it is.
struct Track {
    mid: Mid,
    pt: Pt,
    next: u64,
    /// Of the last unit: one rung begins where another ends.
    time: Option<u32>,
}

/// See the module.
pub(super) struct Session {
    peer: Peer,
    feeds: PacketFeeds,
    feed: Feed,
    /// Another rung, of which a keyframe is waited for.
    other: Option<Feed>,
    choice: Choice,
    video: Option<Track>,
    audio: Option<Track>,
    connected: bool,
    /// Until then.
    waiting: Option<Waiting>,
    /// A keyframe was sent, and nothing was missed since.
    joined: bool,
}

impl Session {
    /// `fixed`: the rung was asked for by its name.
    pub(super) fn new(peer: Peer, feeds: PacketFeeds, feed: Feed, fixed: bool, waiting: Waiting) -> Self {
        let waiting = Some(waiting);
        let mut choice = Choice::default();
        choice.fix(fixed.then(|| Arc::clone(&feed.rung)));
        let (video, audio, other) = (None, None, None);
        let (connected, joined) = (false, false);
        Self { peer, feeds, feed, other, choice, video, audio, connected, waiting, joined }
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
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let changing = self.connected && self.other.is_some();
            let other = heard(self.other.as_mut());
            tokio::select! {
                biased;
                () = stop.cancelled() => return "dropped",
                Some(command) = door.commands.recv() => {
                    if !self.obey(command) {
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
                packets = other, if changing => match packets {
                    Ok(packets) => self.change(&packets),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => self.other = None,
                },
                packets = self.feed.next.recv(), if self.connected => match packets {
                    Ok(packets) => self.send(&packets),
                    // What was missed cannot be decoded over: it goes on with the next keyframe.
                    Err(RecvError::Lagged(_)) => self.joined = false,
                    // Its rung may be gone, and the stream not.
                    Err(RecvError::Closed) if self.choose() => {}
                    Err(RecvError::Closed) => return "ended",
                },
                _ = look.tick(), if self.connected => {
                    self.choose();
                }
                () = tokio::time::sleep_until(connect_by), if !self.connected => return "unconnected",
            }
        }
    }

    /// False: the client has done with the session.
    fn obey(&mut self, command: Command) -> bool {
        let Command::Layers(wish, answer) = command else { return command.obey(&mut self.peer) };
        let known = layers(&self.feed.stream.snapshot());
        let chosen = match wish {
            None => Ok(()),
            Some(signalling::Layer::Auto) => {
                self.choice.fix(None);
                Ok(())
            }
            Some(signalling::Layer::Named(name)) => match known.iter().find(|it| *it.encoding_id == *name) {
                Some(layer) => {
                    self.choice.fix(Some(Arc::clone(&layer.encoding_id)));
                    Ok(())
                }
                None => Err(signalling::Unknown),
            },
        };
        self.choose();
        let current = self.other.as_ref().map_or(&self.feed.rung, |other| &other.rung);
        let _told = answer.send(Some(chosen.map(|()| self.choice.describe(&known, current)))).is_ok();
        true
    }

    /// Looks whether another rung should be sent; true where one is on its way.
    fn choose(&mut self) -> bool {
        let snapshot = self.feed.stream.snapshot();
        if let [only] = &snapshot.video[..]
            && only.name == self.feed.rung
            && is_played(only)
        {
            return self.other.is_some();
        }
        let known = layers(&snapshot);
        if known.len() > 1
            && let Some(most) = known.iter().map(|layer| layer.bitrate).max()
        {
            let wanted = Bitrate::bps(most.saturating_mul(PROBED) / 100);
            self.peer.rtc().bwe().set_desired_bitrate(wanted);
        }
        let current = self.other.as_ref().map_or(&self.feed.rung, |other| &other.rung);
        let next = self.choice.next(&known, current, Instant::now());
        if let Some(next) = next.filter(|next| next.encoding_id == self.feed.rung) {
            tracing::debug!(rung = %next.encoding_id, "a viewer stays");
            self.other = None;
        } else if let Some(next) = next
            && let Ok(feed) = self.feeds.of(&self.feed.stream, Some(&next.encoding_id))
        {
            tracing::debug!(rung = %next.encoding_id, "a viewer goes to another rung");
            self.other = Some(feed);
        }
        self.other.is_some()
    }

    /// What comes of the other rung: with a keyframe it is the one that is sent.
    fn change(&mut self, packets: &Arc<Packets>) {
        if packets.kind == Kind::Video
            && packets.keyframe
            && let Some(other) = self.other.take()
        {
            self.feed = other;
            self.joined = false;
            self.send(packets);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.choice.estimated(estimate.as_u64());
            }
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
        // A rung that is encoded is behind the source: what it has of a time that was shown already is shown at once.
        let time = match track.time {
            Some(last) if is_before(packets.time, last) => {
                if packets.kind == Kind::Audio {
                    return;
                }
                last.wrapping_add(1)
            }
            _ => packets.time,
        };
        track.time = Some(time);
        let mut direct = self.peer.rtc().direct_api();
        let Some(stream) = direct.stream_tx_by_mid(track.mid, None) else { return };
        let last = packets.payloads.len().saturating_sub(1);
        for (index, payload) in packets.payloads.iter().enumerate() {
            let number = SeqNo::from(track.next);
            track.next = track.next.saturating_add(1);
            let marker = packets.kind == Kind::Video && index == last;
            let write = RtpWrite::new(track.pt, number, time, packets.wall, Arc::clone(payload));
            stream.write_rtp(write.marker(marker).nackable(packets.kind == Kind::Video));
        }
    }
}

/// Not later than `last`, and by less than what a rung may be behind another.
fn is_before(time: u32, last: u32) -> bool {
    let behind = last.wrapping_sub(time).cast_signed();
    (0..BEHIND).contains(&behind)
}

/// The next of a feed, where there is one.
async fn heard(feed: Option<&mut Feed>) -> Result<Arc<Packets>, RecvError> {
    match feed {
        Some(feed) => feed.next.recv().await,
        None => std::future::pending().await,
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
    Some(Track { mid, pt, next: u64::from(rand::random::<u16>()), time: None })
}
