//! The index on disk: metadata, search, lists and counters, and the bound on entries in memory.

use std::collections::BTreeSet;

use potluck_base::words::words_of;

use super::*;
use crate::blobs::folder::new_meta;
use crate::blobs::index::Class;
use crate::blobs::meta::{Meta, Phase};
use crate::blobs::place::Segments;

fn roomy(folder: &Path) -> BlobStore {
    let limits = BlobLimits { cache_bytes: 1 << 40, blobs_max: 1_000_000 };
    BlobStore::open_with(folder, limits, crate::SyncMode::Buffered).unwrap()
}

/// Writes a new file at `path` and shares it by reference under a name.
fn share(store: &BlobStore, path: &Path, number: u64, name: &str) -> BlobId {
    std::fs::write(path, number.to_be_bytes()).unwrap();
    let files = [target(path, 8)];
    let how = ImportHow::Reference;
    let imported = store.import(&files, how, name, Keep::Cached, &go_on).unwrap();
    store.set_shared(&imported.id, true, Some(name)).unwrap();
    imported.id
}

fn names(store: &BlobStore, text: &str) -> Vec<String> {
    let found = store.search(&words_of(text), 32).unwrap();
    found.into_iter().map(|view| view.name).collect()
}

/// The counters, computed by a count of all blobs.
fn recount(store: &BlobStore) -> BlobCounts {
    let mut counts = BlobCounts::default();
    for view in store.page(None, usize::MAX).unwrap() {
        let (complete, named) = (view.state == BlobState::Complete, !view.name.is_empty());
        let given = complete && view.shared;
        counts.blobs += 1;
        counts.listed += u64::from(named);
        counts.bytes += if complete && !view.name.ends_with('/') { view.size } else { 0 };
        counts.given += u64::from(given);
        counts.offered += u64::from(given && named);
    }
    counts
}

#[test]
fn the_incident_memory_stays_flat_while_files_are_added() {
    let here = tempfile::tempdir().unwrap();
    let store = roomy(here.path());
    let path = here.path().join("file");
    let mut held = Vec::new();
    let add = |numbers: std::ops::Range<u64>| {
        let ids: Vec<BlobId> =
            numbers.map(|n| share(&store, &path, n, &format!("photo {n:08}.jpg"))).collect();
        (ids, store.entries_in_memory(), store.index_memory_bytes())
    };
    let (first, few, _) = add(0..3_000);
    held.extend(first);
    let (more, many, memory) = add(3_000..12_000);
    held.extend(more);
    assert!(few <= 2_048 && many <= 2_048, "{few}, then {many} entries in memory");
    assert!(memory <= 256 << 20, "{memory} bytes");
    assert_eq!((store.counts().offered, store.counts().bytes), (12_000, 96_000));
    assert_eq!(names(&store, "00011999"), ["photo 00011999.jpg"]);
    assert_eq!(names(&store, "PHOTO").len(), 32);
    drop(store);
    let store = roomy(here.path());
    assert_eq!(store.entries_in_memory(), 0, "nothing is read at the start");
    assert_eq!(store.counts(), recount(&store));
    // In pages, each blob once.
    let (mut listed, mut after) = (BTreeSet::new(), None);
    loop {
        let page = store.page(after.as_ref(), 1_000).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        assert!(page.iter().all(|view| listed.insert(view.id)));
    }
    assert!(listed == held.iter().copied().collect());
    // In the order in which they were shared.
    let (ids, last) = store.offered(0, 5_000).unwrap();
    assert!(ids == held[..5_000]);
    assert!(store.offered(last, usize::MAX).unwrap().0 == held[5_000..]);
    assert!(!here.path().join("blobs").join(held[0].to_string()).exists(), "no folder each");
}

#[test]
fn what_is_no_longer_offered_is_not_found() {
    let here = tempfile::tempdir().unwrap();
    let store = roomy(here.path());
    let path = |n: u64| here.path().join(format!("file{n}"));
    let soup = share(&store, &path(1), 1, "größe 🍲 soup.txt");
    let salad = share(&store, &path(2), 2, "文档 salad.txt");
    let bread = share(&store, &path(3), 3, "bread.txt");
    assert_eq!(names(&store, "txt").len(), 3);
    assert_eq!(names(&store, "GRÖSSE").len() + names(&store, "größ").len(), 1);
    assert_eq!(names(&store, "文档"), ["文档 salad.txt"]);
    assert_eq!(names(&store, "sal txt"), ["文档 salad.txt"]);
    assert!(names(&store, "sa").is_empty() && names(&store, "soup salad").is_empty());
    store.set_shared(&soup, true, Some("stew.txt")).unwrap();
    assert!(names(&store, "soup").is_empty());
    assert_eq!(names(&store, "stew"), ["stew.txt"]);
    store.set_shared(&salad, false, None).unwrap();
    assert!(names(&store, "salad").is_empty());
    std::fs::write(path(3), "not bread").unwrap();
    let blob = store.get(&bread).unwrap().unwrap();
    assert!(blob.check_files().is_err());
    drop(blob);
    assert!(names(&store, "bread").is_empty());
    store.remove(&soup).unwrap();
    assert!(names(&store, "txt").is_empty());
    assert_eq!(store.counts(), recount(&store));
    assert_eq!((store.counts().blobs, store.counts().offered), (2, 0));
    assert!(store.offered(0, 9).unwrap().0.is_empty());
}

