//! Files that become blobs.

use std::sync::Mutex;

use potluck_base::BlobId;
use proptest::prelude::*;

use super::*;

fn both_ways(sizes: &[usize]) {
    let here = tempfile::tempdir().unwrap();
    let (sources, expected) = files(&here.path().join("files"), sizes);
    for how in [ImportHow::Copy, ImportHow::Reference] {
        let store = open(&here.path().join(format!("{how:?}")));
        let seen = Mutex::new(Vec::new());
        let note = |bytes| {
            seen.lock().unwrap().push(bytes);
            ControlFlow::Continue(())
        };
        let imported = store.import(&sources, how, "meal", Keep::Pinned, &note).unwrap();
        assert_eq!(imported.id, BlobId::of(&expected));
        assert_eq!((imported.bytes, imported.known), (expected.len() as u64, false));
        assert_eq!(seen.lock().unwrap().iter().max(), Some(&imported.bytes));
        let blob = store.get(&imported.id).unwrap().unwrap();
        assert!(content(&blob) == expected, "{how:?} of {sizes:?}");
        for granule in 0..blob.division().count() {
            encoded(&blob, granule);
        }
        let view = &store.list()[0];
        assert!(view.pinned && view.name == "meal" && view.in_use && view.size == imported.bytes);
        let again = store.import(&sources, how, "meal", Keep::Pinned, &go_on).unwrap();
        assert_eq!(again, Imported { known: true, ..imported });
    }
}

#[test]
fn files_of_all_sizes_become_the_blob_of_their_bytes() {
    SIZES.iter().for_each(|size| both_ways(&[*size]));
    both_ways(&[]);
    both_ways(&[0, 0]);
}

#[test]
fn spans_of_several_threads_fit_together() {
    both_ways(&[9 * MIB + 1]);
    both_ways(&[4 * MIB, 4 * MIB]);
    both_ways(&[3 * MIB, 5 * MIB + 65536, 0, 17, 8 * MIB + 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_files_become_the_blob_of_their_bytes(
        sizes in proptest::collection::vec(prop_oneof![0_usize..3000, 0_usize..400_000], 1..12),
    ) {
        both_ways(&sizes);
    }
}

#[test]
fn a_file_of_another_size_than_was_said_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let (mut sources, _) = files(&here.path().join("files"), &[100, 200]);
    sources[1].bytes = 199;
    let store = open(here.path());
    for how in [ImportHow::Copy, ImportHow::Reference] {
        let result = store.import(&sources, how, "", Keep::Cached, &go_on);
        assert!(matches!(&result, Err(BlobError::Changed(path)) if *path == sources[1].path));
    }
    assert!(store.list().is_empty());
}

#[test]
fn a_referenced_file_that_changes_while_it_is_hashed_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let (sources, _) = files(&here.path().join("files"), &[100_000]);
    let store = open(here.path());
    let change = |_| {
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        let file = std::fs::OpenOptions::new().write(true).open(&sources[0].path).unwrap();
        file.set_modified(modified).unwrap();
        ControlFlow::Continue(())
    };
    let result = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &change);
    assert!(matches!(result, Err(BlobError::Changed(_))));
    assert!(store.list().is_empty());
}

#[test]
fn an_import_can_be_stopped_and_leaves_nothing() {
    let here = tempfile::tempdir().unwrap();
    let (sources, _) = files(&here.path().join("files"), &[9 * MIB]);
    let store = open(here.path());
    let result =
        store.import(&sources, ImportHow::Copy, "", Keep::Cached, &|_| ControlFlow::Break(()));
    assert!(matches!(result, Err(BlobError::Cancelled)));
    assert!(store.list().is_empty());
    let names = std::fs::read_dir(here.path().join("blobs")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"]);
}

#[test]
fn threads_that_add_the_same_bytes_all_get_them() {
    let here = tempfile::tempdir().unwrap();
    let store = open(here.path());
    let content = bytes(200_000, 1);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let id = store.add_bytes(&content, "", Keep::Cached).unwrap();
                let held = store.get(&id).unwrap().unwrap();
                assert!(held.read_all(200_000).unwrap() == content);
                assert!(matches!(held.read_all(199_999), Err(ReadError::Missing)));
            });
        }
    });
    assert_eq!(store.list().len(), 1);
}
