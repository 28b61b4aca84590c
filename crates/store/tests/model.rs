//! The store on both backends answers as a model of a few lines does, whatever is asked.

mod common;

use std::collections::BTreeMap;

use common::{Spec, small};
use potluck_base::{Key, PublicKey, UnixMillis};
use potluck_record::state::{succeeds, supersedes};
use potluck_record::{
    Envelope, EnvelopeId, Fingerprint, HasHead, MergeAs, Merged, Name, NamedState, NamesQuery,
    Place, Prefix, SignedHead, Space, State, StateDigest, StorageOp, StorageReply,
};
use potluck_store::{Backend, DiskStore, MemoryStore, RecordStore};
use proptest::prelude::*;

/// What a store is, without rows, batches, indexes and disks.
#[derive(Default)]
struct Model {
    replica: BTreeMap<Key, State>,
    own: BTreeMap<Key, Envelope>,
}

impl Model {
    fn apply(&mut self, op: &StorageOp) -> StorageReply {
        match op {
            StorageOp::Merge { envelope, place: Place::Replica, how } => {
                self.merge_replica(envelope, *how)
            }
            StorageOp::Merge { envelope, place: Place::Own, .. } => self.merge_own(envelope),
            StorageOp::Load { key, place: Place::Replica } => StorageReply::Loaded {
                envelopes: self
                    .replica
                    .get(key)
                    .into_iter()
                    .flat_map(State::iter)
                    .cloned()
                    .collect(),
            },
            StorageOp::Load { key, place: Place::Own } => {
                StorageReply::Loaded { envelopes: self.own.get(key).cloned().into_iter().collect() }
            }
            StorageOp::Scan { from, to, limit } => {
                let all = self.digests(from, to);
                let entries: Vec<_> = all.iter().take(*limit as usize).copied().collect();
                let more = entries.len() < all.len();
                StorageReply::Scanned { entries, more }
            }
            StorageOp::Fingerprint { from, to } => {
                let Fingerprint { keys, sum } = self.fingerprint(from, to);
                StorageReply::Fingerprint { keys, sum }
            }
            StorageOp::Fingerprints { prefixes } => {
                let sum = |prefix: &Prefix| self.fingerprint(&prefix.first(), &prefix.last());
                StorageReply::Fingerprints(prefixes.iter().map(sum).collect())
            }
            StorageOp::Entries { prefixes, after, limit } => {
                let all: Vec<_> = prefixes
                    .iter()
                    .flat_map(|prefix| self.shared(&prefix.first(), &prefix.last()))
                    .filter(|(key, _)| after.is_none_or(|after| *key > after))
                    .collect();
                let entries: Vec<_> = all.iter().take(*limit as usize).copied().collect();
                StorageReply::Scanned { more: entries.len() < all.len(), entries }
            }
            // These stores are smaller than the smallest portion.
            StorageOp::Index { .. } => StorageReply::Indexed { more: false },
            StorageOp::Drop { key, digest } => {
                if self.replica.get(key).is_some_and(|s| !s.is_empty() && s.digest() != *digest) {
                    return StorageReply::Kept;
                }
                self.replica.remove(key);
                StorageReply::Removed
            }
            // They have tests of their own: no operation on records touches them.
            StorageOp::KeepCertificates { .. } | StorageOp::ScanCertificates { .. } => {
                StorageReply::Certificates { certificates: Vec::new(), next: None }
            }
            StorageOp::ScanOwn { from, limit } => self.scan_own(from, *limit as usize),
            StorageOp::Names { query, now } => self.names(query, *now),
            StorageOp::Expire { now, limit } => self.expire(*now, *limit as usize),
            StorageOp::Remove { key, place } => {
                match place {
                    Place::Replica => drop(self.replica.remove(key)),
                    Place::Own => drop(self.own.remove(key)),
                }
                StorageReply::Removed
            }
            StorageOp::TakeBack { key, writer, envelope, previous, place } => {
                self.take_back((key, writer), envelope, previous.as_deref(), *place);
                StorageReply::Removed
            }
        }
    }

