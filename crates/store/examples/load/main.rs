//! How fast and how large a store is:
//! `cargo run --release -p potluck-store --example load -- N` loads N records of 200 bytes in synced
//! batches of 500, opens the store again and reads at random.
//!
//! - `--beside-bare` writes the same rows to the bare engine as well, in turns of 250,000 records.
//! - `--expire N` lets the first N records expire and measures that.
//! - `--writers W` has W writers take turns at random (by default 16, a fleet of that many machines).
//! - `--stores M` makes M small stores in one process instead, N records in each.
//! - `--folder F --keep` leaves the store in F, so that a node of the lab network `load` can start with it.
//! - `--memory-mib M` is what the store may take.
//!
//! The envelopes carry no genuine signature: a store checks none, and ten million signatures take
//! longer than everything else.

mod bare;

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bare::Bare;
use bytes::Bytes;
use potluck_base::{Admission, Key, NetworkId, PublicKey, Rng, UnixMillis};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, MergeAs, Name, Place, Space, StorageOp, StorageReply,
};
use potluck_store::{DiskStore, StoreConfig};

const BATCH: u64 = 500;
const VALUE_BYTES: usize = 200;
const GETS: u64 = 100_000;
/// Keys of one portion of the index, as the node asks for them.
const INDEX_KEYS: u32 = 16_384;
/// Records that the store writes before the bare engine has its turn.
const TURN: u64 = 250_000;
/// When the first record expires, and over which time the ends of life are spread.
const FIRST_EXPIRY: u64 = 1_800_000_000_000;
const YEAR_MS: u64 = 31_536_000_000;

type Failure = Box<dyn std::error::Error>;

#[derive(Debug)]
struct Options {
    records: u64,
    stores: u64,
    writers: u64,
    memory_mib: Option<u64>,
    folder: PathBuf,
    keep: bool,
    beside_bare: bool,
    expire: u64,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        records: 1_000_000,
        stores: 1,
        writers: 16,
        memory_mib: None,
        folder: std::env::temp_dir().join(format!("potluck-load-{}", std::process::id())),
        keep: false,
        beside_bare: false,
        expire: 0,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("an option needs a value");
        match argument.as_str() {
            "--stores" => options.stores = value()?.parse()?,
            "--writers" => options.writers = value()?.parse()?,
            "--memory-mib" => options.memory_mib = Some(value()?.parse()?),
            "--folder" => options.folder = PathBuf::from(value()?),
            "--keep" => options.keep = true,
            "--beside-bare" => options.beside_bare = true,
            "--expire" => options.expire = value()?.parse()?,
            number => options.records = number.parse()?,
        }
    }
    Ok(options)
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let mut config = StoreConfig::new(NetworkId::new("load", Admission::Lab, None));
    let default_mib = if options.stores > 1 { 1 } else { config.memory_bytes >> 20 };
    config.memory_bytes = options.memory_mib.unwrap_or(default_mib) << 20;
    let result = if options.stores > 1 {
        many(&options.folder, &config, options.stores, options.records)
    } else {
        one(&options, &config)
    };
    if !options.keep {
        std::fs::remove_dir_all(&options.folder)?;
    }
    result
}

/// Writes one line of the result.
fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Seconds that something took, all of it and its slowest batch.
#[derive(Debug, Default)]
struct Took {
    all: f64,
    slowest: f64,
}

impl Took {
    fn add(&mut self, started: Instant) {
        let seconds = started.elapsed().as_secs_f64();
        self.all += seconds;
        self.slowest = self.slowest.max(seconds);
    }

    fn line(&self, what: &str, records: u64) -> String {
        format!(
            "{what}: {records} records in {:.1} s, {:.0} rec/s, slowest batch {:.0} ms",
            self.all,
            records as f64 / self.all,
            self.slowest * 1e3
        )
    }
}

