use bytes::Bytes;
use potluck_base::{Admission, Identity};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, MergeAs, Name, Place, Space};

use super::*;
use crate::backend::{RowIter, Usage};

const CORRUPT: StorageReply = StorageReply::Failed(StorageFailure::Corrupt);
const STOPPED: StorageReply = StorageReply::Failed(StorageFailure::Stopped);

fn envelope(writer: u8, dot: u64, expires: u64) -> Envelope {
    let network = NetworkId::new("test", Admission::Lab, None);
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new("n").expect("good name")),
        kind: Kind::Siblings,
        values: vec![(Dot::from_raw(dot), UnixMillis(expires), Bytes::from_static(b"value"))],
        dot: Dot::from_raw(dot),
        context: Context::new(),
        expires: UnixMillis(expires),
        certificate: None,
    };
    Envelope::sign(&Identity::from_seed([writer; 32]), &network, draft).expect("a good draft")
}

fn merge(envelope: &Envelope, place: Place) -> StorageOp {
    StorageOp::Merge { envelope: envelope.clone(), place, how: MergeAs::Repair }
}

fn row(envelope: &Envelope) -> Vec<u8> {
    let head = envelope.head();
    rows::envelope_row(Place::Replica, &head.key(), &head.writer())
}

/// Writes past the record logic.
fn overwrite<B: Backend>(store: &mut RecordStore<B>, row: Vec<u8>, value: Option<&'static [u8]>) {
    let changes = [(row, value.map(Bytes::from_static))].into();
    store.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
}