    fn merge_replica(&mut self, envelope: &Envelope, how: MergeAs) -> StorageReply {
        let state = self.replica.entry(envelope.head().key()).or_default();
        let held = state.of(&envelope.head().writer());
        if let MergeAs::Ingress { writers_max, now } = how {
            let max = usize::from(writers_max);
            let head = envelope.head();
            let changes = held.is_none_or(|held| supersedes(head, held.head()));
            let others = state.len() - usize::from(held.is_some());
            let is_new = held.is_none();
            if changes
                && (is_new || head.space() != Space::Provider)
                && others >= max
                && !(is_new && make_way(state, head, max))
                && !state.has_place_for(envelope, max, now)
            {
                return StorageReply::TooManyWriters;
            }
            let held = state.of(&envelope.head().writer()).map(HasHead::signed_head);
            let newer = held.filter(|held| supersedes(envelope.head(), held));
            if let Some(held) = newer.filter(|held| !succeeds(envelope.head(), held, now)) {
                let outcome = Merged::Forked(held.id());
                return StorageReply::Merged { outcome, digest: state.digest() };
            }
        }
        let outcome = state.merge(envelope.clone());
        StorageReply::Merged { outcome, digest: state.digest() }
    }

    /// A page of names in `commons`.
    fn names(&self, query: &NamesQuery, now: UnixMillis) -> StorageReply {
        let mut held: Vec<(Name, &State)> = self
            .replica
            .values()
            .filter_map(|state| {
                let head = state.iter().next()?.head();
                let name = Name::new(head.name()).expect("a stored name");
                (head.space() == query.space).then_some((name, state))
            })
            .filter(|(name, _)| query.after.as_deref().is_none_or(|after| name.as_str() > after))
            .collect();
        held.sort_by(|one, other| one.0.cmp(&other.0));
        let more = held.len() > query.limit as usize;
        held.truncate(query.limit as usize);
        let next = held.last().map(|(name, _)| name.clone()).filter(|_| more);
        let entries = held.into_iter().filter_map(|(name, state)| NamedState::of(name, state, now));
        StorageReply::Names { entries: entries.collect(), next }
    }

    /// The keys of a range without provider records.
    fn shared(&self, from: &Key, to: &Key) -> Vec<(Key, StateDigest)> {
        let internal = |key: &Key| {
            let held = self.replica.get(key).and_then(|state| state.iter().next());
            held.is_some_and(|held| held.head().space() == Space::Provider)
        };
        self.digests(from, to).into_iter().filter(|(key, _)| !internal(key)).collect()
    }

    fn fingerprint(&self, from: &Key, to: &Key) -> Fingerprint {
        let all = self.shared(from, to);
        all.iter().fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest))
    }

    fn take_back(
        &mut self,
        (key, writer): (&Key, &PublicKey),
        id: &EnvelopeId,
        previous: Option<&Envelope>,
        place: Place,
    ) {
        match place {
            Place::Own => {
                if self.own.get(key).is_some_and(|own| own.head().id() == *id) {
                    self.own.remove(key);
                    self.own.extend(previous.map(|previous| (*key, previous.clone())));
                }
            }
            Place::Replica => {
                let Some(state) = self.replica.get_mut(key) else { return };
                if state.of(writer).is_some_and(|held| held.head().id() == *id) {
                    let others = state.iter().filter(|e| e.head().writer() != *writer).cloned();
                    *state = others.chain(previous.cloned()).collect();
                }
            }
        }
    }

    fn scan_own(&self, from: &Key, limit: usize) -> StorageReply {
        let mut rows = self.own.range(from..);
        let heads = rows.by_ref().take(limit.max(1)).map(|(_, own)| own.head().clone()).collect();
        StorageReply::OwnHeads { heads, next: rows.next().map(|(key, _)| *key) }
    }

    fn merge_own(&mut self, envelope: &Envelope) -> StorageReply {
        let head = envelope.head();
        let outcome = match self.own.get(&head.key()).map(HasHead::signed_head) {
            None => Merged::New,
            Some(held) if held.digest() == head.digest() => Merged::Equal,
            Some(held) if supersedes(head, held) => Merged::Newer,
            Some(held) => Merged::Older(held.id()),
        };
        if outcome.changed() {
            self.own.insert(head.key(), envelope.clone());
        }
        let digest = StateDigest::EMPTY.with(self.own[&head.key()].head());
        StorageReply::Merged { outcome, digest }
    }

    fn digests(&self, from: &Key, to: &Key) -> Vec<(Key, StateDigest)> {
        let held = self
            .replica
            .iter()
            .filter(|(key, state)| from <= *key && *key <= to && !state.is_empty());
        held.map(|(key, state)| (*key, state.digest())).collect()
    }

    fn expire(&mut self, now: UnixMillis, limit: usize) -> StorageReply {
        let all = self.replica.values().flat_map(State::iter).map(|held| (Place::Replica, held));
        let all = all.chain(self.own.values().map(|held| (Place::Own, held)));
        let mut due: Vec<_> = all
            .map(|(place, held)| {
                let head = held.head();
                (head.expires(), place, head.key(), head.writer())
            })
            .filter(|(expires, ..)| *expires <= now)
            .collect();
        due.sort();
        let more = due.len() > limit;
        due.truncate(limit);
        for (_, place, key, writer) in &due {
            match place {
                Place::Own => drop(self.own.remove(key)),
                Place::Replica => {
                    let state = self.replica.remove(key).unwrap_or_default();
                    let kept = state.iter().filter(|held| held.head().writer() != *writer).cloned();
                    let kept: State = kept.collect();
                    self.replica.insert(*key, kept);
                }
            }
        }
        StorageReply::Expired { dropped: due.len() as u32, more }
    }
}