fn one(options: &Options, config: &StoreConfig) -> Result<(), Failure> {
    let (folder, records) = (options.folder.as_path(), options.records);
    let mut store = DiskStore::open(folder, config)?;
    let bare_folder = folder.join("bare");
    let mut bare =
        options.beside_bare.then(|| Bare::open(&bare_folder, config.memory_bytes)).transpose()?;
    let (mut of_store, mut of_bare) = (Took::default(), Took::default());
    for first in (0..records).step_by(TURN as usize) {
        let turn = first..records.min(first + TURN);
        for numbers in batches(turn.clone()) {
            let ops = batch(numbers, options.writers)?;
            let started = Instant::now();
            let replies = store.apply(&ops);
            of_store.add(started);
            check(&replies, store.stopped())?;
        }
        let Some(bare) = &mut bare else { continue };
        for numbers in batches(turn) {
            let rows = bare::rows(&batch(numbers, options.writers)?);
            let started = Instant::now();
            bare.commit(rows)?;
            of_bare.add(started);
        }
    }
    say(&of_store.line("merged", records))?;
    if bare.take().is_some() {
        say(&of_bare.line("bare engine", records))?;
        let share = of_bare.all / of_store.all * 100.0;
        say(&format!("merges at {share:.0} % of the bare engine's rate"))?;
        std::fs::remove_dir_all(&bare_folder)?;
    }
    let stats = store.stats();
    say(&format!(
        "disk {:.1} MB for {:.1} MB of rows; engine memory {:.1} MB; {}",
        megabytes(stats.disk_bytes),
        megabytes(stats.row_bytes),
        megabytes(stats.memory_bytes),
        memory()
    ))?;
    let started = Instant::now();
    drop(store);
    let closing = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let mut store = DiskStore::open(folder, config)?;
    say(&format!("closed in {closing:.3} s, opened in {:.3} s", started.elapsed().as_secs_f64()))?;
    if options.expire > 0 {
        expire(&mut store, options.expire.min(records))?;
    }
    reads(&mut store, options.expire.min(records)..records)
}

/// Reads at random, and all of the summaries in order.
fn reads(store: &mut DiskStore, numbers: Range<u64>) -> Result<(), Failure> {
    let mut rng = Rng::from_number(1);
    let present = numbers.end - numbers.start;
    let keys: Vec<Key> = (0..GETS.min(present))
        .map(|_| key(numbers.start + rng.below(present)))
        .collect::<Result<_, Failure>>()?;
    let present = gets(store, &keys, 1)?;
    let absent: Vec<Key> = (0..GETS).map(|_| Key::from_bytes(rng.bytes())).collect();
    let absent = gets(store, &absent, 0)?;
    say(&format!("random gets: {present:.0}/s of present keys, {absent:.0}/s of absent ones"))?;
    make_index(store)?;
    let started = Instant::now();
    let (from, to) = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
    store.apply(&[StorageOp::Fingerprint { from, to }]);
    say(&format!(
        "fingerprint of everything in {:.6} s; disk {:.1} MB now; {}",
        started.elapsed().as_secs_f64(),
        megabytes(store.stats().disk_bytes),
        memory()
    ))
}

/// Makes the index of fingerprints anew in portions, as a node does after a start.
fn make_index(store: &mut DiskStore) -> Result<(), Failure> {
    let mut took = Took::default();
    loop {
        let started = Instant::now();
        let replies = store.apply(&[StorageOp::Index { limit: INDEX_KEYS }]);
        took.add(started);
        if replies != [StorageReply::Indexed { more: true }] {
            break;
        }
    }
    say(&format!("index of fingerprints made in {:.2} s; {}", took.all, memory()))
}

/// Lets the first `count` records expire, in the sweeps of a node.
fn expire(store: &mut DiskStore, count: u64) -> Result<(), Failure> {
    // The ends of life ascend with the numbers, so this one tells where to stop.
    let now = expiry(count - 1);
    let mut took = Took::default();
    let mut gone = 0;
    loop {
        let started = Instant::now();
        let replies = store.apply(&[StorageOp::Expire { now, limit: 2000 }]);
        took.add(started);
        let [StorageReply::Expired { dropped, more }] = replies[..] else {
            return Err(format!("expiry answered {replies:?}").into());
        };
        gone += u64::from(dropped);
        if !more {
            break;
        }
    }
    if gone != count {
        return Err(format!("{gone} of {count} records expired").into());
    }
    say(&took.line("expired", gone))
}

