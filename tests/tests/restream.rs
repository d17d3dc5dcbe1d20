//! A live stream is sent on to other servers: nginx-rtmp and ffmpeg take it, dead and stuck ones harm nobody.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    task::JoinSet,
};
use weir_tests::{
    bench::nginx::Nginx,
    certificate,
    program::Program,
    publisher::{Ffmpeg, Source},
    vigil::Vigil,
    wait,
    world::{Plan, World, free_address},
};

/// The edge of the stream that is sent on may not pause for longer.
const EDGE: Duration = Duration::from_millis(1500);

/// ffmpeg as a server for one publisher, which it writes to a file.
fn receiver(address: &str, file: &Path) -> Result<Program> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-hide_banner", "-nostdin", "-y", "-listen", "1", "-i"])
        .arg(format!("rtmp://{address}/live/taken"))
        .args(["-c", "copy"])
        .arg(file);
    Program::start("ffmpeg-listen", command)
}

/// A push of the stream by a part of its target.
async fn push(world: &World, stream: &str, target: &str) -> Result<Value> {
    let url = format!("{}/api/v1/streams/{stream}", world.media.admin);
    let answer = world.client.get(&url).await?.json()?;
    let pushes = answer["pushes"].as_array().with_context(|| format!("{answer}"))?;
    let found = pushes.iter().find(|push| push["target"].as_str().is_some_and(|t| t.contains(target)));
    found.cloned().with_context(|| format!("no {target} in {answer}"))
}

async fn becomes(world: &World, target: &str, state: &str, within: Duration) -> Result<Value> {
    wait::until(&format!("{target} {state}"), within, || async {
        let push = push(world, "on", target).await?;
        Ok((push["state"] == state).then_some(push))
    })
    .await
}

