//! A check of a folder finds what is wrong, and changes nothing.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Spec, merge, network, small};
use potluck_base::UnixMillis;
use potluck_record::{MergeAs, Place, StorageOp};
use potluck_store::{
    DiskStore, FolderLock, OpenError, VerifiedRecords, VerifyOptions, Wrong, verify_records,
};

fn specs() -> Vec<Spec> {
    (0..600)
        .map(|n| Spec {
            bytes: 900,
            internal: n % 7 == 0,
            expires: 1_000_000 + u64::from(n),
            ..Spec::new(n / 2, (n % 2) as u8 + 1, 1)
        })
        .collect()
}

fn fill(folder: &Path) {
    let mut store = DiskStore::open(folder, &small()).expect("opens");
    for batch in specs().chunks(100) {
        store.apply(&batch.iter().map(|spec| merge(spec.sign())).collect::<Vec<_>>());
    }
    let own = (0..20).map(|n| StorageOp::Merge {
        envelope: Spec { expires: 2_000_000, ..Spec::new(n, 1, 1) }.sign(),
        place: Place::Own,
        how: MergeAs::Repair,
    });
    store.apply(&own.collect::<Vec<_>>());
    store.apply(&[StorageOp::Expire { now: UnixMillis(1_000_010), limit: 100 }]);
    assert_eq!(store.counters_hold(), Ok(true));
}

fn verify(folder: &Path, signatures: bool) -> Result<VerifiedRecords, OpenError> {
    let lock = FolderLock::acquire_to_read(folder)?.expect("a data folder");
    let mut reports = 0;
    let mut progress = |_| reports += 1;
    let mut options = VerifyOptions { network: network(), signatures, progress: &mut progress };
    verify_records(lock, &mut options).map(|(verified, _lock)| verified)
}

/// Every file with its bytes and the time of its last change.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let changed = path.metadata().and_then(|file| file.modified()).expect("has a time");
            found.insert(path.clone(), (std::fs::read(&path).expect("reads"), changed));
        }
    }
    found
}

#[test]
fn a_sound_folder_has_no_findings_and_is_left_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let before = snapshot(folder.path());
    let verified = verify(folder.path(), true).expect("reads");
    assert_eq!(verified.findings.first(), []);
    assert_eq!((verified.own, verified.signatures), (20, verified.envelopes + 20));
    assert!(verified.envelopes > 500 && verified.keys >= verified.envelopes / 2);
    assert!(verified.bytes > 500 * 900);
    assert_eq!(snapshot(folder.path()), before);
    assert_eq!(verify(folder.path(), false).expect("reads").signatures, 0);
    let store = DiskStore::open(folder.path(), &small()).expect("opens");
    assert!(matches!(verify(folder.path(), true), Err(OpenError::Locked { .. })));
    assert_eq!(store.stats().envelopes, verified.envelopes);
}

#[test]
fn a_folder_without_records_has_nothing_wrong_and_stays_so() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(FolderLock::acquire_to_read(folder.path()).expect("reads").is_none());
    assert!(snapshot(folder.path()).is_empty());
    drop(FolderLock::acquire(folder.path()).expect("taken"));
    assert_eq!(verify(folder.path(), true).expect("reads"), VerifiedRecords::default());
    drop(DiskStore::open(folder.path(), &small()).expect("opens"));
    let empty = verify(folder.path(), true).expect("reads");
    assert_eq!((empty.findings.first(), empty.keys), (&[][..], 0));
}

/// Changes one row past the record logic.
fn overwrite(folder: &Path, row: &[u8], value: Option<&[u8]>) {
    let database = fjall::Database::builder(folder.join("records")).open().expect("opens");
    let rows = database.keyspace("rows", Default::default).expect("there");
    match value {
        Some(value) => rows.insert(row, value).expect("written"),
        None => rows.remove(row).expect("removed"),
    }
}

#[test]
fn each_kind_of_damage_is_found_and_named() {
    let spec = specs()[599];
    let (envelope, key) = (spec.sign(), spec.key());
    let head = envelope.head();
    let writer = *head.writer().as_bytes();
    let replica = [b"r", &key.as_bytes()[..], &writer].concat();
    let own = [b"o", &Spec::new(3, 1, 1).key().as_bytes()[..]].concat();
    let summary = [b"h", &key.as_bytes()[..]].concat();
    let expiry =
        [b"x", &head.expires().0.to_be_bytes()[..], &[0], key.as_bytes(), &writer].concat();
    // Its last byte but those of the value is one of the signature.
    let mut forged = envelope.encode().to_vec();
    let signature = forged.len() - 900 - 3 - 1;
    forged[signature] ^= 1;
    let mut broken = envelope.encode().to_vec();
    broken[700] ^= 1;
    let alone = [b"h", &[7; 32][..]].concat();
    /// A row, what is written there, and what is wrong then.
    type Case<'a> = (&'a [u8], Option<&'a [u8]>, &'a [Wrong]);
    let cases: [Case<'_>; 8] = [
        (&replica, Some(&forged), &[Wrong::Signature]),
        (&replica, Some(&broken), &[Wrong::Envelope, Wrong::Summary, Wrong::Expiry]),
        (&replica, None, &[Wrong::Summary, Wrong::Expiry, Wrong::Counters]),
        (&own, Some(b"no envelope"), &[Wrong::Own, Wrong::Expiry, Wrong::Counters]),
        (&summary, Some(&[0; 27]), &[Wrong::Summary]),
        (&alone, Some(&[1; 27]), &[Wrong::Summary]),
        (&expiry, None, &[Wrong::Expiry]),
        (b"mledger", Some(&[0; 48]), &[Wrong::Counters]),
    ];
    for (row, value, expected) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        fill(folder.path());
        overwrite(folder.path(), row, value);
        let verified = verify(folder.path(), true).expect("reads");
        let found: Vec<Wrong> = verified.findings.first().iter().map(|it| it.wrong).collect();
        for wrong in expected {
            assert!(found.contains(wrong), "{wrong:?} of {:?}", verified.findings);
        }
        assert!(found.len() <= expected.len() + 1, "{expected:?}: {:?}", verified.findings);
    }
}

#[test]
fn a_flipped_bit_of_a_table_is_found_and_what_is_around_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let whole = verify(folder.path(), true).expect("reads");
    let tables = folder.path().join("records/keyspaces/1/tables");
    let mut tried = 0;
    for table in std::fs::read_dir(tables).expect("there are some") {
        let table = table.expect("readable").path();
        let sound = std::fs::read(&table).expect("reads");
        for part in 1..8 {
            let mut damaged = sound.clone();
            let place = damaged.len() * part / 8;
            damaged[place] ^= 0x20;
            std::fs::write(&table, &damaged).expect("writes");
            tried += 1;
            match verify(folder.path(), true) {
                Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
                Ok(verified) => {
                    let read = verified.envelopes;
                    // Filters are read for single keys only; nothing is lost by a damaged one.
                    let unharmed = read == whole.envelopes;
                    assert!(verified.findings.count() > 0 || unharmed, "{table:?} at {place}");
                    assert!(read > whole.envelopes * 8 / 10, "{read}: {:?}", verified.findings);
                }
            }
        }
        std::fs::write(&table, &sound).expect("writes");
    }
    assert!(tried > 0, "there are tables");
    assert_eq!(verify(folder.path(), true).expect("reads"), whole);
}
