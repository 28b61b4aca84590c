//! A page that went bad under a closed store: every read gives the right bytes or an error, the store goes
//! on without the page, and nothing that can be read is lost.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Spec, load, merge, network, small};
use potluck_base::Key;
use potluck_record::{Envelope, MergeAs, Merged, Place, StorageFailure, StorageOp, StorageReply};
use potluck_store::{DiskStore, FolderLock, StoreConfig, VerifyOptions, verify_records};

/// Far longer than healing takes here.
const BOUND: Duration = Duration::from_secs(120);
const HEALING: StorageReply = StorageReply::Failed(StorageFailure::Healing);
const RECORDS: u32 = 1500;

fn spec(number: u32) -> Spec {
    Spec { bytes: 700, expires: 1_000_000 + u64::from(number), ..Spec::new(number, 1, 1) }
}

/// The own envelope of a key that this node holds as replica too, for half of them; one that it holds as
/// writer only for the others.
fn own(number: u32) -> StorageOp {
    let envelope = match number % 2 {
        0 => spec(number).sign(),
        _ => Spec { bytes: 300, dot: 2, expires: 2_000_000, ..spec(number) }.sign(),
    };
    StorageOp::Merge { envelope, place: Place::Own, how: MergeAs::Repair }
}

/// A store whose rows are all in tables, most of them of one level.
fn fill(folder: &Path) -> BTreeMap<Key, Envelope> {
    let mut store = DiskStore::open(folder, &small()).expect("opens");
    let mut held = BTreeMap::new();
    for first in (0..RECORDS).step_by(100) {
        let envelopes = (first..first + 100).map(|number| spec(number).sign());
        let envelopes: Vec<Envelope> = envelopes.collect();
        store.apply(&envelopes.iter().cloned().map(merge).collect::<Vec<_>>());
        store.apply(&(first..first + 100).map(own).collect::<Vec<_>>());
        held.extend(envelopes.into_iter().map(|envelope| (envelope.head().key(), envelope)));
    }
    held
}

fn tables(folder: &Path) -> Vec<PathBuf> {
    let tables = folder.join("records/keyspaces/1/tables");
    let mut found: Vec<PathBuf> = std::fs::read_dir(tables)
        .expect("there are some")
        .map(|table| table.expect("readable").path())
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, eighth: usize) {
    let mut bytes = std::fs::read(path).expect("reads");
    let place = bytes.len() * eighth / 8;
    bytes[place] ^= 0x04;
    std::fs::write(path, bytes).expect("writes");
}

/// Applies an operation, over healing.
fn healed(store: &mut DiskStore, op: &StorageOp) -> StorageReply {
    let began = Instant::now();
    loop {
        let reply = store.apply(std::slice::from_ref(op)).remove(0);
        if reply != HEALING {
            return reply;
        }
        assert!(began.elapsed() < BOUND, "it does not heal");
        std::thread::yield_now();
    }
}

