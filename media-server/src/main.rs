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
    /// Take a recording of the flight recorder through the code that a live publisher goes through, as fast as it can,
    /// and say what came of it. Exit code 1 where the session ended with an error, 65 where the file is no recording.
    Replay {
        /// A file that the recorder saved (`flight` in the data folder, or the admin API).
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Try every encoder that GStreamer has here, each in a process of its own, and say which work, on which device, and how
    /// fast. What is found is kept in the data folder for `run`.
    Encoders {
        /// TOML file; without it what is found is not kept.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Make a certificate to try HTTPS, HTTP/3 and RTMPS with, for this machine and further names, and say how to use it. Files that
    /// are there are not overwritten.
    DevCertificate {
        /// A further name or address that it is for, as often as needed.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// Where `cert.pem` and `key.pem` go.
        #[arg(long, value_name = "DIR", default_value = "data/tls")]
        folder: PathBuf,
    },
    /// Reads a URI (HLS, a file) and writes it as an MPEG transport stream to standard output; started by `run`.
    #[command(hide = true)]
    Remux {
        /// From the beginning again at the end.
        #[arg(long)]
        repeat: bool,
        /// What to read.
        uri: String,
    },
    /// Tries one encoder, or says what a plugin has in it; started by `encoders` and `run`.
    #[command(hide = true)]
    EncoderTrial {
        /// A plugin's file.
        #[arg(long)]
        plugin: Option<String>,
        /// An element's name.
        element: Option<String>,
    },
    /// One stream's encoder; started by `run`, speaks on its standard input.
    #[command(hide = true)]
    TranscodeWorker {
        /// It may use devices that encode.
        #[arg(long)]
        devices: bool,
        /// Plugins' files to load before there is a job.
        #[arg(long, value_name = "FILE")]
        load: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { config } => daemon::run(config),
        Command::CheckConfig { config } => daemon::check_config(config.as_deref()),
        Command::Replay { file, json } => daemon::replay_file(&file, json),
        Command::DevCertificate { names, folder } => daemon::dev_certificate(&names, &folder),
        Command::Remux { uri, repeat } => transcode::remux_main(&uri, repeat),
        Command::Encoders { config, json } => daemon::encoders(config.as_deref(), json),
        Command::EncoderTrial { plugin: Some(file), .. } => transcode::plugin_main(&file),
        Command::EncoderTrial { element, .. } => transcode::trial_main(&element.unwrap_or_default()),
        Command::TranscodeWorker { devices, load } => transcode::worker_main(devices, &load),
    }
}
