//! A real process that shares, withdraws, pins and keeps files is killed again and again, at any moment.
//! What it had acknowledged is so afterwards, and the counters are right without a count.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use potluck_base::words::words_of;
use potluck_base::{BlobId, Rng};
use potluck_store::blobs::{
    BlobCounts, BlobLimits, BlobState, BlobStore, ImportHow, Keep, SegmentTarget,
};

const FOLDER: &str = "POTLUCK_INDEX_KILL_FOLDER";
const KILLS: u64 = 40;
/// Files that the child shares, keeps and withdraws.
const FILES: u64 = 64;

fn open(folder: &Path) -> BlobStore {
    let limits = BlobLimits { cache_bytes: 1 << 30, blobs_max: 1_000 };
    BlobStore::open(folder, limits).expect("opens after a kill")
}

/// Every fourth is large enough for a folder of its own.
fn content(number: u64) -> Vec<u8> {
    let bytes = if number.is_multiple_of(4) { 70_000 } else { 100 };
    number.to_be_bytes().into_iter().cycle().take(bytes).collect()
}

fn step(store: &BlobStore, files: &Path, rng: &mut Rng) -> String {
    let number = rng.below(FILES);
    let (bytes, name) = (content(number), format!("file {number}.txt"));
    let id = BlobId::of(&bytes);
    match rng.below(4) {
        0 => match store.remove(&id) {
            Ok(()) | Err(potluck_store::blobs::BlobError::Unknown) => format!("gone {number}"),
            Err(error) => panic!("{error}"),
        },
        1 => {
            store.add_bytes(&bytes, &name, Keep::Cached).expect("there is room");
            format!("kept {number}")
        }
        _ => {
            let path = files.join(number.to_string());
            let file =
                SegmentTarget { path, bytes: bytes.len() as u64, executable: false, mtime: None };
            let how = ImportHow::Reference;
            let go_on = |_| ControlFlow::Continue(());
            store.import(&[file], how, &name, Keep::Pinned, &go_on).expect("is there");
            store.set_shared(&id, true, Some(&name)).expect("just added");
            format!("shared {number}")
        }
    }
}

/// Not a test of its own: what the child process runs.
#[test]
fn child_shares_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let store = open(folder);
    let mut rng = Rng::from_number(store.counts().blobs + u64::from(std::process::id()));
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").and_then(|()| out.flush()).expect("the parent listens");
    loop {
        let said = step(&store, &folder.join("files"), &mut rng);
        writeln!(out, "\nsaid {said}").and_then(|()| out.flush()).expect("the parent listens");
    }
}

/// Runs a child, kills it after `lines` lines and some spinning, and returns what it said.
fn run(folder: &Path, lines: u64, spins: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["child_shares_until_it_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut said = Vec::new();
    let out = BufReader::new(child.stdout.take().expect("piped")).lines();
    for line in out.map_while(Result::ok) {
        said.extend(line.strip_prefix("said ").map(str::to_owned));
        if said.len() as u64 == lines {
            (0..spins).for_each(|_| std::hint::spin_loop());
            child.kill().expect("it is ours");
        }
    }
    child.wait().expect("ends");
    said
}

fn recount(store: &BlobStore) -> BlobCounts {
    let mut counts = BlobCounts::default();
    for view in store.page(None, 1_000).expect("is read") {
        let given = view.shared && view.state == BlobState::Complete;
        counts.blobs += 1;
        counts.listed += u64::from(!view.name.is_empty());
        counts.bytes += view.size;
        counts.given += u64::from(given);
        counts.offered += u64::from(given);
    }
    counts
}

#[test]
fn a_killed_store_has_all_that_it_acknowledged_and_counts_right() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("files")).unwrap();
    for number in 0..FILES {
        std::fs::write(folder.join("files").join(number.to_string()), content(number)).unwrap();
    }
    let mut rng = Rng::from_number(5);
    let mut last: BTreeMap<u64, String> = BTreeMap::new();
    let mut words = BTreeSet::new();
    for _ in 0..KILLS {
        let said = run(folder, 1 + rng.below(30), rng.below(300_000));
        assert!(!said.is_empty());
        for line in &said {
            let (word, number) = line.split_once(' ').expect("two words");
            words.insert(word.to_owned());
            last.insert(number.parse().expect("a number"), word.to_owned());
        }
        let store = open(folder);
        assert_eq!((store.damaged(), store.counts()), (0, recount(&store)));
        let mut differ = 0;
        for (number, word) in &last {
            let id = BlobId::of(&content(*number));
            let view = store.view(&id);
            let right = match word.as_str() {
                "gone" => view.is_none(),
                "kept" => view.is_some(),
                _ => view.is_some_and(|view| view.shared && view.pinned),
            };
            differ += usize::from(!right);
            if let Some(blob) = store.get(&id).expect("opens") {
                let read = blob.read(0..blob.division().size()).expect("is there");
                assert!(read == content(*number));
            }
        }
        // The step that the kill interrupted may have happened, but was not said.
        assert!(differ <= 1, "{differ} of {last:?}");
        let found = store.search(&words_of("file"), 1_000).expect("is read").len() as u64;
        assert_eq!(found, store.counts().offered);
        for folder in std::fs::read_dir(folder.join("blobs")).unwrap() {
            let name = folder.unwrap().file_name();
            let id = name.to_str().and_then(|name| name.parse::<BlobId>().ok());
            assert!(id.is_none_or(|id| store.view(&id).is_some()), "{name:?} is nobody's");
        }
        // From here on it counts as said.
        for number in 0..FILES {
            let view = store.view(&BlobId::of(&content(number)));
            let word = match view {
                None => "gone",
                Some(view) if view.shared && view.pinned => "shared",
                Some(_) => "kept",
            };
            last.insert(number, word.to_owned());
        }
    }
    assert_eq!(words.len(), 3);
}