/// Decodes a file; the number of pictures, or ffmpeg's complaints.
async fn pictures(file: &Path) -> Result<u64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries"])
        .args(["stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(complaints.trim().is_empty(), "{complaints}");
    // Where there are programs, each of theirs is told again.
    let counts = String::from_utf8_lossy(&output.stdout);
    Ok(counts.trim().lines().next().unwrap_or_default().trim_end_matches(',').parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_and_ffmpeg_take_the_stream_and_a_dead_target_harms_nobody() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let nginx = Nginx::rtmp(plan.folder()).await?;
    let (listening, dead) = (free_address()?, free_address()?);
    let first = plan.folder().join("first.flv");
    let mut taker = receiver(&listening, &first)?;
    let world = plan
        .media(&format!(
            "[restream]\ntargets = [\n\
             {{ stream = \"on\", url = \"rtmp://{}/live/relayed\" }},\n\
             {{ stream = \"*\", url = \"rtmp://{listening}/live/taken\" }},\n\
             {{ stream = \"on\", url = \"rtmp://{dead}/live/secret_key\" }},\n\
             {{ stream = \"other\", url = \"rtmp://{dead}/other/x\" }},\n]\n",
            nginx.address
        ))
        .start()
        .await?;
    let mut publisher = Ffmpeg::publish(&Source::default().b_frames(2), &world.media.publish_url("on"))?;
    world.media.playlist("on", Duration::from_secs(15)).await?;
    let vigil = Vigil::begin(&format!("{}/live/on/source/index.m3u8", world.media.http))?;
    let ten = Duration::from_secs(10);
    becomes(&world, &nginx.address, "live", ten).await?;
    becomes(&world, &listening, "live", ten).await?;
    let failed = becomes(&world, &dead, "waiting", ten).await?;
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("cannot connect")), "{failed}");
    assert!(!world.media.streams().await?.to_string().contains("secret_key"), "the key is shown");

    // nginx makes HLS of it.
    let list = nginx.folder.join("hls/relayed/index.m3u8");
    wait::until("nginx's playlist", Duration::from_secs(15), || async {
        Ok(std::fs::read_to_string(&list)?.contains("#EXTINF").then_some(()))
    })
    .await?;

    // The receiver goes, and comes back: so does the push.
    tokio::time::sleep(Duration::from_secs(3)).await;
    taker.signal(Signal::INT)?;
    taker.ended(ten).await?;
    let got = pictures(&first).await?;
    println!("ffmpeg took {got} pictures, decodable");
    assert!(got > 60, "{got} pictures");
    becomes(&world, &listening, "waiting", ten).await?;
    let second = world.folder().join("second.flv");
    let mut taker = receiver(&listening, &second)?;
    let push = becomes(&world, &listening, "live", Duration::from_secs(20)).await?;
    assert!(push["attempts"].as_u64() > Some(1), "{push}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    taker.signal(Signal::INT)?;
    taker.ended(ten).await?;
    assert!(pictures(&second).await? > 30);

    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_restreams_live", &[]), Some(1.0));
    assert!(!world.media.program.log().contains("secret_key"), "the key is in the log");
    publisher.program.must_run()?;
    let seen = vigil.end().await?;
    println!("three pushes, one dead: longest pause of the stream {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());

    // The stream ends, and so do its pushes.
    world.media.drop_stream("on").await?;
    becomes(&world, &nginx.address, "stopped", ten).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_reading_slows_nobody() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let nginx = Nginx::rtmp(plan.folder()).await?;
    let target = format!("rtmp://{}/live/stuck", nginx.address);
    let world = plan
        .media(&format!("[restream]\ntargets = [{{ stream = \"on\", url = \"{target}\" }}]\n"))
        .start()
        .await?;
    let source = Source::default().noisy().video_kbps(12_000);
    let mut publisher = Ffmpeg::publish(&source, &world.media.publish_url("on"))?;
    world.media.playlist("on", Duration::from_secs(15)).await?;
    let vigil = Vigil::begin(&format!("{}/live/on/source/index.m3u8", world.media.http))?;
    becomes(&world, &nginx.address, "live", Duration::from_secs(10)).await?;
    nginx.program.signal(Signal::STOP)?;
    let stuck = becomes(&world, &nginx.address, "waiting", Duration::from_secs(40)).await?;
    println!("{stuck}");
    assert!(stuck["error"].as_str().is_some_and(|error| error.contains("took nothing")), "{stuck}");
    nginx.program.signal(Signal::CONT)?;
    becomes(&world, &nginx.address, "live", Duration::from_secs(30)).await?;
    publisher.program.must_run()?;
    let seen = vigil.end().await?;
    println!("a stuck push: longest pause of the stream {:?}", seen.longest_pause());
    seen.dates_are_whole()?;
    assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_by_tls_checks_the_certificate() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    certificate::make(plan.folder())?;
    let ca_file = plan.folder().join("cert.pem").display().to_string();
    let address = free_address()?;
    let port = address.rsplit(':').next().context("no port")?;
    // The same daemon receives what it sends; 127.0.0.1 is not in the certificate.
    let settings = certificate::settings(plan.folder(), &address);
    let world = plan
        .media(&settings)
        .media(&format!(
            "[restream]\nca_file = \"{ca_file}\"\ntargets = [\n\
             {{ stream = \"on\", url = \"rtmps://localhost:{port}/live/safe\" }},\n\
             {{ stream = \"on\", url = \"rtmps://127.0.0.1:{port}/live/wrong\" }},\n]\n"
        ))
        .start()
        .await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("on"))?;
    world.media.playlist("safe", Duration::from_secs(20)).await?;
    let wrong = becomes(&world, "127.0.0.1", "waiting", Duration::from_secs(10)).await?;
    assert!(wrong["error"].as_str().is_some_and(|error| error.contains("TLS")), "{wrong}");
    let streams = world.media.streams().await?.to_string();
    assert!(streams.contains("\"rtmps\"") && !streams.contains("\"wrong\""), "{streams}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_names_a_push() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let nginx = Nginx::rtmp(plan.folder()).await?;
    // A control plane of one answer.
    let control = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", control.local_addr()?);
    let grant = serde_json::json!({
        "allow": true, "stream": "on", "profile": "default",
        "push": [{ "url": format!("rtmp://{}/live/granted", nginx.address) }],
    })
    .to_string();
    let mut answering = JoinSet::new();
    answering.spawn(async move {
        while let Ok((mut socket, _)) = control.accept().await {
            let mut request = vec![0; 16_384];
            let Ok(1..) = socket.read(&mut request).await else { continue };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{grant}", grant.len());
            // Whoever hung up asks again.
            let _answered = socket.write_all(answer.as_bytes()).await.is_ok();
        }
    });
    let world = plan.media(&format!("[admission]\nmode = \"webhook\"\nurl = \"{url}\"\n")).start().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("any-key"))?;
    becomes(&world, &nginx.address, "live", Duration::from_secs(15)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_is_sent_on() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let address = free_address()?;
    let file = plan.folder().join("sound.flv");
    let mut taker = receiver(&address, &file)?;
    let target = format!("rtmp://{address}/live/taken");
    let world = plan
        .media(&format!("[restream]\ntargets = [{{ stream = \"on\", url = \"{target}\" }}]\n"))
        .start()
        .await?;
    let _publisher = Ffmpeg::publish(&Source::default().audio_only(), &world.media.publish_url("on"))?;
    becomes(&world, &address, "live", Duration::from_secs(10)).await?;
    // ffmpeg looks at what comes for some seconds before it writes.
    wait::until("sound in ffmpeg's file", Duration::from_secs(40), || async {
        Ok((std::fs::metadata(&file)?.len() > 20_000).then_some(()))
    })
    .await?;
    taker.signal(Signal::INT)?;
    taker.ended(Duration::from_secs(10)).await?;
    Ok(())
}

/// ffmpeg as an SRT listener that writes what it is sent.
fn srt_receiver(address: &str, options: &str, file: &Path) -> Result<Program> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y", "-i"]);
    command.arg(format!("srt://{address}?mode=listener{options}"));
    command.args(["-map", "0", "-c", "copy", "-f", "mpegts"]).arg(file);
    Program::start("ffmpeg", command)
}

#[tokio::test(flavor = "multi_thread")]
async fn libsrt_and_we_ourselves_take_a_push_by_srt() -> Result<()> {
    let free = || anyhow::Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.to_string());
    let (listening, dead, own) = (free()?, free()?, free()?);
    let plan = Plan::open()?.pass_through();
    let first = plan.folder().join("first.ts");
    let secret = "&passphrase=correct%20horse&pbkeylen=32";
    let mut taker = srt_receiver(&listening, "&passphrase=correct horse&pbkeylen=32", &first)?;
    let world = plan
        .media(&format!(
            "[srt]\nlisten = \"{own}\"\n[restream]\ntargets = [\n\
             {{ stream = \"relayed\", url = \"srt://{own}?streamid=publish/copy%3Frole=primary&latency=200\" }},\n\
             {{ stream = \"on\", url = \"srt://{listening}?streamid=hidden_key&latency=200{secret}\" }},\n\
             {{ stream = \"on\", url = \"srt://{dead}?streamid=hidden_key\" }},\n]\n"
        ))
        .start()
        .await?;
    let mut publisher = Ffmpeg::publish(&Source::default().b_frames(2), &world.media.publish_url("on"))?;
    world.media.playlist("on", Duration::from_secs(15)).await?;
    let ten = Duration::from_secs(10);
    becomes(&world, &listening, "live", ten).await?;
    let failed = becomes(&world, &dead, "waiting", Duration::from_secs(20)).await?;
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("did not answer")), "{failed}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    taker.signal(Signal::INT)?;
    taker.ended(ten).await?;
    let got = pictures(&first).await?;
    println!("libsrt took {got} pictures, decodable");
    assert!(got > 60, "{got} pictures");
    becomes(&world, &listening, "waiting", Duration::from_secs(15)).await?;
    let again = world.folder().join("again.ts");
    let _taker = srt_receiver(&listening, "&passphrase=correct horse&pbkeylen=32", &again)?;
    becomes(&world, &listening, "live", Duration::from_secs(30)).await?;
    publisher.program.must_run()?;

    // Ours.
    let mut relayed = Ffmpeg::publish(&Source::default(), &world.media.publish_url("relayed"))?;
    let list = world.media.playlist("copy", Duration::from_secs(20)).await?;
    assert!(list.contains("avc1.") && list.contains("mp4a.40.2"), "{list}");
    relayed.program.must_run()?;
    let told = format!("{}{}", world.media.streams().await?, world.media.program.log());
    assert!(!told.contains("hidden_key") && !told.contains("horse"), "a secret is shown");
    Ok(())
}
