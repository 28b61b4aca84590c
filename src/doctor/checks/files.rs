//! Fetches and shared files.

use super::super::{Evidence, Finding, Severity, thresholds};
use super::node;
use crate::commands::table::bytes;
use crate::text::count;

/// The slowest fetch, except those that have just begun, with the cause that limits it.
pub(super) fn transfers(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let running = node.transfers.iter().filter(|it| it.state == "running");
        let slow = running.filter(|it| {
            it.rate < thresholds::TRANSFER_RATE
                || matches!(it.bound.as_str(), "disk" | "hashing" | "cap")
        });
        let told = slow.filter(|it| it.bound != "beginning");
        let one = told.min_by(|a, b| a.rate.total_cmp(&b.rate))?;
        let code = match one.bound.as_str() {
            "noSource" => "files.noSource",
            "waiting" => "files.waiting",
            "cap" => "files.cap",
            "disk" => "files.disk",
            "hashing" => "files.hashing",
            "oneSource" => "files.oneSource",
            _ => "files.network",
        };
        let seen = format!(
            "{} comes at {} a second from {} ({} known): bound by {}",
            one.name,
            bytes(one.rate as u64),
            count(one.active as u64, "node"),
            one.sources,
            one.why
        );
        let severity = if code == "files.noSource" { Severity::Bad } else { Severity::Warning };
        Some(Finding::new(code, severity, seen))
    })
}

pub(super) fn changed(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        (node.changed_shares > 0).then(|| {
            let seen = format!(
                "{} changed on the disk since, so no node can fetch it from here",
                count(node.changed_shares as u64, "shared file")
            );
            Finding::new("files.changed", Severity::Warning, seen)
        })
    })
}