#[test]
fn one_rare_word_is_found_among_many_common_ones() {
    let here = tempfile::tempdir().unwrap();
    let store = roomy(here.path());
    let path = here.path().join("file");
    for number in 0..6_000 {
        share(&store, &path, number, &format!("common {number:05} txt"));
    }
    assert_eq!(names(&store, "common 05999"), ["common 05999 txt"]);
    assert_eq!(names(&store, "common txt 05999 05998"), [""; 0]);
    assert_eq!(names(&store, "comm").len(), 32);
}

#[test]
fn counters_follow_every_change_and_a_restart() {
    let here = tempfile::tempdir().unwrap();
    let mut rng = Rng::from_number(7);
    let mut known: Vec<BlobId> = Vec::new();
    for round in 0..4 {
        let store = roomy(here.path());
        assert_eq!(store.counts(), recount(&store), "round {round}");
        for _ in 0..60 {
            let number = rng.below(40);
            let pick = |rng: &mut Rng| known.get(rng.below(40) as usize).copied();
            match rng.below(7) {
                0 => known.push(store.add_bytes(&[number as u8], "kept", Keep::Cached).unwrap()),
                1 => known.push(share(&store, &here.path().join("a"), number, "word file")),
                2 => {
                    let id = BlobId::of(&number.to_be_bytes());
                    store.begin(id, 70_000, Place::Inside, "").unwrap();
                    known.push(id);
                }
                3 => drop(pick(&mut rng).map(|id| store.remove(&id))),
                4 => drop(pick(&mut rng).map(|id| store.set_pinned(&id, number.is_multiple_of(2)))),
                5 => drop(
                    pick(&mut rng).map(|id| store.set_shared(&id, number.is_multiple_of(2), None)),
                ),
                _ => drop(pick(&mut rng).map(|id| store.get(&id))),
            }
        }
        store.gc(false).unwrap();
        assert_eq!(store.counts(), recount(&store));
        let cached = store.index.counts().of(Class::Cached).0;
        let by_use = store.index.by_use(crate::blobs::index::USED).count() as u64;
        assert_eq!(cached, by_use);
    }
    assert!(known.len() > 40);
}