/// Drops the providers that expire first until there is room for one more, if all of them expire before
/// the new one.
fn make_way(state: &mut State, head: &SignedHead, max: usize) -> bool {
    if head.space() != Space::Provider || max == 0 {
        return false;
    }
    let mut held: Vec<Envelope> = state.iter().cloned().collect();
    held.sort_by_key(|held| (held.head().expires(), held.head().writer()));
    let kept = held.split_off(held.len() + 1 - max);
    let all_end_before = held.iter().all(|held| held.head().expires() < head.expires());
    if all_end_before {
        *state = kept.into_iter().collect();
    }
    all_end_before
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => (0u32..5, any::<bool>()).prop_map(|(name, internal)| {
            Spec { internal, ..Spec::new(name, 0, 1) }.key()
        }),
        1 => any::<[u8; 32]>().prop_map(Key::from_bytes),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![3 => Just(Place::Replica), 1 => Just(Place::Own)]
}

fn range() -> impl Strategy<Value = (Key, Key)> {
    prop_oneof![Just((Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]))), (key(), key()),]
}

/// All keys, or the ranges of one and of three bits that begin with a one.
fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
    let upper = Prefix::ALL.half(true);
    let (low, high) = (Prefix::ALL.half(false).half(true), upper.half(false).half(true));
    prop::sample::select(vec![vec![Prefix::ALL], vec![upper], vec![low, high], Vec::new()])
}

