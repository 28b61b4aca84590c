//! Members that stopped answering, are unstable, or were revoked.

use super::super::{Evidence, Finding, NodeFacts, Severity, thresholds};
use super::node;
use crate::commands::table::span;
use crate::text::count;

/// Most members that a finding names.
const NAMED: usize = 5;

/// The largest number of members that stopped answering within one minute.
fn together(node: &NodeFacts) -> usize {
    let mut at: Vec<u64> = node.members.silent.iter().map(|it| it.seconds).collect();
    at.sort_unstable();
    let within = |(begin, first): (usize, &u64)| {
        at[begin..].iter().take_while(|it| **it <= first + 60).count()
    };
    at.iter().enumerate().map(within).max().unwrap_or(0)
}

fn is_split(node: &NodeFacts) -> bool {
    let together = together(node);
    let before = node.members.alive + node.members.silent.len();
    // A node that hears no other one is cut off itself, which its health reports.
    node.members.alive > 1
        && together >= thresholds::SPLIT_MIN
        && together as f64 >= before as f64 * thresholds::SPLIT_SHARE
}

pub(super) fn split(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        is_split(node).then(|| {
            let seen = format!(
                "{} of {} fell silent within a minute of each other (from {} and {:.0} % on it counts as a \
                 split), and {} alive here",
                together(node),
                count((node.members.alive + node.members.silent.len()) as u64, "member"),
                thresholds::SPLIT_MIN,
                thresholds::SPLIT_SHARE * 100.0,
                count(node.members.alive as u64, "member"),
            );
            Finding::new("network.split", Severity::Bad, seen)
        })
    })
}

pub(super) fn versions(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let versions = &node.members.versions;
        let (newest, newer) = versions.last_key_value()?;
        let older: Vec<&String> = versions.range(..newest).flat_map(|(_, who)| who).collect();
        let (oldest, _) = versions.first_key_value().filter(|_| !older.is_empty())?;
        let told: Vec<&str> = older.iter().take(NAMED).map(|who| who.as_str()).collect();
        let seen = format!(
            "{} of {} speak an older version of messages (from {oldest} on) than the others ({newest}): {}",
            older.len(),
            count((older.len() + newer.len()) as u64, "member"),
            told.join(", ")
        );
        Some(Finding::new("members.versions", Severity::Warning, seen))
    })
}

pub(super) fn silent(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let flapping = |who: &str| node.members.flapping.iter().any(|flap| flap.who == who);
        let silent: Vec<_> = node.members.silent.iter().filter(|it| !flapping(&it.who)).collect();
        if silent.is_empty() || is_split(node) {
            return None;
        }
        let told = silent.iter().take(NAMED).map(|it| {
            let state = if it.state == "dead" { "dead" } else { "suspected" };
            format!("{} at {} ({state}) since {}", it.who, it.address, span(it.seconds))
        });
        let more = match silent.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let seen = format!("no answer from {}{more}", told.collect::<Vec<_>>().join(", "));
        Some(Finding::new("member.silent", Severity::Warning, seen))
    })
}

pub(super) fn flapping(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let flaps = &node.members.flapping;
        let first = flaps.first()?;
        let minutes = thresholds::SILENT_RECENT.as_secs() / 60;
        // If one observer suspects many members, the fault is the observer's.
        if flaps.len() >= 3 && flaps.len() * 2 > node.members.alive.saturating_sub(1) {
            let seen = format!(
                "{} of {} came and went {} times or more in {minutes} minutes as seen from here, so the \
                 fault is at this machine or its line",
                flaps.len(),
                count(node.members.alive as u64, "member"),
                thresholds::FLAPS_MIN
            );
            return Some(Finding::new("member.observer", Severity::Warning, seen));
        }
        let told = flaps.iter().take(NAMED).map(|it| format!("{} ({} times)", it.who, it.times));
        let seen = format!(
            "fell silent and came back in the last {minutes} minutes: {} (from {} times on)",
            told.collect::<Vec<_>>().join(", "),
            thresholds::FLAPS_MIN
        );
        let command =
            format!("potluck members --json | grep {}", first.who.split(' ').next().unwrap_or(""));
        Some(Finding::new("member.flapping", Severity::Warning, seen).command(command))
    })
}

pub(super) fn revoked(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let out = &node.members.revoked;
        (!out.is_empty()).then(|| {
            let told = out.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let seen = format!("put out of the network in the last minutes: {told}");
            Finding::new("member.out", Severity::Warning, seen)
        })
    })
}
