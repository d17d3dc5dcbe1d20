//! Single questions to an origin, at the edges of what a client may ask.

use std::time::Duration;

use anyhow::Result;
use http::StatusCode;
use url::Url;

use super::{
    follow::{Followed, with},
    media_playlist::{MediaPlaylist, Position},
};
use crate::http_client::{Answer, HttpClient};

/// What counts as "at once".
const AT_ONCE: Duration = Duration::from_secs(1);

impl Followed {
    /// Asks at the edges; the stream is still live.
    pub async fn probe(&mut self, client: &HttpClient) -> Result<()> {
        self.probe_refusals(client).await?;
        self.probe_oldest_part(client).await?;
        self.probe_late_directives(client).await?;
        self.probe_removed_part(client).await?;
        if self.url.scheme() == "http" {
            let answer = HttpClient::http2().get(self.url.as_str()).await;
            let offered = answer.is_ok_and(|answer| answer.status.is_success());
            self.findings.hold(36, offered, || format!("{}: no HTTP/2 by prior knowledge", self.name));
        }
        Ok(())
    }

    async fn ask(&self, client: &HttpClient, directives: &[(&str, &str)]) -> Result<Answer> {
        client.get(with(&self.url, directives).as_str()).await
    }

    async fn reload(&self, client: &HttpClient) -> Result<MediaPlaylist> {
        Ok(MediaPlaylist::parse(&client.get(self.url.as_str()).await?.text(), &self.url))
    }

    async fn probe_refusals(&mut self, client: &HttpClient) -> Result<()> {
        let far = (self.playlist.next_msn() + 100).to_string();
        for (rule, directives) in
            [(25, [("_HLS_msn", far.as_str())]), (26, [("_HLS_part", "0")]), (27, [("_HLS_msn", "abc")])]
        {
            let answer = self.ask(client, &directives).await?;
            self.expect(rule, &answer, StatusCode::BAD_REQUEST, &format!("{directives:?}"));
        }
        let unknown = self.url.join("no-such-thing-9999999.m4s")?;
        let answer = client.get(unknown.as_str()).await?;
        self.expect(28, &answer, StatusCode::NOT_FOUND, unknown.path());
        let target = self.playlist.target_duration.unwrap_or(1.0).max(1.0);
        let brief = answer.max_age().is_none_or(|age| age as f64 <= target);
        self.findings.hold(33, brief, || format!("{}: 404 for {:?} s", self.name, answer.max_age()));
        Ok(())
    }

    async fn probe_oldest_part(&mut self, client: &HttpClient) -> Result<()> {
        let list = self.reload(client).await?;
        let Some(oldest) = list.parts().next().map(|placed| placed.part.uri.clone()) else { return Ok(()) };
        let answer = client.get(oldest.as_str()).await?;
        let listed = self.reload(client).await?.parts().any(|placed| placed.part.uri == oldest);
        let kept = answer.status.is_success() || !listed;
        self.findings.hold(41, kept, || format!("{}: {} for {oldest}", self.name, answer.status));
        Ok(())
    }

    async fn probe_late_directives(&mut self, client: &HttpClient) -> Result<()> {
        let list = self.reload(client).await?;
        let gone = list.media_sequence.saturating_sub(1).to_string();
        let answer = self.ask(client, &[("_HLS_msn", &gone), ("_HLS_part", "0")]).await?;
        self.expect(81, &answer, StatusCode::OK, "a number that is gone");
        self.findings
            .hold(81, !answer.text().contains("#EXT-X-SKIP"), || format!("{}: came skipped", self.name));

        let finished: Vec<_> = list.numbered().filter(|(_, segment)| !segment.parts.is_empty()).collect();
        if let [.., (msn, segment), _] = finished[..] {
            let (msn, past) = (msn.to_string(), segment.parts.len().to_string());
            let answer = self.ask(client, &[("_HLS_msn", &msn), ("_HLS_part", &past)]).await?;
            self.expect(80, &answer, StatusCode::OK, "a part past a finished segment");
            let answer = self.ask(client, &[("foo", "1"), ("_HLS_part", "0"), ("_HLS_msn", &msn)]).await?;
            self.expect(86, &answer, StatusCode::OK, "a foreign parameter and another order");
        }
        if let Some(part_target) = list.part_target.filter(|target| *target > 0.0) {
            let advance = if part_target < 1.0 { (3.0 / part_target) as usize } else { 3 };
            let (msn, part) =
                (list.next_msn().to_string(), (list.open.parts.len() + advance + 3).to_string());
            let answer = self.ask(client, &[("_HLS_msn", &msn), ("_HLS_part", &part)]).await?;
            self.expect(84, &answer, StatusCode::BAD_REQUEST, "a part past the advance limit");
        }
        Ok(())
    }

    async fn probe_removed_part(&mut self, client: &HttpClient) -> Result<()> {
        let list = self.reload(client).await?;
        let Some(oldest) = list.parts().next().map(|placed| placed.at) else { return Ok(()) };
        let removed: Option<(Position, Url)> =
            self.part_uris.range(..oldest).next_back().map(|(at, uri)| (*at, uri.clone()));
        if let Some((at, uri)) = removed {
            let answer = client.get(uri.as_str()).await?;
            let name = &self.name;
            self.findings
                .hold(78, answer.status.is_success(), || format!("{name} {at:?}: {}", answer.status));
        }
        Ok(())
    }

    fn expect(&mut self, rule: u16, answer: &Answer, status: StatusCode, what: &str) {
        let kept = answer.status == status && answer.took() < AT_ONCE;
        self.findings.hold(rule, kept, || {
            format!(
                "{}: {what}: HTTP {} after {:.2} s",
                self.name,
                answer.status,
                answer.took().as_secs_f64()
            )
        });
    }
}
