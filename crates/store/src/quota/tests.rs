use std::collections::BTreeMap;

use potluck_base::{NodeId, Rng, UnixMillis};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, Merged, Name, Space, StorageOp, StorageReply,
};

use super::*;
use crate::MemoryStore;
use crate::config::Quotas;

const FULL: StorageReply = StorageReply::Failed(StorageFailure::Full);
const QUOTA: StorageReply = StorageReply::Failed(StorageFailure::Quota);
const LIVES: u64 = 1_000_000;

fn writer(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn envelope(name: u32, by: u8, dot: u64, bytes: usize) -> Envelope {
    let dot = Dot::from_raw(dot);
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new(format!("name {name}")).expect("good name")),
        kind: Kind::Siblings,
        values: vec![(dot, UnixMillis(LIVES), Bytes::from(vec![7; bytes]))],
        dot,
        context: [(writer(by), dot)].into_iter().collect::<Context>(),
        expires: UnixMillis(LIVES + u64::from(name)),
        certificate: None,
    };
    Envelope::unsigned(writer(by), draft).expect("a good draft")
}

fn put(envelope: &Envelope) -> StorageOp {
    let how = MergeAs::Ingress { writers_max: 32, now: UnixMillis(1) };
    StorageOp::Merge { envelope: envelope.clone(), place: Place::Replica, how }
}

fn repair(envelope: &Envelope) -> StorageOp {
    let how = MergeAs::Repair;
    StorageOp::Merge { envelope: envelope.clone(), place: Place::Replica, how }
}

fn one(store: &mut MemoryStore, op: StorageOp) -> StorageReply {
    store.apply(&[op]).remove(0)
}

fn is_in(reply: &StorageReply) -> bool {
    matches!(reply, StorageReply::Merged { outcome: Merged::New | Merged::Newer, .. })
}

fn store(quotas: Quotas) -> MemoryStore {
    let mut store = MemoryStore::in_memory();
    store.set_quotas(&quotas);
    store
}

