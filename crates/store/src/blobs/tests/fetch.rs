//! Transfers of blobs from one store to another.

use std::os::unix::fs::PermissionsExt;

use potluck_base::{BlobId, GranuleSet};

use super::*;

#[test]
fn blobs_of_all_sizes_arrive_granule_by_granule() {
    for size in SIZES {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = bytes(size, 7);
        let (_seed, from) = seeded(here.path(), &expected);
        let store = open(there.path());
        let to = store.begin(from.id(), size as u64, Place::Inside, "dish").unwrap();
        assert_eq!(to.division(), from.division());
        assert!(to.have().is_empty() && !to.is_complete());
        // Backwards, so that files are written from the end.
        hand_over(&from, &to, (0..to.division().count()).rev());
        assert!(to.have().is_full() && !to.is_complete());
        assert!(!to.write(0, b"not looked at").unwrap(), "it is there already");
        to.finish().unwrap();
        assert!(to.is_complete() && to.have_bytes() == size as u64);
        assert!(content(&to) == expected, "{size} bytes");
        for granule in 0..to.division().count() {
            let frame = encoded(&to, granule);
            assert!(frame == encoded(&from, granule));
            assert_eq!(frame.len(), to.encoded_bytes(granule), "{size} bytes, granule {granule}");
        }
        drop(to);
        drop(store);
        let store = open(there.path());
        let kept = store.get(&from.id()).unwrap().unwrap();
        assert!(kept.is_complete() && content(&kept) == expected);
        assert_eq!(store.list()[0].state, BlobState::Complete);
    }
}

#[test]
fn a_partial_blob_hands_on_what_it_has_and_nothing_else() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let third = tempfile::tempdir().unwrap();
    let (_seed, from) = seeded(folders[0].path(), &bytes(MIB, 1));
    let middle = open(folders[1].path());
    let middle = middle.begin(from.id(), MIB as u64, Place::Inside, "").unwrap();
    let last = open(third.path());
    let last = last.begin(from.id(), MIB as u64, Place::Inside, "").unwrap();
    hand_over(&from, &middle, [3, 9]);
    hand_over(&middle, &last, [9, 3]);
    let mut out = vec![1, 2];
    assert!(matches!(middle.encode(4, &mut out), Err(ReadError::Missing)));
    assert!(matches!(middle.encode(16, &mut out), Err(ReadError::Missing)));
    assert_eq!(out, [1, 2]);
    let group = 65536;
    assert!(middle.read(3 * group..4 * group).is_ok());
    assert!(matches!(middle.read(3 * group..4 * group + 1), Err(ReadError::Missing)));
    assert_eq!(last.have().iter().collect::<Vec<_>>(), [3, 9]);
    assert!(matches!(last.finish(), Err(BlobError::Incomplete { granules: 14 })));
}

#[test]
fn a_corrupt_granule_writes_nothing_at_all() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(200_000, 1));
    let store = open(there.path());
    let path = there.path().join("out/dish");
    let place = Place::Segments(vec![target(&path, 200_000)]);
    let to = store.begin(from.id(), 200_000, place, "").unwrap();
    let right = encoded(&from, 1);
    for at in [0, 63, 64, 127, 128, 129, 40_000, right.len() - 1] {
        let mut wrong = right.clone();
        wrong[at] ^= 4;
        assert!(matches!(to.write(1, &wrong), Err(WriteError::Corrupt)), "byte {at}");
    }
    assert!(matches!(to.write(0, &right), Err(WriteError::Corrupt)), "another granule");
    assert!(matches!(to.write(4, &right), Err(WriteError::Corrupt)), "behind the last");
    assert!(!path.exists() && to.have().is_empty());
    let outboard = std::fs::read(blob_folder(there.path(), from.id()).join("outboard")).unwrap();
    assert!(outboard.iter().all(|byte| *byte == 0));
    assert!(to.write(1, &right).unwrap());
    // The file has its final length from the start, so zeros need not be written.
    assert_eq!(path.metadata().unwrap().len(), 200_000);
}

