//! Blobs after a crash, and files that another program changed.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;

const SIZE: usize = 10 * 65536 + 5;

fn begun(folder: &Path, from: &Blob) -> (BlobStore, Arc<Blob>) {
    let store = open(folder);
    let to = store.begin(from.id(), SIZE as u64, Place::Inside, "").unwrap();
    (store, to)
}

fn have(blob: &Blob) -> Vec<u32> {
    blob.have().iter().collect()
}

#[test]
fn what_was_written_is_there_after_an_end_without_commit() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = bytes(SIZE, 1);
    let (_seed, from) = seeded(here.path(), &expected);
    let (store, to) = begun(there.path(), &from);
    hand_over(&from, &to, [10, 0, 4]);
    drop((to, store));
    let (store, to) = begun(there.path(), &from);
    assert_eq!(have(&to), [0, 4, 10]);
    assert_eq!(to.unsynced_bytes(), 2 * 65536 + 5);
    assert_eq!(store.list()[0].state, BlobState::Partial { have_bytes: 2 * 65536 + 5 });
    hand_over(&from, &to, [1, 2, 3, 5, 6, 7, 8, 9]);
    to.finish().unwrap();
    assert!(content(&to) == expected);
}

#[test]
fn granules_behind_the_last_commit_are_hashed_again_and_dropped_if_wrong() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(SIZE, 1));
    let (store, to) = begun(there.path(), &from);
    hand_over(&from, &to, [2, 3]);
    to.commit().unwrap();
    assert_eq!(to.unsynced_bytes(), 0);
    hand_over(&from, &to, [5, 6]);
    drop((to, store));
    let data = blob_folder(there.path(), from.id()).join("data");
    flip(&data, 2 * 65536);
    flip(&data, 6 * 65536 + 1);
    let (store, to) = begun(there.path(), &from);
    assert_eq!(have(&to), [2, 3, 5], "what was committed is trusted, 6 is not");
    let mut out = Vec::new();
    assert!(matches!(to.encode(2, &mut out), Err(ReadError::Missing)), "until it is read");
    assert!(out.is_empty());
    assert_eq!(have(&to), [3, 5]);
    drop((to, store));
    let (_store, to) = begun(there.path(), &from);
    assert_eq!(have(&to), [3, 5], "which is remembered");
    hand_over(&from, &to, [2, 6]);
    assert_eq!(have(&to), [2, 3, 5, 6]);
}

#[test]
fn nodes_that_the_disk_did_not_get_cost_their_granules() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(SIZE, 1));
    let (store, to) = begun(there.path(), &from);
    hand_over(&from, &to, [0, 9]);
    drop((to, store));
    let outboard = blob_folder(there.path(), from.id()).join("outboard");
    let length = outboard.metadata().unwrap().len() as usize;
    std::fs::write(&outboard, vec![0; length]).unwrap();
    let (_store, to) = begun(there.path(), &from);
    assert!(to.have().is_empty());
    hand_over(&from, &to, 0..11);
    to.finish().unwrap();
    assert!(content(&to) == content(&from));
}

#[test]
fn a_torn_end_of_the_journal_is_cut_off() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(SIZE, 1));
    let (store, to) = begun(there.path(), &from);
    hand_over(&from, &to, [1, 2, 3]);
    drop((to, store));
    let journal = blob_folder(there.path(), from.id()).join("have");
    let length = journal.metadata().unwrap().len();
    OpenOptions::new().write(true).open(&journal).unwrap().set_len(length - 3).unwrap();
    let (store, to) = begun(there.path(), &from);
    assert_eq!(have(&to), [1, 2]);
    hand_over(&from, &to, [3, 4]);
    drop((to, store));
    OpenOptions::new().append(true).open(&journal).unwrap().write_all(&[7; 40]).unwrap();
    let (_store, to) = begun(there.path(), &from);
    assert_eq!(have(&to), [1, 2, 3, 4]);
}