fn holds(store: &mut MemoryStore, envelope: &Envelope) -> bool {
    let key = envelope.head().key();
    match one(store, StorageOp::Load { key, place: Place::Replica }) {
        StorageReply::Loaded { envelopes } => envelopes.contains(envelope),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_stores_as_many_records_and_bytes_as_it_may_and_repair_brings_more() {
    let mut store = store(Quotas { member_records: Some(3), ..Quotas::default() });
    for name in 0..3 {
        assert!(is_in(&one(&mut store, put(&envelope(name, 1, 1, 100)))));
    }
    let fourth = envelope(3, 1, 1, 100);
    assert_eq!(one(&mut store, put(&fourth)), QUOTA);
    // The writer may change an existing envelope, another member has its own share, and repair ignores the
    // limits.
    assert!(is_in(&one(&mut store, put(&envelope(0, 1, 2, 120)))));
    assert!(is_in(&one(&mut store, put(&envelope(3, 2, 1, 100)))));
    assert!(is_in(&one(&mut store, repair(&fourth))));
    assert_eq!((store.stats().quota_refused, store.stats().members), (1, 2));
    // Room that the writer frees can be used by it again.
    for name in [1, 2] {
        let key = envelope(name, 1, 1, 100).head().key();
        one(&mut store, StorageOp::Remove { key, place: Place::Replica });
    }
    assert!(is_in(&one(&mut store, put(&envelope(5, 1, 1, 100)))));
    assert_eq!(store.counters_hold(), Ok(true));

    let size = envelope(0, 1, 1, 100).encode().len() as u64;
    store.set_quotas(&Quotas { member_bytes: Some(4 * size), ..Quotas::default() });
    assert_eq!(one(&mut store, put(&envelope(6, 1, 1, 900))), QUOTA);
    assert!(is_in(&one(&mut store, put(&envelope(3, 1, 2, 10)))), "it shrinks");
}

#[test]
fn a_key_has_as_many_bytes_as_it_may() {
    let mut store = store(Quotas { key_bytes: Some(1500), ..Quotas::default() });
    assert!(is_in(&one(&mut store, put(&envelope(1, 1, 1, 800)))));
    assert_eq!(one(&mut store, put(&envelope(1, 2, 1, 800))), QUOTA);
    assert!(is_in(&one(&mut store, put(&envelope(1, 2, 1, 100)))));
    assert!(is_in(&one(&mut store, repair(&envelope(1, 3, 1, 800)))));
}

#[test]
fn a_full_store_keeps_the_closest_records() {
    let mut store = store(Quotas { records: Some(20), ..Quotas::default() });
    let me = NodeId::from_bytes([0x5a; 32]);
    let center = Key::from_bytes([0x5a; 32]);
    let mut all: Vec<Envelope> = (0..100).map(|name| envelope(name, 1, 1, 50)).collect();
    for full in &all[..20] {
        assert!(is_in(&one(&mut store, put(full))));
    }
    assert_eq!(one(&mut store, put(&all[20])), FULL, "without a position none gives way");
    assert!(store.is_full());
    store.set_center(me);
    for more in &all[20..] {
        // The third envelope and later ones also arrive by repair: displacement follows the same rule.
        let op = if more.head().dot() == Dot::from_raw(1) { put(more) } else { repair(more) };
        let reply = one(&mut store, op);
        assert!(is_in(&reply) || reply == FULL, "{reply:?}");
        assert_eq!(store.stats().envelopes, 20);
    }
    all.sort_by_key(|envelope| center.distance(&envelope.head().key()));
    let (near, far) = all.split_at(20);
    assert!(near.iter().all(|envelope| holds(&mut store, envelope)));
    assert!(!far.iter().any(|envelope| holds(&mut store, envelope)));
    assert!(store.stats().displaced > 20);
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_member_below_its_share_displaces_one_over_its_share_and_not_the_other_way_round() {
    let mut store = store(Quotas { records: Some(30), ..Quotas::default() });
    store.set_center(NodeId::from_bytes([0x5a; 32]));
    let small: Vec<Envelope> = (0..5).map(|name| envelope(1000 + name, 2, 1, 50)).collect();
    for envelope in &small {
        assert!(is_in(&one(&mut store, put(envelope))));
    }
    let mut refused = 0;
    for name in 0..300 {
        let reply = one(&mut store, put(&envelope(name, 1, 1, 50)));
        refused += u32::from(reply == QUOTA);
        assert!(is_in(&reply) || reply == QUOTA, "{reply:?}");
    }
    // A flood of records close to this node displaces only records of the flood.
    assert!(refused > 0);
    assert!(small.iter().all(|envelope| holds(&mut store, envelope)));
    for name in 0..9 {
        let reply = one(&mut store, put(&envelope(2000 + name, 2, 1, 50)));
        assert!(is_in(&reply), "{name}: {reply:?}");
    }
    assert_eq!(store.stats().envelopes, 30);
    assert!(store.stats().member_bytes_max > 0);
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_node_writes_its_own_into_a_store_that_others_filled() {
    let own = |name: u32| {
        let envelope = envelope(name, 2, 1, 300);
        StorageOp::Merge { envelope, place: Place::Own, how: MergeAs::Repair }
    };
    let filled = |hog: u8, others: u32| {
        let mut store = MemoryStore::in_memory();
        store.set_center(NodeId::from_bytes([0x5a; 32]));
        for name in 0..others {
            assert!(is_in(&one(&mut store, put(&envelope(1000 + name, 3 + name as u8, 1, 50)))));
        }
        for name in 0..40 {
            assert!(is_in(&one(&mut store, put(&envelope(name, hog, 1, 300)))));
        }
        store.set_disk_bytes(Some(store.stats().row_bytes));
        store
    };
    let mut store = filled(1, 5);
    for name in 0..10 {
        let reply = one(&mut store, own(2000 + name));
        assert!(is_in(&reply), "{name}: {reply:?}");
    }
    let others: Vec<Envelope> =
        (0..5).map(|name| envelope(1000 + name, 3 + name as u8, 1, 50)).collect();
    assert!(others.iter().all(|envelope| holds(&mut store, envelope)), "they have their share");
    assert!(store.stats().displaced > 0);
    assert_eq!(store.counters_hold(), Ok(true));
    // If one member has everything, its usage is its fair share, and the store is simply full.
    let mut store = filled(1, 0);
    assert_eq!(one(&mut store, own(2000)), FULL);
}

#[test]
fn what_writers_have_is_right_after_every_operation_and_after_a_crash() {
    let mut rng = Rng::from_number(9);
    let mut store = store(Quotas { records: Some(40), ..Quotas::default() });
    store.set_center(NodeId::from_bytes([0x11; 32]));
    for step in 0..600_u64 {
        let (name, by) = (rng.below(60) as u32, rng.below(5) as u8 + 1);
        let bytes = rng.below(400) as usize + 1;
        let one_of = envelope(name, by, 1 + rng.below(4), bytes);
        let key = one_of.head().key();
        let op = match rng.below(12) {
            0 => StorageOp::Remove { key, place: Place::Replica },
            1 => StorageOp::TakeBack {
                key,
                writer: one_of.head().writer(),
                envelope: one_of.head().id(),
                previous: None,
                place: Place::Replica,
            },
            2 => StorageOp::Expire { now: UnixMillis(LIVES + rng.below(10)), limit: 5 },
            3 => {
                store.damage(&key, Place::Replica);
                StorageOp::Load { key, place: Place::Replica }
            }
            4..=7 => repair(&one_of),
            _ => put(&one_of),
        };
        store.apply(&[op]);
        if step % 50 == 0 {
            store.crash();
            store.set_quotas(&Quotas { records: Some(40), ..Quotas::default() });
        }
        check_shares(&store);
    }
    assert!(store.stats().members > 0);
}

/// Compares the usage rows with the envelopes.
fn check_shares(store: &MemoryStore) {
    let backend = store.backend();
    let mut counted: BTreeMap<PublicKey, Share> = BTreeMap::new();
    let (from, to) = rows::replica_rows().into_inner();
    for row in backend.range(&from, &to) {
        let (row, value) = row.expect("a map in memory cannot fail");
        let share = counted.entry(rows::envelope_writer(&row).expect("a writer")).or_default();
        *share = share.changed(None, Some(value.len()));
    }
    let (from, to) = rows::share_rows().into_inner();
    let said: BTreeMap<PublicKey, Share> = backend
        .range(&from, &to)
        .map(|row| {
            let (row, value) = row.expect("a map in memory cannot fail");
            let writer = row[1..].try_into().expect("32 bytes");
            (PublicKey::from_bytes(writer), Share::decode(&value).expect("a share"))
        })
        .collect();
    assert_eq!(said, counted);
    assert_eq!(store.stats().members, counted.len() as u64);
}

#[test]
fn the_farthest_keys_come_in_the_order_of_their_distance() {
    let mut store = MemoryStore::in_memory();
    let envelopes: Vec<Envelope> = (0..500).map(|name| envelope(name, 1, 1, 1)).collect();
    store.apply(&envelopes.iter().map(repair).collect::<Vec<_>>());
    let mut rng = Rng::from_number(3);
    for most in [1, 7, 32, 600] {
        let center = Key::from_bytes(rng.bytes());
        let index = crate::fingerprints::FingerprintIndex::default();
        let txn = Txn::new(store.backend(), &index, Ledger::default(), Room::Plenty, Limits::NONE);
        let found: Vec<Key> =
            farthest(&txn, &center, most).expect("reads").into_iter().map(|it| it.0).collect();
        let mut expected: Vec<Key> = envelopes.iter().map(|it| it.head().key()).collect();
        expected.sort_by_key(|key| std::cmp::Reverse(center.distance(key)));
        expected.truncate(most);
        assert_eq!(found, expected);
    }
}

#[test]
fn shares_of_an_older_version_are_counted_once() {
    let mut store = MemoryStore::in_memory();
    for by in 1..=3 {
        for name in 0..u32::from(by) {
            store.apply(&[repair(&envelope(name, by, 1, 30))]);
        }
    }
    store.forget_shares();
    assert_eq!(store.stats().members, Ledger::UNCOUNTED);
    store.crash();
    assert_eq!(store.stats().members, 3);
    check_shares(&store);
    assert_eq!(store.counters_hold(), Ok(true));
}
