//! Encoders and players by SRT, each plain and with every length of key: `make soak` fills docs/interop.md with what was
//! seen.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use weir_tests::{
    bench::table::Table,
    llhls,
    program::{Program, repository},
    publisher::{
        Ffmpeg, Source,
        obs::{OBS, Obs},
        run,
    },
    transport_stream::Seen,
    wait,
    world::{Plan, World},
};

/// How long each stream is judged, and played.
const JUDGED: Duration = Duration::from_secs(6);
const PASSPHRASE: &str = "correct-horse-battery";
const KEYS: [u16; 4] = [0, 128, 192, 256];
const ENCODERS: [&str; 5] = ["ffmpeg", "gst", "slt", "vlc", "obs"];

/// VLC does not run as root.
fn vlc(home: &Path) -> Result<Command> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Command::new("cvlc"));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]).env("HOME", home);
    std::os::unix::fs::chown(home, Some(65534), Some(65534))?;
    Ok(command)
}

/// Sends `file` again and again to `srt://address`; the key's length in bits, 0 for none.
async fn publish(encoder: &str, address: &str, bits: u16, file: &Path, home: &Path) -> Result<Running> {
    let id = format!("publish/{encoder}-{bits}");
    let bytes = (bits / 8).to_string();
    let secret = |text: String| if bits > 0 { text } else { String::new() };
    let query = secret(format!("&passphrase={PASSPHRASE}&pbkeylen={bytes}"));
    match encoder {
        "ffmpeg" => {
            let mut options = vec!["-srt_streamid", &id];
            if bits > 0 {
                options.extend(["-passphrase", PASSPHRASE, "-pbkeylen", &bytes]);
            }
            let source = Source::default().keyframe_every(1);
            Ok(Running::One(Ffmpeg::publish_srt(&source, address, &options)?.program))
        }
        "gst" => {
            let secret = secret(format!("passphrase={PASSPHRASE} pbkeylen={bytes}"));
            let pipeline = format!(
                "mpegtsmux name=mux alignment=7 ! srtsink uri=srt://{address} streamid={id} latency=120 {secret} \
                 videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! \
                 x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=30 ! h264parse ! queue ! mux. \
                 audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue ! mux."
            );
            let mut command = Command::new("gst-launch-1.0");
            command.arg("-q").args(pipeline.split_whitespace());
            Ok(Running::One(Program::start("gst-launch-1.0", command)?))
        }
        "slt" => {
            // From a stream that ffmpeg sends it by UDP.
            let near = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            let mut command = Command::new("srt-live-transmit");
            let to = format!("srt://{address}?streamid={id}&latency=120{query}");
            command.arg(format!("udp://{near}")).arg(to);
            let relay = Program::start("srt-live-transmit", command)?;
            let source = Source::default().keyframe_every(1);
            let sender = Ffmpeg::send_ts(&source, &format!("udp://{near}?pkt_size=1316"))?;
            Ok(Running::Two(relay, sender.program))
        }
        "vlc" => {
            let mut command = vlc(home)?;
            command.args(["-I", "dummy", "--loop", "--sout-keep", "--streamid", &id, "--latency", "120"]);
            if bits > 0 {
                command.args(["--passphrase", PASSPHRASE, "--key-length", &bytes]);
            }
            command.arg(file).args(["--sout", &format!("#std{{access=srt,mux=ts,dst={address}}}")]);
            Ok(Running::One(Program::start("cvlc", command)?))
        }
        _ => {
            let server = format!("srt://{address}?streamid={id}&latency=120000{query}");
            Ok(Running::Obs(Obs::start(&server, "", None).await?))
        }
    }
}

/// What publishes, until it is dropped.
enum Running {
    One(Program),
    Two(Program, Program),
    Obs(Obs),
}

impl Running {
    async fn end(self) -> Result<String> {
        match self {
            Self::One(program) => Ok(program.log_tail(20)),
            Self::Two(relay, sender) => Ok(relay.log_tail(20) + &sender.log_tail(5)),
            Self::Obs(obs) => obs.end().await,
        }
    }
}

fn name(client: &str) -> &str {
    match client {
        "ffmpeg" => "ffmpeg (Debian 12)",
        "gst" => "GStreamer srtsink, srtsrc",
        "slt" => "srt-live-transmit (libsrt)",
        "vlc" => "VLC (Debian 12)",
        _ => OBS,
    }
}

