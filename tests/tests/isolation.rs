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
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Signal(Signal),
    /// It gets no more memory.
    Memory,
    /// It is killed, and the spare that takes its place gets no memory: its first picture is one too many.
    Starved,
}

impl Harm {
    fn name(self) -> String {
        match self {
            Self::Signal(Signal::KILL) => "killed (SIGKILL)".into(),
            Self::Signal(Signal::SEGV) => "crashes (SIGSEGV)".into(),
            Self::Signal(Signal::STOP) => "hangs (SIGSTOP)".into(),
            Self::Signal(signal) => format!("{signal:?}"),
            Self::Memory => "gets no more memory".into(),
            Self::Starved => "is killed, and its successor has no memory to begin with".into(),
        }
    }

    async fn apply(self, worker: u32, spares: &[u32]) -> Result<()> {
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
            Self::Memory => no_memory(pid)?,
            Self::Starved => {
                anyhow::ensure!(!spares.is_empty(), "no spare worker");
                for spare in spares {
                    no_memory(Pid::from_raw(i32::try_from(*spare)?).context("a process id")?)?;
                }
                kill_process(pid, Signal::KILL)?;
            }
        }
        Ok(())
    }
}

/// No more than a process has already.
fn no_memory(pid: Pid) -> Result<()> {
    let none = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    prlimit(Some(pid), Resource::Data, none)?;
    Ok(())
}

