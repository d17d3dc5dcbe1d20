//! A browser that publishes by WHIP, and GStreamer.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    browser::Browser,
    program::{Program, repository},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);

/// What is sent.
#[allow(clippy::struct_excessive_bools, reason = "wishes that are independent of each other")]
#[derive(Clone, Debug)]
pub struct Wish {
    /// Size and rate of the picture.
    pub size: (u32, u32),
    /// Pictures a second.
    pub fps: u32,
    /// `video/H264`, …
    pub codec: &'static str,
    /// Bits a second of the picture.
    pub bitrate: u32,
    /// There is a picture.
    pub video: bool,
    /// There is sound.
    pub audio: bool,
    /// By TCP alone.
    pub tcp: bool,
    /// By UDP to there, in place of where the server says that it is.
    pub path: Option<SocketAddr>,
    /// `sendEncodings`, for simulcast.
    pub layers: Option<Value>,
    /// Kilobits a second that are sent whatever the browser takes its line for; 0 leaves that to it.
    pub sure: u32,
    /// As the stream's backup.
    pub backup: bool,
}

impl Default for Wish {
    fn default() -> Self {
        let (size, fps, codec, bitrate) = ((640, 360), 30, "video/H264", 1_500_000);
        let (path, layers) = (None, None);
        Self {
            size,
            fps,
            codec,
            bitrate,
            video: true,
            audio: true,
            tcp: false,
            path,
            layers,
            sure: 0,
            backup: false,
        }
    }
}

/// A page that publishes.
pub struct Whip {
    /// Its browser.
    pub browser: Browser,
}

impl Whip {
    /// Publishes to `http` (the media server's public address) with that key.
    pub async fn publish(http: &str, key: &str, wish: &Wish) -> Result<Self> {
        let browser = Browser::start().await?;
        browser.open(http).await?;
        let publisher = Self { browser };
        publisher.begin(http, key, wish).await?;
        Ok(publisher)
    }

    /// The same in a page that is there, beside what it publishes already.
    pub async fn begin(&self, http: &str, key: &str, wish: &Wish) -> Result<()> {
        let Wish {
            size: (width, height),
            fps,
            codec,
            bitrate,
            video,
            audio,
            tcp,
            path,
            layers,
            sure,
            backup,
        } = wish;
        let endpoint = format!("{http}/whip{}", if *backup { "?role=backup" } else { "" });
        let mut options = json!({
            "width": width, "height": height, "fps": fps, "codec": codec, "bitrate": bitrate,
            "video": video, "audio": audio, "tcp": tcp, "sure": sure,
        });
        if let Some(path) = path {
            options["path"] = json!([path.ip(), path.port()]);
        }
        if let Some(layers) = layers {
            options["layers"] = layers.clone();
        }
        let arguments = vec![json!(endpoint), json!(key), options];
        self.browser.run(include_str!("whip.js"), arguments).await?;
        let over = "window.__whip.error || window.__whip.connection?.connectionState === 'connected'";
        self.browser.until(over, CONNECT).await.context("the page is not connected")?;
        let error = self.browser.value("window.__whip.error").await?;
        anyhow::ensure!(error.is_null(), "{error}");
        Ok(())
    }

    /// The address of its session.
    pub async fn session(&self) -> Result<String> {
        let session = self.browser.value("window.__whip.session").await?;
        session.as_str().map(str::to_owned).context("no session")
    }

    /// When its sound's clock began, milliseconds since the epoch: there is a beep at each of its seconds.
    pub async fn sound_began(&self) -> Result<f64> {
        self.browser.value("window.__whip.began").await?.as_f64().context("no sound")
    }

    /// Runs one of the page's own functions to its end.
    pub async fn run(&self, call: &str) -> Result<()> {
        let script = format!(
            "window.__done = null; (async () => {{ await window.__whip.{call} }})()\
             .then(() => window.__done = 'done', (error) => window.__done = String(error))"
        );
        self.browser.run(&script, Vec::new()).await?;
        self.browser.until("window.__done", CONNECT).await?;
        let done = self.browser.value("window.__done").await?;
        anyhow::ensure!(done == "done", "{call}: {done}");
        Ok(())
    }

    /// What the connection counts, by type: `outbound-rtp` and others.
    pub async fn stats(&self, kind: &str) -> Result<Value> {
        let script = "window.__stats = null; \
            window.__whip.connection.getStats().then((all) => window.__stats = [...all.values()])";
        self.browser.run(script, Vec::new()).await?;
        self.browser.until("window.__stats", Duration::from_secs(5)).await?;
        self.browser.value(&format!("window.__stats.filter((it) => it.type === {kind:?})")).await
    }
}

/// GStreamer's webrtcbin publishes a test picture in that codec (`H264`, `H265`, `VP8`, `VP9`), and a tone.
pub fn webrtcbin(http: &str, key: &str, codec: &str, path: Option<SocketAddr>) -> Result<Program> {
    // The system's own, which has the bindings.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(repository().join("tests/src/publisher/webrtcbin.py")).args([
        &format!("{http}/whip"),
        key,
        codec,
    ]);
    if let Some(path) = path {
        command.args([path.ip().to_string(), path.port().to_string()]);
    }
    Program::start("webrtcbin", command)
}
