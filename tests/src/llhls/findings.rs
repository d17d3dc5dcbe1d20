//! What was looked at and what was found, by rule number.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::rule::{Level, RULES, rule};

/// How many different messages a rule keeps; a broken stream breaks it a thousand times over.
const MESSAGES_KEPT: usize = 5;

#[derive(Clone, Debug, Default)]
struct Broken {
    times: u64,
    messages: Vec<String>,
}

/// Counts of rules kept and broken.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    kept: BTreeMap<u16, u64>,
    broken: BTreeMap<u16, Broken>,
}

impl Findings {
    /// Notes one look at a rule; `what` says where and how it was broken.
    pub fn hold(&mut self, number: u16, kept: bool, what: impl FnOnce() -> String) {
        debug_assert!(rule(number).is_some(), "R{number} is not in the table");
        if kept {
            *self.kept.entry(number).or_default() += 1;
            return;
        }
        let broken = self.broken.entry(number).or_default();
        broken.times += 1;
        if broken.messages.len() < MESSAGES_KEPT {
            let message = what();
            if !broken.messages.contains(&message) {
                broken.messages.push(message);
            }
        }
    }

    /// Takes over what another look found.
    pub fn merge(&mut self, other: Self) {
        for (number, times) in other.kept {
            *self.kept.entry(number).or_default() += times;
        }
        for (number, theirs) in other.broken {
            let ours = self.broken.entry(number).or_default();
            ours.times += theirs.times;
            for message in theirs.messages {
                if ours.messages.len() < MESSAGES_KEPT && !ours.messages.contains(&message) {
                    ours.messages.push(message);
                }
            }
        }
    }

    /// The rules of that level that were broken.
    pub fn broken(&self, level: Level) -> BTreeSet<u16> {
        self.broken.keys().copied().filter(|n| rule(*n).is_some_and(|r| r.level == level)).collect()
    }

    /// Whether a rule was broken.
    pub fn is_broken(&self, number: u16) -> bool {
        self.broken.contains_key(&number)
    }

    /// Whether a rule was looked at at all.
    pub fn is_exercised(&self, number: u16) -> bool {
        self.kept.contains_key(&number) || self.broken.contains_key(&number)
    }

    /// The rules that nothing in this stream exercised.
    pub fn not_exercised(&self) -> BTreeSet<u16> {
        RULES.iter().map(|rule| rule.number).filter(|n| !self.is_exercised(*n)).collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in RULES {
            let kept = self.kept.get(&rule.number).copied().unwrap_or(0);
            let level = if rule.level == Level::Must { "MUST" } else { "SHOULD" };
            if let Some(broken) = self.broken.get(&rule.number) {
                writeln!(
                    f,
                    "R{:<3}{level:<7}BROKEN x{} (kept x{kept}): {} [{}]",
                    rule.number, broken.times, rule.says, rule.source
                )?;
                for message in &broken.messages {
                    writeln!(f, "      - {message}")?;
                }
            } else if kept > 0 {
                writeln!(f, "R{:<3}{level:<7}kept x{kept}: {}", rule.number, rule.says)?;
            }
        }
        let silent: Vec<String> = self.not_exercised().iter().map(|n| format!("R{n}")).collect();
        write!(f, "not exercised: {}", silent.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_merges_by_rule() {
        let mut one = Findings::default();
        one.hold(1, true, String::new);
        one.hold(6, false, || "a".into());
        let mut other = Findings::default();
        other.hold(6, false, || "b".into());
        other.hold(10, false, || "c".into());
        one.merge(other);
        assert_eq!(one.broken(Level::Must), BTreeSet::from([10]));
        assert_eq!(one.broken(Level::Should), BTreeSet::from([6]));
        assert!(one.is_exercised(1) && !one.is_exercised(2));
        let text = one.to_string();
        assert!(text.contains("BROKEN x2") && text.contains("- a") && text.contains("- b"), "{text}");
    }
}
