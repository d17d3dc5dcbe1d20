//! `media-server encoders`, and what the daemon knows of its encoders.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::capacity::{AUTO, Capacity};
use super::encoder::Chosen;
use super::{EX_CONFIG, complain, read_config};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::transcode::{Backend, Family, Part, Row, Run, Seen, Survey, has_devices, survey};

/// Where it is kept, in the data folder.
pub(super) const KEPT: &str = "encoders.json";
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
    let mut parts = false;
    if !json {
        print(&header("element", "coding", "sessions"));
    }
    let found = runtime.block_on(survey(&program, |seen| match seen {
        _ if json => {}
        Seen::Encoder(row) => print(&line(row)),
        Seen::Part(part) => {
            if !std::mem::replace(&mut parts, true) {
                print(&("\n".to_owned() + &header("in front of it", "decodes", "")));
            }
            print(&part_line(part));
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

fn header(element: &str, what: &str, sessions: &str) -> String {
    columns([element, what, "device", "works", "1080p", "720p", sessions, "why not"])
}

fn columns([element, what, device, works, large, small, sessions, why]: [&str; 8]) -> String {
    let text =
        format!("{element:<24} {what:<8} {device:<14} {works:<6} {large:>9} {small:>9} {sessions:>9}  {why}");
    text.trim_end().to_owned() + "\n"
}

fn line(row: &Row) -> String {
    let coding = serde_json::to_value(row.coding).ok();
    let coding = coding.as_ref().and_then(|it| it.as_str()).unwrap_or_default();
    let device = match (row.family, &row.device) {
        (_, Some(device)) => device,
        (Family::Cpu, None) => "processor",
        (_, None) => "-",
    };
    let sessions = row.sessions.map_or("-".to_owned(), |count| count.to_string());
    let why = row.why.as_deref().unwrap_or_default();
    let (large, small) = (pace(&row.runs, 1080), pace(&row.runs, 720));
    columns([&row.element, coding, device, yes(row.works), &large, &small, &sessions, why])
}

/// What stands in front of an encoder.
fn part_line(part: &Part) -> String {
    let device = part.device.as_deref().unwrap_or("-");
    let decodes = part.decodes.as_deref().unwrap_or("scales");
    let why = part.why.as_deref().unwrap_or_default();
    let (large, small) = (pace(&part.runs, 1080), pace(&part.runs, 720));
    columns([&part.element, decodes, device, yes(part.works), &large, &small, "", why])
}

fn yes(works: bool) -> &'static str {
    if works { "yes" } else { "no" }
}

fn pace(runs: &[Run], height: u32) -> String {
    let run = runs.iter().find(|run| run.height == height);
    run.map_or("-".to_owned(), |run| format!("{:.0}/s", run.frames_per_second))
}

/// What encodes, and what the API says of it. Where a device could do it and was not tried yet, that is done beside; until then the processor encodes.
pub(super) fn choose(
    config: &Config,
    program: &Path,
    metrics: &Metrics,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> (Chosen, Arc<ArcSwap<String>>) {
    let wish = &config.transcode.encoder;
    let kept = Survey::read(&config.data_dir.join(KEPT));
    let (auto, measured) = (wish == AUTO, kept.is_some());
    // Where it is not known yet what will encode, workers may have to reach a device.
    let pending = auto && !measured && has_devices();
    let capacity = Arc::new(Capacity::new(wish, kept, metrics.clone()));
    let asked = Backend::of(wish).is_some_and(|it| it.family != Family::Cpu);
    let devices = pending || asked || capacity.has_devices();
    tracing::info!(element = capacity.chosen(), measured, "encoder");
    let told = capacity.told();
    let chosen = Chosen { capacity: Arc::clone(&capacity), devices, shortage: config.transcode.shortage };
    if pending {
        let (program, data_dir, stop) = (program.to_owned(), config.data_dir.clone(), stop.clone());
        tasks.spawn(async move {
            if let Some(found) = stop.run_until_cancelled(look(&program, &data_dir)).await {
                capacity.learn(found);
                let element = capacity.chosen();
                tracing::info!(element, "encoders tried: this one encodes streams that begin from now on");
            }
        });
    }
    (chosen, told)
}

/// Looks anew, and keeps it.
async fn look(program: &Path, data_dir: &Path) -> Survey {
    let found = survey(program, |seen| match seen {
        Seen::Encoder(Row { element, works, why, .. }) | Seen::Part(Part { element, works, why, .. }) => {
            tracing::debug!(element, works, ?why, "tried");
        }
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
    use crate::transcode::Coding;

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
        let part = Part {
            element: "vah265dec".into(),
            family: Family::Va,
            decodes: Some("HEVC".into()),
            device: None,
            version: None,
            works: true,
            why: None,
            runs: vec![run(1920, 1080, 500.0)],
        };
        assert_eq!(
            part_line(&part),
            "vah265dec                HEVC     -              yes        500/s         -\n"
        );
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
