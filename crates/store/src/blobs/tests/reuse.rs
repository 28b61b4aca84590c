//! Hash trees without data, and guessed bytes.

use std::ops::Range;

use super::*;

/// Guesses that segment `n` holds the bytes of the `n`th of these.
struct Old<'a>(Vec<Vec<&'a [u8]>>);

impl Guess for Old<'_> {
    fn guess(&mut self, number: usize, part: Part, buffer: &mut [u8]) -> bool {
        let Some(old) = self.0.get(number) else { return false };
        let Some(old) = old.get(part.segment) else { return false };
        let begin = (part.offset as usize).min(old.len());
        let Some(found) = old[begin..].get(..buffer.len()) else { return false };
        buffer.copy_from_slice(found);
        true
    }

    fn guesses(&self, _: Part) -> usize {
        self.0.len()
    }
}

fn everything(_: &Range<u64>) -> bool {
    true
}

/// Fetches the tree of `from` in pages of at most `page` nodes, and returns the granules that were reused.
fn reuse(
    from: &Blob,
    to: &Arc<Blob>,
    wants: &dyn Fn(&Range<u64>) -> bool,
    guess: &mut dyn Guess,
    page: u32,
) -> (Vec<u32>, u32) {
    let mut outline = Outline::new(Arc::clone(to));
    let (mut reused, mut pages) = (Vec::new(), 0);
    loop {
        let next = outline.next(wants);
        while let Some((granule, hashes)) = outline.granule() {
            if to.reuse(granule, &hashes, guess).unwrap() {
                reused.push(granule);
            }
        }
        let Some(nodes) = next else { return (reused, pages) };
        let nodes = nodes.start..nodes.end.min(nodes.start + page);
        outline.take(nodes.start, &from.read_nodes(nodes).unwrap(), wants).unwrap();
        pages += 1;
    }
}

#[test]
fn a_blob_that_is_here_already_needs_its_tree_and_nothing_else() {
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        for page in [1, 7, NODES_MAX] {
            let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let content = bytes(size, 3);
            let (_seed, from) = seeded(here.path(), &content);
            let store = open(there.path());
            let to = store.begin(from.id(), size as u64, Place::Inside, "dish").unwrap();
            let mut old = Old(vec![vec![&content]]);
            let (reused, _) = reuse(&from, &to, &everything, &mut old, page);
            assert_eq!(reused, (0..to.division().count()).collect::<Vec<_>>(), "{size} {page}");
            to.finish().unwrap();
            assert!(super::content(&to) == content);
            // Reused granules can be read and encoded.
            for granule in 0..to.division().count() {
                assert!(encoded(&to, granule) == encoded(&from, granule));
            }
        }
    }
}

#[test]
fn only_what_is_the_same_is_kept_and_the_rest_comes_from_others() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(5 * MIB, 3);
    let mut changed = content.clone();
    changed[70_000] ^= 1;
    changed[4 * MIB] ^= 1;
    let (_seed, from) = seeded(here.path(), &content);
    let store = open(there.path());
    let to = store.begin(from.id(), content.len() as u64, Place::Inside, "dish").unwrap();
    let mut old = Old(vec![vec![&changed]]);
    let (reused, _) = reuse(&from, &to, &everything, &mut old, NODES_MAX);
    assert_eq!(reused.len(), 78);
    assert_eq!(to.have().missing().collect::<Vec<_>>(), [1, 64]);
    assert_eq!(to.have_bytes(), 78 * 65536);
    hand_over(&from, &to, [64, 1]);
    to.finish().unwrap();
    assert!(super::content(&to) == content);
}

#[test]
fn the_second_guess_is_made_where_the_first_is_wrong() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(MIB, 3);
    let wrong = vec![0; MIB / 2];
    let (_seed, from) = seeded(here.path(), &content);
    let store = open(there.path());
    let to = store.begin(from.id(), MIB as u64, Place::Inside, "dish").unwrap();
    let mut old = Old(vec![vec![&wrong], vec![&content]]);
    let (reused, _) = reuse(&from, &to, &everything, &mut old, NODES_MAX);
    assert_eq!(reused.len(), 16);
}

#[test]
fn unwanted_parts_are_left_out_of_the_tree() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(5 * MIB, 3);
    let (_seed, from) = seeded(here.path(), &content);
    let store = open(there.path());
    let to = store.begin(from.id(), content.len() as u64, Place::Inside, "dish").unwrap();
    let wants = |bytes: &Range<u64>| bytes.start <= 70 * 65536 && 70 * 65536 < bytes.end;
    let mut old = Old(vec![vec![&content]]);
    let (reused, pages) = reuse(&from, &to, &wants, &mut old, 1);
    assert_eq!((reused, pages), (vec![70], 5), "the top and four nodes over sixteen groups");
    let outboard = std::fs::read(blob_folder(there.path(), from.id()).join("outboard")).unwrap();
    let written = outboard.chunks(64).filter(|node| node.iter().any(|byte| *byte != 0)).count();
    assert_eq!(written, 5);
}

