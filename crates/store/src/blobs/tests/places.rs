//! Blobs with several places, blobs of several files of which some changed, and metadata of files.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn share(store: &BlobStore, path: &Path, how: ImportHow, name: &str) -> Imported {
    let size = path.metadata().unwrap().len() as usize;
    store.import(&[target(path, size)], how, name, Keep::Cached, &go_on).unwrap()
}

/// Shares three files of these bytes by reference, as one blob of three places.
fn share_three(root: &Path, expected: &[u8]) -> (BlobStore, [PathBuf; 3], BlobId) {
    let paths = ["one", "two", "three"].map(|name| root.join(name));
    paths.iter().for_each(|path| std::fs::write(path, expected).unwrap());
    let store = open(root);
    let ids = paths.each_ref().map(|path| share(&store, path, ImportHow::Reference, "dish").id);
    assert!(ids.iter().all(|id| *id == ids[0]));
    (store, paths, ids[0])
}

#[test]
fn when_one_file_goes_another_of_the_same_bytes_is_read() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    let expected = bytes(200_000, 1);
    let (store, paths, id) = share_three(&root, &expected);
    share(&store, &paths[1], ImportHow::Reference, "dish");
    assert_eq!(store.places(&id).len(), 3);
    let blob = store.get(&id).unwrap().unwrap();
    assert!(content(&blob) == expected);
    // While a caller holds the blob, and during a read.
    std::fs::remove_file(&paths[0]).unwrap();
    assert!(content(&blob) == expected && blob.check_files().is_ok());
    drop(blob);
    drop(store);
    // After a restart. A place with a changed file is passed over.
    let store = open(&root);
    std::fs::write(&paths[1], bytes(200_000, 2)).unwrap();
    let blob = store.get(&id).unwrap().unwrap();
    assert!(content(&blob) == expected);
    let left = store.places(&id);
    assert_eq!(
        left.iter().map(|place| place.path.clone()).collect::<Vec<_>>(),
        [Some(paths[2].clone())]
    );
    std::fs::remove_file(&paths[2]).unwrap();
    assert!(matches!(blob.check_files(), Err(ReadError::Changed)));
    assert!(matches!(blob.read(0..10), Err(ReadError::Changed)));
}

#[test]
fn readers_that_find_one_file_gone_at_once_take_one_place_between_them() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    let expected = bytes(200_000, 1);
    let (store, paths, id) = share_three(&root, &expected);
    let blob = store.get(&id).unwrap().unwrap();
    std::fs::remove_file(&paths[0]).unwrap();
    // Both readers check the files of the first place before either of them reports the change.
    let seen = blob.places_taken();
    assert!(blob.next_place(Some(seen)) && blob.next_place(Some(seen)));
    assert_eq!(store.places(&id).len(), 2);
    assert!(content(&blob) == expected);
    // A reader that checked the place before does not mark the last place as changed.
    assert!(blob.next_place(Some(blob.places_taken())));
    assert!(blob.next_place(Some(seen)) && blob.check_files().is_ok());
    assert_eq!(store.places(&id)[0].path.as_deref(), Some(&*paths[2]));
}

#[test]
fn a_copy_of_what_is_known_by_reference_outlives_the_file() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    let expected = bytes(100_000, 1);
    let path = root.join("dish");
    std::fs::write(&path, &expected).unwrap();
    let store = open(&root);
    let id = share(&store, &path, ImportHow::Reference, "dish").id;
    let blob = store.get(&id).unwrap().unwrap();
    assert!(share(&store, &path, ImportHow::Copy, "kept").known);
    std::fs::remove_file(&path).unwrap();
    assert!(content(&blob) == expected);
    drop((blob, store));
    let store = open(&root);
    assert!(content(&store.get(&id).unwrap().unwrap()) == expected);
    let names: Vec<_> = store.places(&id).into_iter().map(|place| place.name).collect();
    assert_eq!(names, ["kept", "dish"]);
}

#[test]
fn places_are_forgotten_one_by_one_and_the_last_one_with_the_blob() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    let paths = ["one", "two"].map(|name| root.join(name));
    paths.iter().for_each(|path| std::fs::write(path, "same").unwrap());
    let store = open(&root);
    let id = share(&store, &paths[0], ImportHow::Reference, "one").id;
    share(&store, &paths[1], ImportHow::Reference, "two");
    let named = |name: &'static str| move |place: &NamedPlace| place.name == name;
    assert!(matches!(store.forget_places(&id, &named("three")), Err(BlobError::Unknown)));
    assert!(store.forget_places(&id, &named("one")).unwrap());
    assert_eq!(store.view(&id).unwrap().name, "two");
    std::fs::remove_file(&paths[0]).unwrap();
    assert!(content(&store.get(&id).unwrap().unwrap()) == b"same");
    assert!(!store.forget_places(&id, &named("two")).unwrap(), "the blob itself is to go");
}

