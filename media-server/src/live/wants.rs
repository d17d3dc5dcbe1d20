//! Streams that are fetched only while somebody wants to see them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::demand::Asked;

/// One such stream.
#[derive(Debug)]
pub struct Want {
    last: Asked,
    asked: Notify,
    live: watch::Sender<bool>,
}

impl Want {
    fn new() -> Self {
        Self { last: Asked::never(), asked: Notify::new(), live: watch::Sender::new(false) }
    }

    fn ask(&self) {
        self.last.ask();
        if !*self.live.borrow() {
            self.asked.notify_one();
        }
    }

    /// Somebody wanted it within this time.
    pub fn within(&self, time: Duration) -> bool {
        self.last.within(time)
    }

    /// Waits until somebody wants it. Cancel safe.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// It is there, or no longer.
    pub fn set_live(&self, live: bool) {
        self.live.send_replace(live);
    }

    /// Waits until it is there. Cancel safe.
    pub async fn there(&self) {
        // An error cannot be: the sender is ours.
        let _there = self.live.subscribe().wait_for(|live| *live).await.is_ok();
    }
}

/// Every such stream. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Wants(Arc<ArcSwap<HashMap<Arc<str>, Arc<Want>>>>);

impl Wants {
    /// Somebody wants to see this stream. None: it is not one of those that are fetched then.
    pub fn want(&self, stream: &str) -> Option<Arc<Want>> {
        let all = self.0.load();
        let want = all.get(stream)?;
        want.ask();
        Some(Arc::clone(want))
    }

    /// This stream is fetched when it is wanted.
    pub fn offer(&self, stream: &str) -> Arc<Want> {
        let want = Arc::new(Want::new());
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert(stream.into(), Arc::clone(&want));
            all
        });
        want
    }

    /// It is no longer.
    pub fn withdraw(&self, stream: &str) {
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.remove(stream);
            all
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_wants_it_is_heard_and_forgotten_after_a_while() {
        let wants = Wants::default();
        assert!(wants.want("ada").is_none());
        let want = wants.offer("ada");
        assert!(!want.within(Duration::from_mins(1)));
        assert!(wants.want("ada").is_some());
        want.asked().await;
        assert!(want.within(Duration::from_mins(1)) && !want.within(Duration::ZERO));
        want.set_live(true);
        want.there().await;
        wants.withdraw("ada");
        assert!(wants.want("ada").is_none());
    }
}
