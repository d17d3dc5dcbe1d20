//! Threads that publishers live on, one for each core. A publisher's connection and its stream share one, so that what it
//! sends gets from the socket into the playlist without waking a second thread (docs/decisions/0014).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// What still blocks a lane's thread at the end is left behind after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every lane. Clones share them.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<[Lane]>);

#[derive(Debug)]
struct Lane {
    handle: Handle,
    /// Connections on it.
    connections: Arc<AtomicUsize>,
}

/// The threads of the lanes, for who started them.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

/// A place on a lane, for one connection.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) lane: Handle,
    connections: Arc<AtomicUsize>,
}

impl Lanes {
    /// Starts `count` lanes, one at least.
    pub fn start(count: usize) -> io::Result<(Self, Threads)> {
        let mut threads = Threads { threads: Vec::new(), stop: CancellationToken::new() };
        let mut lanes = Vec::new();
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            lanes.push(Lane { handle: runtime.handle().clone(), connections: Arc::default() });
            let stop = threads.stop.clone();
            threads.threads.push(thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(PATIENCE);
            })?);
        }
        Ok((Self(lanes.into()), threads))
    }

    /// Every lane.
    pub(super) fn each(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|lane| &lane.handle)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// A place on the lane that has the fewest connections.
    pub(super) fn berth(&self) -> Option<Berth> {
        let lane = self.0.iter().min_by_key(|lane| lane.connections.load(Ordering::Relaxed))?;
        lane.connections.fetch_add(1, Ordering::Relaxed);
        Some(Berth { lane: lane.handle.clone(), connections: Arc::clone(&lane.connections) })
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Threads {
    /// Ends whatever still runs on the lanes.
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the publishers' ended in a panic");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_and_stay_on_their_thread() {
        let (lanes, threads) = Lanes::start(3).unwrap();
        let berths: Vec<_> = (0..6).map(|_| lanes.berth().unwrap()).collect();
        let names = |berth: &Berth| {
            let (tell, told) = std::sync::mpsc::sync_channel(1);
            berth.lane.spawn(async move {
                let name = || thread::current().name().unwrap().to_owned();
                let before = name();
                // What it spawns stays with it.
                let mut children = tokio::task::JoinSet::new();
                children.spawn(async move { thread::current().name().unwrap().to_owned() });
                let child = children.join_next().await.unwrap().unwrap();
                tell.send([before, child, name()]).unwrap();
            });
            told.recv().unwrap()
        };
        let mut lane_of: Vec<_> = berths.iter().map(|berth| names(berth).to_vec()).collect();
        assert!(lane_of.iter().all(|names| names.iter().all(|name| *name == names[0])));
        lane_of.sort();
        lane_of.dedup();
        assert_eq!(lane_of.len(), 3);
        drop(berths);
        assert!(lanes.0.iter().all(|lane| lane.connections.load(Ordering::Relaxed) == 0));
        drop(threads);
    }
}
