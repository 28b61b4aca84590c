//! Histories: the requests of clients and their answers, with times, judged by the promises of the program.
//!
//! Three kinds are judged: [`records`] (reads and writes), [`messages`] (topics) and [`members`] (member
//! lists). The simulator and runs of real processes record the same types, so the same rules apply to both.
//!
//! **Invariants:** a judgement depends on the history alone. It uses no type of the judged program: nodes and
//! writers are numbers, and versions are those that the program printed. A write counts as possible, never as
//! done, if its client did not learn its result.

pub mod faults;
pub mod members;
pub mod messages;
pub mod operation;
mod reach;
pub mod records;

use std::time::Duration;

use crate::check::Check;

/// A violation of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in words.
    pub rule: &'static str,
    /// The time of the violation since the run began.
    pub at: Duration,
    /// The details.
    pub detail: String,
}

/// The result of a judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Things that were checked: operations, messages or samples.
    pub checked: usize,
    /// Violations of promises.
    pub violations: Vec<Violation>,
    /// The same events where nothing was promised because of a fault. They are counted and reported.
    pub excused: Vec<Violation>,
}

impl Verdict {
    /// Records a violation, excused or not.
    fn note(&mut self, excused: bool, rule: &'static str, at: Duration, detail: String) {
        let list = if excused { &mut self.excused } else { &mut self.violations };
        list.push(Violation { rule, at, detail });
    }

    /// Adds another verdict to this one.
    pub fn join(&mut self, other: Self) {
        self.checked += other.checked;
        self.violations.extend(other.violations);
        self.excused.extend(other.excused);
    }

    /// Whether no promise was violated.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The result as a check of a scenario.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let breaches: Vec<String> = self
            .violations
            .iter()
            .map(|one| format!("{:.3} s: {}: {}", one.at.as_secs_f64(), one.rule, one.detail))
            .collect();
        Check::none_of(name, self.checked, &breaches)
    }

    /// The violated rules, each once, in the order of their first violation.
    #[must_use]
    pub fn rules_broken(&self) -> Vec<&'static str> {
        let mut rules = Vec::new();
        for violation in &self.violations {
            if !rules.contains(&violation.rule) {
                rules.push(violation.rule);
            }
        }
        rules
    }
}
