//! Headless Chromium through chromedriver: a viewer as viewers are.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use fantoccini::{Client, ClientBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{bench::proc, program::Program, wait};

/// How long the browser has to be there.
const START: Duration = Duration::from_secs(30);
/// How many more ports chromedriver is let try where another program has the one that it chose.
const PORTS: usize = 10;
/// How long it has to be gone.
const END: Duration = Duration::from_secs(5);

/// A browser window and the driver that owns it.
pub struct Browser {
    client: Client,
    driver: Program,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts chromedriver on a free port, and a window.
    pub async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same with further arguments.
    pub async fn with(further: &[&str]) -> Result<Self> {
        let profile = tempfile::Builder::new().prefix("weir-browser-").tempdir()?;
        let (driver, port) = start_driver(|| {
            let mut command = Command::new("chromedriver");
            command.args(["--port=0"]);
            command
        })
        .await?;
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--mute-audio".to_owned(),
            "--autoplay-policy=no-user-gesture-required".to_owned(),
            "--window-size=1280,800".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        if rustix::process::getuid().is_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let mut capabilities = serde_json::map::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("a new browser window")?;
        Ok(Self { client, driver, profile })
    }

    /// Where the browser keeps what it knows, until it is closed.
    pub fn profile(&self) -> &Path {
        self.profile.path()
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.client.goto(url).await.with_context(|| format!("opening {url}"))
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> Result<Value> {
        let script = format!("return ({expression});");
        self.client.execute(&script, Vec::new()).await.with_context(|| expression.to_owned())
    }

    /// Runs JavaScript, whose `arguments` these are.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        self.client.execute(script, arguments).await.context("a script")
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str, within: Duration) -> Result<()> {
        wait::until(expression, within, || async {
            Ok((self.value(&format!("!!({expression})")).await? == Value::Bool(true)).then_some(()))
        })
        .await
    }

    /// What the watch page says of its player: `window.__weir.stats()`.
    pub async fn stats(&self) -> Result<Value> {
        self.value("window.__weir ? window.__weir.stats() : null").await
    }

    /// The text that a viewer sees.
    pub async fn visible_text(&self) -> Result<String> {
        let text = self.value("document.body.innerText").await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Closes the window and ends the driver.
    pub async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        self.driver.stop().await?;
        Ok(())
    }
}

/// Starts chromedriver; it and the port that it serves.
///
/// With `--port=0` it lets the system choose a port of IPv6 and then takes the same of IPv4, which another
/// program may have: it ends, and is asked again.
async fn start_driver(command: impl Fn() -> Command) -> Result<(Program, u16)> {
    let mut left = PORTS;
    loop {
        let mut driver = Program::start("chromedriver", command()).context("chromedriver")?;
        let line = match driver.line("started successfully on port", START).await {
            Ok(line) => line,
            Err(_) if left > 0 && driver.log().contains("port not available") => {
                left -= 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let port = line.trim_end_matches('.').rsplit(' ').next().and_then(|port| port.parse().ok());
        return Ok((driver, port.with_context(|| format!("no port in {line:?}"))?));
    }
}

impl Drop for Browser {
    /// A test that fails leaves the window open, and chromedriver ends without its browser: it is ended here.
    fn drop(&mut self) {
        let windows = self.driver.pid().map(proc::descendants).unwrap_or_default();
        for signal in [Signal::TERM, Signal::KILL] {
            for window in windows.iter().filter(|window| proc::runs(**window)) {
                if let Some(pid) = i32::try_from(*window).ok().and_then(Pid::from_raw) {
                    // It may have ended since.
                    kill_process(pid, signal).ok();
                }
            }
            let deadline = Instant::now() + END;
            while Instant::now() < deadline && windows.iter().any(|window| proc::runs(*window)) {
                #[allow(clippy::disallowed_methods, reason = "a destructor cannot await the browser's end")]
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // The driver too tidies up in there: what two remove at once is left behind by both.
        if let Some(driver) =
            self.driver.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
        {
            kill_process(driver, Signal::KILL).ok();
        }
        let deadline = Instant::now() + END;
        while std::fs::remove_dir_all(self.profile.path()).is_err()
            && self.profile.path().exists()
            && Instant::now() < deadline
        {
            #[allow(clippy::disallowed_methods, reason = "a destructor cannot await the browser's end")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chromedriver whose first port is another program's, as told by its own words.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_that_another_program_has_is_not_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let tried = folder.path().join("tried");
        let script = r#"if [ -e "$0" ]; then echo "ChromeDriver was started successfully on port 4711."; sleep 60
            else touch "$0"; echo "IPv4 port not available. Exiting..."; exit 1; fi"#;
        let (driver, port) = start_driver(|| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&tried);
            command
        })
        .await
        .unwrap();
        assert_eq!(port, 4711);
        drop(driver);
        let broken = start_driver(|| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such library; exit 127"]);
            command
        });
        let said = format!("{:#}", broken.await.err().unwrap());
        assert!(said.contains("no such library"), "{said}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_browser_that_nobody_closed_is_gone_with_its_profile() {
        let browser = Browser::start().await.unwrap();
        browser.open("data:text/html,<p>here").await.unwrap();
        assert_eq!(browser.visible_text().await.unwrap(), "here");
        let windows = proc::descendants(browser.driver.pid().unwrap());
        assert!(!windows.is_empty(), "chromedriver has no browser");
        let profile = browser.profile().to_owned();
        drop(browser);
        for window in windows {
            assert!(!proc::runs(window), "{window} is still there");
        }
        assert!(!profile.exists(), "{} was left behind", profile.display());
    }
}
