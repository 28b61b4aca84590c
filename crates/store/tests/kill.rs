//! A real process that writes as fast as it can is killed again and again, at any moment. Whatever
//! it had acknowledged is there afterwards, and no batch is there by half.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Spec, load, loaded, merge, network};
use potluck_base::{PublicKey, Rng};
use potluck_record::StorageReply;
use potluck_store::{DiskStore, StoreConfig, SyncMode};

const FOLDER: &str = "POTLUCK_KILL_FOLDER";
const FIRST: &str = "POTLUCK_KILL_FIRST";
const KEYS: u32 = 24;
const WRITERS: u8 = 4;
const MERGES: u64 = 8;
const KILLS: u64 = 100;

/// Small, so that buffers are written out and compacted all the time. A kill takes nothing from the
/// operating system, so most rounds may leave out the sync that makes them slow; some keep it.
fn config(first: u64) -> StoreConfig {
    let sync = if first.is_multiple_of(4) { SyncMode::Data } else { SyncMode::Buffered };
    StoreConfig { memory_bytes: 1024 * 1024, sync, reserve_bytes: 0, ..StoreConfig::new(network()) }
}

/// What batch `number` writes: the same at each call. Dots are batch numbers.
fn batch(number: u64) -> Vec<Spec> {
    let mut rng = Rng::from_number(number);
    (0..MERGES)
        .map(|_| {
            let (name, writer) = (rng.below(KEYS.into()) as u32, rng.below(WRITERS.into()) as u8);
            let bytes = 50 + rng.below(3_000) as usize;
            Spec { bytes, ..Spec::new(name, writer + 1, number) }
        })
        .collect()
}

/// The newest specification of each writer of each key after batches `1..=last`.
#[derive(Default)]
struct Expected {
    last: u64,
    newest: BTreeMap<(u32, u8), Spec>,
}

impl Expected {
    fn advance(&mut self, last: u64) {
        for number in self.last + 1..=last {
            for spec in batch(number) {
                // Two of one batch have equal dots, where the higher digest wins.
                let place = (spec.name, spec.writer);
                let newer = self.newest.get(&place).is_none_or(|held| {
                    held.dot < spec.dot || held.sign().head().digest() < spec.sign().head().digest()
                });
                if newer {
                    self.newest.insert(place, spec);
                }
            }
        }
        self.last = self.last.max(last);
    }

    /// Whether the store holds exactly this.
    fn is_held_by(&self, store: &mut DiskStore) -> bool {
        let keys: Vec<_> = (0..KEYS).map(|name| Spec::new(name, 0, 0).key()).collect();
        let replies = store.apply(&keys.iter().copied().map(load).collect::<Vec<_>>());
        replies.iter().zip(0..).all(|(reply, name)| {
            let expected = (1..=WRITERS).filter_map(|writer| self.newest.get(&(name, writer)));
            let expected: BTreeMap<PublicKey, _> =
                expected.map(|spec| (common::writer(spec.writer), spec.sign())).collect();
            loaded(reply) == expected.into_values().collect::<Vec<_>>()
        })
    }
}

/// Not a test of its own: what the child process runs.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let mut store =
        DiskStore::open(Path::new(&folder), &config(first)).expect("opens after a kill");
    let mut out = std::io::stdout().lock();
    for number in first.. {
        let ops: Vec<_> = batch(number).iter().map(|spec| merge(spec.sign())).collect();
        let replies = store.apply(&ops);
        let acknowledged = |reply| matches!(reply, &StorageReply::Merged { .. });
        assert!(replies.iter().all(acknowledged), "{replies:?}");
        writeln!(out, "ack {number}").and_then(|()| out.flush()).expect("the parent listens");
    }
}

struct Writer(Child);

impl Writer {
    fn start(folder: &Path, first: u64) -> Self {
        let child = Command::new(std::env::current_exe().expect("this test's binary"))
            .args(["child_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        Self(child)
    }

    /// Kills it after `acks` more batches and some spinning, and returns the last batch that it
    /// acknowledged, if any.
    fn kill_after(mut self, acks: u64, spins: u64) -> Option<u64> {
        let out = BufReader::new(self.0.stdout.take().expect("piped"));
        let mut seen = 0;
        let mut last = None;
        for line in out.lines() {
            let Some(number) = line.ok().and_then(|line| line.strip_prefix("ack ")?.parse().ok())
            else {
                continue;
            };
            last = Some(number);
            seen += 1;
            // Not at once, so that it hits any moment of the next batch, and only once; then read
            // on to the end of what it said before it died.
            if seen == acks {
                for spin in 0..spins {
                    std::hint::black_box(spin);
                }
                self.0.kill().expect("it runs until killed");
            }
        }
        self.0.wait().expect("a child of ours");
        last
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_a_hundred_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = Rng::from_number(41);
    let mut expected = Expected::default();
    let mut unacknowledged_seen = 0;
    for kill in 0..KILLS {
        let writer = Writer::start(folder.path(), expected.last + 1);
        let last = writer.kill_after(1 + rng.below(16), rng.below(1_000_000));
        let acknowledged = last.unwrap_or(expected.last);
        assert!(acknowledged > expected.last, "kill {kill}: it never wrote");
        expected.advance(acknowledged);

        let mut store = DiskStore::open(folder.path(), &config(kill)).expect("opens after a kill");
        if !expected.is_held_by(&mut store) {
            // The batch that was under way may be there as well, then all of it.
            expected.advance(acknowledged + 1);
            unacknowledged_seen += 1;
            assert!(expected.is_held_by(&mut store), "kill {kill}, after batch {acknowledged}");
        }
        assert_eq!(store.counters_hold(), Ok(true));
    }
    // Both happen, or the kills do not hit where it hurts.
    assert!(unacknowledged_seen < KILLS);
    torn_tails(folder.path(), expected);
}

/// The journal that is written to: the one with the highest number.
fn journal(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("records")).expect("a folder").flatten();
    files
        .filter_map(|file| {
            let number: u64 = file.file_name().to_str()?.strip_suffix(".jnl")?.parse().ok()?;
            Some((number, file.path()))
        })
        .max()
        .expect("there is a journal")
        .1
}

fn torn_tails(folder: &Path, mut expected: Expected) {
    let mut rng = Rng::from_number(42);
    for round in 0..10u64 {
        let before = Expected { last: expected.last, newest: expected.newest.clone() };
        let mut store = DiskStore::open(folder, &config(round)).expect("opens");
        let number = expected.last + 1;
        store.apply(&batch(number).iter().map(|spec| merge(spec.sign())).collect::<Vec<_>>());
        expected.advance(number);
        drop(store);

        let path = journal(folder);
        let mut bytes = std::fs::read(&path).expect("reads");
        // A new journal is longer than what was written to it.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        let cut = round % 2 == 1 && end > 100;
        if cut {
            bytes.truncate(end - 1 - rng.below(90) as usize);
        } else {
            bytes.extend((0..1 + rng.below(300)).map(|_| rng.below(256) as u8));
        }
        std::fs::write(&path, bytes).expect("writes");

        let mut store = DiskStore::open(folder, &config(round)).expect("opens with a torn tail");
        let whole = expected.is_held_by(&mut store);
        if cut && !whole {
            // The last batch was cut off: all of it is gone, and nothing else.
            assert!(before.is_held_by(&mut store), "round {round}");
            expected = before;
        } else {
            assert!(whole, "round {round}");
        }
        assert_eq!(store.counters_hold(), Ok(true));
    }
}
