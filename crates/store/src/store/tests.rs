use bytes::Bytes;
use potluck_base::{Admission, Identity};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, MergeAs, Merged, Name, Place, Space, StateDigest,
};

use super::*;
use crate::backend::{RowIter, Usage};

const CORRUPT: StorageReply = StorageReply::Failed(StorageFailure::Corrupt);
const STOPPED: StorageReply = StorageReply::Failed(StorageFailure::Stopped);

fn envelope(writer: u8, dot: u64, expires: u64) -> Envelope {
    envelope_of("n", writer, dot, expires)
}

fn envelope_of(name: &str, writer: u8, dot: u64, expires: u64) -> Envelope {
    let network = NetworkId::new("test", Admission::Lab, None);
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new(name).expect("good name")),
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

/// Writes a row without the record logic.
fn overwrite<B: Backend>(store: &mut RecordStore<B>, row: Vec<u8>, value: Option<&'static [u8]>) {
    let changes = [(row, value.map(Bytes::from_static))].into();
    store.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
}

fn digest(store: &mut MemoryStore, key: Key) -> Option<StateDigest> {
    match store.apply(&[StorageOp::Scan { from: key, to: key, limit: 1 }]).as_slice() {
        [StorageReply::Scanned { entries, .. }] => entries.first().map(|(_, digest)| *digest),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_envelope_is_reported_once_and_then_not_held_until_a_good_one_comes() {
    let mut store = MemoryStore::in_memory();
    let [one, two] = [envelope(1, 1, 100), envelope(2, 1, 200)];
    let key = one.head().key();
    store.apply(&[merge(&one, Place::Replica), merge(&two, Place::Replica)]);
    let whole = digest(&mut store, key);
    let load = StorageOp::Load { key, place: Place::Replica };
    // An envelope in the row of another is treated like garbage.
    for bytes in [Bytes::from_static(b"no envelope"), two.encode()] {
        let changes = [(row(&one), Some(bytes))].into();
        store.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
        let before = store.stats().corrupt_rows;
        assert_eq!(
            store.apply(std::slice::from_ref(&load)),
            [CORRUPT],
            "a part is not taken for all"
        );
        assert_eq!(store.stats().corrupt_rows, before + 1);
        // The digest that other nodes compare describes the remaining envelopes, so they restore the missing
        // ones.
        let left = Some(StateDigest::EMPTY.with(two.head()));
        assert_eq!(digest(&mut store, key), left);
        let loaded = StorageReply::Loaded { envelopes: vec![two.clone()] };
        assert_eq!(store.apply(std::slice::from_ref(&load)), [loaded]);
        assert_eq!(store.counters_hold(), Ok(true));
        let replies = store.apply(&[merge(&one, Place::Replica)]);
        let merged = StorageReply::Merged { outcome: Merged::New, digest: whole.expect("held") };
        assert_eq!(replies, [merged]);
        assert_eq!((digest(&mut store, key), store.counters_hold()), (whole, Ok(true)));
    }
    let loaded = store.apply(std::slice::from_ref(&load));
    let [StorageReply::Loaded { envelopes }] = loaded.as_slice() else { panic!("{loaded:?}") };
    assert_eq!(envelopes.len(), 2);
    // A merge that is the first to find the damage is executed.
    overwrite(&mut store, row(&one), Some(b"no envelope"));
    let replies = store.apply(&[merge(&one, Place::Replica)]);
    assert!(matches!(replies[..], [StorageReply::Merged { outcome: Merged::New, .. }]));
    assert_eq!((digest(&mut store, key), store.counters_hold()), (whole, Ok(true)));
    let replies = store.apply(&[StorageOp::Remove { key, place: Place::Replica }, load]);
    assert_eq!(replies[0], StorageReply::Removed);
    assert_eq!(replies[1], StorageReply::Loaded { envelopes: Vec::new() });
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_key_of_which_nothing_can_be_read_is_not_held() {
    let mut store = MemoryStore::in_memory();
    let one = envelope(1, 1, 100);
    let key = one.head().key();
    store.apply(&[merge(&one, Place::Replica)]);
    assert_eq!(store.damage(&key, Place::Replica), 1);
    let load = StorageOp::Load { key, place: Place::Replica };
    let replies = store.apply(&[load.clone(), load]);
    assert_eq!(replies, [CORRUPT, StorageReply::Loaded { envelopes: Vec::new() }]);
    assert_eq!((digest(&mut store, key), store.stats().records), (None, 0));
    let replies = store.apply(&[merge(&one, Place::Replica)]);
    assert!(matches!(replies[..], [StorageReply::Merged { outcome: Merged::New, .. }]));
    assert_eq!((store.stats().records, store.counters_hold()), (1, Ok(true)));
    // If the row is damaged again and not written again, it is dropped when it expires.
    store.damage(&key, Place::Replica);
    store.apply(&[StorageOp::Load { key, place: Place::Replica }]);
    store.apply(&[StorageOp::Expire { now: UnixMillis(100), limit: 10 }]);
    assert_eq!(store.backend.get(&row(&one)).map(|row| row.is_none()), Ok(true));
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_damaged_own_envelope_is_never_taken_for_none() {
    let mut store = MemoryStore::in_memory();
    let one = envelope(1, 1, 100);
    let key = one.head().key();
    store.apply(&[merge(&one, Place::Own)]);
    assert_eq!(store.damage(&key, Place::Own), 1);
    let load = StorageOp::Load { key, place: Place::Own };
    // Otherwise its writer would issue a dot for the second time.
    let replies = store.apply(&[load.clone(), load, merge(&one, Place::Own)]);
    assert_eq!(replies, [CORRUPT, CORRUPT, CORRUPT]);
}

#[test]
fn a_damaged_summary_fails_what_meets_it_once_and_is_made_anew() {
    let one = envelope(1, 1, 100);
    let key = one.head().key();
    let (from, to) = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
    let scan = StorageOp::Scan { from, to, limit: 10 };
    for first in [
        StorageOp::Load { key, place: Place::Replica },
        scan.clone(),
        StorageOp::Fingerprint { from, to },
        merge(&one, Place::Replica),
    ] {
        let mut store = MemoryStore::in_memory();
        store.apply(&[merge(&one, Place::Replica), merge(&one, Place::Own)]);
        let whole = store.apply(std::slice::from_ref(&scan));
        overwrite(&mut store, rows::summary_row(&key), Some(b"nonsense"));
        overwrite(&mut store, vec![b'h', 0x11], Some(b"the row of no key"));
        let own = StorageOp::Load { key, place: Place::Own };
        let load = StorageOp::Load { key, place: Place::Replica };
        let replies = store.apply(&[first.clone(), own, load]);
        let is_merge = matches!(first, StorageOp::Merge { .. });
        assert_eq!(replies[0] == CORRUPT, !is_merge, "{first:?}: {replies:?}");
        let loaded = StorageReply::Loaded { envelopes: vec![one.clone()] };
        assert_eq!(replies[1..], [loaded.clone(), loaded], "{first:?}");
        store.apply(std::slice::from_ref(&scan));
        assert_eq!(store.apply(std::slice::from_ref(&scan)), whole, "{first:?}");
        assert_eq!(store.counters_hold(), Ok(true), "{first:?}");
    }
}

#[test]
fn expiry_gets_over_damaged_rows_and_leftover_entries() {
    let mut store = MemoryStore::in_memory();
    let [one, two, three] = [envelope(1, 1, 100), envelope(2, 1, 200), envelope(3, 1, 900)];
    store.apply(&[&one, &two, &three].map(|envelope| merge(envelope, Place::Replica)));
    overwrite(&mut store, row(&one), Some(b"no envelope"));
    // Index entries without an envelope, with another time, and with garbage.
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

/// A backend whose commits or reads fail on demand.
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
        let mut store = RecordStore::load(Faulty::default(), Durability::Synced, Limits::NONE)
            .expect("nothing fails yet");
        store.backend.commits_fail = commits_fail;
        store.backend.reads_fail = reads_fail;
        assert_eq!(store.apply(&ops), [STOPPED, STOPPED]);
        assert_eq!(store.stopped(), Some("the disk is gone"));
        // Also after the disk works again, because its contents are unknown.
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
    let many = (0..600).map(|number| envelope_of(&format!("n{number}"), 1, 1, 100));
    store.apply(&many.map(|own| merge(&own, Place::Own)).collect::<Vec<_>>());
    assert_eq!((store.forget_own(), store.stats().own), (Ok(600), 0));
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn dead_providers_keep_no_living_one_out() {
    use potluck_record::limits::{PROVIDERS_MAX, writers_max};
    let network = NetworkId::new("test", Admission::Lab, None);
    let now = UnixMillis(1_000_000_000);
    let provider = |writer: u64, at: u64| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&writer.to_be_bytes());
        let expires = now.plus(std::time::Duration::from_secs(at));
        let draft = Draft {
            space: Space::Provider,
            name: Some(Name::new("n").expect("good name")),
            kind: Kind::PerWriter,
            values: vec![(Dot::from_raw(at), expires, Bytes::from_static(b"here"))],
            dot: Dot::from_raw(at),
            context: Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&Identity::from_seed(seed), &network, draft).expect("a good draft")
    };
    let mut store = MemoryStore::in_memory();
    let mut put = |envelope: &Envelope| {
        let how =
            MergeAs::Ingress { writers_max: writers_max(Space::Provider, Kind::PerWriter), now };
        let op = StorageOp::Merge { envelope: envelope.clone(), place: Place::Replica, how };
        let reply = store.apply(&[op]).remove(0);
        assert_eq!(store.counters_hold(), Ok(true));
        let key = envelope.head().key();
        let [StorageReply::Loaded { envelopes }] =
            &*store.apply(&[StorageOp::Load { key, place: Place::Replica }])
        else {
            panic!("not loaded");
        };
        (reply, envelopes.clone())
    };
    let most = u64::from(PROVIDERS_MAX);
    for number in 1..=most {
        put(&provider(number, 100 + number));
    }
    let late = provider(9999, 5000);
    let (reply, held) = put(&late);
    assert!(matches!(reply, StorageReply::Merged { outcome: Merged::New, .. }), "{reply:?}");
    assert_eq!(held.len() as u64, most);
    let writers: Vec<_> = held.iter().map(|held| held.head().writer()).collect();
    assert!(writers.contains(&late.head().writer()));
    assert!(!writers.contains(&provider(1, 101).head().writer()), "the first to expire went");
    // A record that expires before all others gets no place.
    let (reply, held) = put(&provider(10_000, 50));
    assert_eq!((reply, held.len() as u64), (StorageReply::TooManyWriters, most));
}

#[test]
fn a_key_with_all_the_rows_it_may_have_is_merged_by_its_writers_and_lets_no_further_one_in() {
    use potluck_record::limits::WRITERS_KEPT_MAX;
    let network = NetworkId::new("test", Admission::Lab, None);
    let now = UnixMillis(1);
    let value = |writer: u16, dot: u64, context: Context| {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&writer.to_be_bytes());
        let (dot, expires) = (Dot::from_raw(dot), UnixMillis(1_000));
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new("n").expect("good name")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from_static(b"v"))],
            dot,
            context,
            expires,
            certificate: None,
        };
        Envelope::sign(&Identity::from_seed(seed), &network, draft).expect("a good draft")
    };
    let mut store = MemoryStore::in_memory();
    let rows = (0..=WRITERS_KEPT_MAX).map(|writer| value(writer, 5, Context::new()));
    let repair =
        |envelope| StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair };
    store.apply(&rows.map(repair).collect::<Vec<_>>());
    let mut put = |envelope| {
        let how = MergeAs::Ingress { writers_max: 32, now };
        store.apply(&[StorageOp::Merge { envelope, place: Place::Replica, how }]).remove(0)
    };
    let mut all = Context::new();
    all.raise_floor(Dot::from_raw(5));
    let further = value(WRITERS_KEPT_MAX + 1, 6, all.clone());
    assert_eq!(put(further), StorageReply::TooManyWriters);
    let merged = put(value(0, 6, all.clone()));
    assert!(matches!(merged, StorageReply::Merged { outcome: Merged::Newer, .. }), "{merged:?}");
    // A superseded writer may merge too: only one other writer has a value.
    let merged = put(value(1, 7, all));
    assert!(matches!(merged, StorageReply::Merged { outcome: Merged::Newer, .. }), "{merged:?}");
}

impl MemoryStore {
    /// The rows of the index of names.
    pub(crate) fn name_rows(&self) -> usize {
        self.backend.range(b"n", b"o").filter(Result::is_ok).count()
    }

    /// Changes the rows to those of a version without an index of names.
    pub(crate) fn drop_names(&mut self) {
        let found: Vec<Vec<u8>> = self
            .backend
            .range(b"n", b"o")
            .filter_map(|row| Some(row.ok()?.0.to_vec()))
            .chain([rows::meta_row(META_NAMES)])
            .collect();
        let changes = found.into_iter().map(|row| (row, None)).collect();
        self.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
    }
}