fn folder_with(sound: &Path, copied: &Path) {
    std::fs::create_dir_all(copied).expect("writable");
    for entry in std::fs::read_dir(sound).expect("a folder") {
        let path = entry.expect("readable").path();
        let target = copied.join(path.file_name().expect("a file"));
        if path.is_dir() {
            folder_with(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Reads all records: how many are there, each of them right. A key that cannot be read is asked for again
/// when the store has healed.
fn read_all(store: &mut DiskStore, held: &BTreeMap<Key, Envelope>) -> usize {
    let mut found = 0;
    for (key, envelope) in held {
        let mut reply = healed(store, &load(*key));
        if reply == StorageReply::Failed(StorageFailure::Corrupt) {
            reply = healed(store, &load(*key));
        }
        match reply {
            StorageReply::Loaded { envelopes } => {
                assert!(envelopes.iter().all(|found| found == envelope), "wrong data");
                found += envelopes.len();
            }
            other => panic!("{other:?}"),
        }
    }
    found
}

/// Reads everything; what is damaged is healed first.
fn counters_hold(store: &mut DiskStore) {
    if store.counters_hold().is_err() {
        healed(store, &load(spec(0).key()));
    }
    healed(store, &load(spec(0).key()));
    assert_eq!(store.counters_hold(), Ok(true));
}

fn is_whole(folder: &Path) {
    let lock = FolderLock::acquire_to_read(folder).expect("free").expect("a data folder");
    let mut progress = |_| {};
    let mut options =
        VerifyOptions { network: network(), signatures: true, progress: &mut progress };
    let (verified, _lock) = verify_records(lock, &mut options).expect("reads");
    let left = verified.findings.first().iter().filter(|finding| {
        // What is left of an own envelope says that it was lost.
        finding.wrong != potluck_store::Wrong::Own
    });
    assert_eq!(left.collect::<Vec<_>>(), Vec::<&potluck_store::Finding>::new());
}

#[test]
fn a_bad_page_is_met_by_reads_and_healed() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = folder.path().join("sound");
    let held = fill(&sound);
    let mut lost_somewhere = 0;
    for (number, table) in tables(&sound).iter().enumerate().take(6) {
        for eighth in [2, 5] {
            let copied = folder.path().join(format!("{number}-{eighth}"));
            folder_with(&sound, &copied);
            flip(&copied.join(table.strip_prefix(&sound).expect("inside")), eighth);
            let mut store = DiskStore::open(&copied, &small()).expect("opens");
            let found = read_all(&mut store, &held);
            assert!(found > held.len() * 8 / 10, "{found} of {} are left", held.len());
            lost_somewhere += held.len() - found;
            assert_eq!(store.stopped(), None);
            // What was lost is taken from others, and then all is there.
            for envelope in held.values() {
                let reply = healed(&mut store, &merge(envelope.clone()));
                assert!(matches!(reply, StorageReply::Merged { .. }), "{reply:?}");
            }
            assert_eq!(read_all(&mut store, &held), held.len());
            counters_hold(&mut store);
            drop(store);
            is_whole(&copied);
            std::fs::remove_dir_all(&copied).expect("removed");
        }
    }
    assert!(lost_somewhere > 0, "no page was hit");
}

#[test]
fn a_bad_page_that_a_compaction_meets_first_does_not_stop_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = fill(folder.path());
    tables(folder.path()).iter().for_each(|table| flip(table, 4));
    let config = StoreConfig { memory_bytes: 512 * 1024, ..small() };
    let mut store = DiskStore::open(folder.path(), &config).expect("opens");
    let mut written = BTreeMap::new();
    // So much that every table is compacted.
    for first in (0..20_000).step_by(200) {
        let envelopes = (first..first + 200).map(|number| spec(RECORDS + number % 6_000).sign());
        for envelope in envelopes {
            let reply = healed(&mut store, &merge(envelope.clone()));
            assert!(matches!(reply, StorageReply::Merged { .. }), "{reply:?}");
            written.insert(envelope.head().key(), envelope);
        }
        if store.stats().healed > 0 {
            break;
        }
    }
    assert_eq!(store.stopped(), None);
    let stats = store.stats();
    assert!(stats.healed > 0, "{stats:?}");
    assert_eq!(read_all(&mut store, &written), written.len());
    assert!(read_all(&mut store, &held) > held.len() / 2);
    let tombstone = Spec { bytes: 0, dot: 2, ..spec(RECORDS) }.sign();
    let reply = healed(&mut store, &merge(tombstone));
    assert!(matches!(reply, StorageReply::Merged { outcome: Merged::Newer, .. }), "{reply:?}");
    counters_hold(&mut store);
    drop(store);
    is_whole(folder.path());
}

/// Own envelopes that cannot be read; none is taken for absent.
fn own_lost(folder: &Path) -> usize {
    let own_load = |number| StorageOp::Load { key: spec(number).key(), place: Place::Own };
    let mut store = DiskStore::open(folder, &small()).expect("opens");
    let mut lost = 0;
    for number in 0..RECORDS {
        let mut reply = healed(&mut store, &own_load(number));
        if reply == StorageReply::Failed(StorageFailure::Corrupt) {
            reply = healed(&mut store, &own_load(number));
        }
        match reply {
            StorageReply::Failed(StorageFailure::Corrupt) => {
                assert_eq!(number % 2, 1, "its copy as replica is there");
                lost += 1;
            }
            StorageReply::Loaded { envelopes } => assert_eq!(envelopes.len(), 1, "{number}"),
            other => panic!("{other:?}"),
        }
    }
    lost
}

#[test]
fn an_own_envelope_on_a_bad_page_is_never_taken_for_none() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let sound = folder.path().to_owned();
    let parent = tempfile::tempdir().expect("a folder");
    let mut lost = 0;
    for (number, table) in tables(&sound).iter().enumerate().take(4) {
        for eighth in 1..8 {
            let copied = parent.path().join(format!("{number}-{eighth}"));
            folder_with(&sound, &copied);
            flip(&copied.join(table.strip_prefix(&sound).expect("inside")), eighth);
            lost += own_lost(&copied);
        }
    }
    assert!(lost > 0, "no own envelope was hit");
}

#[test]
fn a_kill_during_the_exchange_of_folders_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = fill(folder.path());
    let (records, old) = (folder.path().join("records"), folder.path().join("records.old"));
    // Between the two renames: the new folder may be there, complete or not.
    std::fs::rename(&records, &old).expect("renamed");
    std::fs::create_dir_all(folder.path().join("records.new/keyspaces")).expect("made");
    let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
    assert_eq!(read_all(&mut store, &held), held.len());
    drop(store);
    assert!(!old.exists());
    // After both.
    std::fs::create_dir_all(old.join("keyspaces")).expect("made");
    let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
    assert_eq!(read_all(&mut store, &held), held.len());
    assert!(!old.exists());
}