#[test]
fn a_false_node_is_refused_and_nothing_of_it_is_kept() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(MIB, 3));
    let store = open(there.path());
    let to = store.begin(from.id(), MIB as u64, Place::Inside, "dish").unwrap();
    let right = from.read_nodes(0..15).unwrap();
    for at in [0, 63, 64, 14 * 64] {
        let mut outline = Outline::new(Arc::clone(&to));
        assert_eq!(outline.next(&everything), Some(0..15));
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        assert!(matches!(outline.take(0, &wrong, &everything), Err(WriteError::Corrupt)));
        let outboard =
            std::fs::read(blob_folder(there.path(), from.id()).join("outboard")).unwrap();
        assert_eq!(outboard[..at / 64 * 64], right[..at / 64 * 64], "what was right is kept");
        assert!(outboard[at / 64 * 64..at / 64 * 64 + 64].iter().all(|byte| *byte == 0));
        // The right page continues where the false one ended.
        assert_eq!(outline.next(&everything), Some(at as u32 / 64..15));
        outline.take(at as u32 / 64, &right[at / 64 * 64..], &everything).unwrap();
        assert_eq!(outline.next(&everything), None);
        std::fs::write(blob_folder(there.path(), from.id()).join("outboard"), [0; 15 * 64])
            .unwrap();
    }
    let mut outline = Outline::new(Arc::clone(&to));
    let long = vec![0; 64 * (NODES_MAX as usize + 1)];
    assert!(matches!(outline.take(0, &long, &everything), Err(WriteError::Corrupt)));
    assert!(matches!(outline.take(0, &right[1..], &everything), Err(WriteError::Corrupt)));
}

#[test]
fn nodes_are_handed_out_of_whole_blobs_and_in_bounded_pages() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_seed, from) = seeded(here.path(), &bytes(MIB, 3));
    assert_eq!(from.nodes(), 15);
    for wrong in [0..0, 0..16, 15..16, 14..u32::MAX] {
        assert!(matches!(from.read_nodes(wrong), Err(ReadError::Missing)));
    }
    assert_eq!(from.read_nodes(3..15).unwrap().len(), 12 * 64);
    let store = open(there.path());
    let to = store.begin(from.id(), MIB as u64, Place::Inside, "dish").unwrap();
    hand_over(&from, &to, [3]);
    assert!(matches!(to.read_nodes(0..1), Err(ReadError::Missing)));
}

#[test]
fn reused_bytes_survive_a_restart_and_are_written_where_the_files_are() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = bytes(300_000, 3);
    let (_seed, from) = seeded(here.path(), &content);
    let paths = [there.path().join("to/a"), there.path().join("to/b")];
    let place = || Place::Segments(vec![target(&paths[0], 100_000), target(&paths[1], 200_000)]);
    let store = open(there.path());
    let to = store.begin(from.id(), 300_000, place(), "dish").unwrap();
    let mut old = Old(vec![vec![&content[..100_000], &content[100_000..]]]);
    let (reused, _) = reuse(&from, &to, &everything, &mut old, NODES_MAX);
    assert_eq!(reused, [0, 1, 2, 3, 4]);
    drop(to);
    drop(store);
    // Reused granules that were not committed are hashed again.
    let store = open(there.path());
    let to = store.begin(from.id(), 300_000, place(), "dish").unwrap();
    assert!(to.have().is_full());
    to.finish().unwrap();
    assert!(std::fs::read(&paths[0]).unwrap() == content[..100_000]);
    assert!(std::fs::read(&paths[1]).unwrap() == content[100_000..]);
}

#[test]
fn fetched_files_are_distinguished_from_changed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("to/kitchen");
    std::fs::create_dir_all(there.join("deep")).unwrap();
    for name in ["soup", "salad", "deep/dish", "mine"] {
        std::fs::write(there.join(name), name).unwrap();
    }
    let names = || ["soup", "salad", "deep/dish", "gone"].map(std::path::PathBuf::from);
    {
        let store = open(folder.path());
        let mut put = store.remembered(&there);
        put.put(names());
        store.remember(&put).unwrap();
    }
    let store = open(folder.path());
    let put = store.remembered(&there);
    std::fs::write(there.join("salad"), "SALAD!").unwrap();
    std::fs::remove_file(there.join("soup")).unwrap();
    std::fs::write(there.join("soup"), "soup").unwrap();
    let untouched = |name: &str| {
        put.is_untouched(Path::new(name), &there.join(name).symlink_metadata().unwrap())
    };
    assert!(untouched("deep/dish"));
    assert!(!untouched("soup") && !untouched("salad") && !untouched("mine"));
    assert_eq!(put.files().count(), 3, "what is not there was not put there");
    // Nothing is remembered for other places, but they are found as neighbours in the folder.
    let beside = folder.path().join("to/kitchen-2");
    assert_eq!(store.remembered(&beside).files().count(), 0);
    assert_eq!(store.remembered_beside(&beside, 4), std::slice::from_ref(&there));
    assert!(store.remembered_beside(&there, 4).is_empty());
    assert!(store.remembered_beside(&folder.path().join("kitchen"), 4).is_empty());
    let file = std::fs::read_dir(folder.path().join("blobs/.fetched")).unwrap().next().unwrap();
    std::fs::write(file.unwrap().path(), "nonsense").unwrap();
    assert_eq!(store.remembered(&there).files().count(), 0);
}
