//! The checks, in the order of the triage. Each is a pure function of the evidence.

mod files;
mod load;
mod lookups;
mod machine;
mod members;
mod network;
mod records;

use super::{Evidence, Finding, NodeFacts};

/// One check.
pub(crate) struct Check {
    /// The question of the triage that it belongs to.
    pub(crate) group: &'static str,
    /// What it checks.
    pub(crate) name: &'static str,
    /// Whether it needs the answers of a running node.
    pub(crate) needs_node: bool,
    pub(crate) run: fn(&Evidence) -> Vec<Finding>,
}

const fn of_node(
    group: &'static str,
    name: &'static str,
    run: fn(&Evidence) -> Vec<Finding>,
) -> Check {
    Check { group, name, needs_node: true, run }
}

const fn of_machine(name: &'static str, run: fn(&Evidence) -> Vec<Finding>) -> Check {
    Check { group: MACHINE, name, needs_node: false, run }
}

const KEYS: &str = "lookup fails, or a key is not found";
const CPU: &str = "high CPU";
const SPLIT: &str = "nodes do not find each other";
const VALUES: &str = "different values for one key";
const SLOW: &str = "lookups are slow";
const MACHINE: &str = "anything else";

/// All checks.
pub(crate) const ALL: &[Check] = &[
    of_node(MACHINE, "what the node says of itself", network::health),
    of_node(KEYS, "replicas configured", records::replication),
    of_node(KEYS, "whether the record asked about is there", records::absent),
    of_node(KEYS, "replicas that hold each record", records::replicas),
    of_node(KEYS, "records renewed before they end", records::renewal),
    of_node(KEYS, "size of the routing table", network::table),
    of_node(CPU, "messages of topics a second", load::gossip),
    of_node(CPU, "copies of messages", load::duplicates),
    of_node(CPU, "storms of lookups and reads", load::storm),
    of_node(SPLIT, "entry points, their names and ports", network::entries),
    of_node(SPLIT, "members that fell silent together", members::split),
    of_node(SPLIT, "datagrams lost on the way", network::loss),
    of_node(SPLIT, "the router's ports", network::mapping),
    of_node(VALUES, "versions on every replica", records::versions),
    of_node(VALUES, "values to merge", records::conflicts),
    of_node(SLOW, "time of lookups, and where it goes", lookups::slow),
    of_node(SLOW, "time of reads and writes", lookups::slow_commands),
    of_node(SLOW, "requests without an answer", lookups::timeouts),
    of_node(SLOW, "dead contacts", lookups::dead_contacts),
    of_node(SLOW, "delay of this machine's own timers", load::lag),
    of_node(MACHINE, "members that do not answer", members::silent),
    of_node(MACHINE, "members that come and go", members::flapping),
    of_node(MACHINE, "versions of the members", members::versions),
    of_node(MACHINE, "members that were put out", members::revoked),
    of_node(MACHINE, "clock", machine::clock),
    of_node(MACHINE, "certificate", machine::certificate),
    of_node(MACHINE, "fetches, and what bounds them", files::transfers),
    of_node(MACHINE, "shared files that changed", files::changed),
    of_node(MACHINE, "damage in the store", machine::damage),
    of_node(MACHINE, "room in the store", machine::store_room),
    of_machine("UDP receive buffer", machine::receive_buffer),
    of_node(MACHINE, "sending of datagrams", machine::sending),
    of_machine("room on the disk", machine::disk_room),
    of_machine("waiting for the disk", machine::disk_wait),
    of_machine("descriptors", machine::descriptors),
    of_machine("memory", machine::memory),
    of_machine("process and data folder of a node that is down", machine::down),
];

/// Runs a check that needs a running node.
fn node(evidence: &Evidence, judge: impl FnOnce(&NodeFacts) -> Option<Finding>) -> Vec<Finding> {
    evidence.node.as_ref().and_then(judge).into_iter().collect()
}

#[cfg(test)]
mod tests;
