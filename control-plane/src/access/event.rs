//! Events: what the media server tells afterwards, and what a session is by them.
//!
//! They come at least once. A session's own sequence numbers say which of two is later, so that a `stopped` of
//! an old session, or a repeated `started`, does not change what is on now.

use serde_json::Value;

use crate::clock::{self, Millis};

/// What an event says that this program acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Media began to flow.
    Started,
    /// The session is over.
    Stopped,
    /// Anything else: kept, without effect here.
    Other,
}

/// An event, as far as it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// See [`Kind`].
    pub kind: Kind,
    /// When it happened, by the media server's clock.
    pub time: Option<Millis>,
    /// The stream's public name.
    pub stream: Option<String>,
    /// The publisher's connection.
    pub session: Option<String>,
    /// Its place among the session's events.
    pub seq: Option<i64>,
    /// For [`Kind::Stopped`]: why.
    pub reason: Option<String>,
}

/// Texts longer than this, in bytes, name nothing of ours.
const NAME_LIMIT: usize = 256;

impl Event {
    /// From a message's JSON. What is missing or of another type is `None`: the event is kept all the same.
    pub fn read(kind: &str, body: &Value) -> Self {
        let text = |name: &str| body.get(name)?.as_str().filter(|t| t.len() <= NAME_LIMIT).map(str::to_owned);
        Self {
            kind: match kind {
                "publish.started" => Kind::Started,
                "publish.stopped" => Kind::Stopped,
                _ => Kind::Other,
            },
            time: text("time").and_then(|t| clock::parse(&t)),
            stream: text("stream"),
            session: text("session"),
            seq: body.get("seq").and_then(Value::as_i64),
            reason: text("reason"),
        }
    }
}

/// A session, as its events have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// When media began.
    pub started_at: Millis,
    /// When it ended.
    pub stopped_at: Option<Millis>,
    /// Why.
    pub stop_reason: Option<String>,
    /// The highest sequence number applied.
    pub last_seq: i64,
}

/// What the session is after the event; nothing where the event changes nothing.
///
/// `newest_other` is when the newest other session of the stream began: a session that began earlier was over
/// before that, whatever is still to come from it.
pub fn apply(
    session: Option<&Session>,
    event: &Event,
    received: Millis,
    newest_other: Option<Millis>,
) -> Option<Session> {
    let at = event.time.unwrap_or(received);
    let seq = event.seq.unwrap_or(match event.kind {
        Kind::Stopped => i64::MAX,
        Kind::Started | Kind::Other => 0,
    });
    if session.is_some_and(|known| seq <= known.last_seq) {
        return None;
    }
    let superseded = newest_other.filter(|other| *other > session.map_or(at, |known| known.started_at));
    match (event.kind, session) {
        (Kind::Other, None) => None,
        (Kind::Other, Some(known)) => Some(Session { last_seq: seq, ..known.clone() }),
        // A reconnect within the session's life: it goes on from where it began.
        (Kind::Started, Some(known)) => Some(Session {
            stopped_at: superseded,
            stop_reason: None,
            last_seq: seq,
            started_at: known.started_at,
        }),
        (Kind::Started, None) => Some(Session {
            started_at: at,
            stopped_at: superseded,
            stop_reason: superseded.map(|_| "superseded".to_owned()),
            last_seq: seq,
        }),
        (Kind::Stopped, known) => Some(Session {
            started_at: known.map_or(at, |known| known.started_at),
            stopped_at: Some(at),
            stop_reason: event.reason.clone(),
            last_seq: seq,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, time: Millis, seq: i64) -> Event {
        Event { kind, time: Some(time), stream: None, session: None, seq: Some(seq), reason: None }
    }

    #[test]
    fn a_session_starts_and_stops() {
        let live = apply(None, &event(Kind::Started, 10, 1), 99, None).unwrap();
        assert_eq!((live.started_at, live.stopped_at), (10, None));
        let over = apply(Some(&live), &event(Kind::Stopped, 20, 2), 99, None).unwrap();
        assert_eq!((over.started_at, over.stopped_at), (10, Some(20)));
    }

    #[test]
    fn a_start_that_comes_after_its_stop_does_not_revive_the_session() {
        let over = apply(None, &event(Kind::Stopped, 20, 2), 99, None).unwrap();
        assert_eq!(apply(Some(&over), &event(Kind::Started, 10, 1), 99, None), None);
    }

    #[test]
    fn a_repeated_event_changes_nothing() {
        let live = apply(None, &event(Kind::Started, 10, 1), 99, None).unwrap();
        assert_eq!(apply(Some(&live), &event(Kind::Started, 10, 1), 99, None), None);
    }

    #[test]
    fn an_old_session_heard_of_late_is_not_live() {
        let late = apply(None, &event(Kind::Started, 10, 1), 99, Some(50)).unwrap();
        assert_eq!(late.stopped_at, Some(50));
    }

    #[test]
    fn events_without_numbers_still_end_a_session_once() {
        let bare = |kind| Event { seq: None, ..event(kind, 10, 0) };
        let live = apply(None, &bare(Kind::Started), 99, None).unwrap();
        let over = apply(Some(&live), &bare(Kind::Stopped), 99, None).unwrap();
        assert!(over.stopped_at.is_some());
        assert_eq!(apply(Some(&over), &bare(Kind::Started), 99, None), None);
    }

    proptest::proptest! {
        #[test]
        fn the_order_of_delivery_does_not_matter(order in proptest::collection::vec(0_usize..4, 4..12)) {
            let told = [
                event(Kind::Started, 10, 1), event(Kind::Other, 15, 2), event(Kind::Other, 16, 3), event(Kind::Stopped, 20, 4),
            ];
            let mut session = None;
            for n in order.iter().copied().chain([3]) {
                session = apply(session.as_ref(), &told[n], 99, None).or(session);
            }
            proptest::prop_assert_eq!(session.unwrap().stopped_at, Some(20));
        }
    }
}
