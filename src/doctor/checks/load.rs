//! Checks of the load on a node.

use super::super::{Evidence, Finding, Severity, thresholds};
use super::node;

pub(super) fn gossip(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let load = &node.load;
        let many = load.gossip > thresholds::GOSSIP_PER_SECOND;
        (many || load.over_rate > 0.0).then(|| {
            let seen = format!(
                "{:.0} messages of topics a second come in (threshold {:.0}), {:.0} copies and {:.0} over the \
                 rate of their sender; {:.0} datagrams in and {:.0} out a second; CPU {:.0} % of a core; \
                 members are probed every {} ms",
                load.gossip,
                thresholds::GOSSIP_PER_SECOND,
                load.duplicates,
                load.over_rate,
                load.messages_in,
                load.messages_out,
                load.cpu_percent,
                node.settings.gossip_interval_ms
            );
            let advice = if node.settings.gossip_interval_ms < 5_000 && !many {
                "raise the gossip interval to 5 s, and find who publishes so much"
            } else {
                "find who publishes so much: each message goes to every node of its topic"
            };
            Finding::new("load.gossip", Severity::Warning, seen).advice(advice)
        })
    })
}

pub(super) fn duplicates(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let load = &node.load;
        let share = load.duplicates / load.gossip.max(1.0);
        let many = load.duplicates > thresholds::DUPLICATES_PER_SECOND
            && share > thresholds::DUPLICATE_SHARE
            && load.gossip <= thresholds::GOSSIP_PER_SECOND;
        many.then(|| {
            let seen = format!(
                "{:.0} of {:.0} messages a second had come before ({:.0} %, threshold {:.0} %)",
                load.duplicates,
                load.gossip,
                share * 100.0,
                thresholds::DUPLICATE_SHARE * 100.0
            );
            Finding::new("load.duplicates", Severity::Warning, seen)
        })
    })
}

pub(super) fn storm(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let load = &node.load;
        let shared = load.coalesced > thresholds::STORM_PER_SECOND;
        let many = load.lookups > thresholds::LOOKUPS_PER_SECOND;
        (shared || many || load.refused > 0.0).then(|| {
            let seen = format!(
                "{:.0} reads and {:.0} lookups a second, of which {:.0} shared another's answer and {:.0} were \
                 refused as too many (thresholds {:.0} lookups, {:.0} shared, 0 refused); CPU {:.0} % of a core",
                load.reads,
                load.lookups,
                load.coalesced,
                load.refused,
                thresholds::LOOKUPS_PER_SECOND,
                thresholds::STORM_PER_SECOND,
                load.cpu_percent
            );
            Finding::new("load.storm", Severity::Warning, seen)
        })
    })
}

pub(super) fn lag(evidence: &Evidence) -> Vec<Finding> {
    node(evidence, |node| {
        let slow = node.members.slowness >= thresholds::SLOWNESS;
        // The start reads the whole store, which may delay timers once.
        let late = node.load.loop_lag_ms > thresholds::LOOP_LAG_MS && node.uptime_seconds > 150;
        (slow || late).then(|| {
            let seen = format!(
                "timers of this node were up to {:.0} ms late in the last two minutes (threshold {:.0}), and \
                 its patience with others is {} of 8 (threshold {})",
                node.load.loop_lag_ms,
                thresholds::LOOP_LAG_MS,
                node.members.slowness,
                thresholds::SLOWNESS
            );
            Finding::new("machine.slow", Severity::Warning, seen)
        })
    })
}
