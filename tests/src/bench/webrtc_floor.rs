//! What str0m alone costs: a process in which each viewer is a str0m machine, a socket, and nothing else. Offers come by standard
//! input, a line of JSON each; answers go out the same way.

use std::io::{BufRead as _, Write as _};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use str0m::change::SdpOffer;
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Pictures a second, and packets of each: 2.5 Mbit/s.
const RATE: u32 = 30;
const PACKETS: usize = 10;
/// Bytes of a payload: that of ours.
const LENGTH: usize = 1042;

struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    video: Option<Mid>,
    connected: bool,
    next: u64,
}

impl Viewer {
    fn open(offer: &str) -> Result<(Self, String)> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let config =
            RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_h264(true);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr()?, "udp")?);
        let answer = rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(offer)?)?.to_sdp_string();
        Ok((Self { rtc, socket, video: None, connected: false, next: 0 }, answer))
    }

    /// Everything that is due; when it is due again.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<Instant> {
        let here = self.socket.local_addr()?;
        loop {
            match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    // What the kernel does not take is lost.
                    let _sent = self.socket.send_to(&transmit.contents, transmit.destination).is_ok();
                }
                Output::Event(Event::MediaAdded(media)) if media.kind == MediaKind::Video => {
                    self.video = Some(media.mid);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(_) => {}
                Output::Timeout(due) => {
                    let Ok((length, source)) = self.socket.recv_from(buffer) else { return Ok(due) };
                    let receive =
                        Receive::new(Protocol::Udp, source, here, buffer.get(..length).context("cut")?)?;
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                }
            }
        }
    }

    fn picture(&mut self, payload: &Arc<[u8]>, time: u32) -> Option<()> {
        let mid = self.video.filter(|_| self.connected)?;
        let known = self.rtc.media(mid)?.remote_pts().first().copied()?;
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(mid, None)?;
        for index in 1..=PACKETS {
            let number = SeqNo::from(self.next);
            self.next += 1;
            let write = RtpWrite::new(known, number, time, Instant::now(), Arc::clone(payload));
            stream.write_rtp(write.marker(index == PACKETS).nackable(true));
        }
        Some(())
    }
}

/// Serves as many viewers as there are lines, until it is killed.
pub fn serve(viewers: usize) -> Result<()> {
    let mut all = Vec::new();
    let mut lines = std::io::stdin().lock().lines();
    for _ in 0..viewers {
        let offer: String = serde_json::from_str(&lines.next().context("an offer")??)?;
        let (viewer, answer) = Viewer::open(&offer)?;
        all.push(viewer);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    let (mut buffer, payload) = (vec![0; 2048], Arc::<[u8]>::from(vec![0x61; LENGTH]));
    let (began, mut count) = (Instant::now(), 0_u32);
    loop {
        let mut due = began + Duration::from_secs(u64::from(count)) / RATE;
        if due <= Instant::now() {
            for viewer in &mut all {
                viewer.picture(&payload, count.wrapping_mul(90_000 / RATE));
            }
            count += 1;
        }
        for viewer in &mut all {
            due = due.min(viewer.turn(&mut buffer)?);
        }
        let now = Instant::now();
        for viewer in &mut all {
            viewer.rtc.handle_input(Input::Timeout(now))?;
            viewer.turn(&mut buffer)?;
        }
        // As a loop around one poll of all sockets would wake: for each picture, and for what comes in between.
        let wait = due
            .saturating_duration_since(Instant::now())
            .clamp(Duration::from_millis(1), Duration::from_millis(10));
        #[allow(clippy::disallowed_methods, reason = "the floor is a plain loop of one thread")]
        std::thread::sleep(wait);
    }
}
