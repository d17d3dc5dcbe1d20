//! Pictures of live streams, made one after the other: what there is no time for comes later, and no stream waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use media::{Format, ladder};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{settings, until};
use crate::admission::{EventData, Outbox, ThumbnailData};
use crate::config::Config;
use crate::ingest::Desk;
use crate::live::{Directory, Phase, Snapshot};
use crate::serve::{Poster, Posters};
use crate::transcode::{PosterSpec, Workers, make_poster};

/// Between two looks at which streams want one.
const LOOK: Duration = Duration::from_millis(500);

/// What is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// From one picture to the next; zero for none.
    pub(super) interval: Duration,
    /// Lines, at most.
    pub(super) height: u32,
}

/// Where they are, and what is wished of them. They are made in `tasks` until `stop`.
pub(super) fn start(
    desk: &Desk,
    config: &Config,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> (Posters, Arc<ArcSwap<Wish>>) {
    let (posters, wish) = (Posters::default(), Arc::new(ArcSwap::from_pointee(settings::thumbnails(config))));
    let workers = Workers::new(desk.program.clone());
    let shown = (posters.clone(), desk.outbox.clone());
    let making = run(desk.directory.clone(), workers, Arc::clone(&wish), shown);
    tasks.spawn(until(stop.clone(), making));
    (posters, wish)
}

/// Makes them until it is dropped.
async fn run(
    directory: Directory,
    workers: Workers,
    wish: Arc<ArcSwap<Wish>>,
    (posters, outbox): (Posters, Outbox),
) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Those that could not be made are not tried at each look.
    let mut tried: Vec<(Arc<str>, Instant)> = Vec::new();
    loop {
        looks.tick().await;
        let wish = **wish.load();
        posters.keep(|stream| !wish.interval.is_zero() && directory.get(stream).is_some());
        tried.retain(|(stream, at)| at.elapsed() < wish.interval && directory.get(stream).is_some());
        if wish.interval.is_zero() {
            continue;
        }
        for stream in directory.all() {
            let snapshot = stream.snapshot();
            let due = posters.get(&snapshot.name).is_none_or(|known| known.made.elapsed() >= wish.interval);
            let tries = tried.iter().any(|(stream, _)| *stream == snapshot.name);
            if !due || tries || snapshot.phase != Phase::Live {
                continue;
            }
            tried.push((Arc::clone(&snapshot.name), Instant::now()));
            if make(&snapshot, &workers, wish, &posters).await {
                tell(&snapshot, &posters, &outbox).await;
                tried.retain(|(stream, _)| *stream != snapshot.name);
            }
        }
    }
}

/// False: there is none, or the stream has no picture.
async fn make(snapshot: &Snapshot, workers: &Workers, wish: Wish, posters: &Posters) -> bool {
    let best = snapshot.video.first();
    let Some((Format::Video(video), keyframe)) =
        best.and_then(|it| Some((it.format.clone(), it.keyframe()?)))
    else {
        return false;
    };
    let (width, height) = ladder::fit(&video, wish.height);
    let stream = &snapshot.name;
    let spec = PosterSpec { video, width, height };
    match make_poster(workers, spec, keyframe).await {
        Ok(jpeg) => {
            let tag = format!("{:016x}", rand::random::<u64>());
            let (made, max_age) = (Instant::now(), wish.interval / 2);
            posters.put(stream, Poster { jpeg, width, height, made, max_age, tag });
            true
        }
        Err(error) => {
            tracing::warn!(%stream, %error, "no thumbnail could be made; it is tried again later");
            false
        }
    }
}

async fn tell(snapshot: &Snapshot, posters: &Posters, outbox: &Outbox) {
    let (Some(poster), Some(session)) = (posters.get(&snapshot.name), &snapshot.session) else { return };
    let data = ThumbnailData {
        path: format!("/live/{}/thumb.jpg", snapshot.name),
        width: poster.width,
        height: poster.height,
        bytes: poster.jpeg.len(),
    };
    outbox.record(&snapshot.name, &session.session, EventData::Thumbnail(data)).await;
}
