//! The order of changes of this node's replicas, by which another node that was away learns of them
//! without comparing anything.

use std::collections::BTreeMap;

use potluck_base::{Key, UnixMillis};
use potluck_record::{Prefix, StateDigest};
use potluck_wire::limits::OFFER_ENTRIES_MAX;
use potluck_wire::{Changes, ChangesAfter, OfferEntry};

/// Changed keys that are remembered. Raising it takes 130 bytes a key, and a node may be away for longer
/// before its replicas have to be compared.
const KEYS_MAX: usize = 8192;
/// Encoded bytes of one entry of an answer.
const ENTRY_BYTES: usize = 54;

/// The changed keys, each under its latest change. The numbers begin with each start of the process,
/// which the run tells apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed {
    run: u64,
    count: u64,
    /// Everything up to this number is forgotten.
    forgotten: u64,
    changes: BTreeMap<u64, OfferEntry>,
    latest: BTreeMap<Key, u64>,
}

impl Feed {
    /// A replica changed. The first change of a process, or the first question, names its run.
    pub(crate) fn push(&mut self, wall: UnixMillis, key: Key, digest: StateDigest) {
        self.begin(wall);
        self.count += 1;
        if let Some(before) = self.latest.insert(key, self.count) {
            self.changes.remove(&before);
        }
        self.changes.insert(self.count, OfferEntry { key, digest });
        if self.changes.len() > KEYS_MAX
            && let Some((number, entry)) = self.changes.pop_first()
        {
            self.latest.remove(&entry.key);
            self.forgotten = number;
        }
    }

    fn begin(&mut self, wall: UnixMillis) {
        if self.run == 0 {
            self.run = wall.0.max(1);
        }
    }

    /// The run of the process and the number of changes in it.
    pub(crate) fn place(&mut self, wall: UnixMillis) -> (u64, u64) {
        self.begin(wall);
        (self.run, self.count)
    }

    /// How many changed keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes behind a place, as many as `budget` bytes hold.
    pub(crate) fn after(
        &mut self,
        wall: UnixMillis,
        asked: &ChangesAfter,
        budget: usize,
    ) -> Changes {
        let (run, count) = self.place(wall);
        if asked.run != run || asked.after < self.forgotten || asked.after > count {
            return Changes { run, next: count, lost: true, ..Changes::default() };
        }
        let most = (budget.saturating_sub(64) / ENTRY_BYTES).clamp(1, OFFER_ENTRIES_MAX);
        let mut changes = Changes { run, next: count, ..Changes::default() };
        let mut last = asked.after;
        for (number, entry) in self.changes.range(asked.after + 1..) {
            if changes.entries.len() == most {
                changes.more = true;
                changes.next = last;
                break;
            }
            last = *number;
            if holds(&asked.prefixes, &entry.key) {
                changes.entries.push(*entry);
            }
        }
        changes
    }
}

/// Whether a key lies in one of these ranges, which ascend.
pub(crate) fn holds(ranges: &[Prefix], key: &Key) -> bool {
    let behind = ranges.partition_point(|range| range.first() <= *key);
    behind.checked_sub(1).is_some_and(|last| ranges[last].contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixMillis = UnixMillis(7);

    fn key(number: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number << 40).to_be_bytes());
        Key::from_bytes(bytes)
    }

    fn digest(number: u8) -> StateDigest {
        StateDigest::from_bytes([number; 16])
    }

    fn ask(run: u64, after: u64) -> ChangesAfter {
        ChangesAfter { run, after, prefixes: vec![Prefix::ALL] }
    }

    #[test]
    fn changes_behind_a_place_come_once_each_with_the_latest_state() {
        let mut feed = Feed::default();
        feed.push(WALL, key(1), digest(1));
        let (run, place) = feed.place(WALL);
        feed.push(WALL, key(2), digest(1));
        feed.push(WALL, key(3), digest(1));
        feed.push(WALL, key(2), digest(2));
        let changes = feed.after(WALL, &ask(run, place), 10_000);
        let pairs: Vec<_> = changes.entries.iter().map(|it| (it.key, it.digest)).collect();
        assert_eq!(pairs, [(key(3), digest(1)), (key(2), digest(2))]);
        assert_eq!((changes.next, changes.lost, changes.more), (4, false, false));
        let none = feed.after(WALL, &ask(run, changes.next), 10_000);
        assert_eq!((none.entries.len(), none.lost), (0, false));
    }

    #[test]
    fn pages_follow_each_other_and_only_wanted_ranges_are_told() {
        let mut feed = Feed::default();
        for number in 0..100 {
            feed.push(WALL, key(number), digest(1));
        }
        let upper = Prefix::of(&key(64), 18);
        let (run, mut after, mut told) = (feed.place(WALL).0, 0, Vec::new());
        loop {
            let asked = ChangesAfter { run, after, prefixes: vec![upper] };
            let page = feed.after(WALL, &asked, 64 + 5 * ENTRY_BYTES);
            assert!(page.entries.len() <= 5 && !page.lost);
            told.extend(page.entries.iter().map(|entry| entry.key));
            after = page.next;
            if !page.more {
                break;
            }
        }
        assert_eq!(after, 100);
        let expected: Vec<Key> = (0..100).map(key).filter(|key| upper.contains(key)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_place_of_another_run_or_too_far_back_or_ahead_is_lost() {
        let mut feed = Feed::default();
        for number in 0..KEYS_MAX as u64 + 10 {
            feed.push(WALL, key(number), digest(1));
        }
        assert_eq!(feed.len(), KEYS_MAX);
        let count = KEYS_MAX as u64 + 10;
        assert!(feed.after(WALL, &ask(7, 9), 1000).lost);
        assert!(!feed.after(WALL, &ask(7, 10), 1000).lost);
        assert!(feed.after(WALL, &ask(8, 10), 1000).lost);
        assert!(feed.after(WALL, &ask(7, count + 1), 1000).lost);
        assert!(!feed.after(WALL, &ask(7, count), 1000).lost);
    }
}
