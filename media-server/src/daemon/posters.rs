//! Pictures of live streams, made one after the other: what there is no time for comes later, and no stream waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use media::storyboard::{Storyboard, tile_size};
use media::{Format, Span, ladder};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{settings, until};
use crate::admission::{EventData, Outbox, ThumbnailData};
use crate::config::Config;
use crate::ingest::Desk;
use crate::live::{Directory, Phase, Snapshot, Text, WALL_ZERO_MS};
use crate::serve::{Poster, Posters};
use crate::transcode::{Made, PosterSpec, SheetSpec, Workers, make_poster};

/// Between two looks at which streams want one.
const LOOK: Duration = Duration::from_millis(500);

/// What is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// From one picture to the next; zero for none.
    pub(super) interval: Duration,
    /// Lines, at most.
    pub(super) height: u32,
    /// How far back the storyboard goes; zero for none.
    pub(super) storyboard: Duration,
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
    let (mut storyboard, tile) = (storyboard(snapshot, wish, posters), tile_size((width, height)));
    let (at, known) = (keyframe.pts, storyboard.beside(tile));
    // A keyframe that is still the newest is there already.
    let adds = !wish.storyboard.is_zero() && storyboard.newest().is_none_or(|newest| newest < at);
    let known = if adds { known } else { &[] };
    let sheet = adds.then_some(SheetSpec { tile, known: known.len() });
    let spec = PosterSpec { video, width, height, sheet };
    match make_poster(workers, spec, keyframe, known).await {
        Ok(Made { jpeg, sheet }) => {
            if let Some(sheet) = sheet {
                storyboard.add(at, tile, sheet, span(wish.storyboard));
            }
            let vtt = (!storyboard.is_empty()).then(|| storyboard.vtt(WALL_ZERO_MS, span(wish.interval)));
            let (vtt, tag) = (vtt.map(Text::new), format!("{:016x}", rand::random::<u64>()));
            let (made, max_age) = (Instant::now(), wish.interval / 2);
            posters.put(stream, Poster { jpeg, width, height, made, max_age, tag, storyboard, vtt });
            true
        }
        Err(error) => {
            tracing::warn!(%stream, %error, "no thumbnail could be made; it is tried again later");
            false
        }
    }
}

/// What there is of this run, or an empty one.
fn storyboard(snapshot: &Snapshot, wish: Wish, posters: &Posters) -> Storyboard {
    let known = posters.get(&snapshot.name).map(|poster| poster.storyboard.clone());
    let known = known.filter(|board| board.is_of(&snapshot.epoch) && !wish.storyboard.is_zero());
    known.unwrap_or_else(|| Storyboard::new(&snapshot.epoch))
}

fn span(time: Duration) -> Span {
    Span::from_millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
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
