//! What strangers and clumsy callers do to the SRT port, beside a caller who does nothing wrong.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{net::UdpSocket, process::Command};
use weir_tests::{
    bench::proc,
    llhls,
    lossy_path::{LossyPath, Path},
    program::Program,
    publisher::{Ffmpeg, Source},
    vigil::{Seen, Vigil},
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(10);
const PASSPHRASE: &str = "correct horse";

/// ffmpeg publishes `calm`, by way of `address`.
async fn calm(world: &World, address: &str, options: &[&str]) -> Result<Ffmpeg> {
    let options = [&["-srt_streamid", "publish/calm"], options].concat();
    let caller = Ffmpeg::publish_srt(&Source::default().keyframe_every(1), address, &options)?;
    world.media.playlist("calm", SOON).await.with_context(|| caller.program.log_tail(20))?;
    Ok(caller)
}

fn watched(world: &World) -> Result<Vigil> {
    Vigil::begin(&format!("{}/live/calm/source/index.m3u8", world.media.http))
}

fn is_calm(seen: &Seen) {
    assert!(seen.longest_pause() < Duration::from_millis(1500), "{:?}", seen.longest_pause());
}

/// A first handshake (draft-sharabayko-srt-01, 4.3.1.1), or a second one with a made-up cookie.
fn handshake(second: bool, number: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut out = words(&[0x8000_0000, 0, number, 0]);
    let (version, kind, cookie) = if second { (5, u32::MAX, number) } else { (4, 1, 0) };
    out.extend(words(&[version, 2, 7, 1500, 8192, kind, number | 1, cookie, 0, 0, 0, 0]));
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_send_to_the_port_keeps_nothing_and_touches_no_caller() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let mut caller = calm(&world, &world.media.srt, &[]).await?;
    let vigil = watched(&world)?;
    let pid = world.media.program.pid().context("no process")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = proc::resident_bytes(pid)?;
    let stranger = UdpSocket::bind("127.0.0.1:0").await?;
    stranger.connect(&world.media.srt).await?;
    let mut answer = vec![0; 2048];
    for number in 0..10_000_u32 {
        let datagram = match number % 5 {
            // Answered with a cookie, and forgotten.
            0 => handshake(false, number),
            1 => handshake(true, number),
            // Data, a goodbye and nonsense for connections that are guessed.
            2 => [&number.to_be_bytes()[..], &[0xc0, 0, 0, 1, 0, 0, 0, 0], &number.to_be_bytes(), &[0; 188]]
                .concat(),
            3 => [&[0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &number.to_be_bytes()].concat(),
            _ => number.to_be_bytes().repeat(1 + number as usize % 40),
        };
        stranger.send(&datagram).await?;
        while let Ok(length) = stranger.try_recv(&mut answer) {
            assert!(length <= 64, "no longer than what was asked");
        }
        if number % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let seen = vigil.end().await?;
    let grown = proc::resident_bytes(pid)?.saturating_sub(before);
    let strays = world.media.metrics().await?.sum("weir_srt_strays_total", &[]).unwrap_or(0.0);
    println!("{strays} strays, {} MB more, longest pause {:?}", grown >> 20, seen.longest_pause());
    assert!(strays > 4000.0 && grown < 24 << 20, "{strays} strays, {grown} bytes more");
    is_calm(&seen);
    caller.program.must_run()?;
    let metrics = world.media.metrics().await?;
    assert_eq!(metrics.sum("weir_srt_connections", &[]), Some(1.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_a_callers_connection_and_is_not_the_caller_changes_nothing() -> Result<()> {
    let world = Plan::open()?.pass_through().start().await?;
    let path = LossyPath::to(world.media.srt.parse()?, Path::default()).await?;
    let mut caller = calm(&world, &path.address.to_string(), &[]).await?;
    let id = path.connection().context("nothing was sent")?.to_be_bytes();
    let vigil = watched(&world)?;
    let stranger = UdpSocket::bind("127.0.0.1:0").await?;
    stranger.connect(&world.media.srt).await?;
    // Keep alive, acknowledgement, loss report, congestion, goodbye, drop request, key material; and media.
    for number in 0..2000_u32 {
        let kind = [1_u16, 2, 3, 4, 5, 7, 0x7fff][number as usize % 7];
        let head =
            [&(0x8000 | kind).to_be_bytes()[..], &[0, 3], &number.to_be_bytes(), &number.to_be_bytes()]
                .concat();
        stranger.send(&[&head[..], &id, &number.to_be_bytes().repeat(4)].concat()).await?;
        let data = [&number.to_be_bytes()[..], &[0xc0, 0, 0, 1], &number.to_be_bytes()].concat();
        stranger.send(&[&data[..], &id, &[0x47; 1316]].concat()).await?;
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = vigil.end().await?;
    let metrics = world.media.metrics().await?;
    let strays = metrics.sum("weir_srt_strays_total", &[]).unwrap_or(0.0);
    println!("{strays} of 4000 strays, longest pause {:?}", seen.longest_pause());
    assert!(strays >= 3900.0, "{strays}");
    is_calm(&seen);
    caller.program.must_run()?;
    let link = world.media.streams().await?["items"][0]["publisher"]["link"].clone();
    assert_eq!(link["missing"], 0, "{link}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_wrong_passphrases_do_not_hold_up_one_with_the_right_one() -> Result<()> {
    let settings = format!("[srt]\npassphrase = \"{PASSPHRASE}\"\n");
    let world = Plan::open()?.pass_through().media(&settings).start().await?;
    let address = world.media.srt.clone();
    let mut caller = calm(&world, &address, &["-passphrase", PASSPHRASE, "-pbkeylen", "32"]).await?;
    let vigil = watched(&world)?;
    let mut refused = 0;
    for round in 0..3 {
        let mut wrong = Vec::new();
        for number in 0..20 {
            let mut command = Command::new("srt-live-transmit");
            let to = format!(
                "srt://{address}?streamid=publish/no{number}&passphrase=battery-staple-{round}&conntimeo=2000"
            );
            let near = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
            command.args(["-q", "-t", "3", "-ll", "fatal"]).arg(format!("udp://{near}")).arg(to);
            wrong.push(Program::start("srt-live-transmit", command)?);
        }
        for mut program in wrong {
            program.ended(SOON).await?;
            refused += 1;
        }
    }
    let seen = vigil.end().await?;
    let metrics = world.media.metrics().await?;
    let counted = metrics.sum("weir_srt_closed_total", &["outcome=\"refused\""]).unwrap_or(0.0);
    println!("{refused} callers, {counted} counted, longest pause {:?}", seen.longest_pause());
    assert!(counted >= 50.0, "{counted} of {refused}");
    is_calm(&seen);
    caller.program.must_run()?;
    assert_eq!(metrics.sum("weir_srt_connections", &[]), Some(1.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_while_libsrt_sends_lose_nothing() -> Result<()> {
    let settings = format!("[srt]\npassphrase = \"{PASSPHRASE}\"\n");
    let world = Plan::open()?.pass_through().media(&settings).start().await?;
    let near = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new("srt-live-transmit");
    // A new key every 150 packets, which is about every 1.5 s; announced 50 before.
    let query = format!(
        "streamid=publish/calm&passphrase={PASSPHRASE}&pbkeylen=16&kmrefreshrate=150&kmpreannounce=50"
    );
    command.arg(format!("udp://{near}")).arg(format!("srt://{}?{query}", world.media.srt));
    let mut relay = Program::start("srt-live-transmit", command)?;
    let source = Source::default().keyframe_every(1);
    let _sender = Ffmpeg::send_ts(&source, &format!("udp://{near}?pkt_size=1316"))?;
    world.media.playlist("calm", SOON).await?;
    llhls::check(&world.media.hls("calm"), Duration::from_secs(12)).await?.no_must_broken(&[])?;
    relay.must_run()?;
    let link = world.media.streams().await?["items"][0]["publisher"]["link"].clone();
    println!("{link}");
    assert!(link["packets"].as_u64() > Some(900), "six keys at least: {link}");
    assert_eq!((&link["missing"], &link["key_bits"]), (&0.into(), &128.into()), "{link}");
    wait::until("the stream to go on", SOON, || async {
        Ok((world.media.streams().await?["items"][0]["holding"] == false).then_some(()))
    })
    .await
}
