//! The load: one stream made beforehand, replayed in real time by many cheap publishers.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    publisher::{
        Session, Source,
        flv::{self, Tag},
    },
    rtmp_url::RtmpUrl,
};

/// A stream of 6 Mbit/s: 1280x720, 30 frames a second, H.264 and AAC, 20 s that repeat.
pub async fn six_megabits(folder: &Path) -> Result<Vec<Tag>> {
    let file = folder.join("feed.flv");
    Source::default().size(1280, 720).noisy().video_kbps(5_870).seconds(20).write_flv(&file).await?;
    let tags = flv::read(&file)?;
    let bytes: usize = tags.iter().map(|tag| tag.body.len()).sum();
    let seconds = f64::from(tags.last().context("an empty feed")?.timestamp) / 1000.0;
    let megabits = bytes as f64 * 8e-6 / seconds;
    anyhow::ensure!((5.4..6.6).contains(&megabits), "the feed is {megabits:.2} Mbit/s, 6 was wanted");
    Ok(tags)
}

/// Publishers that end when this is dropped.
pub struct Feed {
    publishers: JoinSet<Result<()>>,
}

impl Feed {
    /// Publishes `tags` `count` times, as `KEY0`, `KEY1` …, for at most `lasts`. Their keyframes are spread over
    /// two seconds, as those of strangers are.
    pub async fn start(tags: &[Tag], server: &str, key: &str, count: usize, lasts: Duration) -> Result<Self> {
        let mut publishers = JoinSet::new();
        let mut sessions = Vec::new();
        for index in 0..count {
            sessions.push(Session::publish(&RtmpUrl::new(server, "live", &format!("{key}{index}"))).await?);
        }
        for (index, mut session) in sessions.into_iter().enumerate() {
            let tags = tags.to_vec();
            let wait = Duration::from_millis(2000 * index as u64 / count as u64);
            publishers.spawn(async move {
                tokio::time::sleep(wait).await;
                session.replay(&tags, Instant::now() + lasts).await
            });
        }
        Ok(Self { publishers })
    }

    /// An error if a publisher was thrown out.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(ended) = self.publishers.try_join_next() {
            ended.context("a publisher panicked")?.context("a publisher ended")?;
            anyhow::bail!("a publisher ended early");
        }
        Ok(())
    }
}
