//! Which of a stream's rungs a viewer is sent: the one that was asked for, or the best that the line carries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// A rung that the line must carry this much more than, before it is taken, in hundredths: rates waver.
const ROOM: u64 = 130;
/// How long the line must seem to carry it.
const STEADY: Duration = Duration::from_secs(4);
/// How long the line must seem not to carry what is sent: estimates dip when a viewer joins.
const SHORT: Duration = Duration::from_millis(500);
/// After a step down the next step up is tried this much later: what was too much is not tried at once.
const CALM: Duration = Duration::from_secs(10);
/// Of an estimate, what the picture may take of it, in hundredths: the rest is sound and what is sent again.
const SHARE: u64 = 90;

/// A rung that browsers play.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layer {
    /// The rung's name.
    #[serde(serialize_with = "text")]
    pub(super) encoding_id: Arc<str>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bits a second of its picture, on average.
    pub(super) bitrate: u64,
}

fn text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// How one viewer's rung is chosen.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The one that was asked for.
    fixed: Option<Arc<str>>,
    /// Bits a second that the line seems to carry.
    estimate: Option<u64>,
    /// Since when it seems to carry more.
    room: Option<Instant>,
    /// Since when it seems to carry less than what is sent.
    short: Option<Instant>,
    /// The last step down.
    stepped: Option<Instant>,
}

/// What a client is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    /// The server chooses.
    auto: bool,
    current: &'a str,
    estimate: Option<u64>,
    layers: &'a [Layer],
}

impl Choice {
    /// This one and no other; None for what the line carries.
    pub(super) fn fix(&mut self, rung: Option<Arc<str>>) {
        self.fixed = rung;
        self.room = None;
    }

    pub(super) fn estimated(&mut self, bits: u64) {
        self.estimate = Some(bits);
    }

    /// The rung that should be sent, of these, where it is another one than `current`.
    pub(super) fn next<'a>(&mut self, layers: &'a [Layer], current: &str, now: Instant) -> Option<&'a Layer> {
        if let Some(fixed) = &self.fixed {
            return layers.iter().find(|it| it.encoding_id == *fixed && *it.encoding_id != *current);
        }
        let now_sent = layers.iter().find(|it| *it.encoding_id == *current);
        let Some(now_sent) = now_sent else { return layers.first() };
        let room = self.estimate?.saturating_mul(SHARE) / 100;
        if now_sent.bitrate > room {
            self.room = None;
            if now.saturating_duration_since(*self.short.get_or_insert(now)) < SHORT {
                return None;
            }
            self.short = None;
            let lower = layers.iter().filter(|it| it.bitrate < now_sent.bitrate);
            let fits = lower.clone().filter(|it| it.bitrate <= room).max_by_key(|it| it.bitrate);
            let step = fits.or_else(|| lower.min_by_key(|it| it.bitrate));
            self.stepped = step.map(|_| now).or(self.stepped);
            return step;
        }
        self.short = None;
        let more =
            |it: &&Layer| it.bitrate > now_sent.bitrate && it.bitrate.saturating_mul(ROOM) / 100 <= room;
        let Some(better) = layers.iter().filter(more).max_by_key(|it| it.bitrate) else {
            self.room = None;
            return None;
        };
        let since = *self.room.get_or_insert(now);
        let calm = self.stepped.is_none_or(|at| now.saturating_duration_since(at) >= CALM);
        if !calm || now.saturating_duration_since(since) < STEADY {
            return None;
        }
        self.room = None;
        Some(better)
    }

    /// As the API has it.
    pub(super) fn describe(&self, layers: &[Layer], current: &str) -> String {
        let state = State { auto: self.fixed.is_none(), current, estimate: self.estimate, layers };
        serde_json::to_string(&state).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Vec<Layer> {
        let layer = |name: &str, height: u32, bitrate: u64| Layer {
            encoding_id: name.into(),
            width: height * 16 / 9,
            height,
            bitrate,
        };
        vec![layer("source", 1080, 5_000_000), layer("720p", 720, 2_500_000), layer("360p", 360, 700_000)]
    }

    /// The rungs of a viewer whose line is estimated once a second, from the best on.
    fn follow(estimates: impl IntoIterator<Item = u64>) -> Vec<String> {
        let (mut choice, layers, start) = (Choice::default(), ladder(), Instant::now());
        let mut current: Arc<str> = "source".into();
        let mut sent = vec![current.to_string()];
        for (second, estimate) in (0..).zip(estimates) {
            choice.estimated(estimate);
            if let Some(next) = choice.next(&layers, &current, start + Duration::from_secs(second)) {
                current = Arc::clone(&next.encoding_id);
                sent.push(current.to_string());
            }
        }
        sent
    }

    #[test]
    fn a_line_that_gets_worse_is_followed_within_a_second() {
        assert_eq!(follow([8_000_000, 3_000_000, 8_000_000]), ["source"], "a dip");
        assert_eq!(follow([8_000_000, 3_000_000, 3_000_000]), ["source", "720p"]);
        assert_eq!(follow([100_000; 5]), ["source", "360p"], "less than the least there is not");
    }

    #[test]
    fn one_that_gets_better_is_believed_after_a_while() {
        let better = [1_000_000; 2].into_iter().chain([9_000_000; 13]);
        assert_eq!(follow(better.clone().take(11)), ["source", "360p"]);
        assert_eq!(follow(better), ["source", "360p", "source"]);
        let wavers = [1_000_000; 2].into_iter().chain([9_000_000, 9_000_000, 9_000_000, 800_000].repeat(10));
        assert_eq!(follow(wavers), ["source", "360p"]);
    }

    #[test]
    fn what_was_asked_for_is_sent() {
        let (mut choice, layers) = (Choice::default(), ladder());
        choice.estimated(100_000);
        choice.fix(Some("720p".into()));
        assert_eq!(choice.next(&layers, "source", Instant::now()).unwrap().height, 720);
        assert_eq!(choice.next(&layers, "720p", Instant::now()), None);
        let told: serde_json::Value = serde_json::from_str(&choice.describe(&layers, "720p")).unwrap();
        assert_eq!(
            (&told["auto"], &told["current"], &told["layers"][2]["encodingId"]),
            (&false.into(), &"720p".into(), &"360p".into())
        );
    }

    #[test]
    fn a_rung_that_is_gone_gives_way_to_the_best() {
        let mut choice = Choice::default();
        assert_eq!(&*choice.next(&ladder(), "480p", Instant::now()).unwrap().encoding_id, "source");
    }
}
