//! Nodes that sent data that did not verify. No fetch asks them for some time.

use std::time::Duration;

use potluck_base::{Instant, LruMap, PublicKey};

/// Time for which no fetch asks such a node. A guess: a node with a broken disk is useful again after a
/// repair, and a node with false data costs each fetch one granule. Raising it excludes both for longer.
const REST: Duration = Duration::from_secs(120);
/// Most nodes that are remembered. The least recently used one is forgotten first.
const SHUNNED_MAX: usize = 1024;

/// The nodes that no fetch asks.
#[derive(Debug)]
pub(crate) struct Shunned {
    until: LruMap<PublicKey, Instant>,
}

impl Default for Shunned {
    fn default() -> Self {
        Self { until: LruMap::new(SHUNNED_MAX) }
    }
}

impl Shunned {
    pub(crate) fn insert(&mut self, now: Instant, key: PublicKey) {
        self.until.insert(key, now + REST);
    }

    pub(crate) fn contains(&mut self, now: Instant, key: &PublicKey) -> bool {
        self.until.get_mut(key).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::contact;

    #[test]
    fn a_node_is_shunned_for_two_minutes_and_few_are_remembered() {
        let mut shunned = Shunned::default();
        let (key, now) = (contact(1).public_key, Instant::ZERO);
        assert!(!shunned.contains(now, &key));
        shunned.insert(now, key);
        assert!(shunned.contains(now + REST / 2, &key) && !shunned.contains(now + REST, &key));
        (2..2000).for_each(|number| shunned.insert(now, contact(number).public_key));
        assert!(!shunned.contains(now, &key) && shunned.contains(now, &contact(1999).public_key));
    }
}
