//! The command line of the media server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use media_server::{daemon, transcode};

/// Weir media server: RTMP in, adaptive ladder, Low-Latency HLS out.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C. SIGHUP, or an edit of the file, reloads the configuration.
    Run {
        /// TOML file; without it every key has its default.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a configuration and say what is wrong with it. Exit code 78 where something is.
    CheckConfig {
        /// TOML file; without it the defaults are checked.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// One stream's encoder; started by `run`, speaks on its standard input.
    #[command(hide = true)]
    TranscodeWorker,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { config } => daemon::run(config),
        Command::CheckConfig { config } => daemon::check_config(config.as_deref()),
        Command::TranscodeWorker => transcode::worker_main(),
    }
}
