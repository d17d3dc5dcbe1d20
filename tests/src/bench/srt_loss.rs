//! (e) SRT over a path that loses datagrams: how many packets are missing when they are due, beside libsrt's own listener
//! (`srt-live-transmit`) behind a path with the same dice, in the same run?

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::process::Command;

use super::{proc, table::Table};
use crate::{
    lossy_path::{self, LossyPath},
    program::Program,
    publisher::Source,
    wait,
    world::{Plan, World},
};

/// How long each case sends.
const LASTS: Duration = Duration::from_mins(1);
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// What the path does, in words, and the latency that both sides ask for in milliseconds.
fn cases() -> [(&'static str, lossy_path::Path, u64); 5] {
    let path = lossy_path::Path { round_trip: ROUND_TRIP, seed: 20_261_121, ..lossy_path::Path::default() };
    let late = Duration::from_millis(15);
    [
        ("2 % lost", lossy_path::Path { lost_in_thousand: 20, ..path }, 120),
        ("5 % lost", lossy_path::Path { lost_in_thousand: 50, ..path }, 200),
        (
            "2 % lost, jitter of 20 ms",
            lossy_path::Path { lost_in_thousand: 20, jitter: 20 * MS, ..path },
            200,
        ),
        (
            "1 % lost, 5 % overtaken",
            lossy_path::Path { lost_in_thousand: 10, overtaken: (50, late), ..path },
            200,
        ),
        ("bursts of 25, 0.1 % of datagrams begin one", lossy_path::Path { bursts: (10, 25), ..path }, 200),
    ]
}

const MS: Duration = Duration::from_millis(1);

/// What one receiver saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    packets: f64,
    too_late: f64,
    retransmitted: f64,
    /// Seconds of processor time, and of media that they were for.
    processor: f64,
    lasted: f64,
}

/// Half of the packets' lateness is known to nobody inside: the path's own way from the sender to the clock.
const HALF: Duration = Duration::from_millis(25);

fn sender(file: &Path, to: SocketAddr, latency: u64, id: &str) -> Result<Program> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"]);
    command.arg(file).args(["-c", "copy", "-f", "mpegts", "-srt_streamid", id]);
    // Microseconds.
    command.arg(format!("srt://{to}?latency={}", latency * 1000));
    Program::start("ffmpeg", command)
}

/// libsrt's listener: its packets go nowhere, its last report into `report`.
fn peer(port: u16, latency: u64, report: &Path) -> Result<Program> {
    let mut command = Command::new("srt-live-transmit");
    command.args(["-s", "200", "-pf", "json", "-f", "-statsout"]).arg(report);
    command.arg(format!("srt://127.0.0.1:{port}?mode=listener&latency={latency}")).arg("file://con");
    // Media goes to standard output, which nobody reads line by line.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" >/dev/null"]).arg(command.as_std().get_program());
    shell.args(command.as_std().get_args()).stdin(Stdio::null());
    Program::start("srt-live-transmit", shell)
}

async fn of_ours(world: &World, (processor, lasted): (f64, f64)) -> Result<Seen> {
    let metrics = world.media.metrics().await?;
    let count =
        |kind: &str| metrics.sum("weir_srt_packets_total", &[&format!("kind=\"{kind}\"")]).unwrap_or(0.0);
    Ok(Seen {
        packets: count("received"),
        too_late: count("too-late"),
        retransmitted: count("retransmitted"),
        processor,
        lasted,
    })
}

fn of_libsrt(report: &Path, (processor, lasted): (f64, f64)) -> Result<Seen> {
    let text = std::fs::read_to_string(report)?;
    let whole = |line: &str| serde_json::from_str::<Value>(line.trim_end_matches(',')).ok();
    let last = text.lines().rev().find_map(whole).context("srt-live-transmit reported nothing")?;
    let count = |name: &str| last["recv"][name].as_f64().with_context(|| format!("no {name}: {last}"));
    Ok(Seen {
        packets: count("packets")?,
        too_late: count("packetsDropped")?,
        retransmitted: count("packetsRetransmitted")?,
        processor,
        lasted,
    })
}

