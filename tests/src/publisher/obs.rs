//! OBS Studio under a virtual screen, with one empty scene that it streams at once.

use std::{path::Path, time::Duration};

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::program::Program;

/// What the tables call it.
pub const OBS: &str = "OBS Studio (Debian 12) under Xvfb";

/// Its RTMP library trusts what lies in /etc/ssl/certs and nothing else: OBS gets one of its own there, in a mount
/// namespace that ends with it.
const TRUSTING: &str = "mount --bind \"$0\" /etc/ssl/certs && exec obs \"$@\"";

/// A running OBS.
pub struct Obs {
    /// The process.
    pub program: Program,
    screen: Program,
    _home: TempDir,
}

impl Obs {
    /// Streams to this server with this key; `trusted`: the certificate that it is to believe.
    pub async fn start(server: &str, key: &str, trusted: Option<&Path>) -> Result<Self> {
        let home = tempfile::tempdir()?;
        furnish(home.path(), server, key)?;
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1280x720x24", "-nolisten", "tcp"]);
        let mut screen = Program::start("Xvfb", screen)?;
        let display = screen.line("", Duration::from_secs(15)).await?;
        let mut command = if let Some(certificate) = trusted {
            let folder = home.path().join("trusted");
            std::fs::create_dir(&folder)?;
            std::fs::copy(certificate, folder.join("weir.pem"))?;
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "--kill-child", "sh", "-c", TRUSTING]).arg(folder);
            command
        } else {
            Command::new("obs")
        };
        command
            .args(["--multi", "--startstreaming", "--minimize-to-tray", "--disable-updater"])
            .args(["--profile", "weir", "--collection", "weir"])
            .env("DISPLAY", format!(":{}", display.trim()))
            .env("XDG_CONFIG_HOME", home.path())
            .env("LIBGL_ALWAYS_SOFTWARE", "1");
        Ok(Self { program: Program::start("obs", command)?, screen, _home: home })
    }

    /// Ends it; what it said last.
    pub async fn end(self) -> Result<String> {
        let said = self.program.log_tail(30);
        for mut program in [self.program, self.screen] {
            program.signal(Signal::KILL)?;
            program.ended(Duration::from_secs(15)).await?;
        }
        Ok(said)
    }
}

/// Its settings.
fn furnish(folder: &Path, server: &str, key: &str) -> Result<()> {
    let basic = folder.join("obs-studio/basic");
    let profile = basic.join("profiles/weir");
    std::fs::create_dir_all(&profile)?;
    std::fs::create_dir_all(basic.join("scenes"))?;
    std::fs::write(
        folder.join("obs-studio/global.ini"),
        "[General]\nFirstRun=true\nLastVersion=486539266\nEnableAutoUpdates=false\n[Basic]\nProfile=weir\n\
         ProfileDir=weir\nSceneCollection=weir\nSceneCollectionFile=weir\n",
    )?;
    std::fs::write(
        profile.join("basic.ini"),
        "[General]\nName=weir\n[Output]\nMode=Simple\n[SimpleOutput]\nVBitrate=800\nABitrate=96\n\
         StreamEncoder=x264\nPreset=ultrafast\nUseAdvanced=true\nx264Settings=keyint=60 min-keyint=60\n\
         [Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSCommon=30\n",
    )?;
    let service = serde_json::json!({
        "type": "rtmp_custom",
        "settings": { "server": server, "key": key, "use_auth": false },
    });
    std::fs::write(profile.join("service.json"), service.to_string())?;
    let scene = serde_json::json!({
        "current_scene": "Scene", "current_program_scene": "Scene", "name": "weir",
        "scene_order": [{ "name": "Scene" }],
        "sources": [{ "id": "scene", "name": "Scene", "settings": { "id_counter": 1, "items": [] } }],
    });
    std::fs::write(basic.join("scenes/weir.json"), scene.to_string())?;
    Ok(())
}
