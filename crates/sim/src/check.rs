//! What must hold, each rule in a file of its own.
//!
//! Checkers look at the whole world, which no node can, and trust nothing that a node says about
//! itself where the disks and the list of the living say it better.

pub mod bounds;
pub mod convergence;
pub mod durability;
pub mod replication;
pub mod routing;

use potluck_base::{Key, Peer};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rule.
    pub name: &'static str,
    /// Whether it held.
    pub passed: bool,
    /// How much, or what broke it.
    pub detail: String,
}

impl Check {
    /// A result with figures or a reason.
    #[must_use]
    pub fn new(name: &'static str, passed: bool, detail: impl Into<String>) -> Self {
        Self { name, passed, detail: detail.into() }
    }

    /// A check that holds if nothing broke the rule; names the first few breaches.
    #[must_use]
    pub fn none_of(name: &'static str, of: usize, breaches: &[String]) -> Self {
        let shown: Vec<&str> = breaches.iter().take(4).map(String::as_str).collect();
        let detail = match breaches.len() {
            0 => format!("{of} checked"),
            count => format!("{count} of {of} broke it: {}", shown.join("; ")),
        };
        Self::new(name, breaches.is_empty(), detail)
    }
}

/// The `count` closest of `peers` to `key`, closest first: the truth that lookups aim at.
#[must_use]
pub fn closest(peers: &[Peer], key: &Key, count: usize) -> Vec<Peer> {
    let mut by_distance: Vec<_> = peers.iter().map(|peer| (peer.distance(key), peer)).collect();
    if count < by_distance.len() {
        by_distance.select_nth_unstable_by_key(count, |(distance, _)| *distance);
        by_distance.truncate(count);
    }
    by_distance.sort_unstable_by_key(|(distance, _)| *distance);
    by_distance.into_iter().map(|(_, peer)| *peer).collect()
}
