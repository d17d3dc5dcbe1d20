//! What every request handler shares.

use crate::access::signature::{InvalidSecret, Secrets};
use crate::account::login::Brake;
use crate::account::password::{HashError, Hasher};
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::http::metrics::Metrics;
use crate::outside::media_server::MediaServer;
use crate::secrets::keyfile::{self, KeyFileError};
use crate::secrets::keyring::{KeyRing, KeyRingError};

/// Why the program cannot start on its data.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The master key.
    #[error(transparent)]
    KeyRing(#[from] KeyRingError),
    /// The webhook secret's file.
    #[error(transparent)]
    SecretFile(#[from] KeyFileError),
    /// The webhook secret.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// Argon2.
    #[error(transparent)]
    Hasher(#[from] HashError),
}

/// The rooms' shared state.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// For stream keys.
    pub key_ring: KeyRing,
    /// What the media server signs with.
    pub webhook_secrets: Secrets,
    /// For passwords.
    pub hasher: Hasher,
    /// Against guessing.
    pub login_brake: Brake,
    /// For Prometheus.
    pub metrics: Metrics,
    /// The media server's admin API.
    pub media_server: MediaServer,
}

impl App {
    /// Opens the data that the settings name; makes what is missing.
    pub async fn open(config: Config) -> Result<Self, AppError> {
        let db = Db::open(&config.database_path()).await?;
        let key_ring = KeyRing::load(&config.master_key_path())?;
        let webhook_secrets = match &config.webhook.secret {
            Some(secret) => Secrets::parse(secret)?,
            None => {
                Secrets::parse(&keyfile::read_or_create(&config.webhook_secret_path(), Secrets::generate)?)?
            }
        };
        Ok(Self {
            hasher: Hasher::new()?,
            login_brake: Brake::default(),
            metrics: Metrics::default(),
            media_server: MediaServer::new(&config.media_server),
            config,
            db,
            key_ring,
            webhook_secrets,
        })
    }
}
