//! Lists of blobs, and which blobs are kept and removed.

use potluck_base::BlobId;

use super::*;

fn limited(folder: &Path, cache_bytes: u64) -> BlobStore {
    BlobStore::open(folder, BlobLimits { cache_bytes, blobs_max: 8 }).unwrap()
}

fn reasons(entries: &[GcEntry]) -> Vec<(BlobId, GcReason)> {
    entries.iter().map(|entry| (entry.id, entry.reason)).collect()
}

#[test]
fn the_least_recently_used_go_and_every_other_stays_for_a_reason() {
    let here = tempfile::tempdir().unwrap();
    let (sources, _) = files(&here.path().join("files"), &[999]);
    let store = limited(here.path(), 2500);
    let add = |seed| store.add_bytes(&bytes(1000, seed), "", Keep::Cached).unwrap();
    let (pinned, shared, held, old, new) = (add(1), add(2), add(3), add(4), add(5));
    store.set_pinned(&pinned, true).unwrap();
    store.set_shared(&shared, true, Some("soup")).unwrap();
    let lease = store.get(&held).unwrap().unwrap();
    let outside =
        store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap().id;
    let fetched = BlobId::of(b"far away");
    drop(store.begin(fetched, 500, Place::Inside, "").unwrap());
    let newest = add(6);
    drop(store.get(&old).unwrap());

    let planned = store.gc(true).unwrap();
    assert_eq!(store.list().len(), 8);
    let done = store.gc(false).unwrap();
    assert_eq!(planned, done);
    assert_eq!(reasons(&done.removed), [(new, GcReason::LeastRecentlyUsed)]);
    assert_eq!((done.freed_bytes, done.cached_bytes), (1000, 2000));
    let mut kept = reasons(&done.kept);
    kept.sort_unstable_by_key(|(id, _)| *id);
    let mut expected = vec![
        (pinned, GcReason::Pinned),
        (shared, GcReason::Shared),
        (held, GcReason::InUse),
        (old, GcReason::WithinQuota),
        (outside, GcReason::Outside),
        (fetched, GcReason::Fetching),
        (newest, GcReason::WithinQuota),
    ];
    expected.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(kept, expected);
    assert!(store.get(&new).unwrap().is_none());
    assert!(!blob_folder(here.path(), new).exists());
    drop(lease);
    assert_eq!(reasons(&store.gc(false).unwrap().removed), [(held, GcReason::LeastRecentlyUsed)]);
    assert!(store.gc(false).unwrap().removed.is_empty());
}

#[test]
fn damaged_bytes_are_found_when_read_and_go() {
    let here = tempfile::tempdir().unwrap();
    let store = limited(here.path(), 1 << 30);
    let id = store.add_bytes(&bytes(70_000, 1), "", Keep::Cached).unwrap();
    flip(&blob_folder(here.path(), id).join("data"), 69_999);
    let blob = store.get(&id).unwrap().unwrap();
    assert!(blob.read(0..10).is_ok(), "another group");
    assert!(matches!(blob.read(65_536..65_540), Err(ReadError::Changed)));
    drop(blob);
    assert_eq!(reasons(&store.gc(false).unwrap().removed), [(id, GcReason::Damaged)]);
    assert!(store.list().is_empty());
}

#[test]
fn notes_about_a_blob_survive() {
    let here = tempfile::tempdir().unwrap();
    let store = limited(here.path(), 0);
    let id = store.add_bytes(&bytes(10, 0), "dish", Keep::Pinned).unwrap();
    store.set_shared(&id, true, Some("süß")).unwrap();
    store.set_pinned(&id, false).unwrap();
    let before = store.view(&id).unwrap();
    drop(store);
    let store = limited(here.path(), 0);
    assert_eq!(store.list(), std::slice::from_ref(&before));
    assert!(before.shared && !before.pinned && before.name == "süß");
}

