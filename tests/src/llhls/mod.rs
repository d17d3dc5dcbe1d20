//! Is this a sound LL-HLS origin? Follows every rendition as a player does and judges what comes by numbered rules.
//!
//! [`check`] is the whole of it. [`rule::RULES`] is the list; each rule that can be judged from bytes alone is a
//! pure function here, tested with sound input and with input that breaks it, so that a green report means something.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::header;
use tokio::task::JoinSet;
use url::Url;

use crate::http_client::HttpClient;

mod across;
pub mod attributes;
pub mod boxes;
mod decode;
pub mod findings;
pub mod follow;
#[cfg(test)]
mod forge;
pub mod fragment;
pub mod init;
pub mod media_playlist;
pub mod media_rules;
pub mod multivariant;
#[cfg(test)]
mod origin;
pub mod playlist_rules;
mod probes;
pub mod rule;

pub use findings::Findings;
pub use rule::Level;

use self::{follow::Followed, multivariant::Multivariant};

/// What was checked, and what was found.
pub struct Report {
    /// Rules kept and broken.
    pub findings: Findings,
    /// The multivariant playlist.
    pub multivariant: Multivariant,
    /// Every rendition that could be followed.
    pub renditions: Vec<Followed>,
}

impl Report {
    /// An error that names every MUST that is broken, those in `waived` left out.
    pub fn no_must_broken(&self, waived: &[u16]) -> Result<()> {
        let mut broken = self.findings.broken(Level::Must);
        broken.retain(|number| !waived.contains(number));
        anyhow::ensure!(broken.is_empty(), "MUST rules are broken: {broken:?}\n{}", self.findings);
        Ok(())
    }

    /// The rendition in this folder.
    pub fn rendition(&self, name: &str) -> Result<&Followed> {
        let has = |followed: &&Followed| followed.url.path().ends_with(&format!("/{name}/index.m3u8"));
        let found = self.renditions.iter().find(has);
        found.with_context(|| format!("no {name}:\n{}", self.multivariant.text))
    }

    /// The same for SHOULD rules.
    pub fn no_should_broken(&self, waived: &[u16]) -> Result<()> {
        let mut broken = self.findings.broken(Level::Should);
        broken.retain(|number| !waived.contains(number));
        anyhow::ensure!(broken.is_empty(), "SHOULD rules are broken: {broken:?}\n{}", self.findings);
        Ok(())
    }
}

/// Follows every rendition of the live stream at `url` for `how_long`.
pub async fn check(url: &str, how_long: Duration) -> Result<Report> {
    check_by(HttpClient::new(), url, how_long).await
}

/// The same, by a client of another protocol.
pub async fn check_by(client: HttpClient, url: &str, how_long: Duration) -> Result<Report> {
    let url = Url::parse(url)?;
    let answer = client.get(url.as_str()).await?;
    anyhow::ensure!(answer.status.is_success(), "{url}: HTTP {}", answer.status);
    let multivariant = Multivariant::parse(&answer.text(), &url);
    let mut findings = Findings::default();
    multivariant.judge(&mut findings);
    let typed =
        answer.header(header::CONTENT_TYPE).is_some_and(|t| t.to_ascii_lowercase().contains("mpegurl"));
    findings.hold(1, typed, || "multivariant: Content-Type".into());

    let playlists = multivariant.playlists();
    anyhow::ensure!(!playlists.is_empty(), "no media playlist in:\n{}", multivariant.text);
    let mut following = JoinSet::new();
    for (place, playlist) in playlists.iter().cloned().enumerate() {
        let client = client.clone();
        following.spawn(async move { (place, Followed::follow(client, playlist, how_long).await) });
    }
    let mut renditions = Vec::new();
    while let Some(done) = following.join_next().await {
        let (place, followed) = done.context("a follower panicked")?;
        match followed {
            Ok(followed) => renditions.push((place, followed)),
            Err(error) => findings.hold(55, false, || format!("{}: {error:#}", playlists[place].path())),
        }
    }
    let end = Instant::now();
    renditions.sort_by_key(|(place, _)| *place);
    let mut renditions: Vec<Followed> = renditions.into_iter().map(|(_, followed)| followed).collect();
    for followed in &mut renditions {
        followed.probe(&client).await?;
    }
    across::judge(&multivariant, &renditions, end, &mut findings);
    for followed in &mut renditions {
        decode::judge(followed, &mut findings).await?;
        findings.merge(std::mem::take(&mut followed.findings));
    }
    Ok(Report { findings, multivariant, renditions })
}
