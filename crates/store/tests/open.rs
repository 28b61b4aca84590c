//! Opening, closing and refusing data folders; full disks; damaged files.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{Spec, load, loaded, merge, network, scan_all, small};
use potluck_base::{Admission, NetworkId, Rng, UnixMillis};
use potluck_record::{
    Envelope, Merged, Place, StateDigest, StorageFailure, StorageOp, StorageReply,
};
use potluck_store::{DiskStore, FolderLock, MemoryStore, OpenError, StoreConfig};

const FULL: StorageReply = StorageReply::Failed(StorageFailure::Full);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn outcome(reply: &StorageReply) -> Merged {
    match reply {
        StorageReply::Merged { outcome, .. } => *outcome,
        other => panic!("expected a merge, got {other:?}"),
    }
}

#[test]
fn what_was_acknowledged_is_there_after_opening_again() {
    let folder = folder();
    let config = StoreConfig { memory_bytes: 1024 * 1024, ..StoreConfig::new(network()) };
    let envelopes: Vec<Envelope> = (0..2_000)
        .map(|n| Spec { bytes: 600, ..Spec::new(n / 2, (n % 2) as u8 + 1, 1) }.sign())
        .collect();
    let mut store = DiskStore::open(folder.path(), &config).expect("opens");
    for batch in envelopes.chunks(250) {
        let ops: Vec<_> = batch.iter().cloned().map(merge).collect();
        assert!(store.apply(&ops).iter().all(|reply| outcome(reply) == Merged::New));
    }
    let before = store.stats();
    assert_eq!((before.records, before.envelopes, before.commits), (1_000, 2_000, 8));
    assert!(before.disk_bytes > before.record_bytes);
    drop(store);

    let mut store = DiskStore::open(folder.path(), &config).expect("opens again");
    let after = store.stats();
    assert_eq!((after.records, after.row_bytes), (before.records, before.row_bytes));
    for pair in envelopes.chunks(2) {
        let replies = store.apply(&[load(pair[0].head().key())]);
        let held: BTreeSet<_> = loaded(&replies[0]).iter().map(Envelope::encode).collect();
        assert_eq!(held, pair.iter().map(Envelope::encode).collect());
    }
    assert_eq!(store.counters_hold(), Ok(true));
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_afterwards() {
    let folder = folder();
    let store = DiskStore::open(folder.path(), &small()).expect("opens");
    let error = DiskStore::open(folder.path(), &small()).map(drop).expect_err("in use");
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by another node"));
    drop(store);
    let lock = FolderLock::acquire(folder.path()).expect("free");
    assert!(matches!(FolderLock::acquire(folder.path()), Err(OpenError::Locked { .. })));
    DiskStore::open_locked(lock, &small()).map(drop).expect("opens with the lock");
    DiskStore::open(folder.path(), &small()).map(drop).expect("opens again");
}

#[test]
fn a_folder_of_another_network_is_refused_and_left_alone() {
    let folder = folder();
    let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
    let spec = Spec::new(1, 1, 1);
    store.apply(&[merge(spec.sign())]);
    drop(store);
    let other = NetworkId::new("other", Admission::Lab, None);
    let error = DiskStore::open(folder.path(), &StoreConfig::new(other)).map(drop);
    assert!(matches!(error, Err(OpenError::OtherNetwork { .. })));
    let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
    assert_eq!(loaded(&store.apply(&[load(spec.key())])[0]), [spec.sign()]);
}

#[test]
fn a_newer_or_an_older_format_is_refused_with_both_numbers() {
    let opened = |format: u32| {
        let folder = folder();
        drop(DiskStore::open(folder.path(), &small()).expect("opens"));
        let database = fjall::Database::builder(folder.path().join("records")).open().unwrap();
        let rows = database.keyspace("rows", Default::default).unwrap();
        rows.insert(b"mformat", format.to_be_bytes()).unwrap();
        drop((rows, database));
        DiskStore::open(folder.path(), &small()).map(drop)
    };
    let error = opened(7).expect_err("newer");
    assert!(matches!(error, OpenError::NewerFormat { found: 7, known: 2 }), "{error}");
    let error = opened(1).expect_err("older");
    assert!(matches!(error, OpenError::OlderFormat { found: 1, known: 2 }), "{error}");
    opened(2).expect("it is the one that is known");
}

#[test]
fn a_kill_while_the_folder_is_made_does_not_spoil_it() {
    let folder = folder();
    let half_made = folder.path().join("records.new");
    std::fs::create_dir_all(half_made.join("keyspaces")).unwrap();
    std::fs::write(half_made.join("0.jnl"), b"half").unwrap();
    drop(DiskStore::open(folder.path(), &small()).expect("opens"));
    assert!(!half_made.exists());
}

#[test]
fn later_operations_of_a_batch_see_earlier_ones_and_reads_do_not_commit() {
    let mut store = MemoryStore::in_memory();
    let (one, two) = (Spec::new(1, 1, 1), Spec::new(1, 1, 2));
    let replies = store.apply(&[
        merge(one.sign()),
        load(one.key()),
        merge(two.sign()),
        merge(one.sign()),
        scan_all(10),
        StorageOp::Remove { key: one.key(), place: Place::Replica },
        load(one.key()),
    ]);
    assert_eq!(loaded(&replies[1]), [one.sign()]);
    assert_eq!(
        [0, 2, 3].map(|i| outcome(&replies[i])),
        [Merged::New, Merged::Newer, Merged::Older(two.sign().head().id())]
    );
    let digest = StateDigest::EMPTY.with(two.sign().head());
    let entries = vec![(one.key(), digest)];
    assert_eq!(replies[4], StorageReply::Scanned { entries, more: false });
    assert_eq!(loaded(&replies[6]), []);
    assert_eq!(store.stats().commits, 1);
    let nothing_due = StorageOp::Expire { now: UnixMillis(1), limit: 10 };
    store.apply(&[load(one.key()), scan_all(10), nothing_due]);
    assert_eq!((store.stats().commits, store.stats().ops), (1, 10));
}

#[test]
fn a_full_store_refuses_what_grows_and_goes_on_when_there_is_room() {
    let folder = folder();
    let config = StoreConfig { disk_bytes: Some(20_000), ..small() };
    let mut store = DiskStore::open(folder.path(), &config).expect("opens");
    let big = |name| Spec { bytes: 3_000, ..Spec::new(name, 1, 1) };
    let replies = store.apply(&(0..10).map(|name| merge(big(name).sign())).collect::<Vec<_>>());
    let held = replies.iter().filter(|reply| **reply != FULL).count();
    assert!((4..7).contains(&held), "{held} of 10 fit");
    assert!(store.stats().row_bytes <= 20_000);
    assert_eq!(store.stats().envelopes, held as u64);

    // The same again changes nothing and is no growth; a tombstone shrinks; reads work.
    let tombstone = Spec { bytes: 0, dot: 2, ..big(1) };
    let replies = store.apply(&[merge(big(0).sign()), merge(tombstone.sign()), load(big(0).key())]);
    assert_eq!(outcome(&replies[0]), Merged::Equal);
    assert_eq!(outcome(&replies[1]), Merged::Newer);
    assert_eq!(loaded(&replies[2]), [big(0).sign()]);

    // The tombstone made room for one.
    assert_eq!(outcome(&store.apply(&[merge(big(20).sign())])[0]), Merged::New);
    assert_eq!(store.apply(&[merge(big(21).sign())])[0], FULL);
    let replies = store.apply(&[
        StorageOp::Remove { key: big(0).key(), place: Place::Replica },
        merge(big(21).sign()),
        StorageOp::Expire { now: UnixMillis(2_000_000), limit: 100 },
        merge(big(22).sign()),
    ]);
    assert_eq!(outcome(&replies[1]), Merged::New);
    assert!(matches!(replies[2], StorageReply::Expired { dropped: 4.., more: false }));
    assert_eq!(outcome(&replies[3]), Merged::New);
    assert_eq!(store.counters_hold(), Ok(true));
    assert_eq!(store.stopped(), None);
}

#[test]
fn a_disk_without_its_reserve_refuses_new_data_only() {
    let folder = folder();
    let spec = Spec::new(1, 1, 1);
    let mut store = DiskStore::open(folder.path(), &small()).expect("opens");
    store.apply(&[merge(spec.sign())]);
    drop(store);
    // More than any disk has: there is "no" room left.
    let config = StoreConfig { reserve_bytes: u64::MAX, ..small() };
    let mut store = DiskStore::open(folder.path(), &config).expect("opens");
    let replies = store.apply(&[
        merge(Spec::new(2, 1, 1).sign()),
        merge(spec.sign()),
        load(spec.key()),
        StorageOp::Remove { key: spec.key(), place: Place::Replica },
    ]);
    assert_eq!(replies[0], FULL);
    assert_eq!(outcome(&replies[1]), Merged::Equal);
    assert_eq!(loaded(&replies[2]), [spec.sign()]);
    assert_eq!(replies[3], StorageReply::Removed);
    assert_eq!(store.stats().envelopes, 0);
}

#[test]
fn memory_can_be_changed_between_two_openings() {
    let folder = folder();
    for memory in [512, 1, 64] {
        let config = StoreConfig { memory_bytes: memory * 1024 * 1024, ..small() };
        let mut store = DiskStore::open(folder.path(), &config).expect("opens");
        for batch in 0..4u32 {
            let spec = |n: u32| Spec { bytes: 20_000, ..Spec::new(batch * 25 + n, 1, memory) };
            store.apply(&(0..25).map(|n| merge(spec(n).sign())).collect::<Vec<_>>());
        }
        let stats = store.stats();
        // Two MB were written; all of it may be in write buffers only where there is room for it.
        assert!(stats.memory_bytes < 4 * config.memory_bytes, "{memory} MiB: {stats:?}");
        assert_eq!(store.counters_hold(), Ok(true));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("a file"));
        if path.is_dir() { copy(&path, &target) } else { drop(std::fs::copy(&path, &target)) }
    }
}

