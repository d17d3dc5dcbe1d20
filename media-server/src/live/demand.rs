//! Who wants to see something, and when last: what nobody watches need not be made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// When something was asked for last.
#[derive(Debug)]
pub(super) struct Asked {
    began: Instant,
    /// Milliseconds since `began`, plus one; 0 for never.
    last: AtomicU64,
}

impl Asked {
    pub(super) fn never() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(super) fn ask(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now.saturating_add(1), Ordering::SeqCst);
    }

    /// Somebody asked within this time.
    pub(super) fn within(&self, time: Duration) -> bool {
        let last = self.last.load(Ordering::SeqCst);
        let ago = self.began.elapsed().saturating_sub(Duration::from_millis(last.saturating_sub(1)));
        last > 0 && ago < time
    }
}

/// One rendition's viewers, as far as they are known: nobody is counted, only asked after.
#[derive(Debug)]
pub(super) struct Demand {
    asked: Asked,
    /// Those that are waiting for more of it.
    waiting: AtomicUsize,
    /// It is not made at present: whoever asks wakes the stream.
    parked: AtomicBool,
    /// Somebody has asked for it since.
    called: AtomicBool,
    stream: Arc<Notify>,
}

impl Demand {
    /// `stream` is told of whoever wants what is parked.
    pub(super) fn new(stream: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            asked: Asked::never(),
            waiting: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            called: AtomicBool::new(false),
            stream: Arc::clone(stream),
        })
    }

    pub(super) fn ask(&self) {
        self.asked.ask();
        if self.parked.load(Ordering::SeqCst) {
            self.called.store(true, Ordering::SeqCst);
            self.stream.notify_one();
        }
    }

    /// Somebody asked within this time, or waits.
    pub(super) fn within(&self, time: Duration) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 || self.asked.within(time)
    }

    pub(super) fn set_parked(&self, parked: bool) {
        self.called.store(false, Ordering::SeqCst);
        self.parked.store(parked, Ordering::SeqCst);
        if parked && self.waiting.load(Ordering::SeqCst) > 0 {
            self.ask();
        }
    }

    /// Somebody has asked for it since it is parked.
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }
}

/// Somebody waits for more of a rendition, as long as this is there.
#[derive(Debug)]
#[must_use = "dropped, nobody waits any more"]
pub struct Waiting(Arc<Demand>);

impl Waiting {
    pub(super) fn begin(demand: &Arc<Demand>) -> Self {
        demand.waiting.fetch_add(1, Ordering::SeqCst);
        demand.ask();
        Self(Arc::clone(demand))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        // It was wanted until now.
        self.0.ask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_asks_for_what_is_parked_wakes_the_stream() {
        let stream = Arc::new(Notify::new());
        let demand = Demand::new(&stream);
        demand.ask();
        assert!(demand.within(Duration::from_mins(1)) && !demand.within(Duration::ZERO));
        let waits = Waiting::begin(&demand);
        assert!(demand.within(Duration::ZERO), "who waits asks all the time");
        drop(waits);
        assert!(!demand.within(Duration::ZERO));
        let woken = || tokio::time::timeout(Duration::from_millis(20), stream.notified());
        assert!(woken().await.is_err());
        demand.set_parked(true);
        assert!(!demand.is_called());
        demand.ask();
        assert!(woken().await.is_ok() && demand.is_called());
        demand.set_parked(true);
        assert!(!demand.is_called());
        let _waits = Waiting::begin(&demand);
        demand.set_parked(true);
        assert!(demand.is_called(), "who waits has asked");
    }
}
