//! Follows one media playlist as a low-latency player does, and looks at everything that comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{StatusCode, header};
use tokio::task::JoinSet;
use url::Url;

use super::{
    findings::Findings,
    fragment::Fragments,
    init::Init,
    media_playlist::{MediaPlaylist, Position, Report, Segment},
    media_rules::Media,
    playlist_rules::History,
};
use crate::http_client::{Answer, HttpClient};

/// What was seen of one rendition.
pub struct Followed {
    /// The last two steps of its path.
    pub name: String,
    /// Its media playlist.
    pub url: Url,
    /// What its playlists said.
    pub history: History,
    /// What it holds, where an init segment could be read.
    pub media: Option<Media>,
    /// The init segment, up to the first change.
    pub init_bytes: Bytes,
    /// Further init segments, by the number of the first segment that they hold for.
    pub later_inits: BTreeMap<u64, (Url, Bytes)>,
    first_init: Option<Url>,
    /// Finished segments, for the decoder.
    pub segment_bytes: BTreeMap<u64, Bytes>,
    /// When which position was there.
    pub progress: Vec<(Instant, Position)>,
    /// When which other rendition was said to be where.
    pub reports: Vec<(Instant, Report)>,
    /// How many reports the last playlist carried.
    pub report_count: usize,
    /// Addresses of the parts that were seen.
    pub part_uris: BTreeMap<Position, Url>,
    /// The newest playlist.
    pub playlist: MediaPlaylist,
    /// Rules.
    pub findings: Findings,
}

/// Adds a query directive.
pub(super) fn with(url: &Url, directives: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut().extend_pairs(directives);
    url
}

/// The playlist's address with a blocking reload for `position`.
pub fn blocking(url: &Url, position: Position) -> Url {
    with(url, &[("_HLS_msn", &position.msn.to_string()), ("_HLS_part", &position.part.to_string())])
}

/// Whether segments and parts of this age may be kept by a cache as they should be.
fn long_lived(answer: &Answer, target: f64) -> bool {
    answer.max_age().is_some_and(|age| age as f64 >= 6.0 * target)
}

impl Followed {
    /// When the keyframes of its finished segments are shown, as their boxes say it, in milliseconds.
    pub fn keyframes(&self) -> Vec<i64> {
        let Some(init) = self.media.as_ref().map(|media| &media.init) else { return Vec::new() };
        let samples = self.segment_bytes.values().flat_map(|bytes| Fragments::parse(bytes, init).samples);
        let shown = samples.filter(|sample| sample.sync).map(|sample| {
            let at = sample.decode_time.cast_signed() + i64::from(sample.composition_offset);
            (at as f64 * 1000.0 / f64::from(init.timescale)).round() as i64
        });
        shown.collect()
    }

    /// The longest time without media from one sample to the next, seconds.
    pub fn longest_hole(&self) -> f64 {
        let Some(media) = &self.media else { return f64::MAX };
        let samples = media.segments.iter().flat_map(|(msn, fetched)| {
            let init = media.init_of(*msn);
            fetched.samples.iter().map(move |sample| {
                let end = init.seconds(sample.decode_time + u64::from(sample.duration));
                (init.seconds(sample.decode_time), end)
            })
        });
        let samples: Vec<_> = samples.collect();
        samples.windows(2).map(|pair| pair[1].0 - pair[0].1).fold(0.0, f64::max)
    }

    /// Follows `url` for `how_long`.
    pub async fn follow(client: HttpClient, url: Url, how_long: Duration) -> Result<Self> {
        let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        let name = segments[segments.len().saturating_sub(2)..].join("/");
        let answer = client.get(url.as_str()).await?;
        anyhow::ensure!(answer.status == StatusCode::OK, "{name}: HTTP {}", answer.status);
        let playlist = MediaPlaylist::parse(&answer.text(), &url);
        let mut followed = Self {
            history: History::new(&name),
            name,
            url,
            media: None,
            init_bytes: Bytes::new(),
            later_inits: BTreeMap::new(),
            first_init: None,
            segment_bytes: BTreeMap::new(),
            progress: Vec::new(),
            reports: Vec::new(),
            report_count: 0,
            part_uris: BTreeMap::new(),
            playlist,
            findings: Findings::default(),
        };
        followed.first_look(&client, &answer).await?;
        followed.reload_until(&client, Instant::now() + how_long).await?;
        Ok(followed)
    }

    fn target(&self) -> f64 {
        self.playlist.target_duration.unwrap_or(0.0)
    }

    async fn first_look(&mut self, client: &HttpClient, answer: &Answer) -> Result<()> {
        let (name, target) = (self.name.clone(), self.target());
        self.history.judge(&self.playlist, answer.header(header::CONTENT_TYPE), &mut self.findings);
        let cors = answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        self.findings.hold(34, cors, || format!("{name}: playlist"));
        let gzip = matches!(answer.header(header::CONTENT_ENCODING), Some("gzip" | "br"));
        self.findings.hold(35, gzip, || name.clone());
        let brief = answer.uncached() || answer.max_age().is_some_and(|age| age as f64 <= target.max(1.0));
        self.findings.hold(30, brief, || format!("{name}: {:?}", answer.header(header::CACHE_CONTROL)));
        if let Some(map) = self.playlist.map_of(self.looked_at_from()).cloned() {
            self.init_bytes = self.init(client, &map).await?;
            self.media = Some(Media::new(&name, Init::parse(&self.init_bytes), &mut self.findings));
            self.first_init = Some(map);
        }
        Ok(())
    }