fn op() -> impl Strategy<Value = StorageOp> {
    let how = || {
        let ingress = (0u16..4, 0u64..600)
            .prop_map(|(writers_max, now)| MergeAs::Ingress { writers_max, now: UnixMillis(now) });
        prop_oneof![Just(MergeAs::Repair), ingress]
    };
    let envelope = (0u32..5, any::<bool>(), 1u8..5, 1u64..5, 1u64..6, 0usize..3).prop_map(
        |(name, internal, writer, dot, life, size)| {
            let bytes = [0, 100, 5_000][size];
            Spec { name, internal, writer, dot, expires: life * 100, bytes }.sign()
        },
    );
    prop_oneof![
        8 => (envelope.clone(), place(), how()).prop_map(
            |(envelope, place, how)| StorageOp::Merge { envelope, place, how }
        ),
        2 => (envelope, any::<bool>(), place()).prop_map(|(envelope, leaves, place)| {
            let head = envelope.head();
            let (key, writer, id) = (head.key(), head.writer(), head.id());
            let previous = leaves.then(|| Box::new(envelope.clone()));
            StorageOp::TakeBack { key, writer, envelope: id, previous, place }
        }),
        3 => (key(), place()).prop_map(|(key, place)| StorageOp::Load { key, place }),
        1 => (range(), 0u32..6).prop_map(|((from, to), limit)| StorageOp::Scan { from, to, limit }),
        1 => range().prop_map(|(from, to)| StorageOp::Fingerprint { from, to }),
        1 => (range(), 0u32..4).prop_map(
            |((from, _), limit)| StorageOp::ScanOwn { from, limit }
        ),
        1 => prefixes().prop_map(|prefixes| StorageOp::Fingerprints { prefixes }),
        1 => (prefixes(), prop::option::of(key()), 0u32..6).prop_map(
            |(prefixes, after, limit)| StorageOp::Entries { prefixes, after, limit }
        ),
        1 => Just(StorageOp::Index { limit: 1 }),
        1 => (key(), any::<bool>()).prop_map(|(key, empty)| {
            let digest = if empty { StateDigest::EMPTY } else { StateDigest::from_bytes([1; 16]) };
            StorageOp::Drop { key, digest }
        }),
        1 => (0u64..600, 0u32..6).prop_map(
            |(now, limit)| StorageOp::Expire { now: UnixMillis(now), limit }
        ),
        1 => (key(), place()).prop_map(|(key, place)| StorageOp::Remove { key, place }),
        2 => (prop::option::of(0u32..5), 1u32..6, 0u64..600).prop_map(|(after, limit, now)| {
            let after = after.map(|number| format!("name {number}"));
            let (space, prefix, until) = (Space::Commons, String::new(), None);
            let query = NamesQuery { space, prefix, after, until, limit };
            StorageOp::Names { query, now: UnixMillis(now) }
        }),
    ]
}

/// Applies the batches to both and compares every reply, and the counters after each batch.
fn compare<B: Backend>(store: &mut RecordStore<B>, model: &mut Model, batches: &[Vec<StorageOp>]) {
    for batch in batches {
        let expected: Vec<_> = batch.iter().map(|op| model.apply(op)).collect();
        assert_eq!(store.apply(batch), expected);
        assert_eq!(store.counters_hold(), Ok(true));
        let earliest = model
            .replica
            .values()
            .flat_map(State::iter)
            .chain(model.own.values())
            .map(|held| held.head().expires())
            .min();
        if let Some(earliest) = earliest {
            assert!(store.next_expiry().is_some_and(|next| next <= earliest));
        }
    }
    let stats = store.stats();
    assert_eq!(stats.own, model.own.len() as u64);
    assert_eq!(
        stats.envelopes,
        model.replica.values().map(|state| state.len() as u64).sum::<u64>()
    );
    assert_eq!((stats.corrupt_rows, store.stopped()), (0, None));
}

fn batches() -> impl Strategy<Value = Vec<Vec<StorageOp>>> {
    prop::collection::vec(prop::collection::vec(op(), 1..12), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn the_memory_store_answers_as_the_model_does(batches in batches()) {
        compare(&mut MemoryStore::in_memory(), &mut Model::default(), &batches);
    }

    #[test]
    fn a_crash_leaves_what_was_synced_and_nothing_else(
        kept in batches(),
        lost in batches(),
        after in batches(),
    ) {
        let (mut store, mut model) = (MemoryStore::in_memory(), Model::default());
        compare(&mut store, &mut model, &kept);
        for batch in &lost {
            store.apply_unsynced(batch);
        }
        store.crash();
        compare(&mut store, &mut model, &after);
        for batch in &lost {
            store.apply_unsynced(batch);
            batch.iter().for_each(|op| drop(model.apply(op)));
        }
        prop_assert!(store.sync());
        store.crash();
        compare(&mut store, &mut model, &after);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn the_disk_store_answers_as_the_model_does_also_after_it_was_closed(
        before in batches(),
        after in batches(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut model = Model::default();
        let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
        compare(&mut store, &mut model, &before);
        drop(store);
        let mut store = DiskStore::open(folder.path(), &small()).expect("opens again");
        compare(&mut store, &mut model, &after);
    }
}
