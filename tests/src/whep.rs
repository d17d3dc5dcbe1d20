//! A browser that plays by WHEP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::browser::Browser;

/// How long the first picture may take.
const FIRST: Duration = Duration::from_secs(20);

fn sorted(ages: &Value) -> Result<Vec<f64>> {
    let mut ages: Vec<f64> = ages.as_array().context("no list")?.iter().filter_map(Value::as_f64).collect();
    ages.sort_by(f64::total_cmp);
    Ok(ages)
}

/// How old the pictures are that the media server's own page shows of a stream by LL-HLS, in milliseconds, once it has played for
/// `warm`, over `long`; sorted.
pub async fn ages_by_hls(http: &str, stream: &str, warm: Duration, long: Duration) -> Result<Vec<f64>> {
    let browser = Browser::start().await?;
    browser.open(&format!("{http}/live/{stream}/")).await?;
    browser.until("document.querySelector('video')?.currentTime > 0", FIRST).await?;
    tokio::time::sleep(warm).await;
    browser.run(concat!(include_str!("bars.js"), include_str!("hls_ages.js")), Vec::new()).await?;
    tokio::time::sleep(long).await;
    sorted(&browser.value("window.__ages").await?)
}

/// A page that plays.
pub struct Whep {
    /// Its browser.
    pub browser: Browser,
}

impl Whep {
    /// Plays a stream of `http` (the media server's public address). With `path` it comes by UDP from there.
    pub async fn play(http: &str, stream: &str, path: Option<SocketAddr>) -> Result<Self> {
        let browser = Browser::start().await?;
        browser.open(http).await?;
        let path = path.map_or(Value::Null, |path| json!([path.ip(), path.port()]));
        let arguments = vec![json!(format!("{http}/whep/{stream}")), json!({ "path": path })];
        browser.run(concat!(include_str!("bars.js"), include_str!("whep.js")), arguments).await?;
        browser.until("window.__whep.error || window.__whep.firstFrameMs", FIRST).await?;
        let error = browser.value("window.__whep.error").await?;
        anyhow::ensure!(error.is_null(), "{error}");
        Ok(Self { browser })
    }

    /// Milliseconds from the request to the first picture.
    pub async fn first(&self) -> Result<f64> {
        self.browser.value("window.__whep.firstFrameMs").await?.as_f64().context("no picture")
    }

    /// How old pictures were when they were shown, in milliseconds, since the last question; sorted.
    pub async fn ages(&self) -> Result<Vec<f64>> {
        sorted(&self.browser.value("window.__whep.ages.splice(0)").await?)
    }

    /// What its connection counts of what it receives: `video` or `audio`.
    pub async fn inbound(&self, kind: &str) -> Result<Value> {
        let script = "window.__stats = null; \
            window.__whep.connection.getStats().then((all) => window.__stats = [...all.values()])";
        self.browser.run(script, Vec::new()).await?;
        self.browser.until("window.__stats", Duration::from_secs(5)).await?;
        let find = format!("window.__stats.find((it) => it.type === 'inbound-rtp' && it.kind === {kind:?})");
        self.browser.value(&find).await
    }
}
