//! Where workers come from: the program they run, and one that is kept warm.
//!
//! Loading the codecs' libraries takes a process longer than building its pipeline. A spare worker has done it
//! before its stream begins, or before the worker that it replaces dies.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;

use super::process::{self, Worker};

/// Starts workers. Clones share the spare. A [`PathBuf`] converts into one that keeps no spare.
#[derive(Clone)]
pub struct Workers(Arc<Inner>);

struct Inner {
    program: PathBuf,
    devices: bool,
    loads: Arc<ArcSwap<Vec<&'static str>>>,
    keeps_spare: AtomicBool,
    spare: Mutex<Option<Worker>>,
}

impl Workers {
    /// `program` is the executable that has the `transcode-worker` subcommand, usually `current_exe()`.
    pub fn new(program: PathBuf) -> Self {
        Self::with_devices(program, false, Arc::default())
    }

    /// The same, for workers that may use the devices that encode. `loads`: plugins' files that they load before they have a
    /// job: that of CUDA takes two seconds to look at its device.
    pub fn with_devices(program: PathBuf, devices: bool, loads: Arc<ArcSwap<Vec<&'static str>>>) -> Self {
        Self(Arc::new(Inner {
            program,
            devices,
            loads,
            keeps_spare: AtomicBool::new(false),
            spare: Mutex::new(None),
        }))
    }

    /// Keeps one worker warm from now on. It idles, at the price of some 20 MB, until the last clone is dropped.
    /// Needs a tokio runtime.
    pub fn keep_spare(&self) -> io::Result<()> {
        self.0.keeps_spare.store(true, Relaxed);
        self.refill()
    }

    /// Keeps none any more, and lets the one that waits go.
    pub fn release_spare(&self) {
        self.0.keeps_spare.store(false, Relaxed);
        // Dropped outside the lock: its end of the socket closes, and it leaves.
        let spare = self.spare().take();
        drop(spare);
    }

    pub(super) fn program(&self) -> &Path {
        &self.0.program
    }

    /// The spare, or a new worker.
    pub(super) fn take(&self) -> io::Result<Worker> {
        let spare = self.spare().take().filter(Worker::is_alive);
        match spare {
            Some(worker) => Ok(worker),
            None => self.spawn(),
        }
    }

    /// Starts a spare where one is wanted and missing.
    pub(super) fn refill(&self) -> io::Result<()> {
        let mut spare = self.spare();
        if self.0.keeps_spare.load(Relaxed) && !spare.as_ref().is_some_and(Worker::is_alive) {
            *spare = Some(self.spawn()?);
        }
        Ok(())
    }

    fn spawn(&self) -> io::Result<Worker> {
        process::spawn(&self.0.program, self.0.devices, &self.0.loads.load())
    }

    fn spare(&self) -> MutexGuard<'_, Option<Worker>> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<PathBuf> for Workers {
    fn from(program: PathBuf) -> Self {
        Self::new(program)
    }
}