#[test]
fn files_that_vanish_before_the_end_are_fetched_again() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = bytes(SIZE, 1);
    let (_seed, from) = seeded(here.path(), &expected);
    let store = open(there.path());
    let out = there.path().join("out");
    let targets = vec![target(&out.join("a"), 3 * 65536), target(&out.join("b"), SIZE - 3 * 65536)];
    let to = store.begin(from.id(), SIZE as u64, Place::Segments(targets), "").unwrap();
    hand_over(&from, &to, 0..11);
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("b"), &expected[3 * 65536..]).unwrap();
    OpenOptions::new().append(true).open(out.join("b")).unwrap().write_all(b"more").unwrap();
    to.commit().unwrap();
    drop(to);
    let to = store.get(&from.id()).unwrap().unwrap();
    assert!(matches!(to.finish(), Err(BlobError::Incomplete { granules: 3 })));
    hand_over(&from, &to, 0..3);
    to.finish().unwrap();
    assert!(
        std::fs::read(out.join("b")).unwrap() == expected[3 * 65536..],
        "what was too much is cut"
    );
    assert!(content(&to) == expected);
}

#[test]
fn a_referenced_file_that_changes_is_noticed_for_good() {
    let here = tempfile::tempdir().unwrap();
    let (sources, _) = files(&here.path().join("files"), &[100, 300_000, 5]);
    let store = open(here.path());
    let imported = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap();
    let blob = store.get(&imported.id).unwrap().unwrap();
    let mut out = encoded(&blob, 2);
    let before = out.clone();
    // The file is open and was checked less than a second ago, so only the hash shows the change.
    flip(&sources[1].path, 2 * 65536);
    assert!(matches!(blob.encode(2, &mut out), Err(ReadError::Changed)));
    assert!(out == before, "no byte of it came out");
    assert!(blob.is_changed() && blob.have().is_empty());
    assert!(matches!(blob.read(0..10), Err(ReadError::Changed)), "nothing else either");
    drop((blob, store));
    let store = open(here.path());
    assert_eq!(store.list()[0].state, BlobState::Changed);
    let blob = store.get(&imported.id).unwrap().unwrap();
    assert!(matches!(blob.encode(0, &mut out), Err(ReadError::Changed)));
    drop(blob);
    // The original bytes again, and imported again.
    flip(&sources[1].path, 2 * 65536);
    let again = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap();
    assert_eq!(again, imported);
    assert!(store.get(&imported.id).unwrap().unwrap().is_complete());
}

#[test]
fn a_file_with_the_same_bytes_but_touched_counts_as_changed() {
    let here = tempfile::tempdir().unwrap();
    let (sources, expected) = files(&here.path().join("files"), &[100, 5]);
    let store = open(here.path());
    let imported = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap();
    let blob = store.get(&imported.id).unwrap().unwrap();
    assert!(blob.check_files().is_ok());
    std::fs::remove_file(&sources[1].path).unwrap();
    std::fs::write(here.path().join("spare"), b"").unwrap();
    std::fs::write(&sources[1].path, &expected[100..]).unwrap();
    assert!(matches!(blob.check_files(), Err(ReadError::Changed)));
    assert!(matches!(blob.encode(0, &mut Vec::new()), Err(ReadError::Changed)));
}

#[test]
fn a_move_that_a_crash_interrupted_ends_one_way_or_the_other() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = bytes(SIZE, 1);
    let (_seed, from) = seeded(here.path(), &expected);
    let (part, end) = (there.path().join("dish.part"), there.path().join("dish"));
    let store = open(there.path());
    let place = Place::Segments(vec![target(&part, SIZE)]);
    let to = store.begin(from.id(), SIZE as u64, place, "").unwrap();
    hand_over(&from, &to, 0..11);
    to.finish().unwrap();
    let noted = meta::Move { from: part.clone(), to: end.clone() };
    to.entry.change(|meta| meta.moving = Some(noted.clone())).unwrap();
    drop((to, store));
    let store = open(there.path());
    let to = store.get(&from.id()).unwrap().unwrap();
    assert!(content(&to) == expected, "it did not begin");
    std::fs::write(&end, b"").unwrap();
    assert!(matches!(to.move_to(&part, &end), Err(BlobError::Exists(_))));
    std::fs::remove_file(&end).unwrap();
    to.entry.change(|meta| meta.moving = Some(noted)).unwrap();
    std::fs::rename(&part, &end).unwrap();
    drop((to, store));
    let store = open(there.path());
    let to = store.get(&from.id()).unwrap().unwrap();
    assert!(content(&to) == expected, "it came to its end");
    assert_eq!(store.list()[0].place, BlobPlace::Outside { path: end, segments: 1 });
}
