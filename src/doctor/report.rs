//! The findings and the verdict.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Evidence, checks, codes};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    /// Reads, writes or the node itself do not work.
    Bad,
    /// It works, but something will fail or is slower than necessary.
    Warning,
}

/// A finding: something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// A word that is the same for the same cause; `potluck doctor --explain CODE` prints its meaning.
    pub(crate) code: String,
    /// Its severity.
    pub(crate) severity: Severity,
    /// The observation, with numbers and thresholds.
    pub(crate) evidence: String,
    /// What to do, in a sentence.
    pub(crate) advice: String,
    /// The command to paste.
    pub(crate) command: String,
}

impl Finding {
    /// A finding with this code and this evidence; advice and command are those of the code.
    pub(crate) fn new(code: &str, severity: Severity, evidence: impl Into<String>) -> Self {
        let about = codes::find(code);
        let text = |of: fn(&codes::Code) -> &'static str| about.map_or("", of).to_owned();
        Self {
            code: code.to_owned(),
            severity,
            evidence: evidence.into(),
            advice: text(|code| code.advice),
            command: text(|code| code.command),
        }
    }

    /// The same with other advice.
    pub(crate) fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// The same with another command.
    pub(crate) fn command(self, command: impl Into<String>) -> Self {
        Self { command: command.into(), ..self }
    }
}

/// The result of all checks.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether there are no findings.
    pub(crate) ok: bool,
    /// The findings, the worst first.
    pub(crate) findings: Vec<Finding>,
    /// The verdict in a sentence.
    #[serde(default)]
    pub(crate) verdict: String,
    /// The node's health in a sentence, as in `status`; empty if the node is down.
    #[serde(default)]
    pub(crate) health: String,
    /// The checks that were made, each with its number of findings: with `all` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<Checked>,
}

/// A check that was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checked {
    /// The question of the triage that it belongs to.
    pub(crate) group: String,
    /// What it checks.
    pub(crate) name: String,
    /// The number of its findings.
    pub(crate) findings: usize,
    /// Whether it had the evidence that it needs.
    pub(crate) judged: bool,
}

/// Runs all checks.
pub(crate) fn judge(evidence: &Evidence) -> Report {
    let (mut findings, mut made) = (Vec::new(), Vec::new());
    for check in checks::ALL {
        let found = (check.run)(evidence);
        made.push(Checked {
            group: check.group.to_owned(),
            name: check.name.to_owned(),
            findings: found.len(),
            judged: !check.needs_node || evidence.node.is_some(),
        });
        findings.extend(found);
    }
    findings.sort_by_key(|finding| finding.severity);
    let judged = made.iter().filter(|check| check.judged).count();
    let verdict = verdict(&findings, judged);
    Report { ok: findings.is_empty(), findings, verdict, health: String::new(), checks: made }
}

fn verdict(findings: &[Finding], checks: usize) -> String {
    match findings {
        [] => format!("healthy: {checks} checks, 0 findings"),
        [one] => format!("1 finding: {}", one.code),
        [first, ..] => format!("{} findings: see to {} first", findings.len(), first.code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stands_first_and_in_the_verdict() {
        let of = |code, severity| Finding::new(code, severity, "seen");
        let mut all = [of("member.silent", Severity::Warning), of("store.stopped", Severity::Bad)];
        all.sort_by_key(|it| it.severity);
        assert_eq!(verdict(&all, 30), "2 findings: see to store.stopped first");
        assert_eq!(verdict(&all[..1], 30), "1 finding: store.stopped");
        assert_eq!(verdict(&[], 30), "healthy: 30 checks, 0 findings");
    }

    #[test]
    fn a_node_that_is_down_is_judged_without_its_evidence() {
        let report = judge(&Evidence::default());
        assert!(report.checks.iter().any(|check| !check.judged));
        assert!(report.ok, "no evidence is no finding: {:?}", report.findings);
    }
}