/// Publishes and judges one; what was seen.
async fn judged(world: &World, encoder: &str, bits: u16, file: &Path) -> Result<String> {
    let home = tempfile::tempdir()?;
    let running = publish(encoder, &world.media.srt, bits, file, home.path()).await?;
    let stream = format!("{encoder}-{bits}");
    let seen = async {
        world.media.playlist(&stream, Duration::from_secs(40)).await?;
        let report = llhls::check(&world.media.hls(&stream), JUDGED).await?;
        report.no_must_broken(&[])?;
        let streams = world.media.streams().await?;
        let items = streams["items"].as_array().context("no streams")?;
        let own = items.iter().find(|item| item["name"] == *stream).context("gone")?;
        ensure!(own["publisher"]["link"]["key_bits"] == bits, "{}", own["publisher"]["link"]);
        Ok(own["publisher"]["agent"].as_str().unwrap_or_default().to_owned())
    };
    let seen = seen.await;
    let said = running.end().await?;
    seen.with_context(|| format!("{encoder}, {bits}:\n{said}\n{}", world.media.program.log_tail(10)))
}

/// Whether VLC sends anything to libsrt's own listener: Debian 12's (3.0.24) calls, and then sends nothing to anybody.
async fn vlc_sends(file: &Path) -> Result<bool> {
    let home = tempfile::tempdir()?;
    let (near, out) = (std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?, home.path().join("out"));
    let mut command = Command::new("sh");
    let from = format!("srt://{near}?mode=listener");
    command.args(["-c", "exec srt-live-transmit -q \"$1\" file://con >\"$2\"", "sh", &from]).arg(&out);
    let mut listener = Program::start("srt-live-transmit", command)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sender = publish("vlc", &near.to_string(), 0, file, home.path()).await?;
    tokio::time::sleep(JUDGED).await;
    sender.end().await?;
    listener.stop().await?;
    Ok(std::fs::metadata(&out)?.len() > 0)
}

