//! Which findings are listed: from what each look says, with hysteresis.

use super::code::Code;
use super::finding::{Finding, Sign};
use crate::time::Timestamp;

/// A listed figure is renewed when it has moved by more than this part of itself.
const MOVED: f64 = 0.25;

/// What one look at one cause says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The cause is there.
    Bad(Sign),
    /// It is not there.
    Good,
    /// Not to be told now: what is listed stays.
    Unknown,
}

impl Verdict {
    pub(super) fn sign(bad: bool, sign: impl FnOnce() -> Sign) -> Self {
        if bad { Self::Bad(sign()) } else { Self::Good }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Case {
    bad: Option<Timestamp>,
    good: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(super) struct Ledger {
    cases: [Case; Code::ALL.len()],
    findings: Vec<Finding>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { cases: [Case::default(); Code::ALL.len()], findings: Vec::new() }
    }
}

impl Ledger {
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(super) fn lists(&self, code: Code) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// True: the list changed.
    pub(super) fn judge(
        &mut self,
        code: Code,
        verdict: Verdict,
        now: Timestamp,
        remedy: impl FnOnce(Code) -> String,
    ) -> bool {
        let Some(case) = self.cases.get_mut(code.index()) else { return false };
        match verdict {
            Verdict::Unknown => false,
            Verdict::Good => {
                let since = *case.good.get_or_insert(now);
                if now - since < code.clears_after() {
                    // Not listed yet: it must begin anew, to last.
                    if !self.lists(code) {
                        self.forget(code);
                    }
                    return false;
                }
                self.forget(code);
                let before = self.findings.len();
                self.findings.retain(|finding| finding.code != code);
                self.findings.len() != before
            }
            Verdict::Bad(sign) => {
                case.good = None;
                let since = *case.bad.get_or_insert(now);
                if now - since < code.appears_after() {
                    return false;
                }
                self.list(code, sign, since, remedy)
            }
        }
    }

    fn forget(&mut self, code: Code) {
        if let Some(case) = self.cases.get_mut(code.index()) {
            case.bad = None;
        }
    }

    fn list(
        &mut self,
        code: Code,
        sign: Sign,
        since: Timestamp,
        remedy: impl FnOnce(Code) -> String,
    ) -> bool {
        let known = self.findings.iter().find(|finding| finding.code == code);
        let same = |known: &Finding| {
            known.severity == sign.severity
                && !moved(known.value, sign.value)
                && words(&known.text).eq(words(&sign.text))
        };
        if known.is_some_and(same) {
            return false;
        }
        self.findings.retain(|finding| finding.code != code);
        let Sign { severity, text, value, target } = sign;
        let finding = Finding { code, severity, text, remedy: remedy(code), since, value, target };
        let place = self.findings.partition_point(|other| other.severity >= severity);
        self.findings.insert(place, finding);
        true
    }
}

/// A text without its figures.
fn words(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphabetic())
}

fn moved(known: Option<f64>, now: Option<f64>) -> bool {
    match (known, now) {
        (Some(known), Some(now)) => (now - known).abs() > known.abs().max(1e-9) * MOVED,
        _ => known.is_some() != now.is_some(),
    }
}