#[test]
fn blobs_that_do_not_fit_are_refused_before_anything_is_written() {
    let here = tempfile::tempdir().unwrap();
    let store = limited(here.path(), 0);
    let id = BlobId::of(b"large");
    let size = 1 << 42;
    let result = store.begin(id, size, Place::Inside, "");
    let Err(BlobError::NoSpace { needed, free }) = result else { panic!("{result:?}") };
    assert!(needed == size && free < size && free > 0);
    let far = here.path().join("not/there/yet");
    let place = Place::Segments(vec![SegmentTarget {
        path: far,
        bytes: size,
        executable: false,
        mtime: None,
    }]);
    assert!(matches!(store.begin(id, size, place, ""), Err(BlobError::NoSpace { .. })));
    assert!(matches!(
        store.begin(id, size + 1, Place::Inside, ""),
        Err(BlobError::TooLarge { .. })
    ));
    let short = Place::Segments(vec![target(&here.path().join("x"), 9)]);
    assert!(matches!(store.begin(id, 10, short, ""), Err(BlobError::WrongSegments)));
    assert!(store.list().is_empty() && !here.path().join("not").exists());
    for number in 0..8 {
        store.add_bytes(&[number], "", Keep::Cached).unwrap();
    }
    assert!(matches!(
        store.add_bytes(b"9", "", Keep::Cached),
        Err(BlobError::TooManyBlobs { max: 8 })
    ));
    assert!(matches!(store.begin(id, 10, Place::Inside, ""), Err(BlobError::TooManyBlobs { .. })));
}

#[test]
fn files_of_others_are_neither_written_nor_removed() {
    let here = tempfile::tempdir().unwrap();
    let (sources, expected) = files(&here.path().join("files"), &[70_000]);
    let (_seed, from) = seeded(&here.path().join("seed"), &expected);
    let store = open(here.path());
    let place = Place::Segments(sources.clone());
    let result = store.begin(from.id(), 70_000, place, "");
    assert!(matches!(&result, Err(BlobError::Exists(path)) if *path == sources[0].path));
    assert!(store.list().is_empty());
    let id = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap().id;
    store.remove(&id).unwrap();
    assert!(std::fs::read(&sources[0].path).unwrap() == expected);
    assert!(matches!(store.remove(&id), Err(BlobError::Unknown)));

    // A link at the path of a file that will be written is not followed.
    let out = here.path().join("out");
    let place = Place::Segments(vec![target(&out, 70_000)]);
    let to = store.begin(id, 70_000, place, "").unwrap();
    std::os::unix::fs::symlink(&sources[0].path, &out).unwrap();
    assert!(matches!(to.write(1, &encoded(&from, 1)), Err(WriteError::Io(_))));
    assert!(std::fs::read(&sources[0].path).unwrap() == expected);
}

#[test]
fn a_partial_blob_takes_its_files_along_when_removed_or_put_elsewhere() {
    let here = tempfile::tempdir().unwrap();
    let (_seed, from) = seeded(&here.path().join("seed"), &bytes(100_000, 1));
    let store = open(here.path());
    let outs = [here.path().join("a"), here.path().join("b")];
    let place = |number: usize| Place::Segments(vec![target(&outs[number], 100_000)]);
    let to = store.begin(from.id(), 100_000, place(0), "").unwrap();
    hand_over(&from, &to, [0]);
    assert!(matches!(store.begin(from.id(), 100_000, place(1), ""), Err(BlobError::InUse)));
    assert!(matches!(store.remove(&from.id()), Err(BlobError::InUse)));
    let same = store.begin(from.id(), 100_000, place(0), "").unwrap();
    assert!(Arc::ptr_eq(&same, &to));
    drop((same, to));
    let to = store.begin(from.id(), 100_000, place(1), "").unwrap();
    assert!(to.have().is_empty() && !outs[0].exists());
    hand_over(&from, &to, [0, 1]);
    drop(to);
    store.remove(&from.id()).unwrap();
    assert!(!outs[1].exists() && store.list().is_empty());
}

#[test]
fn a_folder_belongs_to_one_store() {
    let here = tempfile::tempdir().unwrap();
    let store = open(here.path());
    let limits = BlobLimits { cache_bytes: 0, blobs_max: 1 };
    let result = BlobStore::open(here.path(), limits);
    assert!(matches!(result, Err(BlobError::Open(crate::OpenError::Locked { .. }))));
    let id = store.add_bytes(b"dish", "", Keep::Cached).unwrap();
    let held = store.get(&id).unwrap().unwrap();
    drop(store);
    assert!(BlobStore::open(here.path(), limits).is_err(), "a link holds a blob");
    drop(held);
    assert!(BlobStore::open(here.path(), limits).is_ok());
}
