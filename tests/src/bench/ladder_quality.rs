//! (c) How much of the picture a rung keeps, beside the same settings in `ffmpeg`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{
    ladder::{Case, Rung, cases, x264},
    proc,
    table::Table,
};
use crate::{
    llhls::{self, follow::Followed},
    publisher::run as ffmpeg,
};

/// How long a stream is compared.
const LASTS: Duration = Duration::from_secs(16);
/// The most that a rung may be worse, dB.
const MOST: f64 = 0.1;

/// Its finished segments of those numbers as a file.
fn write(rung: &Followed, from: u64, to: u64, file: &Path) -> Result<()> {
    let mut bytes = rung.init_bytes.to_vec();
    let segments: Vec<_> = rung.segment_bytes.iter().filter(|(msn, _)| (from..=to).contains(*msn)).collect();
    let late = "the machine did not keep up, or it was left out";
    anyhow::ensure!(segments.len() > 3, "{}: {} segments of all: {late}", rung.name, segments.len());
    for (_, segment) in segments {
        bytes.extend_from_slice(segment);
    }
    std::fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// PSNR (dB) and SSIM of a rung, brought to the size of what it was made of.
async fn likeness(rung: &Path, source: &Path, (width, height): (u32, u32)) -> Result<(f64, f64)> {
    let log = |name: &str| rung.with_extension(name);
    let (psnr, ssim) = (log("psnr"), log("ssim"));
    // Both begin at zero, and picture by picture: a fragment's times are those of the stream.
    let zero = "settb=1/90000,setpts=PTS-STARTPTS";
    let graph = format!(
        "[0:v]{zero},scale={width}:{height}:flags=bicubic,split[a][b];[1:v]{zero},split[c][d];\
         [a][c]psnr=stats_file={};[b][d]ssim=stats_file={}",
        psnr.display(),
        ssim.display()
    );
    let inputs = ["-i", path(rung)?, "-i", path(source)?, "-lavfi", &graph, "-f", "null"];
    ffmpeg(inputs, Path::new("-")).await?;
    let mean = |file: &Path, field: &str| -> Result<f64> {
        let text = std::fs::read_to_string(file)?;
        let values: Vec<f64> = text
            .lines()
            .filter_map(|line| line.split_whitespace().find_map(|it| it.strip_prefix(field))?.parse().ok())
            .collect();
        anyhow::ensure!(values.len() > 100, "{} pictures were compared", values.len());
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    };
    // The mean of the errors, not of their logarithms.
    Ok((10.0 * (255.0_f64.powi(2) / mean(&psnr, "mse_avg:")?).log10(), mean(&ssim, "All:")?))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no UTF-8")
}

/// Of each rung what is compared: ours and ffmpeg's.
async fn compare(case: &Case, folder: &Path) -> Result<Vec<(Rung, [PathBuf; 2], PathBuf)>> {
    let stage = case.stage(&case.file(folder, 12).await?).await?;
    let server = &stage.world.media;
    server.playlist("ladder", Duration::from_secs(20)).await?;
    let report = llhls::check(&server.hls("ladder"), LASTS).await?;
    let of = |name: &str| {
        let found = report.renditions.iter().find(|it| it.name.starts_with(&format!("{name}/")));
        found.with_context(|| format!("no {name}: {}", report.multivariant.text))
    };
    let source = of("source")?;
    let rungs: Vec<_> =
        case.rungs.iter().map(|rung| Ok((*rung, of(&format!("{}p", rung.1))?))).collect::<Result<_>>()?;
    let all = rungs.iter().map(|(_, rung)| *rung).chain([source]);
    let ends =
        all.filter_map(|it| Some((*it.segment_bytes.keys().next()?, *it.segment_bytes.keys().next_back()?)));
    let (from, to) = ends.fold((0, u64::MAX), |(from, to), (first, last)| (from.max(first), to.min(last)));
    let whole = folder.join(format!("{}-source.mp4", case.name));
    write(source, from, to, &whole)?;
    let mut compared = Vec::new();
    for ((width, height, kbps), rung) in rungs {
        let [ours, theirs] =
            ["weir", "ffmpeg"].map(|by| folder.join(format!("{}-{height}-{by}.mp4", case.name)));
        write(rung, from, to, &ours)?;
        let made = format!("-an -vf scale={width}:{height} {}", x264(kbps));
        ffmpeg(["-i", path(&whole)?].into_iter().chain(made.split_whitespace()), &theirs).await?;
        compared.push(((width, height, kbps), [ours, theirs], whole.clone()));
    }
    Ok(compared)
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let mut rows = Vec::new();
    for (case, size) in cases().iter().zip([(640, 360), (1920, 1080)]) {
        for ((width, height, kbps), [ours, theirs], source) in compare(case, folder).await? {
            let (psnr, ssim) = likeness(&ours, &source, size).await?;
            let (their_psnr, their_ssim) = likeness(&theirs, &source, size).await?;
            let bytes = |file: &Path| anyhow::Ok(std::fs::metadata(file)?.len() as f64);
            let met = if psnr >= their_psnr - MOST { "met" } else { "**missed**" };
            rows.push(vec![
                format!("{} → {width}x{height} at {kbps} kbit/s", case.name),
                format!("{psnr:.2} dB, {ssim:.4}"),
                format!("{their_psnr:.2} dB, {their_ssim:.4}"),
                format!("{:.2} x", bytes(&ours)? / bytes(&theirs)?),
                format!("at most {MOST} dB less: {met}"),
            ]);
        }
    }
    Ok(Table {
        name: "ladder-quality",
        title: format!(
            "PSNR and SSIM of each rung against the source that it was made of, brought to the source's size (bicubic), over {} s of a \
             noisy moving picture, beside `ffmpeg` with the same settings of x264 on the same pictures. Debian's ffmpeg has no VMAF. {}.",
            LASTS.as_secs(),
            proc::machine()
        ),
        columns: vec!["rung", "Weir", "ffmpeg", "bytes", "target"],
        rows,
    })
}