/// Pictures and seconds of sound that ffmpeg decodes of a file without a complaint.
async fn decoded(file: &Path) -> Result<(u64, f64)> {
    let arguments =
        ["-v", "error", "-count_frames", "-show_entries", "stream=codec_type,nb_read_frames,sample_rate"];
    let output = Command::new("ffprobe").args(arguments).args(["-of", "json"]).arg(file).output().await?;
    let all: Value = serde_json::from_slice(&output.stdout)?;
    let count = |kind: &str| {
        let streams = all["streams"].as_array().into_iter().flatten();
        let mut of = streams.filter(|stream| stream["codec_type"] == kind);
        of.next().and_then(|stream| stream["nb_read_frames"].as_str()?.parse::<u64>().ok()).unwrap_or(0)
    };
    ensure!(count("video") > 0 && count("audio") > 0, "{all}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok((count("video"), count("audio") as f64))
}

/// Plays some seconds of `play/show`, decodes them, and says what came out.
async fn played(player: &str, address: &str, folder: &Path) -> Result<String> {
    let from = format!("srt://{address}?streamid=play/show");
    let file = folder.join(format!("{player}.ts"));
    let seconds = JUDGED.as_secs().to_string();
    match player {
        "ffmpeg" => {
            run(["-i", &from, "-t", &seconds, "-c:v", "mpeg2video", "-c:a", "mp2", "-f", "mpegts"], &file)
                .await?;
        }
        "vlc" => {
            std::os::unix::fs::chown(folder, Some(65534), Some(65534)).ok();
            let mut command = vlc(folder)?;
            let out = format!(
                "#transcode{{vcodec=mp2v,acodec=mpga}}:std{{access=file,mux=ts,dst={}}}",
                file.display()
            );
            // The address's query is not its own way to say it.
            command.args(["-I", "dummy", "--streamid", "play/show", "--run-time", &seconds, "--sout", &out]);
            command.args([&format!("srt://{address}"), "vlc://quit"]);
            Program::start("cvlc", command)?.ended(JUDGED * 5).await?;
        }
        "slt" => {
            let mut command = Command::new("sh");
            command
                .args(["-c", "exec srt-live-transmit -q \"$1\" file://con >\"$2\"", "sh", &from])
                .arg(&file);
            let mut program = Program::start("srt-live-transmit", command)?;
            tokio::time::sleep(JUDGED).await;
            program.must_run()?;
            program.stop().await?;
            let seen = Seen::of(&std::fs::read(&file)?)?;
            ensure!(seen.holes == 0 && seen.tables_apart <= 0.5 && seen.clock_apart <= 0.04, "{seen:?}");
        }
        _ => {
            let (pictures, sound) = (folder.join("gst.mkv"), folder.join("gst.wav"));
            let pipeline = format!(
                "srtsrc uri=srt://{address} streamid=play/show latency=120 ! tsdemux name=in \
                 in. ! h264parse ! avdec_h264 ! videoconvert ! x264enc speed-preset=ultrafast tune=zerolatency ! h264parse ! matroskamux ! queue ! filesink location={} \
                 in. ! aacparse ! avdec_aac ! audioconvert ! wavenc ! queue ! filesink location={}",
                pictures.display(),
                sound.display()
            );
            let mut command = Command::new("gst-launch-1.0");
            command.args(["-q", "-e"]).args(pipeline.split_whitespace());
            let mut program = Program::start("gst-launch-1.0", command)?;
            tokio::time::sleep(JUDGED).await;
            program.must_run()?;
            program.stop().await?;
            let both = ["-i".as_ref(), pictures.as_os_str(), "-i".as_ref(), sound.as_os_str()];
            run(
                both.into_iter().chain(["-c:v", "mpeg2video", "-c:a", "mp2", "-f", "mpegts"].map(OsStr::new)),
                &file,
            )
            .await?;
        }
    }
    let (pictures, frames) = decoded(&file).await?;
    let least = JUDGED.as_secs() * 30 / 2;
    ensure!(pictures > least && frames > 60.0, "{player}: {pictures} pictures, {frames} frames of sound");
    Ok(format!("played: {pictures} pictures and {frames} frames of sound decoded in about {seconds} s"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: every encoder and player, one after the other"]
async fn every_encoder_publishes_and_every_player_plays_by_srt() -> Result<()> {
    let mut keys = String::new();
    for stream in ENCODERS.iter().flat_map(|encoder| KEYS.map(|bits| (format!("{encoder}-{bits}"), bits))) {
        let (stream, bits) = stream;
        let secret = if bits > 0 { format!(", passphrase = \"{PASSPHRASE}\"") } else { String::new() };
        write!(keys, "{{ key = \"{stream}\", stream = \"{stream}\", profile = \"source\"{secret} }}, ")?;
    }
    keys.push_str("{ key = \"show\", stream = \"show\", profile = \"source\" }");
    let settings = format!("[admission]\nmode = \"static\"\nkeys = [{keys}]\n");
    let world = Plan::open()?.pass_through().media(&settings).start().await?;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let file = folder.path().join("source.ts");
    Source::default().keyframe_every(1).seconds(60).write_ts(&file).await?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let only = std::env::var("WEIR_ONLY").unwrap_or_default();
    for encoder in ENCODERS.into_iter().filter(|encoder| only.is_empty() || only.contains(*encoder)) {
        if encoder == "vlc" && !vlc_sends(&file).await? {
            let why = "impossible: it calls and sends nothing, to libsrt's own listener neither (3.0.24)";
            println!("vlc: {why}");
            rows.push([name(encoder), "publishes", "any", why].map(str::to_owned).to_vec());
            continue;
        }
        for bits in KEYS {
            let agent = judged(&world, encoder, bits, &file).await?;
            let key = if bits > 0 { format!("AES-{bits}") } else { "plain".into() };
            println!("{encoder} {key}: seen ({agent})");
            let seen = format!("seen, decodes, no rule broken ({agent})");
            rows.push(vec![name(encoder).into(), "publishes".into(), key, seen]);
        }
    }
    let source = Source::default().keyframe_every(1);
    let _publisher = Ffmpeg::publish(&source, &world.media.publish_url("show"))?;
    world.media.playlist("show", Duration::from_secs(15)).await?;
    for player in ["ffmpeg", "vlc", "slt", "gst"] {
        let said = played(player, &world.media.srt, folder.path())
            .await
            .with_context(|| format!("{player}:\n{}", world.media.program.log_tail(8)))?;
        println!("{player}: {said}");
        rows.push(vec![name(player).into(), "plays".into(), "plain".into(), said]);
        wait::until("the player gone", Duration::from_secs(10), || async {
            Ok((world.media.metrics().await?.sum("weir_srt_players", &[]) == Some(0.0)).then_some(()))
        })
        .await?;
    }
    rows.push(vec![
        "tsp (TSDuck)".into(),
        "plays".into(),
        "plain".into(),
        "not tried: it is in no Debian; the stream's counters, tables and clock are read by `tests/src/transport_stream.rs`".into(),
    ]);
    let title = "Publishing: the stream's LL-HLS was followed and judged as above; the key's length is the one that our side \
                 has read. Playing: what came was decoded by the player itself (of srt-live-transmit by ffmpeg), encoded \
                 again, and counted."
        .into();
    let table = Table { name: "interop-srt", title, columns: vec!["client", "what", "key", "result"], rows };
    println!("{}", table.markdown());
    if std::env::var_os("WEIR_ROWS").is_some() && only.is_empty() {
        table.write(&PathBuf::from(repository()).join("docs/interop.md"))?;
    }
    Ok(())
}
