//! `make bench`: runs the benchmarks and prints a table each; `--write FILE` keeps them between markers in a file.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use weir_tests::bench::{
    delivery, ladder, ladder_quality, part_latency, pass_through, srt_loss, viewers, webrtc_floor,
    worker_latency,
};

/// Benchmarks beside peers, in the same run.
#[derive(Parser)]
struct Arguments {
    /// Keep the tables in this Markdown file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Only the CPU seconds a stream-minute of so many pass-through streams, of the programs in $WEIR_BIN.
    #[arg(long, value_name = "STREAMS")]
    alone: Option<usize>,
    /// Only be what the viewers are measured beside.
    #[arg(long, value_name = "VIEWERS", hide = true)]
    webrtc_floor: Option<usize>,
    /// Which (all where none is named).
    names: Vec<Benchmark>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// CPU of repackaging, beside nginx-rtmp.
    PassThrough,
    /// Requests and bytes a second, beside nginx.
    Delivery,
    /// CPU and memory of the transcode worker, beside ffmpeg and gst-launch-1.0.
    Ladder,
    /// How much of the picture its rungs keep, beside ffmpeg.
    LadderQuality,
    /// From a frame to its coded frames, and from a worker's start to its first.
    WorkerLatency,
    /// From a frame to its part.
    PartLatency,
    /// SRT packets lost on a bad path, beside libsrt.
    SrtLoss,
    /// CPU of a viewer by WHEP, beside str0m's own loop.
    Viewers,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(viewers) = arguments.webrtc_floor {
        return webrtc_floor::serve(viewers);
    }
    let all = Benchmark::value_variants();
    let names = if arguments.names.is_empty() { all } else { &arguments.names };
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir()?;
    if let Some(streams) = arguments.alone {
        println!("{:.3}", pass_through::alone(folder.path(), streams).await?);
        return Ok(());
    }
    let mut failed = Vec::new();
    for name in names {
        let table = match name {
            Benchmark::PassThrough => pass_through::run(folder.path()).await,
            Benchmark::Delivery => delivery::run(folder.path()).await,
            Benchmark::Ladder => ladder::run(folder.path()).await,
            Benchmark::LadderQuality => ladder_quality::run(folder.path()).await,
            Benchmark::WorkerLatency => worker_latency::run().await,
            Benchmark::PartLatency => part_latency::run(folder.path()).await,
            Benchmark::SrtLoss => srt_loss::run(folder.path()).await,
            Benchmark::Viewers => viewers::run().await,
        };
        match table {
            Ok(table) => {
                println!("{}", table.markdown());
                if let Some(file) = &arguments.write {
                    table.write(file)?;
                }
            }
            // One that cannot run does not take the others with it.
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(error);
            }
        }
    }
    anyhow::ensure!(failed.is_empty(), "{} benchmarks failed", failed.len());
    Ok(())
}
