//! Checks whether nodes find each other.

use super::super::{Evidence, Finding, Severity, thresholds};
use super::node;
use crate::text::count;

/// The reasons of the node's health, which are judged in one place for `status` too.
pub(super) fn health(evidence: &Evidence) -> Vec<Finding> {
    let Some(node) = &evidence.node else { return Vec::new() };
    let severity = |code: &str| match code {
        "records.renewal" | "records.republish" | "member.renewal" | "network.fallback"
        | "clock.off" | "node.leaving" | "network.alone" => Severity::Warning,
        _ => Severity::Bad,
    };
    let found = node.reasons.iter().map(|reason| {
        // In the sentence, the text after the colon says what to do.
        let (seen, todo) = reason.message.split_once(": ").unwrap_or((&reason.message, ""));
        let finding = Finding::new(&reason.code, severity(&reason.code), seen);
        if todo.is_empty() { finding } else { finding.advice(todo) }
    });
    found.collect()
}

pub(super) fn table(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let others = node.members.alive.saturating_sub(1);
        let full = node.capacity > 0 && node.contacts >= node.capacity;
        let empty = node.contacts * 4 < others.min(40);
        if full {
            let seen =
                format!("the routing table holds {} of {} contacts", node.contacts, node.capacity);
            return Some(Finding::new("table.full", Severity::Warning, seen));
        }
        (empty && node.uptime_seconds > 60).then(|| {
            let seen = format!(
                "the routing table has {} while {} are alive (under a quarter of them, or of 40)",
                count(node.contacts as u64, "contact"),
                count(others as u64, "other member")
            );
            Finding::new("table.small", Severity::Warning, seen)
        })
    })
}

/// The configured entry points that have never answered.
pub(super) fn entries(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        if node.uptime_seconds < thresholds::ENTRY_PATIENCE_SECONDS {
            return None;
        }
        let silent: Vec<_> =
            node.entries.iter().filter(|entry| !entry.answered && entry.tries > 0).collect();
        let first = silent.first()?;
        let all = silent.len() == node.entries.len();
        let told: Vec<String> = silent
            .iter()
            .take(4)
            .map(|entry| match &entry.report {
                Some(report) => report.clone(),
                None => format!("{} has not answered in {} tries", entry.point, entry.tries),
            })
            .collect();
        let code = if first.unresolved { "entry.name" } else { "entry.dead" };
        let severity =
            if all && node.members.alive <= 1 { Severity::Bad } else { Severity::Warning };
        let seen = format!(
            "{} of {} never answered: {}",
            silent.len(),
            count(node.entries.len() as u64, "entry point"),
            told.join("; ")
        );
        Some(Finding::new(code, severity, seen))
    })
}

/// Requests that had to be sent again, unless a dead member explains them.
pub(super) fn loss(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let load = &node.load;
        let share = load.retries_minute as f64 / load.requests_minute.max(1) as f64;
        // A few members that were away explain it; if most seem to be, the link loses packets.
        let few = node.members.unsettled * 3 <= node.members.alive;
        let explained = !node.members.silent.is_empty()
            || (node.members.unsettled > 0 && few)
            || node.entries.iter().any(|entry| !entry.answered && entry.tries > 0)
            || node.failing * 4 > node.contacts;
        let enough = load.requests_minute >= thresholds::LOSS_REQUESTS_MIN;
        (enough && !explained && share > thresholds::LOSS_SHARE).then(|| {
            let seen = format!(
                "{} further tries for {} requests in the last minute ({:.0} %, threshold {:.0} %) while \
                 no member is silent: datagrams are lost on the way",
                load.retries_minute,
                load.requests_minute,
                share * 100.0,
                thresholds::LOSS_SHARE * 100.0
            );
            Finding::new("network.loss", Severity::Warning, seen)
        })
    })
}

pub(super) fn mapping(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        node.mapping_varies.then(|| {
            let seen = "the router gives this node another port for each peer";
            Finding::new("reach.varies", Severity::Warning, seen)
        })
    })
}
