use std::collections::BTreeMap;

use potluck_base::Rng;
use potluck_record::StorageReply;

use super::*;
use crate::backend::{Changes, Durability, Room};
use crate::ledger::Ledger;
use crate::memory::MemoryBackend;
use crate::quota::Limits;
use crate::rows;

/// A store of summaries, and the expected contents.
struct Held {
    backend: MemoryBackend,
    index: FingerprintIndex,
    model: BTreeMap<Key, StateDigest>,
    rng: Rng,
}

fn summary(digest: StateDigest, internal: bool) -> Summary {
    Summary { digest, writers: 1, internal, bytes: 9 }
}

fn rows_of<'a>(backend: &'a MemoryBackend, index: &'a FingerprintIndex) -> Txn<'a, MemoryBackend> {
    Txn::new(backend, index, Ledger::default(), Room::Plenty, Limits::NONE)
}

impl Held {
    fn new(split_at: usize, leaves_max: usize) -> Self {
        Self {
            backend: MemoryBackend::new(),
            index: FingerprintIndex::with(split_at, leaves_max),
            model: BTreeMap::new(),
            rng: Rng::from_number(split_at as u64),
        }
    }

    /// A random key. Half of the keys share their first 20 bits.
    fn key(&mut self) -> Key {
        let mut bytes: [u8; 32] = self.rng.bytes();
        if self.rng.chance(0.5) {
            bytes[..2].fill(0x77);
            bytes[2] &= 0x0f;
        }
        Key::from_bytes(bytes)
    }

    fn commit(&mut self, changes: &[(Key, Option<StateDigest>)]) {
        let (mut written, mut noted) = (Changes::new(), Vec::new());
        for (key, new) in changes {
            let old = self.model.get(key).map(|digest| summary(*digest, false));
            let new = new.map(|digest| summary(digest, false));
            noted.push(KeyChange::of(key, old.as_ref(), new.as_ref()));
            written.insert(rows::summary_row(key), new.map(|new| new.encode()));
            match new {
                Some(new) => drop(self.model.insert(*key, new.digest)),
                None => drop(self.model.remove(key)),
            }
        }
        use crate::backend::Backend as _;
        self.backend.commit(written, Durability::Synced).expect("memory");
        let none = FingerprintIndex::default();
        self.index.commit(&noted, &rows_of(&self.backend, &none));
    }

    fn put(&mut self, count: usize) {
        let changes: Vec<_> = (0..count)
            .map(|_| (self.key(), Some(StateDigest::from_bytes(self.rng.bytes()))))
            .collect();
        self.commit(&changes);
    }

    fn remove(&mut self, count: usize) {
        let mut keys: Vec<Key> = self.model.keys().copied().collect();
        self.rng.shuffle(&mut keys);
        let changes: Vec<_> = keys.into_iter().take(count).map(|key| (key, None)).collect();
        self.commit(&changes);
    }

    fn build(&mut self, limit: u32) -> bool {
        let none = FingerprintIndex::default();
        let reply = self.index.build(&rows_of(&self.backend, &none), limit);
        reply == StorageReply::Indexed { more: true }
    }

    /// Checks that the fingerprint of every range is right, and that the leaves cover all keys.
    fn check(&mut self) {
        let rows = rows_of(&self.backend, &self.index);
        let mut ranges = vec![Prefix::ALL];
        for _ in 0..60 {
            ranges.push(Prefix::from_bits(self.rng.next_u64(), (self.rng.next_u64() % 30) as u8));
            ranges.push(Prefix::from_bits(0x7777_0000_0000_0000, (self.rng.next_u64() % 30) as u8));
        }
        for range in ranges {
            let (from, to) = (range.first(), range.last());
            let expected = self
                .model
                .range(from..=to)
                .fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest));
            assert_eq!(fingerprint(&rows, &from, &to).expect("memory"), expected, "{range:?}");
        }
        let ends = [self.rng.bytes(), self.rng.bytes()].map(Key::from_bytes);
        let (from, to) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        let expected = self
            .model
            .range(from..=to)
            .fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest));
        assert_eq!(fingerprint(&rows, &from, &to).expect("memory"), expected);
        let index = &self.index;
        assert_eq!(index.starts.first(), Some(&0));
        assert!(index.starts.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(index.starts.len() <= index.leaves_max);
        assert_eq!(index.starts.len(), index.sums.len());
        assert_eq!(index.starts.len(), index.counts.len());
    }
}