    /// What was listed before we came is looked at from the last two segments on.
    fn looked_at_from(&self) -> u64 {
        self.playlist.first_msn().max(self.playlist.next_msn().saturating_sub(2))
    }

    async fn init(&mut self, client: &HttpClient, map: &Url) -> Result<Bytes> {
        let (name, target) = (&self.name, self.target());
        let answer = client.get(map.as_str()).await?;
        self.findings.hold(55, answer.status == StatusCode::OK, || format!("{name}: init {}", answer.status));
        self.findings.hold(32, long_lived(&answer, target), || format!("{name}: init"));
        Ok(answer.body)
    }

    /// Reads the init segments that segments from `from` on have instead of the one before.
    async fn change_inits(&mut self, client: &HttpClient, from: u64) -> Result<()> {
        for msn in from.max(self.playlist.first_msn())..=self.playlist.next_msn() {
            let known = self.later_inits.range(..=msn).next_back().map(|(_, (url, _))| url);
            let Some(map) =
                self.playlist.map_of(msn).filter(|map| known.or(self.first_init.as_ref()) != Some(map))
            else {
                continue;
            };
            // The tags before an open segment come with its first part.
            if msn == self.playlist.next_msn() && self.playlist.open.parts.is_empty() {
                continue;
            }
            let map = map.clone();
            let bytes = self.init(client, &map).await?;
            let broken = self.history.discontinuities.contains(&msn)
                || (msn == self.playlist.next_msn() && self.playlist.open.discontinuity);
            let name = &self.name;
            self.findings.hold(57, broken, || format!("{name} {msn}: another init without a discontinuity"));
            if let Some(media) = &mut self.media {
                media.change(msn, Init::parse(&bytes), &mut self.findings);
            }
            self.later_inits.insert(msn, (map, bytes));
        }
        Ok(())
    }