type Damage = fn(&Path);

#[test]
fn without_a_sound_manifest_the_store_does_not_open_and_loses_no_table() {
    let folder = folder();
    let sound = folder.path().join("sound");
    let mut store = DiskStore::open(&sound, &small()).expect("opens");
    for first in (0..1_000).step_by(100) {
        let spec = |name| Spec { bytes: 900, ..Spec::new(name, 1, 1) };
        store.apply(&(first..first + 100).map(|name| merge(spec(name).sign())).collect::<Vec<_>>());
    }
    drop(store);
    let damages: [(&str, Damage); 4] = [
        ("version", |file| std::fs::remove_file(file).expect("writable")),
        ("keyspaces/1/current", |file| std::fs::remove_file(file).expect("writable")),
        ("keyspaces/1/current", |file| std::fs::write(file, [7; 25]).expect("writable")),
        ("keyspaces/1", |keyspace| {
            for file in files(keyspace) {
                let name = file.file_name().expect("a file").to_string_lossy().into_owned();
                if name.starts_with('v') {
                    let mut bytes = std::fs::read(&file).expect("reads");
                    bytes[60] ^= 1;
                    std::fs::write(&file, bytes).expect("writes");
                }
            }
        }),
    ];
    for (number, (file, damage)) in damages.into_iter().enumerate() {
        let copied = folder.path().join(number.to_string());
        copy(&sound, &copied);
        damage(&copied.join("records").join(file));
        let before = files(&copied);
        assert!(before.iter().any(|file| file.parent().is_some_and(|f| f.ends_with("tables"))));
        let error = DiskStore::open(&copied, &small()).map(drop).expect_err("damaged");
        assert!(matches!(error, OpenError::Damaged { .. }), "{file}: {error}");
        assert_eq!(files(&copied), before);
    }
}