#[test]
fn many_files_laid_end_to_end_arrive_as_they_were() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sizes = [0, 10, 70_000, 0, 0, 1, 65_536, 200_000, 3, 0, 131_072, 5, 0];
    let (sources, expected) = files(&here.path().join("files"), &sizes);
    let seed = open(here.path());
    let imported =
        seed.import(&sources, ImportHow::Reference, "meal", Keep::Cached, &go_on).unwrap();
    assert_eq!(imported.id, BlobId::of(&expected));
    let from = seed.get(&imported.id).unwrap().unwrap();
    let store = open(there.path());
    let part = there.path().join("meal.part");
    let mut targets: Vec<_> = (0..sizes.len())
        .map(|number| target(&part.join(format!("sub{}/f{number}", number % 3)), sizes[number]))
        .collect();
    targets[1].executable = true;
    let to = store.begin(from.id(), imported.bytes, Place::Segments(targets), "meal").unwrap();
    assert!(!part.exists(), "files come with their first bytes");
    hand_over(&from, &to, (0..to.division().count()).filter(|number| number % 2 == 1));
    to.commit().unwrap();
    hand_over(&from, &to, (0..to.division().count()).filter(|number| number % 2 == 0));
    to.finish().unwrap();
    let end = there.path().join("meals/meal");
    to.move_to(&part, &end).unwrap();
    assert!(!part.exists());
    assert!(content(&to) == expected);
    let mut all = Vec::new();
    for number in 0..sizes.len() {
        let path = end.join(format!("sub{}/f{number}", number % 3));
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o100 != 0, number == 1, "{}", path.display());
        all.extend(std::fs::read(path).unwrap());
    }
    assert!(all == expected);
    drop(to);
    drop(store);
    let store = open(there.path());
    let kept = store.get(&from.id()).unwrap().unwrap();
    assert!(kept.check_files().is_ok() && content(&kept) == expected);
    assert_eq!(
        store.list()[0].place,
        BlobPlace::Outside { path: end, segments: sizes.len() as u32 }
    );
}

#[test]
fn granules_of_several_groups_work_like_others() {
    // From 128 MiB on a granule has two groups.
    let size = 128 * MIB + 65_537 + 9;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(MIB - 24, 1).repeat(size / (MIB - 24) + 1);
    let (_seed, from) = seeded(here.path(), &content[..size]);
    let division = from.division();
    assert_eq!((division.granule_bytes(), division.count()), (131_072, 1025));
    assert_eq!(from.id(), BlobId::of(&content[..size]));
    let store = open(there.path());
    let cut = 300_000;
    let out = [there.path().join("a"), there.path().join("b")];
    let place = vec![target(&out[0], cut), target(&out[1], size - cut)];
    let to = store.begin(from.id(), size as u64, Place::Segments(place), "").unwrap();
    let picked = [0, 2, 511, 512, 1023, 1024];
    hand_over(&from, &to, picked);
    let last = encoded(&from, 1024);
    let mut wrong = last.clone();
    wrong[last.len() - 1] ^= 1;
    assert!(matches!(to.write(1023, &wrong), Ok(false)));
    assert!(matches!(to.write(1022, &wrong), Err(WriteError::Corrupt)));
    drop(to);
    drop(store);
    let store = open(there.path());
    let to = store.get(&from.id()).unwrap().unwrap();
    assert_eq!(to.have().iter().collect::<Vec<_>>(), picked);
    for granule in picked {
        assert!(encoded(&to, granule) == encoded(&from, granule));
        let range = division.bytes(granule);
        let read = to.read(range.clone()).unwrap();
        assert!(read[..] == content[range.start as usize..range.end as usize]);
    }
}

#[test]
fn threads_that_bring_the_same_granules_write_each_once() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = bytes(3 * MIB + 1, 5);
    let (_seed, from) = seeded(here.path(), &expected);
    let store = open(there.path());
    let to = store.begin(from.id(), expected.len() as u64, Place::Inside, "").unwrap();
    let count = to.division().count();
    let new: u32 = std::thread::scope(|scope| {
        let bring = |turn: u32| {
            let (from, to) = (&from, &to);
            move || {
                let granules = (0..count).map(|number| (number * 5 + turn) % count);
                granules
                    .filter(|number| to.write(*number, &encoded(from, *number)).unwrap())
                    .count()
            }
        };
        let threads: Vec<_> = (0..4).map(|turn| scope.spawn(bring(turn))).collect();
        to.commit().unwrap();
        threads.into_iter().map(|thread| thread.join().unwrap() as u32).sum()
    });
    assert_eq!(new, count);
    to.finish().unwrap();
    assert!(content(&to) == expected);
}

#[test]
fn a_blob_of_another_size_than_announced_is_refused() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(100_000, 1));
    let store = open(there.path());
    let to = store.begin(from.id(), 99_999, Place::Inside, "").unwrap();
    for granule in 0..2 {
        let result = to.write(granule, &encoded(&from, granule));
        // The first group is the same in both blobs; the end is not, whatever the claimed length is.
        assert_eq!(result.is_ok(), granule == 0, "{result:?}");
    }
    assert!(!to.have().is_full());
    drop(to);
    let to = store.begin(from.id(), 100_000, Place::Inside, "").unwrap();
    assert_eq!(to.have(), GranuleSet::empty(2));
}