async fn case(
    folder: &Path,
    media: &Path,
    (path, latency): (lossy_path::Path, u64),
) -> Result<(Seen, Seen, f64)> {
    let settings = format!("[srt]\nlatency_ms = {latency}\n");
    let world = Plan::open()?.pass_through().media(&settings).start().await?;
    let report = folder.join(format!("libsrt-{latency}.json"));
    let free = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let peer = peer(free.port(), latency, &report)?;
    let to_ours = LossyPath::to(world.media.srt.parse()?, path).await?;
    let to_peer = LossyPath::to(free, path).await?;
    let mut senders = [
        sender(media, to_ours.address, latency, "publish/lossy")?,
        sender(media, to_peer.address, latency, "lossy")?,
    ];
    world.media.playlist("lossy", Duration::from_secs(15)).await?;
    wait::until("libsrt to report", Duration::from_secs(15), || async { Ok(report.exists().then_some(())) })
        .await?;
    let pids = [world.media.program.pid(), peer.pid()].map(|pid| pid.context("not running"));
    let [ours, theirs] = pids;
    let (ours, theirs) = (ours?, theirs?);
    let processor = || anyhow::Ok([proc::cpu_seconds(ours)?, proc::cpu_seconds(theirs)?]);
    let (before, began) = (processor()?, Instant::now());
    tokio::time::sleep(LASTS).await;
    let (after, lasted) = (processor()?, began.elapsed().as_secs_f64());
    for sender in &mut senders {
        sender.must_run()?;
    }
    let of = |n: usize| (after[n] - before[n], lasted);
    let late = world.media.metrics().await?.histogram("weir_srt_delivery_lateness_seconds").quantile(0.99);
    Ok((of_ours(&world, of(0)).await?, of_libsrt(&report, of(1))?, late.context("no lateness")?))
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let media = folder.join("lossy.ts");
    Source::default().noisy().video_kbps(6000).seconds(6).write_ts(&media).await?;
    let mut rows = Vec::new();
    for (weather, path, latency) in cases() {
        let (ours, peer, late) = case(folder, &media, (path, latency)).await?;
        let share = |seen: Seen| format!("{} of {}", seen.too_late, seen.packets - seen.retransmitted);
        let late = late * 1e3 + HALF.as_secs_f64() * 1e3;
        let ratio = (ours.processor / ours.lasted) / (peer.processor / peer.lasted);
        let verdict = |met: bool| if met { "met" } else { "**missed**" };
        rows.push(vec![
            format!("{weather}, {latency} ms"),
            share(ours),
            share(peer),
            format!("{} / {}", ours.retransmitted, peer.retransmitted),
            format!("{late:.1} ms"),
            format!(
                "{:.2} / {:.2} % of a core ({ratio:.2})",
                ours.processor / ours.lasted * 100.0,
                peer.processor / peer.lasted * 100.0
            ),
            format!(
                "no more lost than libsrt: {}; at most 40 ms later than the latency: {}; processor at most 1.5 times: {}",
                verdict(ours.too_late <= peer.too_late),
                verdict(late <= 40.0),
                verdict(ratio <= 1.5)
            ),
        ]);
    }
    Ok(Table {
        name: "srt-loss",
        title: format!(
            "SRT packets that were not there when they were due, of those sent: 6 Mbit/s for {} s over a proxy that does so to \
             the datagrams in each direction (the same dice for both), round trip {} ms, latency as named; beside \
             `srt-live-transmit` (libsrt) in the same run. {}.",
            LASTS.as_secs(),
            ROUND_TRIP.as_millis(),
            proc::machine()
        ),
        columns: vec![
            "path, latency",
            "lost (Weir)",
            "lost (libsrt)",
            "sent again (Weir / libsrt)",
            "delivered later than the latency, p99",
            "processor (Weir, with LL-HLS made / libsrt, media thrown away)",
            "target",
        ],
        rows,
    })
}
