//! Histories: what clients asked and were told, with times, judged by what the program promises.
//!
//! Three kinds are judged: [`records`] (reads and writes), [`messages`] (topics) and [`members`]
//! (lists of members). The simulator and a run of real processes record the same types, so that
//! both are held to the same rules.
//!
//! **Invariants:** a judgement is a function of the history alone. It uses no type of the program
//! that it judges: nodes and writers are numbers, versions are what the program printed. A client
//! that was not told how a write ended counts it as possible, never as done.

pub mod faults;
pub mod members;
pub mod messages;
pub mod operation;
mod reach;
pub mod records;

use std::time::Duration;

use crate::check::Check;

/// A breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in words.
    pub rule: &'static str,
    /// When it showed, since the run began.
    pub at: Duration,
    /// What was seen.
    pub detail: String,
}

/// What a judgement found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Things that were checked: operations, messages or samples.
    pub checked: usize,
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// The same happenings where nothing was promised, because of faults that went on. They are
    /// counted, so that a run shows them.
    pub excused: Vec<Violation>,
}

impl Verdict {
    /// Notes a breach: a violation, or an excused one.
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

    /// Whether no promise was broken.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The verdict as a check of a scenario.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let breaches: Vec<String> = self
            .violations
            .iter()
            .map(|one| format!("{:.3} s: {}: {}", one.at.as_secs_f64(), one.rule, one.detail))
            .collect();
        Check::none_of(name, self.checked, &breaches)
    }

    /// The rules that were broken, each once, in the order in which they showed.
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
