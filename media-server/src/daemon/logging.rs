//! Logs to standard error; `RUST_LOG` says what, `[log] format` says how, and can change while it runs.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::LogFormat;

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Changes how lines look.
pub(super) struct Logging(Option<reload::Handle<Lines, Registry>>);

fn lines(format: LogFormat) -> Lines {
    match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal();
            fmt::layer().with_writer(std::io::stderr).with_ansi(colour).with_target(false).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
    }
}

/// Begins to log. In a process that logs already (a test), that stays.
pub(super) fn start(format: LogFormat) -> Logging {
    let (layer, handle) = reload::Layer::new(lines(format));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    Logging(
        tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok().then_some(handle),
    )
}

impl Logging {
    pub(super) fn set(&self, format: LogFormat) {
        if let Some(Err(error)) = self.0.as_ref().map(|handle| handle.reload(lines(format))) {
            tracing::warn!(%error, "the log format could not be changed");
        }
    }
}
