//! The transcode worker's delays: from its start to the first unit of each rung, from push to unit after that, and
//! from SIGKILL to the next unit.
//!
//! `worker_latency PROGRAM [WIDTHxHEIGHT]`: PROGRAM is the media-server executable. Each round pushes 8 s of 640x360 (or that
//! size) at 30 fps in real time and kills the worker at 4 s, in mid-GOP. The first round starts cold, the others with a
//! warm spare. The last line is JSON, for the benchmarks.

#![allow(clippy::disallowed_methods, reason = "the program owns its task")]

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use media::{AccessUnit, Timestamp};
use media_server::transcode::{RungEvent, RungSpec, TranscodeSpec, Transcoder, Workers, start};
use tokio_util::sync::CancellationToken;

#[path = "../tests/transcode_source/mod.rs"]
mod transcode_source;
use transcode_source::{Source, Wish, job, source};

/// The worker is killed behind this unit.
const KILLED_AT: usize = 130;

/// What one round saw.
struct Round {
    begin: Instant,
    pushed: HashMap<Timestamp, Instant>,
    first: Vec<Option<Duration>>,
    delays: Vec<Duration>,
    killed: Option<Instant>,
    replaced: Option<Duration>,
}

/// Milliseconds at that share of the sorted.
fn at(sorted: &[Duration], share: usize) -> f64 {
    let place = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
}

/// A source of that size, and what is made of it.
fn spec(size: &str) -> Result<(Source, TranscodeSpec)> {
    let (width, height) = size.split_once('x').context("WIDTHxHEIGHT")?;
    let size = (width.parse()?, height.parse()?);
    let source = source(Wish { seconds: 8, size, ..Wish::default() });
    let mut spec = job(&source);
    if size.1 > 720 {
        spec.rungs = [("720p", (1280, 720), 2_800), ("480p", (854, 480), 1_200), ("360p", (640, 360), 700)]
            .map(|(name, size, kbps)| RungSpec::new(name, size, kbps * 1000))
            .to_vec();
    }
    Ok((source, spec))
}

#[tokio::main]
async fn main() -> Result<()> {
    let usage = "usage: worker_latency PROGRAM [WIDTHxHEIGHT]";
    let program = PathBuf::from(std::env::args().nth(1).context(usage)?);
    let (source, spec) = spec(&std::env::args().nth(2).unwrap_or_else(|| "640x360".to_owned()))?;
    let workers = Workers::new(program);
    let (mut firsts, mut delays, mut replaced) = (Vec::new(), Vec::new(), Duration::ZERO);
    for number in 0..4 {
        let mut round = run(&source, &spec, &workers).await?;
        round.delays.sort_unstable();
        println!(
            "round {number}: first units {:?}; push to unit p50 {:.1} ms p99 {:.1} ms; killed to next unit {:?}",
            round.first.iter().map(|first| first.unwrap_or_default()).collect::<Vec<_>>(),
            at(&round.delays, 50),
            at(&round.delays, 99),
            round.replaced.unwrap_or_default(),
        );
        let first = round.first.iter().copied().collect::<Option<Vec<_>>>().context("a rung gave nothing")?;
        firsts.push(first.into_iter().max().unwrap_or_default());
        delays.append(&mut round.delays);
        replaced = replaced.max(round.replaced.context("no worker took over")?);
        workers.keep_spare()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    delays.sort_unstable();
    let (cold, warm) = firsts.split_first().context("no round")?;
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let facts = serde_json::json!({
        "cold_ms": ms(*cold),
        "warm_ms": ms(warm.iter().copied().max().unwrap_or_default()),
        "p50_ms": at(&delays, 50),
        "p99_ms": at(&delays, 99),
        "replaced_ms": ms(replaced),
    });
    println!("{facts}");
    Ok(())
}

async fn run(source: &Source, spec: &TranscodeSpec, workers: &Workers) -> Result<Round> {
    let mut round = Round {
        begin: Instant::now(),
        pushed: HashMap::new(),
        first: vec![None; spec.rungs.len()],
        delays: Vec::new(),
        killed: None,
        replaced: None,
    };
    let (transcoder, mut events, driver) = start(spec.clone(), workers.clone(), CancellationToken::new());
    let driver = tokio::spawn(driver);
    let mut transcoder = Some(transcoder);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / 30);
    let mut units = source.units.iter().enumerate();
    loop {
        tokio::select! {
            _ = tick.tick(), if transcoder.is_some() => match (units.next(), &transcoder) {
                (Some((index, unit)), Some(transcoder)) => round.push(transcoder, index, unit)?,
                _ => transcoder = None,
            },
            event = events.recv() => match event {
                Some(RungEvent::Unit { rung, unit }) => round.take(rung, &unit),
                Some(_) => {}
                None => break,
            },
        }
    }
    driver.await?;
    Ok(round)
}

impl Round {
    fn push(&mut self, transcoder: &Transcoder, index: usize, unit: &AccessUnit) -> Result<()> {
        self.pushed.insert(unit.pts, Instant::now());
        transcoder.push(unit.clone(), index.is_multiple_of(60))?;
        if index == KILLED_AT {
            let pid = transcoder.pid().context("the worker runs")?;
            Command::new("kill").args(["-9", &pid.to_string()]).status()?;
            self.killed = Some(Instant::now());
        }
        Ok(())
    }

    fn take(&mut self, rung: usize, unit: &AccessUnit) {
        if let Some(first) = self.first.get_mut(rung) {
            first.get_or_insert_with(|| self.begin.elapsed());
        }
        let pushed = self.pushed.get(&unit.pts);
        match (self.killed, pushed) {
            // Units pushed after the kill can only be the new worker's.
            (Some(killed), Some(&pushed)) if self.replaced.is_none() && pushed > killed => {
                self.replaced = Some(killed.elapsed());
            }
            (None, Some(pushed)) if unit.pts > Timestamp::from_ticks(2, 1) => {
                self.delays.push(pushed.elapsed());
            }
            _ => {}
        }
    }
}
