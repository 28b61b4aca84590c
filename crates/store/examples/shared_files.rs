//! The incident of ten million shared files, at the store: adds small files by reference, as `share` does,
//! and prints memory, disk and rate on the way; then opens the store again and looks around in it.
//!
//! ```text
//! cargo run --release -p potluck-store --example shared_files -- DATA_FOLDER 10000000 [import]
//! ```
//!
//! Each file is shared under the name `photo-00001234.txt`. With `import` each goes through the store's own
//! operations one by one: it is written, opened, hashed, noted by reference and shared. Without, 500 are
//! noted in one batch, with their hashes made here. What both leave out: there are 1,000 real files, each
//! written anew for every thousandth entry, so only the last 1,000 entries can still be read; and commits
//! are not synced one by one. A folder that a node has used can be given: the node then has these files too.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::time::Instant;

use potluck_base::BlobId;
use potluck_base::words::words_of;
use potluck_store::SyncMode;
use potluck_store::blobs::{BlobLimits, BlobStore, ImportHow, Keep, SegmentTarget};

/// Real files that the entries refer to in turn.
const REAL_FILES: u64 = 1000;
/// Entries in one batch.
const BATCH: u64 = 500;

type Failed = Box<dyn std::error::Error>;

fn open(folder: &Path) -> Result<BlobStore, Failed> {
    let limits = BlobLimits { cache_bytes: 1 << 30, blobs_max: 50_000_000 };
    Ok(BlobStore::open_with(folder, limits, SyncMode::Buffered)?)
}

/// The memory of this process that the system holds for it, in MiB: now, and of that the anonymous part.
fn memory_mib() -> Result<(u64, u64), Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok((of("VmRSS:") / 1024, of("RssAnon:") / 1024))
}

fn name_of(number: u64) -> String {
    format!("photo-{number:08}.txt")
}

/// Notes files in one batch; the last real ones are written as they are noted.
fn note(store: &BlobStore, files: &Path, numbers: Range<u64>, count: u64) -> Result<(), Failed> {
    let mut batch = Vec::new();
    for number in numbers {
        let path = files.join((number % REAL_FILES).to_string());
        let content = format!("file {number:012}\n");
        if number < REAL_FILES || number + REAL_FILES >= count {
            std::fs::write(&path, &content)?;
        }
        let file =
            SegmentTarget { path, bytes: content.len() as u64, executable: false, mtime: None };
        batch.push((BlobId::of(content.as_bytes()), file, name_of(number)));
    }
    Ok(store.note_unread(batch)?)
}

fn add(store: &BlobStore, files: &Path, number: u64) -> Result<BlobId, Failed> {
    let path = files.join((number % REAL_FILES).to_string());
    let content = format!("file {number:012}\n");
    // Not cut off before, for which the file system would wait for the disk.
    let real = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    real?.write_all(content.as_bytes())?;
    let file = SegmentTarget { path, bytes: content.len() as u64, executable: false, mtime: None };
    let name = name_of(number);
    let go_on = |_| ControlFlow::Continue(());
    let how = ImportHow::Reference;
    let imported = store.import(&[file], how, &name, Keep::Cached, &go_on)?;
    store.set_shared(&imported.id, true, Some(&name))?;
    Ok(imported.id)
}

fn main() -> Result<(), Failed> {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().ok_or("give a data folder and a number of files")?;
    let count: u64 = args.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(1_000_000);
    let folder = Path::new(&folder);
    let files = folder.with_extension("real-files");
    std::fs::create_dir_all(&files)?;
    let store = open(folder)?;
    let begun = Instant::now();
    let first = store.counts().offered;
    println!("files, seconds, files a second, RSS MiB, anonymous MiB, entries in memory, index MB");
    let step = (count / 20).max(1);
    let mut last = (begun, first);
    let one_by_one = args.next().is_some_and(|word| word == "import");
    let batch = if one_by_one { 1 } else { BATCH };
    let mut number = first;
    while number < count {
        let next = (number + batch).min(count);
        if one_by_one {
            add(&store, &files, number)?;
        } else {
            note(&store, &files, number..next, count)?;
        }
        let before = number / step;
        number = next;
        if number / step > before {
            let (rss, anonymous) = memory_mib()?;
            let rate = (number - last.1) as f64 / last.0.elapsed().as_secs_f64();
            last = (Instant::now(), number);
            println!(
                "{}, {:.0}, {rate:.0}, {rss}, {anonymous}, {}, {}",
                number,
                begun.elapsed().as_secs_f64(),
                store.entries_in_memory(),
                store.index_disk_bytes() / 1_000_000,
            );
        }
    }
    drop(store);
    let begun = Instant::now();
    let store = open(folder)?;
    println!("opened again in {:.3} s: {:?}", begun.elapsed().as_secs_f64(), store.counts());
    for text in [name_of(count - 1), "photo 00000000".to_owned(), "photo".to_owned()] {
        let begun = Instant::now();
        let found = store.search(&words_of(&text), 32)?;
        let first = found.first().map(|view| view.name.clone()).unwrap_or_default();
        let micros = begun.elapsed().as_micros();
        println!("search {text:?}: {} found, first {first:?}, {micros} us", found.len());
    }
    let begun = Instant::now();
    let mut after = None;
    let mut listed = 0;
    while listed < 100_000 {
        let page = store.page(after.as_ref(), 1000)?;
        let Some(view) = page.last() else { break };
        after = Some(view.id);
        listed += page.len();
    }
    println!("{listed} listed in {:.3} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let report = store.gc(true)?;
    println!("gc looked in {:.3} s: {} stay", begun.elapsed().as_secs_f64(), report.kept_count);
    let (rss, anonymous) = memory_mib()?;
    println!("RSS {rss} MiB, anonymous {anonymous} MiB");
    Ok(())
}
