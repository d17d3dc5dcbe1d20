//! The transcode worker's delays: from its start to the first unit of each rung, from push to unit after that, and
//! from SIGKILL to the next unit.
//!
//! `worker_latency PROGRAM`: PROGRAM is the media-server executable. Each round pushes 8 s of 640x360 at 30 fps in
//! real time and kills the worker at 4 s, in mid-GOP. The first round starts cold, the others with a warm spare.

#![allow(clippy::disallowed_methods, reason = "the program owns its task")]

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use media::{AccessUnit, Timestamp};
use media_server::transcode::{RungEvent, Transcoder, Workers, start};
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
    first: [Option<Duration>; 2],
    delays: Vec<Duration>,
    killed: Option<Instant>,
    replaced: Option<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let program = PathBuf::from(std::env::args().nth(1).context("usage: worker_latency PROGRAM")?);
    let source = source(Wish { seconds: 8, ..Wish::default() });
    let workers = Workers::new(program);
    for number in 0..4 {
        let mut round = run(&source, &workers).await?;
        round.delays.sort_unstable();
        let at =
            |share: usize| round.delays.get(round.delays.len() * share / 100).copied().unwrap_or_default();
        println!(
            "round {number}: first units {:?}; push to unit p50 {:?} p99 {:?}; killed to next unit {:?}",
            round.first.map(Option::unwrap_or_default),
            at(50),
            at(99),
            round.replaced.unwrap_or_default(),
        );
        workers.keep_spare()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn run(source: &Source, workers: &Workers) -> Result<Round> {
    let mut round = Round {
        begin: Instant::now(),
        pushed: HashMap::new(),
        first: [None; 2],
        delays: Vec::new(),
        killed: None,
        replaced: None,
    };
    let (transcoder, mut events, driver) = start(job(source), workers.clone(), CancellationToken::new());
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
