//! How fast names are listed: `cargo run --release -p potluck-store --example names -- N` loads N records of
//! 200 bytes, then lists all of them by pages of the index, those that begin with `name 0000`, and the same
//! as a store without an index would: by reading every record.

use std::io::Write;
use std::time::Instant;

use bytes::Bytes;
use potluck_base::{Admission, Identity, Key, NetworkId, UnixMillis};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, MergeAs, NAMES_PAGE_MAX, Name, NamesQuery, Place, Space,
    StorageOp, StorageReply,
};
use potluck_store::{DiskStore, StoreConfig};

type Failure = Box<dyn std::error::Error>;

const BATCH: u64 = 500;
const VALUE_BYTES: usize = 200;
const NOW: UnixMillis = UnixMillis(1);

fn main() -> Result<(), Failure> {
    let records = std::env::args().nth(1).map_or(Ok(100_000), |number| number.parse())?;
    let folder = std::env::temp_dir().join(format!("potluck-names-{}", std::process::id()));
    let network = NetworkId::new("names", Admission::Lab, None);
    let result = measure(&folder, &StoreConfig::new(network), records);
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Writes one line of the result.
fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn measure(folder: &std::path::Path, config: &StoreConfig, records: u64) -> Result<(), Failure> {
    let mut store = DiskStore::open(folder, config)?;
    let mut busy = 0.0;
    for first in (0..records).step_by(BATCH as usize) {
        let ops = batch(&config.network, first..records.min(first + BATCH))?;
        let started = Instant::now();
        store.apply(&ops);
        busy += started.elapsed().as_secs_f64();
    }
    say(&format!("loaded {records} records: {:.0} a second", records as f64 / busy))?;
    let started = Instant::now();
    let (all, pages) = listed(&mut store, "")?;
    let took = started.elapsed().as_secs_f64();
    let page = took * 1e3 / pages as f64;
    say(&format!(
        "all {all} names in {took:.2} s: {:.0} a second, {page:.1} ms a page",
        all as f64 / took
    ))?;
    let started = Instant::now();
    let (some, _) = listed(&mut store, "name 0000")?;
    say(&format!("{some} names by their prefix: {:.2} ms", started.elapsed().as_secs_f64() * 1e3))?;
    let started = Instant::now();
    let some = read_all(&mut store, "name 0000")?;
    say(&format!("{some} names by reading every record: {:.2} s", started.elapsed().as_secs_f64()))
}

fn batch(network: &NetworkId, numbers: std::ops::Range<u64>) -> Result<Vec<StorageOp>, Failure> {
    let identity = Identity::from_seed([1; 32]);
    let mut ops = Vec::new();
    for number in numbers {
        let dot = Dot::from_raw(number + 1);
        let expires = UnixMillis(1 << 40);
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(format!("name {number:08}"))?),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from(vec![7; VALUE_BYTES]))],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        let envelope = Envelope::sign(&identity, network, draft)?;
        ops.push(StorageOp::Merge { envelope, place: Place::Replica, how: MergeAs::Repair });
    }
    Ok(ops)
}

/// The number of names that begin so, and of pages.
fn listed(store: &mut DiskStore, prefix: &str) -> Result<(usize, usize), Failure> {
    let (mut count, mut pages, mut after) = (0, 0, None);
    loop {
        let query = NamesQuery {
            space: Space::Commons,
            prefix: prefix.to_owned(),
            after: after.take(),
            until: None,
            limit: NAMES_PAGE_MAX,
        };
        let replies = store.apply(&[StorageOp::Names { query, now: NOW }]);
        let Some(StorageReply::Names { entries, next }) = replies.into_iter().next() else {
            return Err("no page".into());
        };
        count += entries.len();
        pages += 1;
        match next {
            Some(next) => after = Some(next.to_string()),
            None => return Ok((count, pages)),
        }
    }
}

/// The same by scanning all keys and loading each.
fn read_all(store: &mut DiskStore, prefix: &str) -> Result<usize, Failure> {
    let (mut from, to) = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
    let mut count = 0;
    loop {
        let replies = store.apply(&[StorageOp::Scan { from, to, limit: 4096 }]);
        let Some(StorageReply::Scanned { entries, more }) = replies.into_iter().next() else {
            return Err("no keys".into());
        };
        let load = |(key, _): &(Key, _)| StorageOp::Load { key: *key, place: Place::Replica };
        let loads: Vec<StorageOp> = entries.iter().map(load).collect();
        for reply in store.apply(&loads) {
            if let StorageReply::Loaded { envelopes } = reply {
                count += envelopes.iter().filter(|it| it.head().name().starts_with(prefix)).count();
            }
        }
        let Some((last, _)) = entries.last().filter(|_| more) else { return Ok(count) };
        let mut next = *last.as_bytes();
        // The key behind this one: the last byte that can be raised is, and those behind it are zero.
        let raised = next.iter().rposition(|byte| *byte < 0xff).ok_or("the last key")?;
        next[raised] += 1;
        next[raised + 1..].fill(0);
        from = Key::from_bytes(next);
    }
}
