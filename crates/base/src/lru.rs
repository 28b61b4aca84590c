//! A map that forgets what was not used for longest.

use std::collections::BTreeMap;

/// At most `capacity` entries; inserting into a full map evicts the least recently used one.
/// Ordered by key, so that iterating gives the same order in every run.
///
/// A use only notes its time in the entry. The order of uses is put right when an entry has to leave, so
/// that the common case costs one search. Before the first eviction there is no such order: most maps
/// never become full, and the order takes as much memory as the keys.
#[derive(Debug, Clone)]
pub struct LruMap<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    /// When each entry was used, as of the last time its place was looked at: never too late. Empty before
    /// the first eviction.
    by_use: BTreeMap<u64, K>,
    capacity: usize,
    clock: u64,
    evicted: u64,
    /// Whether `by_use` has a note for each entry.
    is_ordered: bool,
}

impl<K: Ord + Clone, V> LruMap<K, V> {
    /// An empty map for at most `capacity` entries.
    ///
    /// # Panics
    /// If `capacity` is zero, since such a map could hold nothing.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a map needs room for one entry");
        Self {
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            capacity,
            clock: 0,
            evicted: 0,
            is_ordered: false,
        }
    }

    /// Puts a value in and gives back what had to leave: the key's old value or the evicted entry.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        if let Some(old) = self.get_mut(&key) {
            return Some((key, std::mem::replace(old, value)));
        }
        let left = if self.entries.len() >= self.capacity { self.evict() } else { None };
        self.clock += 1;
        if self.is_ordered {
            self.by_use.insert(self.clock, key.clone());
        }
        self.entries.insert(key, (self.clock, value));
        left
    }

    fn evict(&mut self) -> Option<(K, V)> {
        if !self.is_ordered {
            let notes = self.entries.iter().map(|(key, (used, _))| (*used, key.clone()));
            self.by_use = notes.collect();
            self.is_ordered = true;
        }
        loop {
            let (noted, key) = self.by_use.pop_first()?;
            match self.entries.get(&key).map(|(used, _)| *used) {
                Some(used) if used == noted => {
                    self.evicted += 1;
                    return self.entries.remove(&key).map(|(_, value)| (key, value));
                }
                // Used since: its place is further back.
                Some(used) => {
                    self.by_use.insert(used, key);
                }
                None => {}
            }
        }
    }

    /// The value of `key`, which counts as a use.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.entries.get_mut(key)?;
        self.clock += 1;
        *used = self.clock;
        Some(value)
    }

    /// The value of `key` without counting it as a use.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (_, value) = self.entries.remove(key)?;
        // Its note stays until it comes to the front or there are too many such.
        if self.by_use.len() > 2 * self.capacity {
            let entries = &self.entries;
            self.by_use.retain(|_, noted| entries.contains_key(noted));
        }
        Some(value)
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries were evicted since the start.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_entry_leaves_first() {
        let mut map = LruMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.get_mut(&"a"), Some(&mut 1));
        assert_eq!(map.insert("c", 3), Some(("b", 2)));
        assert_eq!((map.len(), map.evicted(), map.peek(&"b")), (2, 1, None));
    }

    #[test]
    fn coming_and_going_keeps_no_traces() {
        let mut map = LruMap::new(4);
        for number in 0..1000 {
            map.insert(number, number);
            map.remove(&number);
        }
        assert!(map.is_empty() && map.by_use.len() <= 9);
        let come_and_go = |map: &mut LruMap<i32, i32>| {
            map.insert(1, 1);
            map.remove(&1);
            map.insert(1, 2);
            (2..6).for_each(|number| {
                map.insert(number, number);
            });
            assert_eq!((map.len(), map.peek(&1), map.peek(&5)), (4, None, Some(&5)));
            for number in 2..6 {
                map.remove(&number);
            }
        };
        come_and_go(&mut map);
        // The same once there is an order of uses.
        for number in 0..1000 {
            map.insert(number, number);
            map.remove(&number);
        }
        assert!(map.is_empty() && map.is_ordered && map.by_use.len() <= 9);
        come_and_go(&mut map);
    }

    #[test]
    fn replacing_a_value_evicts_nobody() {
        let mut map = LruMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        assert_eq!(map.insert("a", 3), Some(("a", 1)));
        assert_eq!((map.len(), map.evicted()), (2, 0));
        assert_eq!(map.insert("c", 4), Some(("b", 2)));
    }
}
