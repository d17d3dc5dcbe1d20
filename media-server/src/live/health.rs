//! How a publisher does, as the API shows it: written by its ingest, read by anybody.

use std::sync::Arc;

use arc_swap::ArcSwap;
use media::doctor::Finding;
use media::timeline::Counts;

/// The state of one publish session's health.
#[derive(Debug, Default)]
pub struct Health {
    findings: ArcSwap<Vec<Finding>>,
    repairs: ArcSwap<Counts>,
    /// Rungs of its stream that the machine cannot make in time.
    shed: ArcSwap<Vec<Arc<str>>>,
}

impl Health {
    /// What the doctor lists now.
    pub fn found(&self, findings: Vec<Finding>) {
        self.findings.store(Arc::new(findings));
    }

    /// How often which repair of the timestamps was made.
    pub fn repairs(&self, counts: Counts) {
        self.repairs.store(Arc::new(counts));
    }

    /// Rungs of its stream that the machine cannot make in time.
    pub fn shed(&self, rungs: Vec<Arc<str>>) {
        if **self.shed.load() != rungs {
            self.shed.store(Arc::new(rungs));
        }
    }

    /// See [`Self::shed`].
    pub fn left_out(&self) -> Arc<Vec<Arc<str>>> {
        self.shed.load_full()
    }

    /// The list, the gravest first.
    pub fn findings(&self) -> Arc<Vec<Finding>> {
        self.findings.load_full()
    }

    /// The counts.
    pub fn counts(&self) -> Arc<Counts> {
        self.repairs.load_full()
    }
}
