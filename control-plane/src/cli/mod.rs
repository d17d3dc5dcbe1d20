//! The command line: what can be asked, and which exit code says what.

mod admin;
mod demo;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::Server;
use crate::config::{self, Config};
use crate::db::Db;
use crate::http::ops::OPENAPI;

/// EX_CONFIG of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// Weir's control plane: accounts, channels, stream keys, admission and the web pages.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// TOML file; without one, the defaults hold
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Data folder; wins over the file's `data_dir`
    #[arg(long, value_name = "DIR", global = true, env = "WEIR_DATA")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C; brings the database schema up to date first
    Run,
    /// Bring the database schema up to date and end
    Migrate,
    /// Check the configuration and end: 0 where it is good, 78 where it is not
    CheckConfig,
    /// Manage accounts, channels and keys; works beside a running server
    #[command(subcommand)]
    Admin(admin::Command),
    /// Print the description of the API (OpenAPI 3.1)
    Openapi,
}

/// The whole program. 2 is bad usage, 78 a bad configuration, 1 everything else that fails.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. A closed pipe leaves nobody to tell.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let config = match config::load(cli.common.config.as_deref(), cli.common.data.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_CONFIG, &error),
    };
    let serving = matches!(cli.command, Command::Run);
    if let Err(error) = start_log(&config, serving) {
        return fail(EXIT_CONFIG, &*error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(execute(cli.command, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &*error),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    drop(writeln!(io::stderr(), "error: {text}"));
    ExitCode::from(code)
}

async fn execute(command: Command, config: Config) -> Result<(), Failure> {
    match command {
        Command::Run => run(config).await,
        Command::Migrate => {
            let path = config.database_path();
            Db::open(&path).await?.close().await;
            say(&format!("{}: the schema is up to date", path.display()))
        }
        Command::CheckConfig => say("the configuration is good"),
        Command::Admin(command) => admin::execute(command, config).await,
        Command::Openapi => say(OPENAPI.trim_end()),
    }
}

/// Any error, on its way to the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn run(config: Config) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let server = Server::bind(config).await?;
    let serving = server.run(stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        () = serving.as_mut() => return Err("a part of the server failed; the log says which".into()),
        _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
        _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
    }
    stop.cancel();
    serving.await;
    Ok(())
}

/// Logs go to standard error: what a command answers is alone on standard output.
fn start_log(config: &Config, serving: bool) -> Result<(), Failure> {
    let default = if serving { config.log.filter.as_str() } else { "warn" };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::try_new(directives),
        _ => EnvFilter::try_new(default),
    }
    .map_err(|error| format!("log filter: {error}"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if config.log.json {
        log.json().flatten_event(true).try_init()
    } else {
        log.with_ansi(io::stderr().is_terminal()).try_init()
    }
}

/// A line on standard output.
fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_bad_usage_is_2() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        for wrong in
            [&["control-plane"][..], &["control-plane", "fly"], &["control-plane", "admin", "rotate-key"]]
        {
            let error = Cli::try_parse_from(wrong).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
