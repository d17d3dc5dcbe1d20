//! A world of its own for a test: the real programs on port 0, with their own data, ended when it is dropped.
//!
//! Worlds of one test program take turns: they share two cores with encoders and browsers, and a starved encoder
//! is no finding. Cargo runs one test program after the other.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    http_client::HttpClient, metrics::Metrics, program::Program, rtmp_url::RtmpUrl, settings::Settings, wait,
};

/// How long a program has to be ready.
const START: Duration = Duration::from_secs(30);

static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(|| Arc::new(Mutex::new(())));

/// What a test wants of its world.
pub struct Plan {
    folder: TempDir,
    media: Settings,
    control: Option<Settings>,
}

/// The running media server.
pub struct MediaServer {
    /// The process.
    pub program: Program,
    /// `host:port` of RTMP.
    pub rtmp: String,
    /// `host:port` of RTMPS, where there is a certificate.
    pub rtmps: Option<String>,
    /// `host:port` of SRT.
    pub srt: String,
    /// `host:port` of WebRTC media.
    pub webrtc: String,
    /// `http://host:port` of HLS.
    pub http: String,
    /// `https://host:port` of the same, where there is a certificate; HTTP/3 has the same port.
    pub https: Option<String>,
    /// `http://host:port` of the admin listener.
    pub admin: String,
    /// Its configuration file, which it watches.
    pub config: PathBuf,
    settings: Settings,
    client: HttpClient,
}

/// The running control plane.
pub struct ControlPlane {
    /// The process.
    pub program: Program,
    /// `http://host:port`.
    pub http: String,
    /// Its configuration file.
    pub config: PathBuf,
}

/// The programs, their folder, and the turn to run.
pub struct World {
    /// The media server.
    pub media: MediaServer,
    /// The control plane, where the plan has one.
    pub control: Option<ControlPlane>,
    /// For any question by HTTP.
    pub client: HttpClient,
    folder: TempDir,
    _turn: OwnedMutexGuard<()>,
}

impl Plan {
    /// The media server alone, keys being stream names.
    pub fn open() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir()?;
        Ok(Self { media: Settings::media_open(folder.path()), control: None, folder })
    }

    /// Both programs; the media server asks the control plane.
    pub fn admitted() -> Result<Self> {
        let mut plan = Self::open()?;
        plan.control = Some(Settings::control(plan.folder.path()));
        Ok(plan)
    }

    /// Lays TOML over the media server's settings.
    #[must_use]
    pub fn media(mut self, toml: &str) -> Self {
        self.media.merge(toml);
        self
    }

    /// Lays TOML over the control plane's settings.
    #[must_use]
    pub fn control(mut self, toml: &str) -> Self {
        if let Some(control) = &mut self.control {
            control.merge(toml);
        }
        self
    }

    /// No rung is encoded: what comes in goes out.
    #[must_use]
    pub fn pass_through(self) -> Self {
        self.media(crate::ladder::PASS_THROUGH)
    }

    /// A ladder of small rungs below the test picture.
    #[must_use]
    pub fn small_ladder(self) -> Self {
        self.media(crate::ladder::SMALL)
    }

    /// The world's folder, before anything runs in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the programs and waits until they are ready.
    pub async fn start(mut self) -> Result<World> {
        let turn = Arc::clone(&TURN).lock_owned().await;
        let client = HttpClient::new();
        let control = match &mut self.control {
            Some(settings) => {
                // Each has to know where the other is, so two ports are settled before either starts.
                let (hls, admin) = (free_address()?, free_address()?);
                settings.merge(&format!(
                    "[media_server]\nadmin_url = \"http://{admin}\"\n\
                     public_hls_url = \"http://{hls}\"\n"
                ));
                let control = ControlPlane::start(self.folder.path(), settings, &client).await?;
                self.media.merge(&format!(
                    "[http]\nlisten = \"{hls}\"\n[admin]\nlisten = \"{admin}\"\n\
                     [admission]\nmode = \"webhook\"\nurl = \"{}/internal/hooks/publish\"\n",
                    control.http
                ));
                Some(control)
            }
            None => None,
        };
        let media = MediaServer::start(self.folder.path(), &self.media, &client).await?;
        Ok(World { media, control, client, folder: self.folder, _turn: turn })
    }
}

