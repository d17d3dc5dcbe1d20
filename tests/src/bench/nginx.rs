//! nginx as the peer: from a configuration and a folder of its own, on a free port, as one process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{net::TcpStream, process::Command};

use crate::{program::Program, wait, world::free_address};

/// Where Debian and Ubuntu put the RTMP module.
const RTMP_MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// A running nginx.
pub struct Nginx {
    /// The process; it has no children.
    pub program: Program,
    /// `host:port`.
    pub address: String,
    /// Where its files are.
    pub folder: PathBuf,
}

impl Nginx {
    /// RTMP in, HLS out, with the same segment length and window as ours.
    pub async fn rtmp(folder: &Path) -> Result<Self> {
        anyhow::ensure!(
            Path::new(RTMP_MODULE).exists(),
            "{RTMP_MODULE} is missing: apt install libnginx-mod-rtmp"
        );
        let address = free_address()?;
        let hls = folder.join("hls");
        let rtmp = format!(
            "rtmp {{ server {{ listen {address}; chunk_size 4096; application live {{ live on; hls on; \
             hls_path {}; hls_nested on; hls_fragment 2s; hls_playlist_length 20s; }} }} }}",
            hls.display()
        );
        Self::start(folder, address, &format!("load_module {RTMP_MODULE};"), &rtmp, None).await
    }

    /// Files as they are, on the given core.
    pub async fn files(folder: &Path, sendfile: bool, core: usize) -> Result<Self> {
        let address = free_address()?;
        let sendfile = if sendfile { "on" } else { "off" };
        let http = format!(
            "http {{ access_log off; sendfile {sendfile}; tcp_nodelay on; keepalive_requests 1000000000; \
             types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; }} \
             client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi; \
             uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi; \
             server {{ listen {address}; root {0}/files; }} }}",
            folder.display()
        );
        Self::start(folder, address, "", &http, Some(core)).await
    }

    async fn start(
        folder: &Path,
        address: String,
        head: &str,
        body: &str,
        core: Option<usize>,
    ) -> Result<Self> {
        let config = folder.join("nginx.conf");
        // As root nginx would give its files to www-data, who cannot write here.
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "{head}\n{user}\ndaemon off;\nmaster_process off;\nworker_processes 1;\npid {}/nginx.pid;\n\
             error_log stderr warn;\nevents {{ worker_connections 4096; }}\n{body}\n",
            folder.display()
        );
        std::fs::write(&config, text)?;
        let mut command = match core {
            Some(core) => pinned("nginx", core),
            None => Command::new("nginx"),
        };
        command.arg("-p").arg(folder).arg("-c").arg(&config).args(["-e", "stderr"]);
        let mut program = Program::start("nginx", command).context("nginx (apt install nginx)")?;
        wait::until("nginx listens", Duration::from_secs(10), || async {
            Ok(TcpStream::connect(&address).await.is_ok().then_some(()))
        })
        .await?;
        program.must_run()?;
        Ok(Self { program, address, folder: folder.to_owned() })
    }
}

/// A command that may run on that core alone.
pub fn pinned(program: impl AsRef<std::ffi::OsStr>, core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}
