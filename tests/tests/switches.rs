//! A player that changes rungs shows no seam: no wait, no step in time, whatever the source.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::json;
use weir_tests::{
    bench::{proc, table::Table},
    player::{Player, Viewing},
    publisher::{Ffmpeg, Source},
    sources::{self, Kind},
    wait,
    world::Plan,
};

const SOON: Duration = Duration::from_secs(30);
/// From one change to the next: longer than a segment, so that each is carried out.
const EVERY: Duration = Duration::from_millis(2500);
/// The same where keyframes are where no segment should end, so that segments are longer.
const SELDOM: Duration = Duration::from_secs(5);
/// The longest that a picture may stand still: what browsers leave out on two busy cores is less.
const STILL: Duration = Duration::from_millis(300);
/// How often they change.
const CHANGES: usize = 6;
/// How far players are behind, and some.
const SETTLED: Duration = Duration::from_secs(2);

/// Plays while the rungs change up and down that often. Also how many changes were told: with two rungs, some are none.
async fn played(kind: &Kind, changes: usize) -> Result<(Viewing, usize)> {
    let world = Plan::open()?.small_ladder().start().await?;
    let id = format!("publish/{}", kind.name);
    let options = [kind.options, &["-srt_streamid", &id]].concat();
    let _publisher = Ffmpeg::publish_srt(&kind.source, &world.media.srt, &options)?;
    let list = world.media.playlist(kind.name, SOON).await?;
    let first = list.lines().find(|line| !line.is_empty() && !line.starts_with('#')).context("no variant")?;
    let first = format!("{}/live/{}/{first}", world.media.http, kind.name);
    wait::until("two segments", SOON, || async {
        Ok((world.client.get(&first).await?.text().matches("#EXTINF").count() > 1).then_some(()))
    })
    .await?;
    let player = Player::open(&world.media.http, kind.name, json!({ "startLevel": 0 })).await?;
    let top = player.rungs().await?.saturating_sub(1);
    // The least one, until there is as much ahead as the player wants.
    player.load(0).await?;
    tokio::time::sleep(SETTLED).await;
    player.begin().await?;
    let every = if kind.offered { EVERY } else { SELDOM };
    let (mut is, mut told) = (0, 0);
    for rung in [top, 0, 1, top, 1, 0].into_iter().take(changes) {
        let rung = rung.min(top);
        told += usize::from(rung != is);
        is = rung;
        player.load(rung).await?;
        tokio::time::sleep(every).await;
    }
    // What was loaded last is shown as well.
    tokio::time::sleep(SETTLED).await;
    let seen = player.seen().await?;
    println!("{}: {} rungs, {seen:?}", kind.name, top + 1);
    player.browser.close().await?;
    Ok((seen, told))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_rungs_is_not_noticed() -> Result<()> {
    let kinds = sources::all();
    let kind = kinds.iter().find(|kind| kind.name == "mono").context("no such source")?;
    let (seen, told) = played(&Kind { source: Source::default(), ..*kind }, 2).await?;
    assert!(told == 2 && seen.shown.len() >= told, "{seen:?}");
    assert!(seen.is_smooth(kind.interval, STILL), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: sources of many kinds in a browser, one after the other"]
async fn rungs_of_every_source_change_without_a_seam() -> Result<()> {
    let mut rows = Vec::new();
    let mut broken = Vec::new();
    for kind in sources::all() {
        let (seen, told) = played(&kind, CHANGES).await?;
        let all = seen.shown.len() >= told;
        if !(all && seen.is_smooth(kind.interval, STILL)) {
            broken.push(format!("{}: {seen:?}", kind.name));
        }
        rows.push(vec![
            kind.about.to_owned(),
            seen.shown.len().to_string(),
            seen.stalls.to_string(),
            seen.seeks.to_string(),
            format!("{:.0} ms", seen.jump),
            format!("{:.0} ms", kind.interval.as_secs_f64() * 1e3),
            format!("{:.0} ms", seen.step),
            format!("{:.1} s", seen.played),
        ]);
    }
    let table = Table {
        name: "switches",
        title: format!(
            "Rungs changed every {} s ({} s where the source's keyframes are not where segments should end) in hls.js in Chromium, up and down; how far the place in the stream came off the clock within \
             half a second, at most. {}.",
            EVERY.as_secs_f64(),
            SELDOM.as_secs_f64(),
            proc::machine()
        ),
        columns: vec![
            "source",
            "changes shown",
            "stalls",
            "seeks",
            "off the clock",
            "target: a frame",
            "longest picture",
            "played",
        ],
        rows,
    };
    println!("{}", table.markdown());
    // What falls short stands there as well.
    std::env::var_os("WEIR_ROWS").map_or(Ok(()), |file| table.write(&PathBuf::from(file)))?;
    anyhow::ensure!(broken.is_empty(), "{broken:#?}");
    Ok(())
}
