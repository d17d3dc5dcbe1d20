//! The wiring: builds the rooms, executes plans, owns every task. The first start is a reload from nothing.

mod capacity;
mod codecs;
mod dev_certificate;
mod encoder;
mod encoders;
mod hook;
mod listeners;
mod logging;
mod posters;
mod reload;
mod replay;
mod room;
mod settings;
mod slate;
mod sounds;
mod sources;
mod tls;
mod webrtc;

pub use dev_certificate::dev_certificate;
pub use encoders::encoders;
pub use replay::replay_file;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Readiness};
use crate::admission::{Outbox, SharedEndpoint};
use crate::config::{self, Config, ConfigError};
use crate::ingest::pull::Pulls;
use crate::ingest::{Desk, Forwarder, Lanes};
use crate::live::{Directory, Makers};
use crate::metrics::Metrics;
use crate::restream::Restreams;
use crate::serve::{Feeds, Public};
use crate::transport::rtc::OpenError;
use crate::web::certificate::CertificateError;
use crate::web::pending::Pending;
use crate::web::quic::QuicError;
use crate::web::respond::Cors;
use listeners::{Door, Listeners};
use webrtc::Webrtc;

/// sysexits.h: the configuration is wrong.
const EX_CONFIG: u8 = 78;
/// How long the control plane may take for the last events of a stop.
const LAST_EVENTS: Duration = Duration::from_secs(2);
/// How long everything may take to end.
const GRACE: Duration = Duration::from_secs(8);

/// Why the daemon could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(
        "cannot write to the data folder {path}: {source}; create it, give this user the right, or set data_dir"
    )]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error("cannot listen for {what} on {address}: {source}; {remedy}")]
    Bind { what: &'static str, address: std::net::SocketAddr, source: std::io::Error, remedy: String },
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("HTTP/3: {0}")]
    Quic(#[from] QuicError),
    #[error("WebRTC: {0}")]
    Rtc(#[from] OpenError),
    #[error("admission: {0}")]
    Admission(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

/// Reads the configuration (or takes the defaults), `$WEIR_DATA` over `data_dir`.
fn read_config(path: Option<&Path>) -> Result<Config, ConfigError> {
    let mut config = match path {
        Some(path) => config::load(path)?,
        None => Config::default(),
    };
    if let Some(folder) = std::env::var_os("WEIR_DATA").filter(|v| !v.is_empty()) {
        config.data_dir = folder.into();
    }
    Ok(config)
}

/// `media-server check-config`.
pub fn check_config(path: Option<&Path>) -> ExitCode {
    match read_config(path) {
        Ok(config) => {
            let name = path.map_or("the built-in defaults".into(), |p| p.display().to_string());
            let text = format!("{name}: valid\n{}\n", config.summary());
            // A closed standard output changes nothing of the verdict.
            std::io::stdout().write_all(text.as_bytes()).map_or(ExitCode::SUCCESS, |()| ExitCode::SUCCESS)
        }
        Err(error) => complain(&error.to_string(), EX_CONFIG),
    }
}

/// `media-server run`.
pub fn run(path: Option<PathBuf>) -> ExitCode {
    let config = match read_config(path.as_deref()) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string(), EX_CONFIG),
    };
    let logging = logging::start(config.log.format);
    let started =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weir").build().and_then(|it| {
            let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            Ok((it, Lanes::start(cores)?))
        });
    let (runtime, (lanes, _threads)) = match started {
        Ok(started) => started,
        Err(error) => return complain(&format!("cannot start the threads: {error}"), 1),
    };
    match runtime.block_on(Daemon::serve(config, path, logging, lanes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), 1),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // With standard error closed, the exit code still says it.
    writeln!(std::io::stderr(), "media-server: {text}")
        .map_or(ExitCode::from(code), |()| ExitCode::from(code))
}

struct Daemon {
    path: Option<PathBuf>,
    config: Config,
    logging: logging::Logging,
    desk: Desk,
    endpoint: SharedEndpoint,
    preset: Arc<ArcSwap<String>>,
    thumbnails: Arc<ArcSwap<posters::Wish>>,
    slate: Arc<ArcSwap<slate::Wish>>,
    public: Public,
    cors: Arc<ArcSwap<Cors>>,
    webrtc: Webrtc,
    admin: Admin,
    listeners: Listeners,
    tls: tls::Tls,
    restreams: Restreams,
    pulls: Pulls,
    ready: watch::Sender<Readiness>,
}