#[test]
fn a_file_has_its_name_although_its_bytes_are_also_those_of_a_folder() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().canonicalize().unwrap();
    std::fs::write(root.join("dish"), "soup").unwrap();
    let store = open(&root);
    // The same file in both imports.
    let id = share(&store, &root.join("dish"), ImportHow::Reference, "").id;
    share(&store, &root.join("dish"), ImportHow::Reference, "dish");
    share(&store, &root.join("dish"), ImportHow::Reference, "");
    assert_eq!(store.view(&id).unwrap().name, "dish");
    assert_eq!(store.places(&id).len(), 2);
}

#[test]
fn places_are_bounded() {
    let here = tempfile::tempdir().unwrap();
    let store = open(here.path());
    let mut id = None;
    for number in 0..70 {
        let path = here.path().join(number.to_string());
        std::fs::write(&path, "same").unwrap();
        id = Some(share(&store, &path, ImportHow::Reference, "dish").id);
    }
    assert_eq!(store.places(&id.unwrap()).len(), 64);
}

#[test]
fn a_changed_file_takes_only_its_own_granules_from_the_others() {
    let here = tempfile::tempdir().unwrap();
    let (sources, expected) = files(&here.path().join("files"), &[300_000, 10, 300_000, 300_000]);
    let store = open(here.path());
    let imported = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap();
    let blob = store.get(&imported.id).unwrap().unwrap();
    assert_eq!(blob.lost(), None);
    std::fs::write(&sources[2].path, "another").unwrap();
    assert!(matches!(blob.encode(7, &mut Vec::new()), Err(ReadError::Changed)));
    drop(blob);
    // The changed file is known when the blob is opened again.
    let blob = store.get(&imported.id).unwrap().unwrap();
    assert!(blob.lost().is_some());
    // Reading a granule finds the change. All granules of that file are lost, and no others.
    let granule = blob.division().covering(&(400_000..400_001)).next().unwrap();
    let mut out = Vec::new();
    assert!(matches!(blob.encode(granule, &mut out), Err(ReadError::Changed)));
    let lost: Vec<u32> = blob.lost().unwrap().iter().collect();
    let its: Vec<u32> = blob.division().covering(&(300_010..600_010)).collect();
    assert_eq!(lost, its);
    let read = blob.read(0..262_144).unwrap();
    assert!(read[..] == expected[..262_144]);
    encoded(&blob, blob.division().count() - 1);
    assert!(matches!(blob.read(500_000..500_001), Err(ReadError::Changed)));
    assert_eq!(blob.have().count() as usize, blob.division().count() as usize - lost.len());
    assert_eq!(store.view(&imported.id).unwrap().state, BlobState::Changed);
    // A check of all files finds the other changed file.
    std::fs::remove_file(&sources[3].path).unwrap();
    assert!(matches!(blob.check_files(), Err(ReadError::Changed)));
    assert!(blob.lost().unwrap().contains(blob.division().count() - 1));
    for file in &sources {
        let _ = std::fs::remove_file(&file.path);
    }
    assert!(matches!(blob.check_files(), Err(ReadError::Changed)));
    assert!(blob.is_changed() && blob.lost().is_none());
}

#[test]
fn files_arrive_with_their_marks_and_holes() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut expected = vec![0; 8 * MIB];
    expected[5 * MIB..5 * MIB + 10].copy_from_slice(b"some bytes");
    let (_seed, from) = seeded(here.path(), &expected);
    let store = open(there.path());
    let (path, tail) = (there.path().join("out/dish"), there.path().join("out/tail"));
    let before = SegmentTarget { mtime: Some(-86_400), ..target(&path, 7 * MIB) };
    let after = SegmentTarget { executable: true, mtime: Some(981_173_106), ..target(&tail, MIB) };
    let place = Place::Segments(vec![before, after]);
    let to = store.begin(from.id(), expected.len() as u64, place, "").unwrap();
    hand_over(&from, &to, 0..to.division().count());
    to.finish().unwrap();
    assert!(content(&to) == expected);
    let times = [&path, &tail].map(|path| path.metadata().unwrap().modified().unwrap());
    let day = Duration::from_secs(86_400);
    assert_eq!(times, [UNIX_EPOCH - day, UNIX_EPOCH + Duration::from_secs(981_173_106)]);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let blocks = [&path, &tail].map(|path| path.metadata().unwrap().blocks() * 512);
        assert!(blocks[0] <= 256 * 1024 && blocks[1] == 0, "{blocks:?}");
        assert!(tail.metadata().unwrap().permissions().mode() & 0o100 != 0);
        // A copy of a sparse file is sparse.
        let kept =
            store.import(&[target(&path, 7 * MIB)], ImportHow::Copy, "", Keep::Cached, &go_on);
        let data = blob_folder(there.path(), kept.unwrap().id).join("data");
        assert!(data.metadata().unwrap().blocks() * 512 <= 256 * 1024);
    }
    drop(to);
    let blob = open_again(store, there.path(), &from);
    assert!(blob.check_files().is_ok(), "marks are no change");
}

fn open_again(store: BlobStore, folder: &Path, from: &Blob) -> Arc<Blob> {
    drop(store);
    open(folder).get(&from.id()).unwrap().unwrap()
}