/// Waits for the file in which a program says where it listens, and until it says that it is ready.
async fn ready(
    program: &mut Program,
    name: &str,
    folder: &Path,
    admin: &str,
    client: &HttpClient,
) -> Result<Value> {
    let file = folder.join(format!("{name}.ports.json"));
    let deadline = tokio::time::Instant::now() + START;
    loop {
        program.must_run()?;
        if let Some(ports) =
            std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        {
            let address = ports[admin]
                .as_str()
                .with_context(|| format!("{}: no {admin:?}: {ports}", file.display()))?;
            if client.get(&format!("http://{address}/readyz")).await.is_ok_and(|a| a.status.is_success()) {
                return Ok(ports);
            }
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "{name} was not ready within {START:?}:\n{}",
            program.log_tail(30)
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl MediaServer {
    async fn start(folder: &Path, settings: &Settings, client: &HttpClient) -> Result<Self> {
        let config = folder.join("media-server.toml");
        std::fs::write(&config, settings.text())?;
        let mut program = Program::ours("media-server", ["run", "--config", path(&config)?], folder)?;
        let ports = ready(&mut program, "media-server", folder, "admin", client).await?;
        let address = |name: &str| {
            ports[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {ports}"))
        };
        Ok(Self {
            program,
            rtmp: address("rtmp")?,
            rtmps: address("rtmps").ok(),
            srt: address("srt")?,
            webrtc: address("webrtc")?,
            http: format!("http://{}", address("http")?),
            https: address("https").ok().map(|address| format!("https://{address}")),
            admin: format!("http://{}", address("admin")?),
            config,
            settings: settings.clone(),
            client: client.clone(),
        })
    }

    /// Changes its configuration, and waits until that is in force.
    pub async fn edit(&mut self, toml: &str) -> Result<()> {
        let reload = format!("{}/api/v1/reload", self.admin);
        let last = async || anyhow::Ok(self.client.get(&reload).await?.text());
        let before = last().await?;
        self.settings.merge(toml);
        let next = self.config.with_extension("next");
        std::fs::write(&next, self.settings.text())?;
        std::fs::rename(&next, &self.config)?;
        let other = || async {
            let now = last().await?;
            Ok((now != before).then_some(now))
        };
        let now = wait::until("a reload", Duration::from_secs(15), other).await?;
        anyhow::ensure!(now.contains("\"applied\""), "{now}");
        Ok(())
    }

    /// Kills the daemon and starts another at the same addresses, on the same data.
    pub async fn restart(&mut self) -> Result<()> {
        self.program.signal(Signal::KILL)?;
        self.program.ended(Duration::from_secs(10)).await?;
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        self.settings.merge(&format!(
            "[rtmp]\nlisten = \"{}\"\n[srt]\nlisten = \"{}\"\n[webrtc]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n[admin]\nlisten = \"{}\"\n",
            self.rtmp,
            self.srt,
            self.webrtc,
            address(&self.http),
            address(&self.admin)
        ));
        let folder = self.config.parent().context("a configuration in no folder")?.to_owned();
        *self = Self::start(&folder, &self.settings, &self.client).await?;
        Ok(())
    }

    /// Where to publish with that key.
    pub fn publish_url(&self, key: &str) -> RtmpUrl {
        RtmpUrl::new(&self.rtmp, "live", key)
    }

    /// The multivariant playlist of a stream.
    pub fn hls(&self, stream: &str) -> String {
        format!("{}/live/{stream}/index.m3u8", self.http)
    }

    /// Waits until the multivariant playlist answers 200.
    pub async fn playlist(&self, stream: &str, within: Duration) -> Result<String> {
        let url = self.hls(stream);
        wait::until(&format!("a playlist at {url}"), within, || async {
            let answer = self.client.get(&url).await?;
            Ok(answer.status.is_success().then(|| answer.text()))
        })
        .await
    }

    /// One scrape of `/metrics`.
    pub async fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&self.client.get(&format!("{}/metrics", self.admin)).await?.text()))
    }

    /// `GET /api/v1/streams`.
    pub async fn streams(&self) -> Result<Value> {
        self.client.get(&format!("{}/api/v1/streams", self.admin)).await?.json()
    }

    /// The process that encodes a stream, where one does.
    pub async fn worker(&self, stream: &str) -> Result<Option<u32>> {
        let answer = self.client.get(&format!("{}/api/v1/streams/{stream}", self.admin)).await?;
        let pid = answer.json()?["worker"]["pid"].as_u64();
        Ok(pid.map(u32::try_from).transpose()?)
    }

    /// Ends a stream: `DELETE /api/v1/streams/NAME`.
    pub async fn drop_stream(&self, stream: &str) -> Result<http::StatusCode> {
        let url = format!("{}/api/v1/streams/{stream}", self.admin);
        Ok(self.client.call(http::Method::DELETE, &url, None).await?.status)
    }
}

impl ControlPlane {
    async fn start(folder: &Path, settings: &Settings, client: &HttpClient) -> Result<Self> {
        let config = folder.join("control-plane.toml");
        std::fs::write(&config, settings.text())?;
        let mut program = Program::ours("control-plane", ["run", "--config", path(&config)?], folder)?;
        let ports = ready(&mut program, "control-plane", folder, "http", client).await?;
        let http = ports["http"].as_str().with_context(|| format!("no http: {ports}"))?;
        Ok(Self { program, http: format!("http://{http}"), config })
    }

    /// `control-plane admin …` against the same data; its output.
    pub async fn admin(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["admin"];
        all.extend(arguments);
        all.extend(["--config", path(&self.config)?]);
        let folder = self.config.parent().context("a configuration in no folder")?;
        let mut admin = Program::ours("control-plane", all, folder)?;
        let status = admin.ended(Duration::from_secs(30)).await?;
        anyhow::ensure!(status.success(), "control-plane admin {arguments:?} ({status}):\n{}", admin.log());
        Ok(admin.log())
    }
}

impl World {
    /// The folder of all its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The control plane.
    pub fn control(&self) -> Result<&ControlPlane> {
        self.control.as_ref().context("this world has no control plane")
    }

    /// Makes the demo channel and gives its facts, as `make run` does.
    pub async fn demo(&self) -> Result<Value> {
        let file = self.folder().join("demo.json");
        self.control()?.admin(&["init-demo", "--out", path(&file)?]).await?;
        Ok(serde_json::from_slice(&std::fs::read(&file)?)?)
    }
}

/// An address of this machine, with a port that nobody has at the moment.
pub fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: no UTF-8", path.display()))
}
