//! `media-server encoders`, and what the daemon knows of its encoders.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::encoder::Chosen;
use super::{EX_CONFIG, complain, read_config};
use crate::config::{Config, Shortage};
use crate::transcode::{Backend, Coding, Family, Row, Survey, X264, has_devices, survey};

/// Where it is kept, in the data folder.
const KEPT: &str = "encoders.json";
/// `[transcode] encoder` of who leaves it to the server.
const AUTO: &str = "auto";
/// Frames a second of a usual source.
const LIVE_FPS: f64 = 30.0;

/// `media-server encoders`. Exit code 1 where no encoder works, 78 where the configuration is not valid.
pub fn encoders(config: Option<&Path>, json: bool) -> ExitCode {
    let folder = match config.map(|path| read_config(Some(path))) {
        None => None,
        Some(Ok(config)) => Some(config.data_dir),
        Some(Err(error)) => return complain(&error.to_string(), EX_CONFIG),
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return complain(&format!("own program: {error}"), 1),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start: {error}"), 1),
    };
    if !json {
        print(&header());
    }
    let found = runtime.block_on(survey(&program, |row| {
        if !json {
            print(&line(row));
        }
    }));
    if json {
        print(&(serde_json::to_string(&found).unwrap_or_default() + "\n"));
    }
    if let Some(folder) = folder
        && let Err(error) = std::fs::create_dir_all(&folder).and_then(|()| found.write(&folder.join(KEPT)))
    {
        return complain(&format!("it cannot be kept in {}: {error}", folder.display()), 1);
    }
    if found.encoders.iter().any(|row| row.works) {
        ExitCode::SUCCESS
    } else {
        complain("no encoder works: install gstreamer1.0-plugins-ugly for x264", 1)
    }
}

/// A closed standard output changes nothing of what was found.
fn print(text: &str) {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

fn header() -> String {
    format!(
        "{:<24} {:<8} {:<14} {:<6} {:>9} {:>9} {:>9}  {}\n",
        "element", "coding", "device", "works", "1080p", "720p", "sessions", "why not"
    )
}

fn line(row: &Row) -> String {
    let coding = serde_json::to_value(row.coding).ok();
    let coding = coding.as_ref().and_then(|it| it.as_str()).unwrap_or_default();
    let device = match (row.family, &row.device) {
        (_, Some(device)) => device.clone(),
        (Family::Cpu, None) => "processor".to_owned(),
        (_, None) => "-".to_owned(),
    };
    let pace = |height: u32| {
        let run = row.runs.iter().find(|run| run.height == height);
        run.map_or("-".to_owned(), |run| format!("{:.0}/s", run.frames_per_second))
    };
    let works = if row.works { "yes" } else { "no" };
    let sessions = row.sessions.map_or("-".to_owned(), |count| count.to_string());
    let text = format!(
        "{:<24} {coding:<8} {device:<14} {works:<6} {:>9} {:>9} {sessions:>9}  {}",
        row.element,
        pace(1080),
        pace(720),
        row.why.as_deref().unwrap_or_default(),
    );
    text.trim_end().to_owned() + "\n"
}

/// `GET /api/v1/encoders`.
#[derive(Serialize)]
struct Known<'a> {
    /// What encodes the pictures of streams that begin now.
    chosen: &'a str,
    /// They were tried on this machine as it is now; otherwise `media-server encoders` does it.
    measured: bool,
    encoders: &'a [Row],
}

fn known(chosen: &str, survey: Option<&Survey>) -> String {
    let encoders = survey.map_or(&[][..], |it| &it.encoders);
    serde_json::to_string(&Known { chosen, measured: survey.is_some(), encoders }).unwrap_or_default()
}

/// What encodes, and what is known of all encoders, as JSON. Where a device could do it and was not tried yet, that is done
/// beside; until then the processor encodes.
pub(super) fn choose(
    config: &Config,
    program: &Path,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> (Chosen, Arc<ArcSwap<String>>) {
    let wish = &config.transcode.encoder;
    let kept = Survey::read(&config.data_dir.join(KEPT));
    let auto = wish == AUTO;
    let element = if auto { best(kept.as_ref()) } else { wish.clone() };
    // Where it is not known yet what will encode, workers may have to reach a device.
    let pending = auto && kept.is_none() && has_devices();
    let devices = pending || Backend::of(&element).is_some_and(|it| it.family != Family::Cpu);
    tracing::info!(element, measured = kept.is_some(), "encoder");
    let told = Arc::new(ArcSwap::from_pointee(known(&element, kept.as_ref())));
    let falls_back = config.transcode.shortage == Shortage::Cpu;
    let chosen = Chosen { element: Arc::new(ArcSwap::from_pointee(element)), devices, falls_back };
    if pending {
        let (program, data_dir) = (program.to_owned(), config.data_dir.clone());
        let (chosen, told, stop) = (chosen.clone(), Arc::clone(&told), stop.clone());
        tasks.spawn(async move {
            if let Some(found) = stop.run_until_cancelled(look(&program, &data_dir)).await {
                let element = best(Some(&found));
                tracing::info!(element, "encoders tried: this one encodes streams that begin from now on");
                told.store(Arc::new(known(&element, Some(&found))));
                chosen.element.store(Arc::new(element));
            }
        });
    }
    (chosen, told)
}

fn best(survey: Option<&Survey>) -> String {
    let best = survey.and_then(|it| it.best(Coding::H264, LIVE_FPS));
    best.map_or_else(|| X264.to_owned(), |row| row.element.clone())
}

/// Looks anew, and keeps it.
async fn look(program: &Path, data_dir: &Path) -> Survey {
    let found = survey(program, |row| {
        let Row { element, works, why, .. } = row;
        tracing::debug!(element, works, ?why, "encoder tried");
    })
    .await;
    if let Err(error) = found.write(&data_dir.join(KEPT)) {
        tracing::warn!(%error, "what encoders there are cannot be kept; they are tried again at the next start");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::Run;

    #[test]
    fn a_line_says_what_it_is_how_fast_or_why_not() {
        let run = |width, height, frames_per_second| Run { width, height, frames_per_second, first_ms: 4 };
        let works = Row {
            element: "vah264enc".into(),
            family: Family::Va,
            coding: Coding::H264,
            device: Some("/dev/dri/renderD128".into()),
            version: Some("1.22.0".into()),
            works: true,
            why: None,
            runs: vec![run(1920, 1080, 301.4), run(1280, 720, 640.0)],
            sessions: Some(16),
        };
        let words = |row: &Row| line(row).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&works), "vah264enc h264 /dev/dri/renderD128 yes 301/s 640/s 16");
        let not = Row {
            family: Family::Cpu,
            device: None,
            works: false,
            runs: Vec::new(),
            sessions: None,
            ..works
        };
        let not = Row { why: Some("its trial was ended by signal 6".into()), ..not };
        assert_eq!(words(&not), "vah264enc h264 processor no - - - its trial was ended by signal 6");
    }
}
