//! (b) Delivery: playlist requests and segment bytes a second from one core, beside nginx serving the same as files.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use url::Url;

use super::{
    feed::{self, Feed},
    nginx::{Nginx, pinned},
    proc,
    table::{Table, Target},
};
use crate::{
    llhls::{media_playlist::MediaPlaylist, multivariant::Multivariant},
    wait,
    world::Plan,
};

/// The server's core, and the client's.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// One measurement, and how often it is repeated; the best counts, for both.
const SECONDS: u64 = 6;
const ROUNDS: usize = 3;

/// Requests a second as wrk counts them; an error if any answer was not 2xx.
async fn wrk(url: &str, connections: usize) -> Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let output = pinned("wrk", CLIENT_CORE)
            .args(["-t1", &format!("-c{connections}"), &format!("-d{SECONDS}s"), url])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("wrk (apt install wrk)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        anyhow::ensure!(output.status.success() && !text.contains("Non-2xx"), "{url}: {text}");
        let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        best = best.max(rate.and_then(|rate| rate.trim().parse().ok()).with_context(|| text.to_string())?);
    }
    Ok(best)
}

/// What is asked for: addresses at ours and their bytes.
struct Objects {
    playlist: Url,
    playlist_bytes: Vec<u8>,
    segment: Url,
    segment_bytes: Vec<u8>,
}

async fn objects(world: &crate::world::World) -> Result<Objects> {
    let plain = |url: Url| async move {
        let request = http::Request::get(url.as_str()).body(http_body_util::Full::default())?;
        Ok::<_, anyhow::Error>(world.client.send(request).await?.body.to_vec())
    };
    let master = Url::parse(&world.media.hls("bench0"))?;
    world.media.playlist("bench0", Duration::from_secs(15)).await?;
    let text = String::from_utf8(plain(master.clone()).await?)?;
    let playlist = Multivariant::parse(&text, &master).variants.first().context("no variant")?.uri.clone();
    // A full window, as a viewer of a running stream gets it.
    let (list, playlist_bytes) = wait::until("a full window", Duration::from_secs(40), || async {
        let bytes = plain(playlist.clone()).await?;
        let list = MediaPlaylist::parse(&String::from_utf8_lossy(&bytes), &playlist);
        Ok((list.segments.len() >= 10).then_some((list, bytes)))
    })
    .await?;
    let segment = list.segments.last().and_then(|segment| segment.uri.clone()).context("no segment")?;
    let segment_bytes = plain(segment.clone()).await?;
    Ok(Objects { playlist, playlist_bytes, segment, segment_bytes })
}

/// The newest finished segment: the one of the start may have left the window.
async fn newest_segment(world: &crate::world::World, playlist: &Url) -> Result<Url> {
    let text = world.client.get(playlist.as_str()).await?.text();
    let list = MediaPlaylist::parse(&text, playlist);
    list.segments.last().and_then(|segment| segment.uri.clone()).context("no segment")
}

/// (playlist requests, segment requests) a second.
async fn nginx_rates(objects: &Objects, sendfile: bool) -> Result<(f64, f64)> {
    let folder = tempfile::Builder::new().prefix("weir-bench-nginx-").tempdir()?;
    std::fs::create_dir(folder.path().join("files"))?;
    std::fs::write(folder.path().join("files/index.m3u8"), &objects.playlist_bytes)?;
    std::fs::write(folder.path().join("files/segment.m4s"), &objects.segment_bytes)?;
    let nginx = Nginx::files(folder.path(), sendfile, SERVER_CORE).await?;
    let playlists = wrk(&format!("http://{}/index.m3u8", nginx.address), 64).await?;
    let segments = wrk(&format!("http://{}/segment.m4s", nginx.address), 16).await?;
    Ok((playlists, segments))
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let tags = feed::six_megabits(folder).await?;
    let world = Plan::open()?.pass_through().start().await?;
    let _feed = Feed::start(&tags, &world.media.rtmp, "bench", 1, Duration::from_mins(10)).await?;
    let objects = objects(&world).await?;
    proc::pin(world.media.program.pid().context("the server ended")?, SERVER_CORE).await?;
    let playlists = wrk(objects.playlist.as_str(), 64).await?;
    let segment = newest_segment(&world, &objects.playlist).await?;
    let segments = wrk(segment.as_str(), 16).await?;
    drop(world);
    let off = nginx_rates(&objects, false).await?;
    let on = nginx_rates(&objects, true).await?;

    let gigabits = |rate: f64| rate * objects.segment_bytes.len() as f64 * 8e-9;
    let (playlist_ratio, segment_ratio) = (playlists / off.0, segments / off.1);
    let _ = &objects.segment;
    Ok(Table {
        name: "delivery",
        title: format!(
            "One core serves, one core asks (wrk, HTTP/1.1, keep-alive, best of {ROUNDS} x {SECONDS} s): a media \
             playlist of {} bytes and a segment of {} bytes, beside nginx serving the same bytes as files. The stream \
             goes on while it is asked for. {}.",
            objects.playlist_bytes.len(),
            objects.segment_bytes.len(),
            proc::machine()
        ),
        columns: vec!["what", "Weir", "nginx, sendfile off", "ratio", "target", "nginx, sendfile on"],
        rows: vec![
            vec![
                "playlist".to_owned(),
                format!("{playlists:.0} req/s"),
                format!("{:.0} req/s", off.0),
                format!("{playlist_ratio:.2} x"),
                Target::AtLeast(0.8).verdict(playlist_ratio),
                format!("{:.0} req/s ({:.2} x)", on.0, playlists / on.0),
            ],
            vec![
                "segment".to_owned(),
                format!("{:.1} Gbit/s", gigabits(segments)),
                format!("{:.1} Gbit/s", gigabits(off.1)),
                format!("{segment_ratio:.2} x"),
                Target::AtLeast(0.8).verdict(segment_ratio),
                format!("{:.1} Gbit/s ({:.2} x)", gigabits(on.1), segments / on.1),
            ],
        ],
    })
}