    async fn reload_until(&mut self, client: &HttpClient, end: Instant) -> Result<()> {
        let from = self.looked_at_from();
        let mut hinted: BTreeMap<Url, (StatusCode, Bytes)> = BTreeMap::new();
        let mut waiting: JoinSet<Option<(Url, StatusCode, Bytes)>> = JoinSet::new();
        self.change_inits(client, from).await?;
        self.look_at_media(client, from, &hinted).await?;
        let mut round = 0_u32;
        while Instant::now() < end && !self.playlist.ended {
            round += 1;
            let wanted = self.playlist.next();
            let hint = self.playlist.part_hints.first().cloned();
            if let Some(hint) = hint.clone().filter(|_| round % 4 == 2) {
                let client = client.clone();
                waiting.spawn(async move {
                    let answer = client.get(hint.as_str()).await.ok()?;
                    Some((hint, answer.status, answer.body))
                });
            }
            let answer = client.get(blocking(&self.url, wanted).as_str()).await?;
            let name = self.name.clone();
            if answer.status != StatusCode::OK {
                self.findings.hold(24, false, || format!("{name}: {wanted:?}: HTTP {}", answer.status));
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            let playlist = MediaPlaylist::parse(&answer.text(), &self.url);
            self.judge_reload(&answer, &playlist, wanted, hint.as_ref());
            while let Some(done) = waiting.try_join_next() {
                hinted.extend(done.ok().flatten().map(|(uri, status, body)| (uri, (status, body))));
            }
            if round % 6 == 3 && playlist.server_control.has("CAN-SKIP-UNTIL") {
                self.judge_delta(client, wanted).await?;
            }
            self.playlist = playlist;
            self.change_inits(client, from).await?;
            self.look_at_media(client, from, &hinted).await?;
            if round % 10 == 5
                && let Some(map) = &self.first_init
            {
                let again = client.get(map.as_str()).await?;
                self.findings.hold(53, again.body == self.init_bytes, || format!("{name}: init changed"));
            }
        }
        waiting.shutdown().await;
        Ok(())
    }

    fn judge_reload(&mut self, answer: &Answer, list: &MediaPlaylist, wanted: Position, hint: Option<&Url>) {
        let (name, target) = (self.name.clone(), list.target_duration.unwrap_or(0.0));
        let findings = &mut self.findings;
        self.history.judge(list, answer.header(header::CONTENT_TYPE), findings);
        let took = answer.took().as_secs_f64();
        findings.hold(24, list.reaches(wanted), || {
            format!("{name}: asked for {wanted:?}, got {:?} after {took:.3} s", list.last())
        });
        findings.hold(29, took <= 3.0 * target + 0.5, || format!("{name}: blocked for {took:.2} s"));
        let brief = answer.uncached() || answer.max_age().is_some_and(|age| age as f64 <= 6.0 * target);
        findings.hold(31, brief, || format!("{name}: {:?}", answer.header(header::CACHE_CONTROL)));
        self.progress.push((answer.received, list.last()));
        self.reports.extend(list.reports.iter().map(|report| (answer.received, report.clone())));
        self.report_count = list.reports.len();
        // The hinted part may turn out to be the first of the next segment.
        let next = Position { msn: wanted.msn + 1, part: 0 };
        let came = list
            .parts()
            .find(|placed| placed.at == wanted)
            .or_else(|| list.parts().find(|placed| placed.at == next))
            .map(|placed| placed.part.uri.clone());
        match (hint, came) {
            (Some(hint), Some(came)) => {
                findings.hold(18, *hint == came, || {
                    format!("{name}: {} was hinted, {} came", hint.path(), came.path())
                });
            }
            (None, Some(_)) => findings.hold(18, false, || format!("{name}: no hint before {wanted:?}")),
            _ => {}
        }
    }

    /// Asks for the same playlist as a delta, between twice the whole (R22, R23).
    async fn judge_delta(&mut self, client: &HttpClient, at: Position) -> Result<()> {
        let address = blocking(&self.url, at);
        let before = client.get(address.as_str()).await?;
        let delta = client.get(with(&address, &[("_HLS_skip", "YES")]).as_str()).await?;
        let full = client.get(address.as_str()).await?;
        if before.body != full.body {
            return Ok(()); // the stream moved on meanwhile
        }
        let name = self.name.clone();
        let (delta_list, full_list) =
            (MediaPlaylist::parse(&delta.text(), &self.url), MediaPlaylist::parse(&full.text(), &self.url));
        let until = full_list.server_control.number("CAN-SKIP-UNTIL").unwrap_or(f64::MAX);
        if full_list.duration() - until > 2.0 * full_list.target_duration.unwrap_or(0.0) {
            self.findings.hold(23, delta.status == StatusCode::OK && delta_list.skipped > 0, || {
                format!("{name}: no EXT-X-SKIP although {:.1} s are listed", full_list.duration())
            });
        }
        if delta_list.skipped > 0 {
            let skipped = delta_list.skipped as usize;
            // The EXT-X-MAP that holds may stand before a segment that is skipped.
            let told = |segment: &Segment| Segment { map: None, ..segment.clone() };
            let same = full_list.media_sequence == delta_list.media_sequence
                && full_list.segments.iter().skip(skipped).map(told).eq(delta_list.segments.iter().map(told))
                && told(&delta_list.open) == told(&full_list.open);
            self.findings.hold(22, same, || format!("{name}: {skipped} skipped, the rest differs"));
            self.findings.hold(56, delta_list.version >= 9, || {
                format!("{name}: EXT-X-SKIP in {}", delta_list.version)
            });
        }
        Ok(())
    }

    async fn look_at_media(
        &mut self,
        client: &HttpClient,
        from: u64,
        hinted: &BTreeMap<Url, (StatusCode, Bytes)>,
    ) -> Result<()> {
        let target = self.target();
        let Some(media) = &mut self.media else { return Ok(()) };
        let (name, findings) = (&self.name, &mut self.findings);
        let mut breaks: BTreeSet<u64> = self.history.discontinuities.clone();
        breaks.extend(self.playlist.open.discontinuity.then(|| self.playlist.next_msn()));
        for placed in self.playlist.parts().filter(|placed| placed.at.msn >= from && !placed.part.gap) {
            let at = placed.at;
            if media.has_part(at) || self.part_uris.insert(at, placed.part.uri.clone()).is_some() {
                continue;
            }
            let answer =
                client.get(placed.part.uri.as_str()).await.with_context(|| format!("{name} {at:?}"))?;
            findings
                .hold(55, answer.status.is_success(), || format!("{name} part {at:?}: {}", answer.status));
            if !answer.status.is_success() {
                continue;
            }
            let cors = answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            findings.hold(34, cors, || format!("{name}: part"));
            findings.hold(32, long_lived(&answer, target), || format!("{name}: part"));
            media.judge_part(at, placed.part, &answer.body, &breaks, findings);
            if let Some((status, body)) = hinted.get(&placed.part.uri) {
                let whole = *status == StatusCode::OK && *body == answer.body;
                findings.hold(19, whole, || format!("{name} part {at:?}: the hinted request got {status}"));
            }
        }
        for (msn, segment) in self.playlist.numbered().filter(|(msn, segment)| *msn >= from && !segment.gap) {
            let Some(uri) = &segment.uri else { continue };
            if self.segment_bytes.contains_key(&msn) {
                continue;
            }
            let answer = client.get(uri.as_str()).await.with_context(|| format!("{name} segment {msn}"))?;
            findings
                .hold(55, answer.status.is_success(), || format!("{name} segment {msn}: {}", answer.status));
            findings.hold(32, long_lived(&answer, target), || format!("{name}: segment"));
            self.segment_bytes.insert(msn, answer.body.clone());
            media.judge_segment(msn, segment, &answer.body, &breaks, findings);
        }
        Ok(())
    }
}
