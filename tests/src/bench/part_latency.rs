//! (d) From a part's last frame to the part: how long after the frame was written does a waiting player have it?

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use url::Url;

use super::{feed, proc, table::Table};
use crate::{
    llhls::{
        follow::blocking,
        fragment::Fragments,
        init::Init,
        media_playlist::{MediaPlaylist, Position},
        multivariant::Multivariant,
    },
    publisher::{Session, flv},
    wait,
    world::{Plan, World},
};

/// How much of the stream is measured.
const LASTS: Duration = Duration::from_mins(1);

/// Publishes in real time; says of each coded picture, in order, when its last byte was handed over.
async fn publish(mut session: Session, tags: Vec<flv::Tag>, sent: watch::Sender<Vec<Instant>>) -> Result<()> {
    let (start, lap_lasts) = (Instant::now(), tags.last().map_or(0, |tag| tag.timestamp) + 33);
    for lap in 0_u32.. {
        for tag in &tags {
            if lap > 0 && (tag.is_configuration() || tag.kind == flv::SCRIPT) {
                continue;
            }
            let timestamp = tag.timestamp + lap * lap_lasts;
            tokio::time::sleep_until(start + Duration::from_millis(u64::from(timestamp))).await;
            let at = session.send(tag, timestamp).await?;
            if tag.is_picture() {
                sent.send_modify(|times| times.push(at));
            }
        }
    }
    Ok(())
}

/// The video rendition's playlist, from the stream's very first part on.
async fn first_playlist(world: &World) -> Result<(Url, MediaPlaylist, Init)> {
    let master = Url::parse(&world.media.hls("bench0"))?;
    let text = world.media.playlist("bench0", Duration::from_secs(15)).await?;
    let url = Multivariant::parse(&text, &master).variants.first().context("no variant")?.uri.clone();
    let list = wait::until("the first part", Duration::from_secs(15), || async {
        let list = MediaPlaylist::parse(&world.client.get(url.as_str()).await?.text(), &url);
        Ok((list.parts().next().is_some() && list.map.is_some()).then_some(list))
    })
    .await?;
    let map = list.map.clone().context("no EXT-X-MAP")?;
    let init = Init::parse(&world.client.get(map.as_str()).await?.body);
    Ok((url, list, init))
}

/// Seconds from the last picture of each part (written) to its playlist (read).
async fn delays(world: &World, sent: &watch::Receiver<Vec<Instant>>) -> Result<Vec<f64>> {
    let (url, mut list, init) = first_playlist(world).await?;
    let mut pictures = 0;
    let mut counted: Option<Position> = None;
    let mut delays = Vec::new();
    let end = Instant::now() + LASTS;
    let mut arrived: Option<Instant> = None;
    while Instant::now() < end {
        for placed in list.parts() {
            if counted.is_some_and(|counted| placed.at <= counted) {
                continue;
            }
            let bytes = world.client.get(placed.part.uri.as_str()).await?.body;
            pictures += Fragments::parse(&bytes, &init).samples.len();
            counted = Some(placed.at);
            // Only the part that the request waited for is a measurement; those before it came with the first list.
            let written = sent.borrow().get(pictures - 1).copied();
            if let (Some(arrived), Some(written)) = (arrived, written)
                && placed.at == list.last()
            {
                delays.push(arrived.saturating_duration_since(written).as_secs_f64());
            }
        }
        let answer = world.client.get(blocking(&url, list.next()).as_str()).await?;
        anyhow::ensure!(answer.status.is_success(), "blocking reload: HTTP {}", answer.status);
        arrived = Some(Instant::from_std(answer.received));
        list = MediaPlaylist::parse(&answer.text(), &url);
    }
    Ok(delays)
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * q).round().max(0.0) as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Runs it.
pub async fn run(folder: &Path) -> Result<Table> {
    let tags = feed::six_megabits(folder).await?;
    let world = Plan::open()?.pass_through().start().await?;
    let (said, sent) = watch::channel(Vec::new());
    let session = Session::publish(&world.media.publish_url("bench0")).await?;
    let mut publisher = JoinSet::new();
    publisher.spawn(publish(session, tags, said));
    let mut outside = delays(&world, &sent).await?;
    anyhow::ensure!(outside.len() > 50, "only {} parts were seen", outside.len());
    outside.sort_by(f64::total_cmp);
    let inside = world.media.metrics().await?.histogram("weir_part_latency_seconds");
    let milliseconds =
        |seconds: Option<f64>| seconds.map_or("n/a".to_owned(), |s| format!("{:.2} ms", s * 1e3));
    Ok(Table {
        name: "part-latency",
        title: format!(
            "From the last picture of a part to the part, 6 Mbit/s pass-through, {} parts. Outside: the publisher \
             handed the picture to its socket → the waiting blocking reload was answered whole. Inside: \
             `weir_part_latency_seconds`. {}.",
            outside.len(),
            proc::machine()
        ),
        columns: vec!["measured", "p50", "p99", "max"],
        rows: vec![
            vec![
                "outside".to_owned(),
                milliseconds(Some(quantile(&outside, 0.5))),
                milliseconds(Some(quantile(&outside, 0.99))),
                milliseconds(outside.last().copied()),
            ],
            vec![
                "inside".to_owned(),
                milliseconds(inside.quantile(0.5)),
                milliseconds(inside.quantile(0.99)),
                milliseconds(inside.quantile(1.0)),
            ],
        ],
    })
}