#[test]
fn every_range_adds_up_while_keys_come_go_and_change_and_the_index_is_made() {
    for (split_at, leaves_max) in [(8, 65_536), (8, 40), (64, 1000), (1, 9)] {
        let mut held = Held::new(split_at, leaves_max);
        held.put(700);
        held.check();
        let mut more = true;
        let mut portions = 0;
        while more {
            more = held.build(1);
            portions += 1;
            held.put(5);
            held.remove(3);
            held.check();
        }
        assert!(portions > 2, "{portions} portions for leaves of {split_at}");
        assert!(!held.build(1));
        for _ in 0..10 {
            held.put(50);
            held.remove(60);
            held.check();
        }
        held.remove(usize::MAX);
        held.check();
        assert_eq!(held.index.starts.len(), 1, "empty leaves are joined");
    }
}

#[test]
fn a_leaf_holds_no_more_than_it_may_and_the_leaves_follow_the_keys() {
    let mut held = Held::new(16, 65_536);
    held.put(3000);
    while held.build(100) {}
    let fullest = held.index.counts.iter().max();
    assert!(fullest.is_some_and(|most| *most <= 16), "{fullest:?}");
    let leaves = held.index.starts.len();
    assert!((3000 / 16..3000).contains(&leaves), "{leaves} leaves for 3,000 keys");
    held.put(3000);
    let fullest = held.index.counts.iter().max();
    assert!(fullest.is_some_and(|most| *most <= 16), "{fullest:?}");
}

#[test]
fn a_batch_sees_its_own_changes_and_provider_records_count_nowhere() {
    let mut held = Held::new(8, 64);
    held.put(40);
    while held.build(1) {}
    let mut txn = rows_of(&held.backend, &held.index);
    let all = |txn: &Txn<'_, MemoryBackend>| {
        fingerprint(txn, &Prefix::ALL.first(), &Prefix::ALL.last()).expect("memory")
    };
    let before = all(&txn);
    let (shared, provider) = (Key::from_bytes([9; 32]), Key::from_bytes([8; 32]));
    let digest = StateDigest::from_bytes([3; 16]);
    txn.set_summary(&shared, None, Some(&summary(digest, false)));
    txn.set_summary(&provider, None, Some(&summary(digest, true)));
    assert_eq!(all(&txn), before.with(digest));
    let listed = entries(&txn, &[Prefix::ALL], None, 100).expect("memory");
    let StorageReply::Scanned { entries: listed, more: false } = listed else {
        panic!("{listed:?}");
    };
    assert_eq!(listed.len(), 41);
    txn.set_summary(&shared, Some(&summary(digest, false)), None);
    assert_eq!(all(&txn), before);
}

#[test]
fn a_leaf_whose_summary_was_lost_is_counted_again() {
    let mut held = Held::new(8, 64);
    held.put(40);
    while held.build(1) {}
    let key = *held.model.keys().next().expect("a key");
    // The row is deleted, so the old summary is unknown.
    use crate::backend::Backend as _;
    let gone = Changes::from([(rows::summary_row(&key), None)]);
    held.backend.commit(gone, Durability::Synced).expect("memory");
    held.model.remove(&key);
    let none = FingerprintIndex::default();
    held.index.commit(&[KeyChange::unknown(&key)], &rows_of(&held.backend, &none));
    held.check();
}
