//! Imports of files as blobs.

use std::sync::Mutex;

use potluck_base::BlobId;
use proptest::prelude::*;

use super::*;

const fn cached(how: ImportHow) -> ImportOptions<'static> {
    ImportOptions { how, name: "", keep: Keep::Cached }
}

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
fn a_file_of_another_size_than_announced_is_refused() {
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
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["aside", "index", "lock"]);
    assert_eq!(std::fs::read_dir(here.path().join("blobs/aside")).unwrap().count(), 0);
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

/// A pipe without a writer: a normal open of it blocks for ever.
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn only_plain_files_become_a_blob_and_nobody_waits_for_a_pipe() {
    let here = tempfile::tempdir().unwrap();
    let store = open(&here.path().join("store"));
    let fifo = here.path().join("fifo");
    pipe(&fifo);
    let _socket = std::os::unix::net::UnixListener::bind(here.path().join("socket")).unwrap();
    for path in [&fifo, &here.path().join("socket"), Path::new("/dev/null")] {
        for how in [ImportHow::Copy, ImportHow::Reference] {
            let result = store.import(&[target(path, 0)], how, "", Keep::Cached, &go_on);
            assert!(matches!(&result, Err(BlobError::NotPlain(_))), "{path:?}: {result:?}");
        }
        assert!(matches!(Opened::at(path), Err(BlobError::NotPlain(_))), "{path:?}");
    }
    assert!(store.list().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_bytes_are_made_while_it_is_read_is_refused() {
    let here = tempfile::tempdir().unwrap();
    let store = open(&here.path().join("store"));
    let path = Path::new("/proc/version");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0, "as the system says");
    for how in [ImportHow::Copy, ImportHow::Reference] {
        let result = store.import(&[target(path, 0)], how, "", Keep::Cached, &go_on);
        assert!(matches!(&result, Err(BlobError::NotPlain(_))), "{result:?}");
    }
    let found = walk(Path::new("/proc/self/net"), WalkLimits::default()).unwrap();
    assert!(found.files.iter().all(|file| file.relative != "dev"), "{found:?}");
    assert!(found.skipped.contains(&("dev".to_owned(), SkipReason::Sizeless)), "{found:?}");
    assert!(store.list().is_empty());
}

#[test]
fn what_was_opened_is_read_whatever_is_put_in_its_place() {
    use std::os::unix::fs::symlink;
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    let (path, secret) = (root.join("file"), root.join("secret"));
    std::fs::write(&path, "harmless").unwrap();
    std::fs::write(&secret, "a secret").unwrap();
    let opened = Opened::at(&path).unwrap();
    std::fs::rename(&path, root.join("gone")).unwrap();
    symlink(&secret, &path).unwrap();
    let store = open(&root.join("store"));
    let import = |how| store.import_opened(&opened, &[target(&path, 8)], cached(how), &go_on);
    assert_eq!(import(ImportHow::Copy).unwrap().id, BlobId::of(b"harmless"));
    store.remove(&BlobId::of(b"harmless")).unwrap();
    let referenced = import(ImportHow::Reference);
    assert!(matches!(&referenced, Err(BlobError::Changed(_))), "{referenced:?}");
    assert!(matches!(Opened::at(&path), Err(BlobError::NotPlain(_))), "no link is followed");
    assert_eq!(Opened::follow(&path).unwrap().path(), secret);
}

#[test]
fn a_link_that_is_put_into_a_folder_while_it_is_shared_leads_nowhere() {
    use std::os::unix::fs::symlink;
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    for folder in ["shared/sub", "closed"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
        std::fs::write(root.join(folder).join("file"), folder).unwrap();
    }
    std::fs::write(root.join("closed/file"), "1234567890").unwrap();
    let opened = Opened::at(&root.join("shared")).unwrap();
    let files = [target(&root.join("shared/sub/file"), "shared/sub".len())];
    std::fs::rename(root.join("shared/sub"), root.join("moved")).unwrap();
    symlink(root.join("closed"), root.join("shared/sub")).unwrap();
    let store = open(&root.join("store"));
    for how in [ImportHow::Copy, ImportHow::Reference] {
        let result = store.import_opened(&opened, &files, cached(how), &go_on);
        assert!(result.is_err(), "{result:?}");
    }
    assert!(matches!(Opened::at(&root.join("shared/sub/file")), Err(BlobError::Io { .. })));
}

#[test]
fn a_shared_file_that_became_a_pipe_is_changed_and_holds_nobody_up() {
    let here = tempfile::tempdir().unwrap();
    let (sources, _) = files(&here.path().join("files"), &[300_000]);
    let store = open(&here.path().join("store"));
    let id = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap().id;
    std::fs::remove_file(&sources[0].path).unwrap();
    pipe(&sources[0].path);
    let blob = store.get(&id).unwrap().unwrap();
    assert!(matches!(blob.read(0..300_000), Err(ReadError::Changed)));
}
