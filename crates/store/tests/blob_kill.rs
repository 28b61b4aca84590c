//! A real process that fetches a blob into files is killed again and again, at any moment. Whatever it
//! had written is there afterwards, none of it is wrong, and in the end the files are the blob.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use potluck_base::{BlobId, Rng};
use potluck_store::blobs::{Blob, BlobLimits, BlobStore, Keep, Place, SegmentTarget};

const FOLDER: &str = "POTLUCK_BLOB_KILL_FOLDER";
const SIZE: usize = 6_000_007;
const SEGMENT: usize = 90_001;
const KILLS: u64 = 40;

fn content() -> Vec<u8> {
    let mut rng = Rng::from_number(11);
    (0..SIZE.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(SIZE).collect()
}

fn open(folder: &Path) -> BlobStore {
    let limits = BlobLimits { cache_bytes: 1 << 30, blobs_max: 8 };
    BlobStore::open(folder, limits).expect("opens after a kill")
}

/// The blob as its giver has it.
fn source(folder: &Path) -> Arc<Blob> {
    let store = open(&folder.join("giver"));
    let id = store.add_bytes(&content(), "", Keep::Pinned).expect("there is room");
    store.get(&id).expect("opens").expect("just added")
}

fn begin(store: &BlobStore, folder: &Path) -> Arc<Blob> {
    let targets = (0..SIZE.div_ceil(SEGMENT)).map(|number| SegmentTarget {
        path: folder.join(format!("out/{}/{number}", number % 5)),
        bytes: SEGMENT.min(SIZE - number * SEGMENT) as u64,
        executable: false,
        mtime: None,
    });
    let place = Place::Segments(targets.collect());
    store.begin(BlobId::of(&content()), SIZE as u64, place, "dish").expect("begins or goes on")
}

/// Not a test of its own: what the child process runs.
#[test]
fn child_fetches_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let from = source(folder);
    let store = open(&folder.join("taker"));
    let to = begin(&store, folder);
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").and_then(|()| out.flush()).expect("the parent listens");
    let mut missing: Vec<u32> = to.have().missing().collect();
    Rng::from_number(missing.len() as u64).shuffle(&mut missing);
    for (turn, granule) in missing.into_iter().enumerate() {
        let mut encoded = Vec::new();
        from.encode(granule, &mut encoded).expect("the giver has all");
        to.write(granule, &encoded).expect("right");
        writeln!(out, "wrote {granule}").and_then(|()| out.flush()).expect("the parent listens");
        if turn % 2 == 1 {
            to.commit().expect("commits");
        }
    }
    to.finish().expect("all is there");
    writeln!(out, "done").and_then(|()| out.flush()).expect("the parent listens");
}

/// Runs a child, kills it after `lines` lines and some spinning, and returns what it said.
fn run(folder: &Path, lines: u64, spins: u64) -> Vec<String> {
    let mut child: Child = Command::new(std::env::current_exe().expect("this test's binary"))
        .args(["child_fetches_until_it_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut said = Vec::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
    while (said.len() as u64) < lines {
        let Some(line) = out.next() else { break };
        let line = line.expect("text");
        // The test harness says things too, and leaves a line open.
        for known in ["ready", "wrote ", "done"] {
            if let Some(at) = line.find(known) {
                said.push(line[at..].to_owned());
            }
        }
    }
    (0..spins).for_each(|_| std::hint::spin_loop());
    child.kill().expect("it is ours");
    for line in out {
        // What was in the pipe was written before the end as well.
        said.extend(line.ok().filter(|line| line.starts_with("wrote ")));
    }
    child.wait().expect("ends");
    said
}

#[test]
fn a_killed_fetch_loses_nothing_that_it_had_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let from = source(folder);
    let expected = content();
    drop(from);
    let mut rng = Rng::from_number(5);
    let mut wrote = Vec::new();
    for _ in 0..KILLS {
        let said = run(folder, 1 + rng.below(4), rng.below(200_000));
        assert!(said.iter().any(|line| line == "ready"), "{said:?}");
        let granules = said.iter().filter_map(|line| line.strip_prefix("wrote "));
        wrote.extend(granules.map(|granule| granule.parse::<u32>().expect("a number")));
        let store = open(&folder.join("taker"));
        assert_eq!(store.damaged(), 0);
        let to = begin(&store, folder);
        let have = to.have();
        for granule in &wrote {
            assert!(have.contains(*granule), "granule {granule} was lost");
        }
        for granule in have.iter().filter(|_| !to.is_complete()) {
            let range = to.division().bytes(granule);
            let read = to.read(range.clone()).expect("what is there is right");
            assert!(read[..] == expected[range.start as usize..range.end as usize]);
        }
    }
    assert!(!wrote.is_empty());
    let said = run(folder, u64::MAX, 0);
    assert_eq!(said.last().map(String::as_str), Some("done"));
    let store = open(&folder.join("taker"));
    let to = begin(&store, folder);
    assert!(to.is_complete() && to.check_files().is_ok());
    let files = (0..SIZE.div_ceil(SEGMENT)).flat_map(|number| {
        std::fs::read(folder.join(format!("out/{}/{number}", number % 5))).unwrap()
    });
    assert!(files.eq(expected));
}
