//! (f) Viewers by WebRTC: what does one cost, beside str0m's own loop, which has to encrypt and send the same?

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{
    proc,
    table::{Table, Target},
};
use crate::{
    http_client::HttpClient,
    publisher::{Ffmpeg, Source},
    world::Plan,
};

/// Viewers at a time.
const VIEWERS: [usize; 2] = [10, 50];
/// What is measured, after what is not.
const LASTS: Duration = Duration::from_secs(20);
const WARM_UP: Duration = Duration::from_secs(5);
const BITRATE: u32 = 2_500;

/// A viewer that only receives.
struct Receiver {
    rtc: Rtc,
    socket: UdpSocket,
    pending: Option<SdpPendingOffer>,
}

impl Receiver {
    async fn new() -> Result<(Self, String)> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let config =
            RtcConfig::new().set_rtp_mode(true).clear_codecs().enable_opus(true, false).enable_h264(true);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr()?, "udp")?);
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = changes.apply().context("an offer")?;
        Ok((Self { rtc, socket, pending: Some(pending) }, offer.to_sdp_string()))
    }

    /// Receives until it is dropped; says how many bytes each second.
    async fn run(mut self, answer: String, heard: mpsc::Sender<usize>) -> Result<()> {
        let answer = SdpAnswer::from_sdp_string(&answer)?;
        let pending = self.pending.take().context("answered twice")?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        let (here, mut buffer) = (self.socket.local_addr()?, vec![0; 2048]);
        let mut bytes = 0;
        loop {
            let due = match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    // An address that does not answer is one of several.
                    let _sent = self.socket.send_to(&transmit.contents, transmit.destination).await.is_ok();
                    continue;
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    bytes += packet.payload.len();
                    if bytes > 100_000 {
                        heard.send(std::mem::take(&mut bytes)).await?;
                    }
                    continue;
                }
                Output::Event(_) => continue,
                Output::Timeout(due) => due,
            };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received?;
                    let datagram = buffer.get(..length).context("cut")?;
                    let receive = Receive::new(Protocol::Udp, source, here, datagram)?;
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                }
                () = tokio::time::sleep_until(due.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now()))?;
                }
            }
        }
    }
}

/// What a viewer costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Percent of a core.
    processor: f64,
    resident: f64,
    /// Megabits a second that a viewer got.
    rate: f64,
}

/// Watches the process `pid` while `viewers` receive; `before` is what it took of a core and of memory without them.
async fn cost(
    pid: u32,
    viewers: usize,
    heard: &mut mpsc::Receiver<usize>,
    before: (f64, f64),
) -> Result<Cost> {
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        // What comes now is not counted.
        let _early = tokio::time::timeout_at(warm.into(), heard.recv()).await.is_ok();
    }
    let (began, used, mut bytes) = (Instant::now(), proc::cpu_seconds(pid)?, 0);
    let end = began + LASTS;
    while let Ok(Some(more)) = tokio::time::timeout_at(end.into(), heard.recv()).await {
        bytes += more;
    }
    let lasted = began.elapsed().as_secs_f64();
    let processor = (proc::cpu_seconds(pid)? - used) / lasted * 100.0 - before.0;
    let count = viewers as f64;
    Ok(Cost {
        processor: processor / count,
        resident: (proc::resident_bytes(pid)? as f64 - before.1) / count / 1e6,
        rate: bytes as f64 * 8.0 / lasted / count / 1e6,
    })
}

async fn ours(viewers: usize) -> Result<Cost> {
    let settings = "[webrtc]\nmax_sessions = 1000\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    let source = Source::default().noisy().video_only().video_kbps(BITRATE);
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("bench"))?;
    world.media.playlist("bench", Duration::from_secs(15)).await?;
    let pid = world.media.program.pid().context("ended")?;
    tokio::time::sleep(WARM_UP).await;
    let (began, used) = (Instant::now(), proc::cpu_seconds(pid)?);
    tokio::time::sleep(LASTS / 2).await;
    let idle = (proc::cpu_seconds(pid)? - used) / began.elapsed().as_secs_f64() * 100.0;
    let before = (idle, proc::resident_bytes(pid)? as f64);
    let (client, mut receivers) = (HttpClient::new(), JoinSet::new());
    let (tell, mut heard) = mpsc::channel(1024);
    for _ in 0..viewers {
        let (receiver, offer) = Receiver::new().await?;
        let url = format!("{}/whep/bench", world.media.http);
        let request = http::Request::post(url).header(http::header::CONTENT_TYPE, "application/sdp");
        let answer = client.send(request.body(http_body_util::Full::new(offer.into()))?).await?;
        anyhow::ensure!(answer.status == 201, "{}", answer.text());
        receivers.spawn(receiver.run(answer.text(), tell.clone()));
        // Of one address so many may be unconnected at a time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cost(pid, viewers, &mut heard, before).await
}

async fn floor(viewers: usize) -> Result<Cost> {
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--webrtc-floor", &viewers.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("ended")?;
    let (mut to, from) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
    let mut lines = BufReader::new(from).lines();
    let (tell, mut heard) = mpsc::channel(1024);
    let mut receivers = JoinSet::new();
    let resident = proc::resident_bytes(pid)? as f64;
    for _ in 0..viewers {
        let (receiver, offer) = Receiver::new().await?;
        to.write_all(format!("{}\n", serde_json::to_string(&offer)?).as_bytes()).await?;
        let answer: String = serde_json::from_str(&lines.next_line().await?.context("no answer")?)?;
        receivers.spawn(receiver.run(answer, tell.clone()));
    }
    cost(pid, viewers, &mut heard, (0.0, resident)).await
}

/// Runs it.
pub async fn run() -> Result<Table> {
    let mut rows = Vec::new();
    for viewers in VIEWERS {
        let (floor, ours) = (floor(viewers).await?, ours(viewers).await?);
        // Per megabit: an encoder hits its bit rate only about.
        let ratio = (ours.processor / ours.rate) / (floor.processor / floor.rate);
        rows.push(vec![
            viewers.to_string(),
            format!("{:.3} % of a core, {:.2} Mbit/s", ours.processor, ours.rate),
            format!("{:.3} % of a core, {:.2} Mbit/s", floor.processor, floor.rate),
            format!("{ratio:.2} x"),
            Target::AtMost(1.3).verdict(ratio),
            format!("{:.0}", 100.0 / ours.processor),
            format!("{:.2} / {:.2} MB", ours.resident, floor.resident),
        ]);
    }
    Ok(Table {
        name: "viewers",
        title: format!(
            "What a viewer by WHEP costs at 2.5 Mbit/s, beside a process that is nothing but str0m's own loop (a thread, a socket a \
             viewer, no stream) in the same run; {} s each after {} s; what the stream itself costs is taken off. {}.",
            LASTS.as_secs(),
            WARM_UP.as_secs(),
            proc::machine()
        ),
        columns: vec![
            "viewers",
            "a viewer (Weir)",
            "a viewer (str0m alone)",
            "ratio, by Mbit/s",
            "target",
            "viewers a core",
            "resident a viewer",
        ],
        rows,
    })
}
