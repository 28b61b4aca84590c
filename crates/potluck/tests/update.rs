//! Fetches into folders that have some of it, between real nodes on loopback.

mod common;

use std::path::{Path, PathBuf};

use common::{bounded, node_in, until};
use potluck::{Error, Fetched, FilesError, Node, Shared};
use tempfile::TempDir;

/// A node that shares and one that fetches.
struct Pair {
    sharer: Node,
    fetcher: Node,
    folder: TempDir,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Update,
    Force,
}

impl Pair {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("works here");
        let sharer =
            bounded(node_in(&folder.path().join("sharer")).start()).await.expect("works here");
        let fetcher = node_in(&folder.path().join("fetcher")).entry(sharer.contact());
        let fetcher = bounded(fetcher.start()).await.expect("works here");
        until(async || {
            let peers = sharer.status().await.expect("works here").view.peers;
            (peers == 1).then_some(())
        })
        .await;
        Self { sharer, fetcher, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn share(&self, name: &str) -> Shared {
        bounded(self.sharer.files().share(self.path(name)).into_future()).await.expect("works here")
    }

    async fn fetch(&self, shared: &Shared, how: How) -> potluck::Result<Fetched> {
        let fetch = self.fetcher.files().fetch(shared).to(self.path("to"));
        let fetch = fetch.update(how == How::Update).force(how == How::Force);
        bounded(fetch.into_future()).await
    }

    /// What lies where fetches go to.
    fn here(&self, name: &str) -> PathBuf {
        self.path("to/kitchen").join(name)
    }
}

/// Bytes without a pattern.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("works here")).expect("works here");
    std::fs::write(path, bytes).expect("works here");
}

/// A folder of 4 MB with large, small and empty files.
fn first_version(folder: &Path) {
    write(folder, "large", &noise(1, 3_000_000));
    write(folder, "deep/middle", &noise(2, 700_000));
    for number in 0..40_usize {
        write(folder, &format!("small/{number}"), &noise(number as u8, 1000 + number * 150));
    }
    write(folder, "empty", b"");
    write(folder, "only-old", &noise(3, 5000));
}

/// Some bytes of the large file, one file more and one less.
fn second_version(folder: &Path) {
    first_version(folder);
    let mut large = noise(1, 3_000_000);
    large[1_000_000] ^= 1;
    write(folder, "large", &large);
    write(folder, "zoo/only-new", &noise(4, 5000));
    std::fs::remove_file(folder.join("only-old")).expect("works here");
}

fn network_bytes(fetched: &Fetched) -> u64 {
    fetched.sources.iter().map(|source| source.bytes).sum()
}

fn same(one: &Path, other: &Path) {
    for entry in std::fs::read_dir(one).expect("works here") {
        let name = entry.expect("works here").file_name();
        let (one, other) = (one.join(&name), other.join(&name));
        if one.is_dir() {
            same(&one, &other);
        } else {
            assert!(
                std::fs::read(&one).expect("works here")
                    == std::fs::read(&other).expect("works here"),
                "{other:?}"
            );
        }
    }
}