/// Damages one file in one of several ways.
fn damage(path: &Path, rng: &mut Rng) -> String {
    let mut bytes = std::fs::read(path).expect("reads");
    let position = rng.below(bytes.len() as u64) as usize;
    let way = rng.below(8);
    match way {
        0 => bytes.clear(),
        1 => bytes.truncate(position),
        2 => bytes.fill(0),
        3 => bytes.iter_mut().for_each(|byte| *byte = rng.below(256) as u8),
        4 if !bytes.is_empty() => {
            let end = bytes.len().min(position + 64);
            bytes[position..end].iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
        }
        _ if !bytes.is_empty() => bytes[position] ^= 1 << rng.below(8),
        _ => bytes.push(1),
    }
    std::fs::write(path, bytes).expect("writes");
    format!("{} way {way} at {position}", path.display())
}

/// Opens a damaged store and reads all there is. Whatever comes back must have been written.
fn read_damaged(folder: &Path, specs: &[Spec], written: &BTreeSet<Vec<u8>>, what: &str) -> bool {
    let mut store = match DiskStore::open(folder, &small()) {
        Ok(store) => store,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.len() < 500, "{what}: {text}");
            return false;
        }
    };
    let mut whole = true;
    for spec in specs {
        match &store.apply(&[load(spec.key())])[0] {
            StorageReply::Loaded { envelopes } => {
                whole &= !envelopes.is_empty();
                for envelope in envelopes {
                    assert!(written.contains(&envelope.encode()[..]), "{what}: wrong data");
                    assert_eq!(envelope.head().key(), spec.key(), "{what}");
                    assert_eq!(envelope.verify(&network()), Ok(()), "{what}");
                }
            }
            StorageReply::Failed(_) => whole = false,
            other => panic!("{what}: {other:?}"),
        }
    }
    // Writing must not panic or hang either, whatever it answers.
    store.apply(&[merge(Spec::new(9_999, 1, 1).sign()), scan_all(1_000)]);
    store.apply(&[StorageOp::Expire { now: UnixMillis(5_000_000), limit: 10_000 }]);
    whole
}

