//! The child's side: `media-server transcode-worker`. The only place where GStreamer is initialised.
//!
//! Three kinds of threads: the main thread watches the pipeline's bus and reports progress, one thread reads the
//! socket into the decoder, and the pipeline's own threads write what comes out. The process ends by itself when
//! the daemon's end of the socket closes.

mod confinement;
mod frames;
mod part;
mod pipeline;
mod plugins;
mod poster;
mod rung;
mod scaler;
mod sheet;
mod slate;
mod socket;
mod sound;
mod step;
mod trial;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Release},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use media::AccessUnit;

use super::protocol::{FromWorker, ProtocolError, ToWorker};
use pipeline::{Pipeline, Watched};
use socket::{Inlet, Outlet};

pub(super) use plugins::{PLUGIN_DIRS, SYSTEM_DIRS};
pub use trial::{plugin_main, trial_main};

/// How often progress is reported and the socket's health looked at.
const TICK: Duration = Duration::from_millis(100);
/// Units that wait inside the worker: two seconds of 60 a second.
const AHEAD: usize = 128;
/// How long encoding may go on after the last input.
const DRAIN: Duration = Duration::from_secs(5);

/// Why a worker ends before its work is done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("this is started by `media-server run`, not by hand: stdin is not its socket")]
    NotASocket,
    #[error("the daemon's socket: {0}")]
    Socket(#[from] std::io::Error),
    #[error("the daemon does not keep to the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the first message is not a job")]
    NoJob,
    #[error(transparent)]
    Plugins(#[from] plugins::PluginError),
    #[error(transparent)]
    Pipeline(#[from] pipeline::PipelineError),
    #[error("the pipeline did not finish within {DRAIN:?}")]
    Stuck,
    #[error(transparent)]
    Slate(#[from] slate::SlateFailure),
}

impl Failure {
    /// Another worker would fail the same way.
    fn is_fatal(&self) -> bool {
        match self {
            Self::Plugins(_) => true,
            Self::Pipeline(error) => error.is_fatal(),
            _ => false,
        }
    }
}

/// Runs the `transcode-worker` subcommand. Call it before any other thread exists; it returns when the daemon
/// closes its end of stdin. `devices`: it may use those that encode. `load`: plugins' files to load before there is a job.
pub fn worker_main(devices: bool, load: &[String]) -> ExitCode {
    let Some((inlet, outlet)) = socket::from_stdin() else {
        eprintln!("{}", Failure::NotASocket);
        return ExitCode::from(2);
    };
    let outlet = Arc::new(outlet);
    match work(inlet, &outlet, devices, load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let error = FromWorker::Error { fatal: failure.is_fatal(), text: failure.to_string() };
            // With the daemon gone nobody is left to tell.
            if outlet.send(&error).is_err() {
                return ExitCode::SUCCESS;
            }
            ExitCode::FAILURE
        }
    }
}

fn work(mut inlet: Inlet, outlet: &Arc<Outlet>, devices: bool, load: &[String]) -> Result<(), Failure> {
    confinement::apply(devices);
    plugins::load()?;
    for file in load {
        // The job says what is missing, if it needs it.
        let _there = plugins::load_named(file).is_some();
    }
    let start = match inlet.next()? {
        Some(ToWorker::Start(start)) => start,
        Some(ToWorker::Slate(spec)) => return slate::work(&spec, &mut inlet, outlet),
        Some(ToWorker::Poster(spec)) => return poster::work(&spec, &mut inlet, outlet),
        Some(ToWorker::Sound(spec)) => return sound::work(&spec, inlet, outlet),
        _ => return Err(Failure::NoJob),
    };
    let pipeline = Arc::new(Pipeline::build(&start, outlet)?);
    outlet.send(&FromWorker::Ready)?;
    let ended = Arc::new(AtomicBool::new(false));
    let reader = thread::Builder::new().name("inlet".to_owned()).spawn({
        let (pipeline, ended) = (Arc::clone(&pipeline), Arc::clone(&ended));
        move || {
            let read = read(&mut inlet, &pipeline);
            pipeline.end();
            ended.store(true, Release);
            read
        }
    })?;
    watch(&pipeline, outlet, &ended)?;
    pipeline.stop();
    // It has ended: the pipeline finishes only behind its last unit. A panic there would be a failure like any.
    reader.join().unwrap_or(Err(Failure::Stuck))
}

/// Moves units from the socket into the pipeline until end of file. Waits where the pipeline is full, with so many units in
/// hand that what is said of rungs meanwhile is heard: an encoder that is too slow for one would hear of its end behind all that
/// it is too slow for.
fn read(inlet: &mut Inlet, pipeline: &Pipeline) -> Result<(), Failure> {
    let (units, waiting) = sync_channel(AHEAD);
    thread::scope(|scope| {
        thread::Builder::new().name("feed".to_owned()).spawn_scoped(scope, move || {
            let mut waiting = waiting.into_iter();
            while waiting.next().is_some_and(|(unit, edge)| pipeline.push(unit, edge)) {}
        })?;
        let heard = hear(inlet, pipeline, &units);
        // What waits is still encoded.
        drop(units);
        heard
    })
}

fn hear(
    inlet: &mut Inlet,
    pipeline: &Pipeline,
    units: &SyncSender<(AccessUnit, bool)>,
) -> Result<(), Failure> {
    while let Some(message) = inlet.next()? {
        match message {
            ToWorker::Source { unit, edge } => {
                if units.send((unit, edge)).is_err() {
                    break;
                }
            }
            ToWorker::Choose { rung, made: true } => pipeline.add(rung.into())?,
            ToWorker::Choose { rung, made: false } => pipeline.remove(rung.into())?,
            ToWorker::Start(_)
            | ToWorker::Slate(_)
            | ToWorker::File(_)
            | ToWorker::Sound(_)
            | ToWorker::Poster(_) => {
                return Err(Failure::NoJob);
            }
        }
    }
    Ok(())
}

/// Waits for the pipeline's end.
fn watch(pipeline: &Pipeline, outlet: &Outlet, ended: &AtomicBool) -> Result<(), Failure> {
    let (mut reported, mut deadline) = (0, None);
    loop {
        match pipeline.wait(TICK)? {
            Watched::Finished => return Ok(()),
            Watched::Running => {}
        }
        let consumed = pipeline.consumed();
        if consumed != reported {
            reported = consumed;
            outlet.send(&FromWorker::Progress { consumed })?;
        }
        if ended.load(std::sync::atomic::Ordering::Acquire) {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + DRAIN);
            if outlet.is_broken() || Instant::now() > deadline {
                // Threads of a stuck pipeline do not come back: leave without them.
                return Err(Failure::Stuck);
            }
        }
    }
}
