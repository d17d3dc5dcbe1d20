//! Who means harm, or is broken, is ended with a reason, and a stream beside it goes on as if nothing were.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use weir_tests::{
    bench::proc::resident_bytes,
    llhls,
    publisher::{
        Ffmpeg, Session, Source, chunks, flv,
        session::{open, read_to_close},
    },
    vigil::{Seen, Vigil},
    wait,
    world::{Plan, World},
};

/// The edge of the good stream may not pause for longer.
const EDGE: Duration = Duration::from_millis(1500);

/// A world with a good stream in it, watched all the time.
struct Beside {
    world: World,
    good: Ffmpeg,
    vigil: Vigil,
    memory: u64,
}

impl Beside {
    async fn begin(toml: &str) -> Result<Self> {
        let world = Plan::open()?.pass_through().media(toml).start().await?;
        let good = Ffmpeg::publish(&Source::default(), &world.media.publish_url("good"))?;
        world.media.playlist("good", Duration::from_secs(15)).await?;
        let vigil = Vigil::begin(&format!("{}/live/good/source/index.m3u8", world.media.http))?;
        let memory = resident_bytes(world.media.program.pid().context("ended")?)?;
        Ok(Self { world, good, vigil, memory })
    }

    fn grown(&self) -> Result<u64> {
        Ok(resident_bytes(self.world.media.program.pid().context("ended")?)?.saturating_sub(self.memory))
    }

    /// The good stream did not notice. `what` happened; the log says `words` about it.
    async fn end(mut self, what: &str, words: &[&str]) -> Result<Seen> {
        for word in words {
            self.world.media.program.line(word, Duration::from_secs(5)).await?;
        }
        let grown = self.grown()?;
        llhls::check(&self.world.media.hls("good"), Duration::from_secs(8)).await?.no_must_broken(&[])?;
        self.world.media.program.must_run()?;
        self.good.program.must_run()?;
        let seen = self.vigil.end().await?;
        println!("{what}: memory +{} MB, longest pause {:?}", grown >> 20, seen.longest_pause());
        seen.dates_are_whole()?;
        assert!(seen.longest_pause() < EDGE, "{:?}", seen.longest_pause());
        assert_eq!(seen.unanswered, 0);
        assert!(grown < 96 << 20, "grew by {} MB", grown >> 20);
        Ok(seen)
    }
}

async fn connect_from(last: u8, address: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    Ok(socket.connect(address.parse()?).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_never_publish_keep_nobody_out() -> Result<()> {
    let beside = Beside::begin("[rtmp]\nidle_timeout_ms = 4000\n").await?;
    let address = beside.world.media.rtmp.clone();
    let mut sockets = Vec::new();
    for number in 0..1000 {
        let mut socket = connect_from(2, &address).await?;
        // Half of them begin a handshake and leave it there.
        if number % 2 == 0 && socket.write_all(&[3; 700]).await.is_err() {
            continue; // refused already: as it should be
        }
        sockets.push(socket);
    }
    // Another address still gets in at once.
    let start = Instant::now();
    let session = Session::publish(&beside.world.media.publish_url("newcomer")).await?;
    println!("published beside 1000 idle connections after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(session);
    let mut ending = JoinSet::new();
    for mut socket in sockets {
        ending.spawn(async move { read_to_close(&mut socket, 1 << 16, Duration::from_secs(8)).await });
    }
    while let Some(ended) = ending.join_next().await {
        ended??;
    }
    beside.end("1000 connections", &["max_pending_per_ip", "127.0.0.2"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_does_not_hold_a_place() -> Result<()> {
    let beside = Beside::begin("[rtmp]\nidle_timeout_ms = 3000\n").await?;
    let start = Instant::now();
    let mut socket = connect_from(3, &beside.world.media.rtmp).await?;
    while socket.write_all(&[3]).await.is_ok() {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(8), "a slow handshake holds its place");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The same after the handshake, with pieces of a command that never ends.
    let start = Instant::now();
    let mut socket = open(&beside.world.media.rtmp).await?.socket;
    let mut command = BytesMut::new();
    chunks::message(&mut command, 3, 20, 0, 0, &[0; 4000], 128);
    for byte in command.iter().cycle() {
        if socket.write_all(&[*byte]).await.is_err() {
            break;
        }
        anyhow::ensure!(start.elapsed() < Duration::from_secs(8), "a slow command holds its place");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    beside.end("slow connections", &["closed before publishing"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tiny_messages_ends_its_sender() -> Result<()> {
    let beside = Beside::begin("").await?;
    let mut session = Session::publish(&beside.world.media.publish_url("tiny")).await?;
    let mut flood = BytesMut::new();
    for _ in 0..2000 {
        chunks::message(&mut flood, 5, 18, 0, 1, b"\x02\0\x01x\x05", 128);
    }
    let start = Instant::now();
    while session.send_raw(&flood).await.is_ok() {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(10), "the flood goes on");
    }
    println!("a flood of tiny messages was ended after {:?}", start.elapsed());
    // The same from somebody who has not even said what it wants.
    let mut flood = BytesMut::new();
    for _ in 0..2000 {
        chunks::message(&mut flood, 2, 4, 0, 0, &[0, 3, 0, 0, 0, 0], 128);
    }
    let start = Instant::now();
    let mut stranger = open(&beside.world.media.rtmp).await?.socket;
    while stranger.write_all(&flood).await.is_ok() {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(8), "a stranger's flood goes on");
    }
    println!("a stranger's flood was ended after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(4), "only its deadline ended it");
    beside.end("tiny messages", &["messages a second", "tiny"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_with_ten_times_its_bitrate_is_ended() -> Result<()> {
    let beside = Beside::begin("[publish]\nmax_bitrate = \"2M\"\n").await?;
    let file = beside.world.folder().join("source.flv");
    Source::default().noisy().video_kbps(20_000).seconds(8).write_flv(&file).await?;
    let tags = flv::read(&file)?;
    let mut session = Session::publish(&beside.world.media.publish_url("fat")).await?;
    let start = Instant::now();
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    assert!(session.replay(&tags, until).await.is_err(), "the flood goes on");
    println!("20 Mbit/s where 2 are allowed: ended after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    beside.end("10x bitrate", &["2000 kbit/s"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_one_after_the_other_leave_nothing_behind() -> Result<()> {
    let beside = Beside::begin("").await?;
    let mut marks = Vec::new();
    for cycle in 0..10_000_u32 {
        match cycle % 10 {
            // The server may not have seen the end of the last one with this key yet.
            0 => drop(
                wait::until("a publish", Duration::from_secs(5), || async {
                    Ok(Session::publish(&beside.world.media.publish_url("again")).await.ok())
                })
                .await?,
            ),
            1..5 => drop(open(&beside.world.media.rtmp).await?),
            _ => drop(TcpStream::connect(&beside.world.media.rtmp).await?),
        }
        if cycle % 2000 == 1999 {
            marks.push(beside.grown()? as f64 / f64::from(1 << 20));
        }
    }
    println!("memory after each 2000 connections, MB more than before: {marks:.1?}");
    let (Some(first), Some(last)) = (marks.get(1), marks.last()) else { anyhow::bail!("no marks") };
    assert!(last - first < 4.0, "memory grows: {marks:.1?}");
    beside.end("10 000 connections", &[]).await?;
    Ok(())
}
