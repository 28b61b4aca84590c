//! Checks whether lookups are fast, and where their time is spent.

use super::super::{Evidence, Finding, NodeFacts, Severity, thresholds};
use super::node;
use crate::api::CommandTimes;

pub(super) fn slow(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let it = &node.lookups;
        let limit = thresholds::LOOKUP_MS.max(it.round_trip_ms * thresholds::LOOKUP_ROUND_TRIPS);
        (it.count >= 3 && it.p99_ms > limit).then(|| {
            let seen = format!(
                "of the last {} lookups half took up to {:.0} ms and the slowest hundredth {:.0} ms \
                 (threshold {limit:.0}); {:.1} steps on average, {} at most; median round trip {:.1} ms; \
                 {} of {} requests without an answer{}: {}",
                it.count,
                it.p50_ms,
                it.p99_ms,
                it.hops_mean,
                it.hops_max,
                it.round_trip_ms,
                it.timeouts,
                it.requests,
                by_step(node),
                cause(node)
            );
            Finding::new("lookups.slow", Severity::Warning, seen)
        })
    })
}

pub(super) fn slow_commands(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let it = &node.lookups.commands;
        let slow = |times: &CommandTimes| {
            times.count >= thresholds::COMMANDS_MIN && times.p99_ms > thresholds::COMMAND_MS
        };
        (slow(&it.gets) || slow(&it.puts)).then(|| {
            let of = |name: &str, times: &CommandTimes| {
                let (half, most) = (times.p50_ms, times.p99_ms);
                format!(
                    "{} {name}: half within {half:.0} ms, 99 % within {most:.0} ms",
                    times.count
                )
            };
            let seen = format!(
                "in the last {} s {}; {} (threshold {:.0} ms)",
                it.span_seconds,
                of("reads", &it.gets),
                of("writes", &it.puts),
                thresholds::COMMAND_MS
            );
            Finding::new("records.slow", Severity::Warning, seen)
        })
    })
}

/// Requests without an answer by step, if there are any.
fn by_step(node: &NodeFacts) -> String {
    let steps = node.lookups.steps.iter().enumerate().filter(|(_, (_, silent))| *silent > 0);
    let told = steps.map(|(at, (asked, silent))| format!("step {at}: {silent} of {asked}"));
    let told: Vec<String> = told.take(4).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

/// The cause of slow lookups: the first in an order in which each cause hides the next ones.
fn cause(node: &NodeFacts) -> String {
    let it = &node.lookups;
    let steps_usual = (it.network_size.max(2) as f64).log2() / 3.0 + 3.0;
    if node.load.loop_lag_ms > thresholds::LOOP_LAG_MS {
        return format!("this machine is late by {:.0} ms itself", node.load.loop_lag_ms);
    }
    if it.requests > 0 && it.timeouts * 20 > it.requests {
        return "the time goes into waiting for nodes that do not answer".into();
    }
    if f64::from(it.hops_max) > steps_usual {
        return format!("more steps than the {steps_usual:.0} that a network of this size needs");
    }
    if node.load.refused > 0.0 {
        return "lookups wait for others of this node".into();
    }
    "the way to the nodes that answer is slow".into()
}

pub(super) fn timeouts(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let it = &node.lookups;
        let share = it.timeouts as f64 / it.requests.max(1) as f64;
        let many =
            it.requests >= thresholds::REQUESTS_MIN && share > thresholds::LOOKUP_TIMEOUT_SHARE;
        many.then(|| {
            let seen = format!(
                "{} of {} requests of the last {} lookups got no answer ({:.0} %, threshold {:.0} %)",
                it.timeouts,
                it.requests,
                it.count,
                share * 100.0,
                thresholds::LOOKUP_TIMEOUT_SHARE * 100.0
            );
            Finding::new("lookups.timeouts", Severity::Warning, seen)
        })
    })
}

pub(super) fn dead_contacts(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let share = node.failing as f64 / node.contacts.max(1) as f64;
        let many =
            node.contacts >= thresholds::CONTACTS_MIN && share > thresholds::DEAD_CONTACT_SHARE;
        many.then(|| {
            let seen = format!(
                "{} of {} contacts did not answer their last request ({:.0} %, threshold {:.0} %)",
                node.failing,
                node.contacts,
                share * 100.0,
                thresholds::DEAD_CONTACT_SHARE * 100.0
            );
            Finding::new("table.dead", Severity::Warning, seen)
        })
    })
}