/// Nothing of a fetch is left beside its place.
fn nothing_left(pair: &Pair) {
    let names = std::fs::read_dir(pair.path("to")).expect("works here");
    let names: Vec<_> = names.map(|entry| entry.expect("works here").file_name()).collect();
    assert_eq!(names, ["kitchen"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_fetches_what_is_new_and_reuses_the_rest() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    second_version(&pair.path("two/kitchen"));
    let one = pair.share("one/kitchen").await;
    let first = pair.fetch(&one, How::Plain).await.unwrap();
    assert_eq!((first.reused_bytes, first.left.len()), (0, 0));
    let two = pair.share("two/kitchen").await;
    let second = pair.fetch(&two, How::Update).await.unwrap();
    same(&pair.path("two/kitchen"), &pair.here(""));
    let network = network_bytes(&second);
    assert!(network < 700_000, "{network} bytes came: {second:?}");
    let (reused, bytes) = (second.reused_bytes, second.bytes);
    assert!(reused >= 3_300_000 && reused + network >= bytes, "{second:?}");
    assert!(second.left.is_empty());
    assert_eq!(second.kept, ["only-old"]);
    nothing_left(&pair);
    // The old version is gone from the list, the new one is whole and offered.
    let listed = pair.fetcher.files().list().await.unwrap();
    let offered: Vec<_> = listed.iter().map(|entry| (entry.id, entry.shared)).collect();
    assert_eq!(offered, [(two.id, true)]);
    assert_eq!(listed[0].state, potluck::FileState::Complete);
    // Again, there is nothing to do.
    let again = pair.fetch(&two, How::Update).await.unwrap();
    assert_eq!((network_bytes(&again), again.reused_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_is_left_and_named_until_it_is_forced() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    second_version(&pair.path("two/kitchen"));
    pair.fetch(&pair.share("one/kitchen").await, How::Plain).await.unwrap();
    write(&pair.here(""), "small/7", b"my own words");
    write(&pair.here(""), "mine", b"mine too");
    std::fs::create_dir_all(pair.here("zoo/only-new")).unwrap();
    let two = pair.share("two/kitchen").await;
    let got = pair.fetch(&two, How::Update).await.unwrap();
    assert_eq!(got.left, ["small/7", "zoo/only-new"]);
    assert_eq!(got.kept, ["mine", "only-old"]);
    assert_eq!(std::fs::read(pair.here("small/7")).unwrap(), b"my own words");
    let large = std::fs::read(pair.path("two/kitchen/large")).unwrap();
    assert!(std::fs::read(pair.here("large")).unwrap() == large, "the rest is there");
    nothing_left(&pair);
    std::fs::remove_dir(pair.here("zoo/only-new")).unwrap();
    let got = pair.fetch(&two, How::Force).await.unwrap();
    assert!(got.left.is_empty());
    assert!(network_bytes(&got) < 300_000, "{got:?}");
    same(&pair.path("two/kitchen"), &pair.here(""));
    assert_eq!(std::fs::read(pair.here("mine")).unwrap(), b"mine too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_update_nothing_is_replaced() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    second_version(&pair.path("two/kitchen"));
    pair.fetch(&pair.share("one/kitchen").await, How::Plain).await.unwrap();
    let old = std::fs::read(pair.here("large")).unwrap();
    let got = pair.fetch(&pair.share("two/kitchen").await, How::Plain).await.unwrap();
    assert_eq!(got.left, ["large"]);
    assert!(std::fs::read(pair.here("large")).unwrap() == old);
    assert!(pair.here("zoo/only-new").exists(), "what was missing is there");
    // What the first fetch put there is known still.
    let got = pair.fetch(&pair.share("two/kitchen").await, How::Update).await.unwrap();
    assert!(got.left.is_empty(), "{got:?}");
    same(&pair.path("two/kitchen"), &pair.here(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_never_was_fetched_is_completed_from_what_it_has() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    first_version(&pair.here(""));
    std::fs::remove_dir_all(pair.here("small")).unwrap();
    let modified = pair.here("large").metadata().unwrap().modified().unwrap();
    let got = pair.fetch(&pair.share("one/kitchen").await, How::Plain).await.unwrap();
    assert!(got.left.is_empty() && got.reused_bytes > 3_500_000, "{got:?}");
    assert!(network_bytes(&got) < 500_000, "{got:?}");
    same(&pair.path("one/kitchen"), &pair.here(""));
    let now = pair.here("large").metadata().unwrap().modified().unwrap();
    assert_eq!(now, modified, "a file that is right is not touched");
    nothing_left(&pair);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_folder_is_repaired_by_the_same_fetch() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    let one = pair.share("one/kitchen").await;
    pair.fetch(&one, How::Plain).await.unwrap();
    std::fs::remove_file(pair.here("deep/middle")).unwrap();
    let got = pair.fetch(&one, How::Plain).await.unwrap();
    assert!(network_bytes(&got) < 1_000_000 && got.left.is_empty(), "{got:?}");
    same(&pair.path("one/kitchen"), &pair.here(""));
    // Truncated by another program: this is a change, which is not undone unasked.
    write(&pair.here(""), "large", &noise(1, 2_000_000));
    assert_eq!(pair.fetch(&one, How::Update).await.unwrap().left, ["large"]);
    let got = pair.fetch(&one, How::Force).await.unwrap();
    assert!(network_bytes(&got) < 1_200_000 && got.left.is_empty(), "{got:?}");
    same(&pair.path("one/kitchen"), &pair.here(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_files_are_found_by_their_length() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    first_version(&pair.path("two/kitchen/all"));
    pair.fetch(&pair.share("one/kitchen").await, How::Plain).await.unwrap();
    let got = pair.fetch(&pair.share("two/kitchen").await, How::Update).await.unwrap();
    same(&pair.path("two/kitchen"), &pair.here(""));
    // The same bytes in the same order are the same blob.
    assert!(network_bytes(&got) < 10_000, "but for the list of files: {got:?}");
    // In another order they are not.
    first_version(&pair.path("three/kitchen"));
    std::fs::rename(pair.path("three/kitchen/large"), pair.path("three/kitchen/a")).unwrap();
    let got = pair.fetch(&pair.share("three/kitchen").await, How::Update).await.unwrap();
    assert!(network_bytes(&got) < 300_000 && got.reused_bytes > 3_500_000, "{got:?}");
    same(&pair.path("three/kitchen"), &pair.here(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_is_updated_unless_somebody_changed_it() {
    let pair = Pair::new().await;
    let mut bytes = noise(1, 2_000_000);
    write(&pair.path("one"), "dish", &bytes);
    bytes[700_000] ^= 1;
    write(&pair.path("two"), "dish", &bytes);
    let (one, two) = (pair.share("one/dish").await, pair.share("two/dish").await);
    pair.fetch(&one, How::Plain).await.unwrap();
    let refused = pair.fetch(&two, How::Plain).await;
    assert!(matches!(refused, Err(Error::Files(FilesError::Exists(_)))), "{refused:?}");
    let got = pair.fetch(&two, How::Update).await.unwrap();
    assert!(network_bytes(&got) < 200_000, "{got:?}");
    let there = pair.path("to/dish");
    assert!(std::fs::read(&there).unwrap() == bytes);
    std::fs::write(&there, "my own words").unwrap();
    let refused = pair.fetch(&one, How::Update).await;
    assert!(matches!(refused, Err(Error::Files(FilesError::Exists(_)))), "{refused:?}");
    assert_eq!(std::fs::read(&there).unwrap(), b"my own words");
    pair.fetch(&two, How::Force).await.unwrap();
    assert!(std::fs::read(&there).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_shares_from_elsewhere_stays_whole_and_shared() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    first_version(&pair.path("own/kitchen"));
    let one = pair.share("one/kitchen").await;
    let own = pair.fetcher.files().share(pair.path("own/kitchen")).into_future();
    let own = bounded(own).await.unwrap();
    write(&pair.here(""), "large", b"my own words");
    let got = pair.fetch(&one, How::Update).await.unwrap();
    assert_eq!(got.left, ["large"]);
    assert_eq!(std::fs::read(pair.here("large")).unwrap(), b"my own words");
    assert!(pair.here("deep/middle").exists(), "the rest is there");
    nothing_left(&pair);
    let offered = async || {
        let listed = pair.fetcher.files().list().await.unwrap();
        let entry = listed.iter().find(|entry| entry.id == own.id).expect("it is known");
        (entry.shared, entry.state)
    };
    assert_eq!(offered().await, (true, potluck::FileState::Complete));
    let got = pair.fetch(&one, How::Force).await.unwrap();
    assert!(got.left.is_empty() && network_bytes(&got) < 10_000, "{got:?}");
    same(&pair.path("one/kitchen"), &pair.here(""));
    same(&pair.path("one/kitchen"), &pair.path("own/kitchen"));
    nothing_left(&pair);
    assert_eq!(offered().await, (true, potluck::FileState::Complete));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_neither_reads_nor_writes_through_a_link() {
    let pair = Pair::new().await;
    first_version(&pair.path("one/kitchen"));
    let outside = pair.path("outside");
    first_version(&outside);
    std::fs::create_dir_all(pair.here("")).unwrap();
    std::os::unix::fs::symlink(outside.join("small"), pair.here("small")).unwrap();
    std::os::unix::fs::symlink(outside.join("large"), pair.here("large")).unwrap();
    std::fs::remove_file(outside.join("small/3")).unwrap();
    let got = pair.fetch(&pair.share("one/kitchen").await, How::Force).await.unwrap();
    assert_eq!(got.reused_bytes, 0, "{got:?}");
    assert_eq!(got.left.len(), 41);
    assert!(!outside.join("small/3").exists());
    assert!(pair.here("large").symlink_metadata().unwrap().is_symlink());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_given_on_after_a_restart_when_the_sharer_has_gone() {
    let folder = tempfile::tempdir().expect("works here");
    let path = |name: &str| folder.path().join(name);
    let sharer = node_in(&path("sharer")).upload_rate(Some(1_500_000)).start();
    let sharer = bounded(sharer).await.unwrap();
    let begin = |entry: &Node| node_in(&path("middle")).entry(entry.contact()).start();
    let middle = bounded(begin(&sharer)).await.unwrap();
    write(&path("one/kitchen"), "a", &noise(1, 3_000_000));
    write(&path("one/kitchen"), "b", &noise(2, 3_000_000));
    let shared = bounded(sharer.files().share(path("one/kitchen")).into_future()).await.unwrap();
    let job = middle.files().fetch(&shared).to(path("to")).start().unwrap();
    until(async || (job.progress().bytes > 2_000_000).then_some(())).await;
    bounded(middle.stop()).await.unwrap();
    bounded(sharer.stop()).await.unwrap();
    let middle = bounded(node_in(&path("middle")).start()).await.unwrap();
    let last = node_in(&path("last")).entry(middle.contact()).start();
    let last = bounded(last).await.unwrap();
    let job = last.files().fetch(&shared).to(path("to2")).start().unwrap();
    until(async || (job.progress().bytes > 1_900_000).then_some(())).await;
    job.cancel();
}
