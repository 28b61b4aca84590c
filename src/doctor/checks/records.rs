//! Checks whether records have enough replicas, are alive and the same everywhere.

use super::super::{Evidence, Finding, Replicas, Severity, thresholds};
use super::node;
use crate::commands::table::span;
use crate::text::{count, quoted};

const NAMED: usize = 3;

pub(super) fn replication(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let replication = node.settings.replication;
        let low = replication < thresholds::REPLICATION_MIN
            && node.members.alive >= thresholds::REPLICATION_MEMBERS;
        low.then(|| {
            let seen = format!(
                "replication is {replication} among {} (at least {} from {} members on; republish \
                 interval {}, life of a record {}, stabilisation {} s)",
                count(node.members.alive as u64, "member"),
                thresholds::REPLICATION_MIN,
                thresholds::REPLICATION_MEMBERS,
                node.settings.republish_seconds.map_or("none".into(), span),
                span(node.settings.default_ttl_seconds),
                node.settings.stabilisation_seconds,
            );
            let advice = if node.records.held < 1_000 {
                "raise replication to at least 5, and with under 1,000 records republish every 30 s"
            } else {
                "raise replication to at least 5"
            };
            Finding::new("records.replication", Severity::Warning, seen).advice(advice)
        })
    })
}

/// Replicas that have the record at least in part, according to their answers.
fn holders(replicas: &Replicas) -> usize {
    replicas.equal + replicas.behind + replicas.concurrent
}

/// A name encoded for a URL within a shell.
fn encoded(name: &str) -> String {
    crate::client::with_query("", &[("", Some(name.to_owned()))])
        .trim_start_matches(['?', '='])
        .to_owned()
}

/// Examples of the replicas that differ.
fn others(all: &[&Replicas]) -> String {
    let mut ids: Vec<&str> = all.iter().flat_map(|it| &it.others).map(String::as_str).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(NAMED);
    if ids.is_empty() { String::new() } else { format!("; {}", ids.join(", ")) }
}

pub(super) fn replicas(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let short: Vec<&Replicas> =
            node.records.asked.iter().filter(|it| !it.absent && holders(it) < it.wanted).collect();
        let worst = short.iter().min_by_key(|it| holders(it))?;
        let lost = holders(worst) == 0;
        let seen = format!(
            "{} of {} asked about have fewer replicas than they should; {} is on {} of {} ({} without it, \
             {} silent){}",
            short.len(),
            count(node.records.asked.len() as u64, "record"),
            worst.name,
            holders(worst),
            worst.wanted,
            worst.missing,
            worst.silent,
            others(&short),
        );
        let severity = if lost { Severity::Bad } else { Severity::Warning };
        let command =
            format!("curl -s 'http://127.0.0.1:8080/debug/data?key={}'", encoded(&worst.name));
        Some(Finding::new("records.replicas", severity, seen).command(command))
    })
}

/// The record that a user asked about, if it does not exist.
pub(super) fn absent(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let record = node.records.asked.iter().find(|it| it.absent)?;
        let seen = format!(
            "{} replicas of {} answered that it has no value, and {} did not answer (replication {}, this \
             node's table has {} contacts)",
            record.equal + record.missing,
            record.name,
            record.silent,
            node.settings.replication,
            node.contacts,
        );
        let begin: String = record.name.chars().take(3).collect();
        let command = format!("potluck ls {}", quoted(&begin));
        Some(Finding::new("records.absent", Severity::Warning, seen).command(command))
    })
}

pub(super) fn versions(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let differ = |it: &&Replicas| it.behind + it.concurrent > 0;
        let all: Vec<&Replicas> = node.records.asked.iter().filter(differ).collect();
        let first = all.first()?;
        let seen = format!(
            "replicas of {} differ; {} has {} equal, {} behind and {} concurrent{}",
            count(all.len() as u64, "record"),
            first.name,
            first.equal,
            first.behind,
            first.concurrent,
            others(&all),
        );
        let command = format!("potluck get {}", quoted(&first.name));
        Some(Finding::new("records.behind", Severity::Warning, seen).command(command))
    })
}

pub(super) fn conflicts(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let named = node.records.asked.iter().filter(|it| it.named && it.values > 1);
        let mut names: Vec<&str> = named.map(|it| it.name.as_str()).collect();
        names.extend(node.records.conflicted.iter().map(String::as_str));
        names.dedup();
        let first = names.first()?;
        let told: Vec<&str> = names.iter().take(NAMED).copied().collect();
        let seen = format!(
            "more than one value under {} of {} here: {} (told from an age of {} s on, or when asked about)",
            names.len(),
            count(node.records.names.max(names.len()) as u64, "name"),
            told.join(", "),
            thresholds::CONFLICT_AGE.as_secs(),
        );
        let first = quoted(first);
        let command = format!("potluck get {first} --all; potluck merge {first} --pick 0");
        Some(Finding::new("records.conflict", Severity::Warning, seen).command(command))
    })
}

/// Records that will end because their writer is gone; the node's health reports own records whose renewal is
/// late.
pub(super) fn renewal(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let told = node.reasons.iter().any(|it| it.code.starts_with("records."));
        let never = node.settings.republish_seconds.is_some_and(|republish| {
            node.settings.default_ttl_seconds > 0 && republish >= node.settings.default_ttl_seconds
        });
        (never && !told).then(|| {
            let seen = format!(
                "records are stored again every {}, and live {}",
                span(node.settings.republish_seconds.unwrap_or(0)),
                span(node.settings.default_ttl_seconds)
            );
            Finding::new("records.republish", Severity::Bad, seen)
        })
    })
}
