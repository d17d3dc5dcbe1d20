//! Gives streams their slate: `live` asks for one that looks like its source, `transcode` makes it, neither knows the
//! other. Streams of one size share it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::live::{Slate, SlateCell, SlateFactory, SlateRequest};
use crate::transcode::{self, SlateSpec, Workers};

/// Slates kept: sources of more sizes than that are rare, and each takes memory.
const MOST: usize = 16;
/// Bits a second of the picture where the source does not say, and at most.
const BITRATE: u32 = 2_500_000;
const MOST_BITRATE: u32 = 8_000_000;
/// Largest file.
const LARGEST: u64 = 256 << 20;

/// The file that is shown, and how it is encoded: the configuration of this moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) file: PathBuf,
    pub(super) preset: String,
}

/// A file that was replaced is another slate.
type Key = (Wish, Option<SystemTime>, SlateRequest);

/// A factory whose workers are `program transcode-worker`, one at a time, and live in `tasks`.
pub(super) fn factory(program: PathBuf, wish: Arc<ArcSwap<Wish>>, tasks: TaskTracker) -> SlateFactory {
    let made: Arc<Mutex<HashMap<Key, Arc<Slate>>>> = Arc::default();
    let workers = Workers::new(program);
    Arc::new(move |request| {
        let cell = SlateCell::default();
        let (made, workers, filled) = (Arc::clone(&made), workers.clone(), Arc::clone(&cell));
        let wish = Wish::clone(&wish.load());
        tasks.spawn(async move {
            let mut made = made.lock().await;
            let changed = tokio::fs::metadata(&wish.file).await.and_then(|meta| meta.modified()).ok();
            let key = (wish, changed, request);
            if let Some(slate) = known_or_new(&mut made, &workers, key).await {
                // Nobody else fills it.
                let _first = filled.set(slate).is_ok();
            }
        });
        cell
    })
}

async fn known_or_new(
    made: &mut HashMap<Key, Arc<Slate>>,
    workers: &Workers,
    key: Key,
) -> Option<Arc<Slate>> {
    if let Some(slate) = made.get(&key) {
        return Some(Arc::clone(slate));
    }
    let (wish, _, request) = &key;
    let file = wish.file.display().to_string();
    match make(workers, wish, request).await {
        Ok(slate) => {
            let seconds = slate.pictures.last().map_or(0.0, |last| (last.pts + last.duration).seconds());
            let (width, height, sound) = (request.width, request.height, !slate.sound.is_empty());
            tracing::info!(file, width, height, seconds, sound, "slate made");
            if made.len() >= MOST {
                made.clear();
            }
            let slate = Arc::new(slate);
            made.insert(key, Arc::clone(&slate));
            Some(slate)
        }
        Err(error) => {
            tracing::error!(
                file,
                error = format!("{error:#}"),
                "the slate cannot be shown, the last picture is held in its place: [slate] file must be a picture \
                 (PNG, JPEG, WebP) or a video (MP4, Matroska, FLV, MPEG-TS)"
            );
            None
        }
    }
}

async fn make(workers: &Workers, wish: &Wish, request: &SlateRequest) -> anyhow::Result<Slate> {
    let path = wish.file.clone();
    let file = tokio::task::spawn_blocking(move || read(&path)).await??;
    let spec = SlateSpec {
        width: request.width & !1,
        height: request.height & !1,
        frame_rate: request.frame_rate,
        video_bitrate: if request.bitrate == 0 { BITRATE } else { request.bitrate.min(MOST_BITRATE) },
        sound: request.sound,
        preset: wish.preset.clone(),
        file_bytes: file.len(),
    };
    Ok(transcode::make_slate(workers, spec, file).await?)
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    let length = std::fs::metadata(path)?.len();
    anyhow::ensure!(length <= LARGEST, "the file has {length} bytes; a slate may have {LARGEST}");
    Ok(std::fs::read(path)?.into())
}
