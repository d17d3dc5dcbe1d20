//! What a doctor says.

use super::code::Code;
use crate::time::Timestamp;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; viewers see nothing of it.
    Info,
    /// Some viewers are worse off for it.
    Warning,
    /// The stream is not watchable as it is, or will not be for long.
    Critical,
}

impl Severity {
    /// `info`, `warning` or `critical`: stable, for API and events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was found.
    pub code: Code,
    /// How grave it is.
    pub severity: Severity,
    /// What was seen, in a sentence.
    pub text: String,
    /// What to do about it, in the words of the publisher's software where that is known.
    pub remedy: String,
    /// When its cause was first seen, on the arrival clock.
    pub since: Timestamp,
    /// The figure that was measured, in the unit of [`Code::unit`].
    pub value: Option<f64>,
    /// What it should be, in the same unit.
    pub target: Option<f64>,
}

/// A finding in the making.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sign {
    pub(super) severity: Severity,
    pub(super) text: String,
    pub(super) value: Option<f64>,
    pub(super) target: Option<f64>,
}

impl Sign {
    fn new(severity: Severity, text: String) -> Self {
        Self { severity, text, value: None, target: None }
    }

    pub(super) fn info(text: String) -> Self {
        Self::new(Severity::Info, text)
    }

    pub(super) fn warning(text: String) -> Self {
        Self::new(Severity::Warning, text)
    }

    pub(super) fn critical(text: String) -> Self {
        Self::new(Severity::Critical, text)
    }

    pub(super) fn figures(mut self, value: f64, target: f64) -> Self {
        (self.value, self.target) = (Some(value), Some(target));
        self
    }
}
