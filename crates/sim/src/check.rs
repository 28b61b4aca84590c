//! The checks of a run, each rule in its own file.
//!
//! A check reads the whole world, which no node can. Where the disks and the list of live nodes answer a
//! question, it does not use the statements of nodes about themselves.

pub mod bounds;
pub mod convergence;
pub mod delivery;
pub mod durability;
pub mod effort;
pub mod history;
pub mod holdings;
pub mod mergeable;
pub mod misplaced;
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
    /// Figures, or the reason for the failure.
    pub detail: String,
}

impl Check {
    /// A result with its figures or reason.
    #[must_use]
    pub fn new(name: &'static str, passed: bool, detail: impl Into<String>) -> Self {
        Self { name, passed, detail: detail.into() }
    }

    /// A check that passes if something was checked and nothing of it broke the rule. It names the first few
    /// violations. **If nothing was checked, it fails:** such a run proves nothing about the rule.
    #[must_use]
    pub fn none_of(name: &'static str, of: usize, breaches: &[String]) -> Self {
        match (of, breaches) {
            (0, []) => Self::new(name, false, "nothing was checked"),
            _ => Self::none_of_any(name, of, breaches),
        }
    }

    /// The same for a rule about events that need not happen in a run: it passes if nothing was checked.
    #[must_use]
    pub fn none_of_any(name: &'static str, of: usize, breaches: &[String]) -> Self {
        let shown: Vec<&str> = breaches.iter().take(4).map(String::as_str).collect();
        let detail = match breaches.len() {
            0 => format!("{of} checked"),
            count => format!("{count} of {of} broke it: {}", shown.join("; ")),
        };
        Self::new(name, breaches.is_empty(), detail)
    }

    /// A check that passes if `part` is at least the share `least` of `whole`. It fails if `whole` is zero,
    /// as [`none_of`](Self::none_of) does.
    #[must_use]
    pub fn share(name: &'static str, part: usize, whole: usize, least: f64) -> Self {
        let passed = whole > 0 && part as f64 >= least * whole as f64;
        Self::new(name, passed, format!("{part} of {whole}"))
    }
}

/// The `count` closest of `peers` to `key`, closest first: the right result of a lookup.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_which_nothing_was_checked_is_not_kept() {
        let breach = ["it broke".to_owned()];
        for (of, breaches, passed, detail) in [
            (0, &[][..], false, "nothing was checked"),
            (1, &[], true, "1 checked"),
            (1, &breach, false, "1 of 1 broke it: it broke"),
            (0, &breach, false, "1 of 0 broke it: it broke"),
        ] {
            assert_eq!(Check::none_of("rule", of, breaches), Check::new("rule", passed, detail));
        }
        assert!(Check::none_of_any("rule", 0, &[]).passed, "said otherwise");
        assert!(!Check::none_of_any("rule", 0, &breach).passed);
    }

    #[test]
    fn a_share_of_nothing_is_too_small() {
        for (part, whole, passed) in [(0, 0, false), (99, 100, true), (98, 100, false)] {
            assert_eq!(Check::share("rule", part, whole, 0.99).passed, passed, "{part} of {whole}");
        }
    }

    #[test]
    fn checkers_that_saw_nothing_do_not_pass() {
        use super::{durability::Durability, replication::Replication, routing::Routing};

        assert!(!Durability::default().check("rule").passed);
        assert!(!Replication::default().check().passed);
        assert!(!Routing::default().check(0.0).passed);
        assert!(!Routing::default().check_hops(u8::MAX).passed);
    }
}
