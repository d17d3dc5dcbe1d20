//! What happens to a stream's encoder: its own viewers miss little, those of other streams nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use weir_tests::{
    bench::{proc, table::Table},
    llhls,
    publisher::{Ffmpeg, Source},
    vigil::Vigil,
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(20);
/// The source goes on within this time, and all rungs within that.
const SOURCE: Duration = Duration::from_secs(1);
const ALL: Duration = Duration::from_secs(3);

/// What is done to a worker.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Signal(Signal),
    /// It gets no more memory.
    Memory,
}

impl Harm {
    fn name(self) -> String {
        match self {
            Self::Signal(Signal::KILL) => "killed (SIGKILL)".into(),
            Self::Signal(Signal::SEGV) => "crashes (SIGSEGV)".into(),
            Self::Signal(Signal::STOP) => "hangs (SIGSTOP)".into(),
            Self::Signal(signal) => format!("{signal:?}"),
            Self::Memory => "gets no more memory".into(),
        }
    }

    async fn apply(self, worker: u32) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(worker)?).context("a process id")?;
        match self {
            Self::Signal(signal) => {
                kill_process(pid, signal)?;
                // Rust takes the first for a stack overflow, finds that it is none, and gives way to the default.
                if signal == Signal::SEGV {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    kill_process(pid, signal)?;
                }
            }
            Self::Memory => {
                let none = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
                prlimit(Some(pid), Resource::Data, none)?;
            }
        }
        Ok(())
    }
}

/// Longest pauses: of the stream's source and its worst rung, and of another stream's worst rung.
async fn pauses(world: &World, harm: Harm) -> Result<[Duration; 3]> {
    let url = |stream: &str, rung: &str| format!("{}/live/{stream}/{rung}/index.m3u8", world.media.http);
    let vigils = [("harmed", "source"), ("harmed", "160p"), ("other", "160p")]
        .map(|(stream, rung)| Vigil::begin(&url(stream, rung)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let worker = world.media.worker("harmed").await?.context("no worker")?;
    let began = Instant::now();
    harm.apply(worker).await?;
    let replaced = wait::until("another worker", Duration::from_secs(8), || async {
        Ok(world.media.worker("harmed").await?.filter(|pid| *pid != worker))
    })
    .await;
    match (harm, replaced) {
        (_, Ok(_)) => println!("{}: another worker after {:?}", harm.name(), began.elapsed()),
        // It has what it needs, as long as nothing new comes.
        (Harm::Memory, Err(_)) => println!("{}: it goes on with what it has", harm.name()),
        (Harm::Signal(_), Err(error)) => return Err(error),
    }
    // Until it has caught up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut longest = [Duration::ZERO; 3];
    for (vigil, longest) in vigils.into_iter().zip(&mut longest) {
        *longest = vigil?.end().await?.longest_pause();
    }
    Ok(longest)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: what is done to a worker, one after the other"]
async fn whatever_becomes_of_a_worker_the_stream_goes_on_and_others_see_nothing() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let _publishers = ["harmed", "other"]
        .map(|stream| Ffmpeg::publish(&Source::default(), &world.media.publish_url(stream)));
    for stream in ["harmed", "other"] {
        world.media.playlist(stream, SOON).await?;
    }
    let mut rows = Vec::new();
    for harm in
        [Harm::Signal(Signal::KILL), Harm::Signal(Signal::SEGV), Harm::Signal(Signal::STOP), Harm::Memory]
    {
        let [source, rung, other] = pauses(&world, harm).await?;
        let ms = |pause: Duration| format!("{} ms", pause.as_millis());
        println!("{}: {} {} {}", harm.name(), ms(source), ms(rung), ms(other));
        assert!(source < SOURCE && rung < ALL && other < SOURCE, "{harm:?}: {source:?} {rung:?} {other:?}");
        rows.push(vec![harm.name(), ms(source), ms(rung), ms(other)]);
    }
    // The worker that a mutated stream is given to may die of it as often as it likes.
    let poisoned = Source::default().video_codec(&[
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "60",
        "-bf",
        "2",
        "-bsf:v",
        "noise=amount=400",
    ]);
    let poison = Ffmpeg::publish_srt(&poisoned, &world.media.srt, &["-srt_streamid", "publish/poison"])?;
    let vigils = ["harmed", "other"]
        .map(|stream| Vigil::begin(&format!("{}/live/{stream}/160p/index.m3u8", world.media.http)));
    tokio::time::sleep(Duration::from_secs(15)).await;
    let mut longest = Duration::ZERO;
    for vigil in vigils {
        longest = longest.max(vigil?.end().await?.longest_pause());
    }
    let streams = world.media.streams().await?;
    let poisoned = streams["items"].as_array().into_iter().flatten().find(|it| it["name"] == "poison");
    println!("{}", poisoned.context("no poisoned stream")?);
    assert!(longest < SOURCE, "others beside a mutated stream: {longest:?}");
    rows.push(vec![
        "is given a mutated stream".into(),
        "-".into(),
        "-".into(),
        format!("{} ms", longest.as_millis()),
    ]);
    drop(poison);
    let report = llhls::check(&world.media.hls("harmed"), Duration::from_secs(8)).await?;
    report.no_must_broken(&[])?;
    let table = Table {
        name: "isolation",
        title: format!(
            "Longest time in which a player found nothing new, 640x360 with two encoded rungs, while the stream's worker is \
             harmed; a part is 0.33 s. {}.",
            proc::machine()
        ),
        columns: vec!["the worker", "source (target 1 s)", "worst rung (target 3 s)", "another stream"],
        rows,
    };
    println!("{}", table.markdown());
    std::env::var_os("WEIR_ROWS").map_or(Ok(()), |file| table.write(&PathBuf::from(file)))
}
