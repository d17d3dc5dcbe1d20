//! What a channel may be called, and what it says of itself.

use serde::Serialize;

use crate::account::rules::{Rejected, parse_name};
use crate::clock::{self, Millis};

/// A channel's name in addresses; also the public name of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(String);

impl Slug {
    /// The same rule as for user names: it stands in addresses, and in paths of the media server.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        parse_name("slug", text).map(Self)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a channel's stream is at.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// When the open session began.
    pub live_since: Option<Millis>,
    /// When the last one ended, and why.
    pub ended: Option<(Millis, Option<String>)>,
}

/// Why a channel shows nothing, as a stable word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfflineReason {
    /// It never had a stream.
    NeverLive,
    /// The last stream ended in order.
    Ended,
    /// The broadcaster's connection broke and did not come back.
    ConnectionLost,
    /// The stream was stopped by the server's rules: a rotated key, a ban, a limit.
    Stopped,
}

impl Status {
    /// Why nothing is on; nothing where something is.
    pub fn offline_reason(&self) -> Option<OfflineReason> {
        if self.live_since.is_some() {
            return None;
        }
        let Some((_, reason)) = &self.ended else { return Some(OfflineReason::NeverLive) };
        // The media server's words; what a newer one adds is an ordinary end.
        Some(match reason.as_deref().unwrap_or_default() {
            "idle" | "socket" | "server-died" => OfflineReason::ConnectionLost,
            "dropped" | "refused" | "protocol" => OfflineReason::Stopped,
            _ => OfflineReason::Ended,
        })
    }

    /// Since when the present state holds, RFC 3339.
    pub fn since(&self) -> Option<String> {
        self.live_since.or(self.ended.as_ref().map(|(at, _)| *at)).map(clock::rfc3339)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_says_why_it_is_dark() {
        let ended =
            |reason: Option<&str>| Status { live_since: None, ended: Some((0, reason.map(str::to_owned))) };
        assert_eq!(Status::default().offline_reason(), Some(OfflineReason::NeverLive));
        assert_eq!(ended(None).offline_reason(), Some(OfflineReason::Ended));
        assert_eq!(ended(Some("left")).offline_reason(), Some(OfflineReason::Ended));
        assert_eq!(ended(Some("socket")).offline_reason(), Some(OfflineReason::ConnectionLost));
        assert_eq!(ended(Some("dropped")).offline_reason(), Some(OfflineReason::Stopped));
        assert_eq!(ended(Some("a word of a later release")).offline_reason(), Some(OfflineReason::Ended));
        let live = Status { live_since: Some(1_795_204_800_000), ..ended(None) };
        assert_eq!(live.offline_reason(), None);
        assert_eq!(live.since().as_deref(), Some("2026-11-20T20:00:00.000Z"));
    }
}