/// Writes a blob in the layout of versions before the index.
fn lay(blobs: &Path, meta: &Meta, segments: Option<&Segments>, data: Option<&[u8]>) {
    let folder = blobs.join(meta.id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    files::write_sealed(&folder.join("meta"), &meta.encode().unwrap()).unwrap();
    if let Some(segments) = segments {
        files::write_sealed(&folder.join("place"), &segments.encode().unwrap()).unwrap();
    }
    if let Some(data) = data {
        std::fs::write(folder.join("data"), data).unwrap();
    }
}

#[test]
fn what_was_noted_beside_each_blob_is_moved_over_once_and_damaged_notes_are_set_aside() {
    let here = tempfile::tempdir().unwrap();
    let blobs = here.path().join("blobs");
    let inside = new_meta(BlobId::of(b"inside"), 6, "inside.txt");
    let inside = Meta { shared: true, ..inside };
    lay(&blobs, &inside, None, Some(b"inside"));
    let file = here.path().join("outside.txt");
    std::fs::write(&file, "outside").unwrap();
    let segments = Segments::outside([(target(&file, 7), None)]).unwrap();
    let outside = Meta {
        outside: Some((file.clone(), 1)),
        pinned: true,
        ..new_meta(BlobId::of(b"outside"), 7, "outside.txt")
    };
    lay(&blobs, &outside, Some(&segments), None);
    for (number, at) in [0, 30, 54].into_iter().enumerate() {
        let damaged = new_meta(BlobId::of(&[number as u8]), 1, "damaged");
        lay(&blobs, &damaged, None, None);
        flip(&blobs.join(damaged.id.to_string()).join("meta"), at);
    }
    std::fs::create_dir(blobs.join(BlobId::of(b"empty").to_string())).unwrap();
    std::fs::create_dir(blobs.join(".new-7")).unwrap();
    for damaged in [4, 0] {
        let store = open(here.path());
        assert_eq!(store.damaged(), damaged);
        assert_eq!(store.list().len(), 2);
        assert_eq!(names(&store, "inside"), ["inside.txt"]);
        let blob = store.get(&inside.id).unwrap().unwrap();
        assert_eq!(content(&blob), b"inside");
        let view = store.view(&outside.id).unwrap();
        assert!(
            view.pinned
                && !view.shared
                && view.place == BlobPlace::Outside { path: file.clone(), segments: 1 }
        );
        assert_eq!(content(&store.get(&outside.id).unwrap().unwrap()), b"outside");
        assert_eq!(store.counts(), recount(&store));
        // The owners of data are looked up once.
        let asked = std::cell::Cell::new(0);
        let note = |_: &BlobStore, view: &BlobView| {
            asked.set(asked.get() + 1);
            (view.id == inside.id).then_some(outside.id)
        };
        store.note_owners_once(note).unwrap();
        assert_eq!(asked.get(), if damaged > 0 { 2 } else { 0 });
        assert_eq!(store.owners(&outside.id).unwrap(), [inside.id]);
    }
    assert!(!blobs.join(".new-7").exists() && !blobs.join(outside.id.to_string()).exists());
    assert!(!blobs.join(inside.id.to_string()).join("meta").exists());
    assert!(blobs.join(format!("{}.damaged-0", BlobId::of(b"empty"))).exists());
}

#[test]
fn an_error_of_the_disk_while_notes_are_moved_over_sets_nothing_aside() {
    let here = tempfile::tempdir().unwrap();
    let blobs = here.path().join("blobs");
    let meta = new_meta(BlobId::of(b"kept"), 4, "kept.txt");
    lay(&blobs, &meta, None, Some(b"kept"));
    // A folder at the path of the journal cannot be removed as a file.
    let folder = blobs.join(meta.id.to_string());
    std::fs::create_dir_all(folder.join("have/in the way")).unwrap();
    let limits = BlobLimits { cache_bytes: 1 << 40, blobs_max: 100 };
    assert!(BlobStore::open(here.path(), limits).is_err());
    assert!(folder.join("meta").exists());
    std::fs::remove_dir_all(folder.join("have")).unwrap();
    let store = open(here.path());
    assert_eq!((store.damaged(), names(&store, "kept").len()), (0, 0));
    assert_eq!(content(&store.get(&meta.id).unwrap().unwrap()), b"kept");
}

#[test]
fn a_folder_without_a_note_and_a_note_of_what_never_came_are_put_right_at_the_start() {
    let here = tempfile::tempdir().unwrap();
    let store = open(here.path());
    let id = BlobId::of(b"on its way");
    store.index.intend(&id).unwrap();
    let folder = blob_folder(here.path(), id);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("data"), "on its way").unwrap();
    std::fs::create_dir(here.path().join("blobs/aside/9")).unwrap();
    let kept = store.add_bytes(b"kept", "kept", Keep::Cached).unwrap();
    store.index.intend(&kept).unwrap();
    drop(store);
    let store = open(here.path());
    assert!(!folder.exists() && !here.path().join("blobs/aside/9").exists());
    assert_eq!(content(&store.get(&kept).unwrap().unwrap()), b"kept");
    // A folder without an intent, as a loss of power may leave it, does no harm.
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(store.add_bytes(b"on its way", "", Keep::Cached).unwrap(), id);
    assert_eq!(content(&store.get(&id).unwrap().unwrap()), b"on its way");
}

#[test]
fn the_cache_goes_in_the_order_of_its_use_however_large_it_is() {
    let here = tempfile::tempdir().unwrap();
    let limits = BlobLimits { cache_bytes: 100, blobs_max: 10_000 };
    let open = || BlobStore::open_with(here.path(), limits, crate::SyncMode::Buffered).unwrap();
    let store = open();
    let ids: Vec<BlobId> = (0..1_100u64)
        .map(|n| store.add_bytes(&n.to_be_bytes(), "", Keep::Cached).unwrap())
        .collect();
    drop(store.get(&ids[3]).unwrap());
    drop(store);
    let store = open();
    drop(store.get(&ids[4]).unwrap());
    let mut removed = Vec::new();
    loop {
        let report = store.gc(false).unwrap();
        assert!(report.removed.len() <= 1_024);
        removed.extend(report.removed.iter().map(|entry| entry.id));
        if !report.more {
            assert_eq!((report.kept_count, report.cached_bytes), (11, 88));
            break;
        }
    }
    let stay = |id: &BlobId| *id == ids[3] || *id == ids[4];
    let order: Vec<BlobId> = ids.iter().filter(|id| !stay(id)).take(1_089).copied().collect();
    assert!(removed == order);
    assert!(store.gc(false).unwrap().removed.is_empty());
}

#[test]
fn a_blob_of_very_many_files_notes_them_in_a_file() {
    let here = tempfile::tempdir().unwrap();
    let sizes = vec![3; 300];
    let (sources, expected) = files(&here.path().join("files"), &sizes);
    let store = open(here.path());
    let id = store.import(&sources, ImportHow::Reference, "", Keep::Cached, &go_on).unwrap().id;
    assert!(blob_folder(here.path(), id).join("place").exists());
    drop(store);
    let store = open(here.path());
    let blob = store.get(&id).unwrap().unwrap();
    assert!(content(&blob) == expected && blob.check_files().is_ok());
    assert_eq!(blob.entry.phase(), Phase::Complete);
}