fn batches(numbers: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.step_by(BATCH as usize).map(move |first| first..end.min(first + BATCH))
}

fn many(folder: &Path, config: &StoreConfig, stores: u64, records: u64) -> Result<(), Failure> {
    say(&format!("before: {}", memory()))?;
    let mut open = Vec::new();
    let started = Instant::now();
    for number in 0..stores {
        open.push(DiskStore::open(&folder.join(number.to_string()), config)?);
    }
    let took = started.elapsed().as_secs_f64();
    say(&format!("{stores} empty stores made in {took:.1} s: {}", memory()))?;
    for first in (0..records).step_by(BATCH as usize) {
        let ops = batch(first..records.min(first + BATCH), 1)?;
        for store in &mut open {
            check(&store.apply(&ops), store.stopped())?;
        }
    }
    let disk: u64 = open.iter().map(|store| store.stats().disk_bytes).sum();
    let engine: u64 = open.iter().map(|store| store.stats().memory_bytes).sum();
    say(&format!(
        "with {records} records each: disk {:.1} MB, engine memory {:.1} MB, {}",
        megabytes(disk),
        megabytes(engine),
        memory()
    ))?;
    let keys: Vec<Key> = (0..records).map(key).collect::<Result<_, Failure>>()?;
    for store in &mut open {
        gets(store, &keys, 1)?;
    }
    say(&format!("after reading it all: {}", memory()))
}

fn gets(store: &mut DiskStore, keys: &[Key], expected: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    for batch in keys.chunks(64) {
        let ops: Vec<_> =
            batch.iter().map(|key| StorageOp::Load { key: *key, place: Place::Replica }).collect();
        for reply in store.apply(&ops) {
            match reply {
                StorageReply::Loaded { envelopes } if envelopes.len() == expected => {}
                other => return Err(format!("a get answered {other:?}").into()),
            }
        }
    }
    Ok(keys.len() as f64 / started.elapsed().as_secs_f64())
}

fn check(replies: &[StorageReply], stopped: Option<&str>) -> Result<(), Failure> {
    let failed = replies.iter().find(|reply| !matches!(reply, StorageReply::Merged { .. }));
    match failed {
        None => Ok(()),
        Some(reply) => Err(format!("a merge answered {reply:?} ({stopped:?})").into()),
    }
}

fn name(number: u64) -> Result<Name, Failure> {
    Ok(Name::new(format!("record {number}"))?)
}

fn key(number: u64) -> Result<Key, Failure> {
    Space::Commons.key(&name(number)?).ok_or_else(|| "commons has keys".into())
}

/// When a record expires: a year apart at most, in the order of the numbers of the first million, and
/// in no order beyond.
fn expiry(number: u64) -> UnixMillis {
    if number < 1_000_000 {
        UnixMillis(FIRST_EXPIRY + number)
    } else {
        UnixMillis(FIRST_EXPIRY + 1_000_000 + Rng::from_number(number).below(YEAR_MS))
    }
}

fn batch(numbers: Range<u64>, writers: u64) -> Result<Vec<StorageOp>, Failure> {
    numbers
        .map(|number| {
            let mut value = [0; VALUE_BYTES];
            let mut rng = Rng::from_number(number);
            value.as_chunks_mut::<8>().0.iter_mut().for_each(|chunk| *chunk = rng.bytes());
            let (dot, expires) = (Dot::from_raw(number + 1), expiry(number));
            let draft = Draft {
                space: Space::Commons,
                name: Some(name(number)?),
                kind: Kind::Siblings,
                values: vec![(dot, expires, Bytes::copy_from_slice(&value))],
                dot,
                context: Context::new(),
                expires,
                certificate: None,
            };
            let writer = PublicKey::from_bytes(Rng::from_number(rng.below(writers)).bytes());
            let envelope = Envelope::unsigned(writer, draft)?;
            Ok(StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair })
        })
        .collect()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Resident memory, now and at most, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
            .map_or(0.0, |kib: f64| kib * 1024.0 / 1e6)
    };
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    format!(
        "RSS {:.0} MB, at most {:.0} MB, threads {}",
        field("VmRSS:"),
        field("VmHWM:"),
        threads.unwrap_or_default().trim()
    )
}