#[test]
fn a_damaged_envelope_is_reported_and_counted_and_removing_its_key_heals() {
    let mut store = MemoryStore::in_memory();
    let [one, two] = [envelope(1, 1, 100), envelope(2, 1, 200)];
    let key = one.head().key();
    store.apply(&[merge(&one, Place::Replica), merge(&two, Place::Replica)]);
    overwrite(&mut store, row(&one), Some(b"no envelope"));
    let load = StorageOp::Load { key, place: Place::Replica };
    let again = merge(&one, Place::Replica);
    assert_eq!(store.apply(&[load.clone(), again]), [CORRUPT, CORRUPT]);
    assert_eq!(store.stats().corrupt_rows, 2);
    // An envelope of another row is no better than garbage.
    let misplaced = two.encode();
    let changes = [(row(&one), Some(misplaced))].into();
    store.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
    assert_eq!(store.apply(std::slice::from_ref(&load)), [CORRUPT]);

    let replies = store.apply(&[
        StorageOp::Remove { key, place: Place::Replica },
        load,
        merge(&one, Place::Replica),
    ]);
    assert_eq!(replies[0], StorageReply::Removed);
    assert_eq!(replies[1], StorageReply::Loaded { envelopes: Vec::new() });
    assert!(matches!(replies[2], StorageReply::Merged { .. }));
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_damaged_summary_fails_its_key_only_until_the_key_is_removed() {
    let mut store = MemoryStore::in_memory();
    let one = envelope(1, 1, 100);
    let key = one.head().key();
    store.apply(&[merge(&one, Place::Replica), merge(&one, Place::Own)]);
    overwrite(&mut store, rows::summary_row(&key), Some(b"nonsense"));
    let replies = store.apply(&[
        merge(&one, Place::Replica),
        StorageOp::Load { key, place: Place::Own },
        StorageOp::Remove { key, place: Place::Replica },
        merge(&one, Place::Replica),
    ]);
    assert_eq!(replies[0], CORRUPT);
    assert_eq!(replies[1], StorageReply::Loaded { envelopes: vec![one] });
    assert_eq!(replies[2], StorageReply::Removed);
    assert!(matches!(replies[3], StorageReply::Merged { .. }));
}

#[test]
fn expiry_gets_over_damaged_rows_and_leftover_entries() {
    let mut store = MemoryStore::in_memory();
    let [one, two, three] = [envelope(1, 1, 100), envelope(2, 1, 200), envelope(3, 1, 900)];
    store.apply(&[&one, &two, &three].map(|envelope| merge(envelope, Place::Replica)));
    overwrite(&mut store, row(&one), Some(b"no envelope"));
    // An entry without an envelope, one that names another time, one that is nonsense.
    let absent = ExpiryEntry::of(Place::Own, two.head());
    let untrue =
        ExpiryEntry { expires: UnixMillis(150), ..ExpiryEntry::of(Place::Replica, three.head()) };
    overwrite(&mut store, absent.row(), Some(b""));
    overwrite(&mut store, untrue.row(), Some(b""));
    overwrite(&mut store, absent.row()[..40].to_vec(), Some(b""));
    let expire = |now| StorageOp::Expire { now: UnixMillis(now), limit: 100 };
    let replies = store.apply(&[expire(500), expire(500)]);
    assert_eq!(replies[0], StorageReply::Expired { dropped: 2, more: false });
    assert_eq!(replies[1], StorageReply::Expired { dropped: 0, more: false });
    assert_eq!(store.next_expiry(), Some(UnixMillis(900)));
    assert_eq!(store.counters_hold(), Ok(true));
    let key = three.head().key();
    let replies = store.apply(&[StorageOp::Load { key, place: Place::Replica }]);
    assert_eq!(replies, [StorageReply::Loaded { envelopes: vec![three] }]);
}

#[test]
fn counters_that_are_lost_are_counted_anew() {
    let mut store = MemoryStore::in_memory();
    store.apply(&[merge(&envelope(1, 1, 100), Place::Replica)]);
    store.apply(&[merge(&envelope(1, 1, 50), Place::Own)]);
    let before = store.ledger;
    for broken in [None, Some(b"nonsense".as_slice())] {
        overwrite(&mut store, rows::meta_row(META_LEDGER), broken);
        store.crash();
        assert_eq!(store.ledger, before);
        assert_eq!(store.next_expiry(), Some(UnixMillis(50)));
    }
}

/// A backend whose commits or reads fail when told to.
#[derive(Default)]
struct Faulty {
    inner: MemoryBackend,
    commits_fail: bool,
    reads_fail: bool,
}

impl Faulty {
    fn check(fails: bool) -> Result<(), BackendError> {
        if fails { Err(BackendError::Broken("the disk is gone".to_owned())) } else { Ok(()) }
    }
}

impl Backend for Faulty {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        Self::check(self.reads_fail)?;
        self.inner.get(key)
    }

    fn range(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        self.inner.range(from, to)
    }

    fn commit(&mut self, changes: Changes, durability: Durability) -> Result<(), BackendError> {
        Self::check(self.commits_fail)?;
        self.inner.commit(changes, durability)
    }

    fn sync(&mut self) -> Result<(), BackendError> {
        Self::check(self.commits_fail)
    }

    fn room(&self) -> Room {
        Room::Plenty
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

#[test]
fn after_a_disk_error_nothing_is_acknowledged_any_more() {
    let one = envelope(1, 1, 100);
    let ops = [
        StorageOp::Load { key: one.head().key(), place: Place::Replica },
        merge(&one, Place::Replica),
    ];
    for (commits_fail, reads_fail) in [(true, false), (false, true)] {
        let mut store = RecordStore::load(Faulty::default(), Durability::Synced, u64::MAX)
            .expect("nothing fails yet");
        store.backend.commits_fail = commits_fail;
        store.backend.reads_fail = reads_fail;
        assert_eq!(store.apply(&ops), [STOPPED, STOPPED]);
        assert_eq!(store.stopped(), Some("the disk is gone"));
        // Also when the disk is back: what is on it is not known.
        store.backend.commits_fail = false;
        store.backend.reads_fail = false;
        assert_eq!(store.apply(&ops), [STOPPED, STOPPED]);
        assert!(!store.sync());
        assert_eq!(store.stats().envelopes, 0);
    }
}

#[test]
fn a_new_identity_leaves_the_own_envelopes_behind_and_keeps_the_replicas() {
    let mut store = MemoryStore::in_memory();
    let first = envelope(1, 1, 100);
    store.apply(&[merge(&first, Place::Own), merge(&first, Place::Replica)]);
    assert_eq!(store.forget_own(), Ok(1));
    assert_eq!((store.stats().own, store.stats().envelopes), (0, 1));
    assert_eq!(store.counters_hold(), Ok(true));
    let key = first.head().key();
    let loads = [Place::Own, Place::Replica].map(|place| StorageOp::Load { key, place });
    let found = store.apply(&loads).into_iter().map(|reply| match reply {
        StorageReply::Loaded { envelopes } => envelopes.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(found.collect::<Vec<_>>(), [0, 1]);
    assert_eq!(store.forget_own(), Ok(0));
}
