//! How the line of a publisher does whose transport counts packets (SRT).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

/// The line of one publish session. The ingest writes, the API reads.
#[derive(Debug, Default)]
pub struct Link {
    now: ArcSwap<LinkState>,
}

/// What is known of a line. Counts are of the whole session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Measured round trip time.
    pub round_trip: Duration,
    /// Its variance.
    pub variance: Duration,
    /// What packets are held back by.
    pub latency: Duration,
    /// Packets that are held back now.
    pub waiting: usize,
    /// Bits a second.
    pub bitrate: u64,
    /// Bits of the key that it is encrypted with; 0: it is not.
    pub key_bits: usize,
    /// Packets that came.
    pub packets: u64,
    /// Packets that were missing at first.
    pub missing: u64,
    /// Of those, came after all.
    pub recovered: u64,
    /// Packets that were sent again.
    pub retransmitted: u64,
    /// Packets that did not come in time.
    pub too_late: u64,
    /// Packets that came for nothing.
    pub redundant: u64,
    /// Packets that could not be decrypted.
    pub undecryptable: u64,
}

impl Link {
    /// How it does now.
    pub fn set(&self, state: LinkState) {
        self.now.store(Arc::new(state));
    }

    /// How it did when it was last looked at.
    pub fn state(&self) -> LinkState {
        **self.now.load()
    }
}
