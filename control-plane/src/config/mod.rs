//! The control plane's settings: every key has a default, an unknown key is refused.

mod ladder_rule;
pub mod load;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use ladder_rule::{LadderRule, Then};
pub use load::{ConfigError, load};
pub use values::{HttpUrl, Seconds, SqliteUrl};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the database and the secrets are. `$WEIR_DATA` overrides it.
    pub data_dir: PathBuf,
    /// See [`Database`].
    pub database: Database,
    /// See [`Webhook`].
    pub webhook: Webhook,
    /// See [`MediaServer`].
    pub media_server: MediaServer,
    /// See [`Publish`].
    pub publish: Publish,
    /// See [`Http`].
    pub http: Http,
    /// See [`Log`].
    pub log: Log,
}

/// `[database]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://PATH`; by default `control-plane.db` in the data folder.
    pub url: Option<SqliteUrl>,
}

/// `[webhook]`: what the media server signs its requests with.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// The secret itself (`whsec_…`). A file is better: it does not end up in a repository.
    pub secret: Option<String>,
    /// A file that holds it; by default `webhook.secret` in the data folder, made where it is missing.
    pub secret_file: Option<PathBuf>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = self.secret.as_ref().map(|_| "redacted");
        f.debug_struct("Webhook").field("secret", &secret).field("secret_file", &self.secret_file).finish()
    }
}

/// `[media_server]`: where it is, for this program and for people.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaServer {
    /// Its admin API.
    #[serde(deserialize_with = "values::plain_http")]
    pub admin_url: HttpUrl,
    /// Where viewers' browsers find HLS, without `/live`. By default the host that the page was asked of, port 8080.
    pub public_hls_url: Option<HttpUrl>,
    /// Where browsers send WHIP and ask for WHEP, without `/whip`. By default where they find HLS: to be set where that
    /// is a CDN.
    pub public_webrtc_url: Option<HttpUrl>,
    /// What broadcasters enter as server, e.g. `rtmp://stream.example/live`. By default made from the host.
    pub rtmp_url: Option<String>,
    /// How long a call to the admin API may take.
    pub timeout: Seconds,
}

/// `[publish]`: what an admitted publisher gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// The media server's transcode profile.
    pub profile: String,
    /// Record every stream.
    pub record: bool,
    /// Highest total bitrate, kbit/s.
    pub bitrate_kbps: u32,
    /// Largest picture, pixels.
    pub width: u32,
    /// Largest picture, pixels.
    pub height: u32,
    /// Highest frame rate.
    pub fps: u32,
    /// Longest stream, seconds; 0 is without end.
    pub duration_s: u32,
    /// Other profiles for some sources, asked for once their tracks are known: the first that fits.
    pub ladders: Vec<LadderRule>,
    /// How long what the media server told is kept, in days.
    pub event_retention_days: u32,
}

/// `[http]`: bounds on what anyone may cost.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Connections at once.
    pub max_connections: usize,
    /// From a request's last header to its answer.
    pub request_timeout: Seconds,
    /// How long open requests may take to end at a stop.
    pub drain_timeout: Seconds,
    /// How long a login lasts.
    pub login_lifetime: Seconds,
}

/// `[log]`; `$RUST_LOG` overrides the filter.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `tracing` filter directives.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8000)),
            data_dir: "./data".into(),
            database: Database::default(),
            webhook: Webhook::default(),
            media_server: MediaServer::default(),
            publish: Publish::default(),
            http: Http::default(),
            log: Log::default(),
        }
    }
}

impl Default for MediaServer {
    fn default() -> Self {
        Self {
            admin_url: HttpUrl::literal("http://127.0.0.1:9600"),
            public_hls_url: None,
            public_webrtc_url: None,
            rtmp_url: None,
            timeout: Seconds(Duration::from_secs(3)),
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            profile: "default".into(),
            record: false,
            bitrate_kbps: 12_000,
            width: 1920,
            height: 1080,
            fps: 60,
            duration_s: 0,
            ladders: Vec::new(),
            event_retention_days: 90,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            request_timeout: Seconds(Duration::from_secs(15)),
            drain_timeout: Seconds(Duration::from_secs(10)),
            login_lifetime: Seconds(Duration::from_hours(12)),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

impl Config {
    /// The database file.
    pub fn database_path(&self) -> PathBuf {
        match &self.database.url {
            Some(url) => url.path().to_owned(),
            None => self.data_dir.join("control-plane.db"),
        }
    }

    /// The file with the webhook secret.
    pub fn webhook_secret_path(&self) -> PathBuf {
        self.webhook.secret_file.clone().unwrap_or_else(|| self.data_dir.join("webhook.secret"))
    }

    /// The file with the master key of the stream keys.
    pub fn master_key_path(&self) -> PathBuf {
        self.data_dir.join("keys.master")
    }

    /// The same settings with their data elsewhere.
    #[must_use]
    pub fn with_data_dir(mut self, data_dir: &Path) -> Self {
        data_dir.clone_into(&mut self.data_dir);
        self
    }
}