/// Longest pauses: of the stream's source and its worst rung, and of another stream's worst rung.
async fn pauses(world: &World, harm: Harm) -> Result<[Duration; 3]> {
    let url = |stream: &str, rung: &str| format!("{}/live/{stream}/{rung}/index.m3u8", world.media.http);
    let vigils = [("harmed", "source"), ("harmed", "160p"), ("other", "160p")]
        .map(|(stream, rung)| Vigil::begin(&url(stream, rung)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let worker = world.media.worker("harmed").await?.context("no worker")?;
    let workers = [worker, world.media.worker("other").await?.context("no worker")?];
    let mut spares = proc::children(world.media.program.pid().context("ended")?)?;
    spares.retain(|child| !workers.contains(child));
    let began = Instant::now();
    harm.apply(worker, &spares).await?;
    let replaced = wait::until("another worker", Duration::from_secs(8), || async {
        let now = world.media.worker("harmed").await?;
        Ok(now.filter(|pid| *pid != worker && !(harm == Harm::Starved && spares.contains(pid))))
    })
    .await;
    match (harm, replaced) {
        (_, Ok(_)) => println!("{}: another worker after {:?}", harm.name(), began.elapsed()),
        // It has what it needs, as long as nothing new comes; with a device's driver a spare has that too.
        (Harm::Memory | Harm::Starved, Err(_)) => println!("{}: it goes on with what it has", harm.name()),
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

/// Streams with bytes that are not what their encoder wrote, and how they are sent.
fn poisons() -> [(&'static str, Source, &'static [&'static str]); 4] {
    let video = |codec: &'static str, further: &[&str]| {
        let usual = ["-c:v", codec, "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60"];
        let noise = ["-bsf:v", "noise=amount=400"];
        Source::default().video_codec(&[&usual[..], further, &noise].concat())
    };
    [
        ("mutated H.264", video("libx264", &["-bf", "2"]), &[]),
        ("mutated HEVC", video("libx265", &["-x265-params", "log-level=none:keyint=60"]), &[]),
        ("mutated AAC", Source::default(), &["-bsf:a", "noise=amount=40"]),
        // This one is decoded: players do not know it, so it becomes AAC in a worker of its own.
        ("mutated MPEG audio", Source::default(), &["-c:a", "mp2", "-bsf:a", "noise=amount=40"]),
    ]
}

/// The worker that such a stream is given to may die of it as often as it likes: the longest pause of others beside it.
async fn beside(world: &World, poison: &Source, options: &[&str]) -> Result<Duration> {
    let options = [options, &["-srt_streamid", "publish/poison"]].concat();
    let mut publisher = Ffmpeg::publish_srt(poison, &world.media.srt, &options)?;
    publisher.publishing(SOON).await?;
    let vigils = ["harmed", "other"]
        .map(|stream| Vigil::begin(&format!("{}/live/{stream}/160p/index.m3u8", world.media.http)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut longest = Duration::ZERO;
    for vigil in vigils {
        longest = longest.max(vigil?.end().await?.longest_pause());
    }
    let streams = world.media.streams().await?;
    let poisoned = streams["items"].as_array().into_iter().flatten().find(|it| it["name"] == "poison");
    println!("{}", poisoned.context("no poisoned stream")?);
    world.media.drop_stream("poison").await?;
    Ok(longest)
}

/// What a process has open.
fn descriptors(process: &str) -> Result<Vec<String>> {
    let mut open = Vec::new();
    for link in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that was closed meanwhile.
        let Ok(target) = std::fs::read_link(link?.path()) else { continue };
        open.push(target.display().to_string());
    }
    Ok(open)
}

/// Variables that a worker may have.
const KNOWN: [&str; 20] = [
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GST_CUDA_NVRTC_LIBNAME",
    "GST_DEBUG",
    "GST_DEBUG_NO_COLOR",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "GST_REGISTRY_DISABLE",
    "GST_REGISTRY_FORK",
    "GST_REGISTRY_UPDATE",
    "LANG",
    "LD_LIBRARY_PATH",
    "LIBVA_DRIVERS_PATH",
    "LIBVA_DRIVER_NAME",
    "ONEVPL_SEARCH_PATH",
    "PATH",
    "RUST_BACKTRACE",
    "TMPDIR",
    "WEIR_GST_PLUGIN_DIRS",
    "XDG_RUNTIME_DIR",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_nothing_of_the_daemons_but_its_end_of_a_socket() -> Result<()> {
    let world = Plan::open()?.small_ladder().start().await?;
    let key = "a-key-that-nobody-is-to-see";
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url(key))?;
    world.media.playlist(key, SOON).await?;
    let worker = world.media.worker(key).await?.context("no worker")?;
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/{name}"));

    let line = file("cmdline")?;
    let arguments: Vec<&str> = line.trim_end_matches('\0').split('\0').skip(1).collect();
    assert!(
        matches!(
            arguments[..],
            ["transcode-worker"]
                | ["transcode-worker", "--devices"]
                | ["transcode-worker", "--devices", "--load", _]
        ),
        "{arguments:?}"
    );
    let environment = file("environ")?;
    for variable in environment.split('\0').filter(|it| !it.is_empty()) {
        let name = variable.split('=').next().unwrap_or_default();
        assert!(KNOWN.contains(&name), "{variable}");
    }
    assert!(!environment.contains(key) && !environment.contains("rtmp"), "{environment}");

    // Its own group, and nothing that could gain rights by a program that it starts.
    let stat = file("stat")?;
    let group = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2)?.parse::<u32>().ok());
    assert_eq!(group, Some(worker), "{stat}");
    for thread in std::fs::read_dir(format!("/proc/{worker}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    }

    // No file, and no socket of the network: its own, and what GStreamer wakes its threads with. What this test was given by
    // whoever started it is not the daemon's.
    let (open, given) = (descriptors(&worker.to_string())?, descriptors("self")?);
    println!("{open:?}");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let network = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        let sockets = open.iter().filter_map(|it| it.strip_prefix("socket:[")?.strip_suffix(']'));
        for socket in sockets {
            assert!(!network.split_whitespace().any(|field| field == socket), "{table}: {socket}");
        }
    }
    let mut known = vec!["socket:", "pipe:", "anon_inode:", "/dev/null"];
    if arguments.contains(&"--devices") {
        known.extend(["/dev/nvidia", "/dev/dri/"]);
    }
    let inner = |it: &String| known.iter().any(|is| it.starts_with(is));
    let named: Vec<_> =
        open.iter().filter(|it| !inner(it) && !it.ends_with("(deleted)") && !given.contains(it)).collect();
    assert!(named.is_empty(), "{named:?}");
    Ok(())
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
    let harms = [
        Harm::Signal(Signal::KILL),
        Harm::Signal(Signal::SEGV),
        Harm::Signal(Signal::STOP),
        Harm::Memory,
        Harm::Starved,
    ];
    let ms = |pause: Duration| format!("{} ms", pause.as_millis());
    for harm in harms {
        let [source, rung, other] = pauses(&world, harm).await?;
        println!("{}: {} {} {}", harm.name(), ms(source), ms(rung), ms(other));
        assert!(source < SOURCE && rung < ALL && other < SOURCE, "{harm:?}: {source:?} {rung:?} {other:?}");
        rows.push(vec![harm.name(), ms(source), ms(rung), ms(other)]);
    }
    for (what, poison, options) in poisons() {
        let longest = beside(&world, &poison, options).await?;
        println!("{what}: {longest:?}");
        assert!(longest < SOURCE, "others beside {what}: {longest:?}");
        rows.push(vec![format!("is given {what}"), "-".into(), "-".into(), ms(longest)]);
    }
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