impl Daemon {
    async fn serve(
        config: Config,
        path: Option<PathBuf>,
        logging: logging::Logging,
        lanes: Lanes,
    ) -> Result<(), DaemonError> {
        settings::prepare_data_dir(&config.data_dir)?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Metrics::new();
        let program =
            std::env::current_exe().map_err(|source| DaemonError::System { what: "own program", source })?;
        let preset = Arc::new(ArcSwap::from_pointee(config.transcode.preset.clone()));
        let slate = Arc::new(ArcSwap::from_pointee(settings::slate(&config)));
        let slates = slate::factory(program.clone(), Arc::clone(&slate), tasks.clone());
        let (chosen, encoders) = encoders::choose(&config, &program, &metrics, (&tasks, &stop));
        let made_with = (Arc::clone(&preset), chosen);
        let rungs = encoder::factory(program.clone(), made_with, tasks.clone(), stop.clone());
        let admission = settings::admission(&config)?;
        let rules = Arc::new(ArcSwap::from_pointee(settings::rules(&config)));
        let codecs = codecs::Codecs::known(&config);
        let ladders = hook::ladders(&admission, (&rules, codecs), &metrics);
        let sound_rungs = sounds::rungs(program.clone(), tasks.clone(), stop.clone());
        let makers = Makers { rungs: Arc::clone(&rungs), sound_rungs, slates, ladders: Some(ladders) };
        let directory = Directory::new(tasks.clone(), stop.clone(), makers, metrics.clone());
        let endpoint = settings::shared_endpoint(&config)?;
        let (outbox, deliver) = settings::outbox(&config, &endpoint, metrics.clone())?;
        let (delivery, told) = (TaskTracker::new(), CancellationToken::new());
        delivery.spawn(until(told.clone(), deliver));
        let restreams = Restreams::new(tasks.clone(), stop.clone(), metrics.clone());
        let feeds = Feeds::new(directory.clone(), tasks.clone(), stop.clone());
        let desk = Desk {
            admission,
            outbox,
            directory: directory.clone(),
            forward: forwarder(&restreams),
            play: Arc::new(move |stream, rung| feeds.take(stream, rung)),
            rules,
            pending: Pending::default(),
            lanes,
            sounds: sounds::undecoded(program.clone(), tasks.clone(), stop.clone()),
            program,
            flights: settings::flights(&config),
            metrics: metrics.clone(),
        };
        let cors = Arc::new(ArcSwap::from_pointee(Cors::new(&config.http.cors_origins)));
        let blocked = config.http.max_blocked_requests;
        let (pictures, thumbnails) = posters::start(&desk, &config, (&tasks, &stop));
        let public =
            Public::new((directory.clone(), pictures.clone()), Arc::clone(&cors), blocked, metrics.clone());
        let webrtc = Webrtc::new((&desk, rungs), &config, &cors, (tasks.clone(), stop.clone()))?;
        let starting = Readiness { missing: vec!["the listeners are not open yet".into()] };
        let (ready, readiness) = watch::channel(starting);
        let last_reload = Arc::new(ArcSwapOption::empty());
        let flights = settings::flights(&config);
        let sources = config.data_dir.join("sources.json");
        let pulls = Pulls::new(desk.clone(), sources, tasks.clone(), stop.clone());
        let sources = Arc::new(pulls.clone());
        let admin = Admin { directory, metrics, last_reload, flights, sources, encoders, readiness };
        let listeners = Listeners::new(tasks.clone(), stop.clone());
        let tls = tls::Tls::new()?;
        tasks.spawn(until(stop.clone(), tls.certificates.clone().renewed()));
        let mut daemon = Self {
            path,
            config,
            logging,
            desk,
            endpoint,
            preset,
            thumbnails,
            slate,
            public,
            cors,
            webrtc,
            admin,
            listeners,
            tls,
            restreams,
            pulls,
            ready,
        };
        let plan = config::diff(None, &daemon.config);
        daemon.apply(&plan, None).await?;
        daemon.write_ports();
        daemon.ready.send_replace(Readiness::default());
        tracing::info!(
            rtmp = ?daemon.listeners.address(Door::Rtmp), rtmps = ?daemon.listeners.address(Door::Rtmps), webrtc = ?daemon.listeners.address(Door::Webrtc), http = ?daemon.listeners.address(Door::Http), https = ?daemon.listeners.address(Door::Https), admin = ?daemon.listeners.address(Door::Admin),
            data = %daemon.config.data_dir.display(), "ready"
        );
        daemon.live().await?;
        daemon.ready.send_replace(Readiness { missing: vec!["shutting down".into()] });
        drain(daemon.desk.outbox.clone(), (tasks, stop), (delivery, told)).await;
        Ok(())
    }

    /// Waits for signals and edits until told to stop.
    async fn live(&mut self) -> Result<(), DaemonError> {
        let catch =
            |kind| signal(kind).map_err(|source| DaemonError::System { what: "signal handler", source });
        let mut hang_up = catch(SignalKind::hangup())?;
        let mut terminate = catch(SignalKind::terminate())?;
        let mut interrupt = catch(SignalKind::interrupt())?;
        let mut watcher = self.path.as_deref().and_then(|path| {
            config::watch(path)
                .map_err(
                    |error| tracing::warn!(%error, "the configuration file cannot be watched: use SIGHUP"),
                )
                .ok()
        });
        loop {
            let edited = async {
                match &mut watcher {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hang_up.recv() => self.reload().await,
                () = edited => self.reload().await,
            }
        }
    }
}

/// Ends all work, and then the delivery of what there is to tell.
async fn drain(
    outbox: Outbox,
    (tasks, stop): (TaskTracker, CancellationToken),
    (delivery, told): (TaskTracker, CancellationToken),
) {
    tracing::info!("stopping: publishers are told, streams end, viewers finish");
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_ok() {
        tracing::info!("stopped, everything ended in order");
    } else {
        tracing::warn!(left = tasks.len(), grace = ?GRACE, "stopped, some tasks were cut off");
    }
    // Last, so that the ends of the sessions are told as well; what is not is told at the next start.
    if tokio::time::timeout(LAST_EVENTS, all_told(outbox)).await.is_err() {
        tracing::info!("events left for the next start");
    }
    told.cancel();
    delivery.close();
    delivery.wait().await;
}

/// What ingest calls with where a stream goes.
fn forwarder(restreams: &Restreams) -> Forwarder {
    let restreams = restreams.clone();
    Arc::new(move |stream, urls| restreams.set(stream, urls))
}

/// Resolves when every event has been acknowledged. Asked only at a stop, so it may ask now and then.
async fn all_told(outbox: Outbox) {
    while outbox.pending() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