#[test]
fn damaged_files_give_an_error_or_right_data_never_wrong_data() {
    let folder = folder();
    let sound = folder.path().join("sound");
    let specs: Vec<Spec> =
        (0..600).map(|n| Spec { bytes: 900, ..Spec::new(n, (n % 3) as u8 + 1, 1) }).collect();
    // Twice, so that tables, journal and overwritten rows are all there.
    for dot in 1..=2 {
        let mut store = DiskStore::open(&sound, &small()).expect("opens");
        for batch in specs.chunks(100) {
            let ops = batch.iter().map(|spec| merge(Spec { dot, ..*spec }.sign()));
            store.apply(&ops.collect::<Vec<_>>());
        }
    }
    drop(DiskStore::open(&sound, &small()).expect("opens"));
    let signed = specs.iter().flat_map(|spec| [1, 2].map(|dot| Spec { dot, ..*spec }.sign()));
    let written: BTreeSet<Vec<u8>> = signed.map(|envelope| envelope.encode().to_vec()).collect();

    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let rounds = number("POTLUCK_DAMAGE_ROUNDS");
    let mut rng = Rng::from_number(number("POTLUCK_DAMAGE_SEED").unwrap_or(14));
    let (mut refused_or_partial, mut tried) = (0, 0);
    for round in 0..rounds.unwrap_or(5) {
        for file in files(&sound.join("records")) {
            let copied = folder.path().join("damaged");
            copy(&sound, &copied);
            let target = copied.join(file.strip_prefix(&sound).unwrap());
            let what = format!("round {round}: {}", damage(&target, &mut rng));
            tried += 1;
            refused_or_partial += u32::from(!read_damaged(&copied, &specs, &written, &what));
            std::fs::remove_dir_all(&copied).unwrap();
        }
    }
    // If damage were never noticed, this test would be looking at the wrong files.
    assert!(refused_or_partial > tried / 4, "{refused_or_partial} of {tried} noticed");
}
