//! Questions and their experiments: each study runs some networks and returns a [`Report`].
//!
//! A study is a function of its options, including the seeds. Its runs are independent of each other;
//! [`Workers`] decides how they are executed.

pub mod compare;
pub mod distribute;
pub mod find;
pub mod levels;
pub mod live;
pub mod loss;
pub mod paths;
pub mod scale;
pub mod validate;

use crate::compact::Churn;
use crate::report::{Claim, Report};

/// Executes runs, in parallel or one after the other.
pub trait Workers {
    /// The results of `work` for each item, in the order of the items.
    fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T>;
}

/// One run after the other.
#[derive(Debug, Clone, Copy)]
pub struct OneByOne;

impl Workers for OneByOne {
    fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
        items.iter().map(work).collect()
    }
}

/// Why a study cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Fails unless `value` is within the range.
fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: &T,
    low: T,
    high: T,
) -> Result<(), Wrong> {
    if *value >= low && *value <= high {
        return Ok(());
    }
    Err(Wrong(format!("--{name} {value} is outside {low} to {high}")))
}

/// The model of churn with this name.
fn churn(name: &str) -> Result<Churn, Wrong> {
    let wrong =
        || Wrong(format!("--churn {name} is unknown: it is one of {}", Churn::NAMES.join(", ")));
    Churn::named(name).ok_or_else(wrong)
}

/// A claim that a figure is within a part of `expected`.
fn near(name: impl Into<String>, measured: [f64; 3], expected: f64, part: f64) -> Claim {
    let (low, high) = (expected * (1.0 - part), expected * (1.0 + part));
    Claim { name: name.into(), measured, low, high, ..Claim::default() }
}

/// A claim with its setting, unit and source.
fn told(
    claim: Claim,
    setting: impl Into<String>,
    unit: &'static str,
    source: &'static str,
) -> Claim {
    Claim { setting: setting.into(), unit, source, ..claim }
}

/// A report with its first fields.
fn begun(study: &'static str, question: &str, command: String, seeds: &[u64]) -> Report {
    Report {
        study,
        question: question.to_owned(),
        command,
        seeds: seeds.to_vec(),
        ..Report::default()
    }
}

/// The seeds in the form of the command line.
fn seeds_option(seeds: &[u64]) -> String {
    match (seeds.first(), seeds.last()) {
        (Some(first), Some(last)) => format!(" --seeds {first}..{last}"),
        _ => String::new(),
    }
}

/// Fails if a line of a report is wider than a terminal. A command to copy stays in one line.
#[cfg(test)]
fn assert_narrow(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("  potluck ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
