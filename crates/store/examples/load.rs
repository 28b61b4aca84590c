//! How fast and how large a store is: `cargo run --release -p potluck-store --example load -- N`
//! loads N records of 200 bytes in synced batches of 500, opens the store again and reads at
//! random. With `--stores M`, M small stores in one process instead, N records in each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use potluck_base::{Admission, Identity, Key, NetworkId, Rng, UnixMillis};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, MergeAs, Name, Place, Space, StorageOp, StorageReply,
};
use potluck_store::{DiskStore, StoreConfig};

const BATCH: u64 = 500;
const VALUE_BYTES: usize = 200;
const GETS: u64 = 100_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut records = 1_000_000;
    let mut stores = 1;
    let mut memory_mib = None;
    let mut folder = std::env::temp_dir().join(format!("potluck-load-{}", std::process::id()));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("an option needs a value");
        match argument.as_str() {
            "--stores" => stores = value()?.parse()?,
            "--memory-mib" => memory_mib = Some(value()?.parse()?),
            "--folder" => folder = PathBuf::from(value()?),
            number => records = number.parse()?,
        }
    }
    let network = NetworkId::new("load", Admission::Lab, None);
    let mut config = StoreConfig::new(network);
    let default_mib = if stores > 1 { 1 } else { config.memory_bytes >> 20 };
    config.memory_bytes = memory_mib.unwrap_or(default_mib) << 20;
    let result = if stores > 1 {
        many(&folder, &config, stores, records)
    } else {
        one(&folder, &config, records)
    };
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Writes one line of the result.
fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn one(folder: &Path, config: &StoreConfig, records: u64) -> Result<(), Failure> {
    let mut store = DiskStore::open(folder, config)?;
    let (mut signing, mut slowest, mut busy) = (0.0, 0.0_f64, 0.0);
    for first in (0..records).step_by(BATCH as usize) {
        let started = Instant::now();
        let ops = batch(&config.network, first..records.min(first + BATCH))?;
        signing += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let replies = store.apply(&ops);
        let took = started.elapsed().as_secs_f64();
        busy += took;
        slowest = slowest.max(took);
        check(&replies, store.stopped())?;
    }
    let stats = store.stats();
    say(&format!(
        "loaded {records} records in {busy:.1} s: {:.0} rec/s, slowest batch {:.0} ms \
         (signing took {signing:.1} s more)",
        records as f64 / busy,
        slowest * 1e3
    ))?;
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

    let mut rng = Rng::from_number(1);
    let keys: Vec<Key> =
        (0..GETS).map(|_| key(rng.below(records))).collect::<Result<_, Failure>>()?;
    let present = gets(&mut store, &keys, 1)?;
    let absent: Vec<Key> = (0..GETS).map(|_| Key::from_bytes(rng.bytes())).collect();
    let absent = gets(&mut store, &absent, 0)?;
    say(&format!("random gets: {present:.0}/s of present keys, {absent:.0}/s of absent ones"))?;
    let started = Instant::now();
    let (from, to) = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
    store.apply(&[StorageOp::Fingerprint { from, to }]);
    say(&format!(
        "fingerprint of everything in {:.2} s; disk {:.1} MB now; {}",
        started.elapsed().as_secs_f64(),
        megabytes(store.stats().disk_bytes),
        memory()
    ))
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
        let ops = batch(&config.network, first..records.min(first + BATCH))?;
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

fn batch(network: &NetworkId, numbers: std::ops::Range<u64>) -> Result<Vec<StorageOp>, Failure> {
    let identity = Identity::from_seed([7; 32]);
    numbers
        .map(|number| {
            let mut value = [0; VALUE_BYTES];
            let mut rng = Rng::from_number(number);
            value.as_chunks_mut::<8>().0.iter_mut().for_each(|chunk| *chunk = rng.bytes());
            let dot = Dot::from_raw(number + 1);
            // A year apart from each other at most.
            let expires = UnixMillis(1_800_000_000_000 + rng.below(31_536_000_000));
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
            let envelope = Envelope::sign(&identity, network, draft)?;
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
