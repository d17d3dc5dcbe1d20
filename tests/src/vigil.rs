//! Looks at one rendition again and again, as long as a test does things to its publishers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::{sync::oneshot, task::JoinSet};
use url::Url;

use crate::{
    http_client::HttpClient,
    llhls::media_playlist::{MediaPlaylist, Position},
};

/// Between two looks.
const PACE: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// Each position when it was first listed.
    pub progress: Vec<(Instant, Position)>,
    /// The newest playlist.
    pub last: MediaPlaylist,
    /// Different addresses of the initialization segment.
    pub inits: Vec<Url>,
    /// Looks that were not answered with a playlist.
    pub unanswered: u32,
    /// Media sequence numbers of the segments that a discontinuity stands before.
    pub discontinuities: Vec<u64>,
    /// Media sequence number and date of each segment, as it was first given.
    dates: Vec<(u64, f64, f64)>,
}

impl Seen {
    /// The longest time in which nothing new was listed.
    pub fn longest_pause(&self) -> Duration {
        let pairs = self.progress.iter().zip(self.progress.iter().skip(1));
        pairs.map(|((before, _), (after, _))| *after - *before).max().unwrap_or_default()
    }

    /// Every segment begins where the one before it ends, on the wall clock: to a millisecond and a rounding.
    pub fn dates_are_whole(&self) -> Result<()> {
        self.dates_are_whole_to(Duration::from_millis(3))
    }

    /// The same, to so much.
    pub fn dates_are_whole_to(&self, most: Duration) -> Result<()> {
        for ((msn, date, lasts), (next, after, _)) in self.dates.iter().zip(self.dates.iter().skip(1)) {
            anyhow::ensure!(*next == msn + 1, "segment {next} comes after {msn}");
            let off = after - date - lasts;
            anyhow::ensure!(
                off.abs() < most.as_secs_f64(),
                "segment {next} begins {off:.3} s from the end of {msn}"
            );
        }
        anyhow::ensure!(self.dates.len() > 2, "hardly any segments were seen");
        Ok(())
    }
}

/// Looks until it is told to stop.
pub struct Vigil {
    stop: oneshot::Sender<()>,
    looking: JoinSet<Result<Seen>>,
}

impl Vigil {
    /// Begins to look at a media playlist.
    pub fn begin(url: &str) -> Result<Self> {
        let url = Url::parse(url)?;
        let (stop, mut stopped) = oneshot::channel();
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            let client = HttpClient::new();
            let mut seen: Option<Seen> = None;
            let mut unanswered = 0;
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                match client.get(url.as_str()).await {
                    Ok(answer) if answer.status.is_success() => {
                        look(&mut seen, MediaPlaylist::parse(&answer.text(), &url), &url);
                    }
                    _ => unanswered += 1,
                }
                tokio::time::sleep(PACE).await;
            }
            let mut seen = seen.context("there never was a playlist")?;
            seen.unanswered = unanswered;
            Ok(seen)
        });
        Ok(Self { stop, looking })
    }

    /// Ends it.
    pub async fn end(mut self) -> Result<Seen> {
        drop(self.stop);
        self.looking.join_next().await.context("nobody looked")??
    }
}

fn look(seen: &mut Option<Seen>, list: MediaPlaylist, base: &Url) {
    let seen = seen.get_or_insert_with(|| Seen {
        progress: Vec::new(),
        last: list.clone(),
        inits: Vec::new(),
        unanswered: 0,
        discontinuities: Vec::new(),
        dates: Vec::new(),
    });
    if seen.progress.last().is_none_or(|(_, before)| *before < list.last()) {
        seen.progress.push((Instant::now(), list.last()));
    }
    for line in list.text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\"")) {
        if let Some(uri) = line.split('"').next().and_then(|uri| base.join(uri).ok())
            && !seen.inits.contains(&uri)
        {
            seen.inits.push(uri);
        }
    }
    for (msn, segment) in list.numbered() {
        if segment.discontinuity && !seen.discontinuities.contains(&msn) {
            seen.discontinuities.push(msn);
        }
        let newest = seen.dates.last().map(|(msn, ..)| *msn);
        if let (Some(date), Some(lasts)) = (segment.date_time, segment.duration)
            && newest.is_none_or(|newest| msn > newest)
        {
            seen.dates.push((msn, date, lasts));
        }
    }
    seen.last = list;
}
