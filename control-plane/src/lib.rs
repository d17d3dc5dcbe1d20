//! Weir's control plane: accounts, channels, stream keys, admission and the web pages.
//!
//! A folder a feature: `rules` decides and knows neither database nor HTTP, `store` has the only SQL, `http`
//! begins with its routes. `lib` wires them and owns every task.

pub mod access;
pub mod account;
pub mod app;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod http;
pub mod ids;
pub mod onboarding;
pub mod outside;
pub mod ports;
pub mod retention;
pub mod secrets;
pub mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use app::{App, AppError};
use config::Config;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data is of no use.
    #[error(transparent)]
    App(#[from] AppError),
    /// Its address is taken or not ours.
    #[error("cannot listen on {address}: {source} (`listen` in the configuration)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data folder cannot be written.
    #[error("cannot write the data folder: {0}")]
    Data(io::Error),
}

/// A server that has its data and its port, and serves when it is run.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Opens the data and binds the port.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let listen = config.listen;
        let app = Arc::new(App::open(config).await?);
        let failed = |source| StartError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        ports::write(&app.config.data_dir, address).map_err(StartError::Data)?;
        Ok(Self { app, listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The rooms' shared state.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Serves until `stop`, then ends in order.
    pub async fn run(self, stop: CancellationToken) {
        tracing::info!(address = %self.address, data = %self.app.config.data_dir.display(), "listening");
        let mut tasks = JoinSet::new();
        tasks.spawn(retention::run(Arc::clone(&self.app), stop.clone()));
        tasks.spawn(http::server::serve(Arc::clone(&self.app), self.listener, stop.clone()));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task failed; stopping");
            }
            // No task ends before the stop but by failing.
            stop.cancel();
        }
        self.app.db.close().await;
    }
}
