//! Measures the blob store: import, encode, write, many small files. `cargo run --release -p
//! potluck-store --example blobs -- FOLDER [MIB] [FILES]`

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use potluck_base::Rng;
use potluck_store::blobs::{
    Blob, BlobError, BlobLimits, BlobStore, ImportHow, Keep, Place, SegmentTarget, WalkLimits, walk,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().ok_or("give a folder")?);
    let mib: u64 = args.next().map_or(Ok(1024), |text| text.parse())?;
    let files: u64 = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let work = folder.join("blobs-example");
    std::fs::create_dir_all(&work)?;
    let done = one_large(&work.join("large"), mib << 20)
        .and_then(|()| many_small(&work.join("small"), files));
    std::fs::remove_dir_all(&work)?;
    done
}

fn open(folder: &Path) -> Result<BlobStore, BlobError> {
    BlobStore::open(folder, BlobLimits { cache_bytes: 1 << 40, blobs_max: 100 })
}

fn say(what: &str, bytes: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what:<44} {seconds:>8.3} s {:>9.3} GB/s", bytes as f64 / seconds / 1e9);
}

fn import(
    store: &BlobStore,
    files: &[SegmentTarget],
    how: ImportHow,
) -> Result<std::sync::Arc<Blob>, Failure> {
    let bytes = files.iter().map(|file| file.bytes).sum();
    let since = Instant::now();
    let go_on = |_| ControlFlow::Continue(());
    let imported = store.import(files, how, "example", Keep::Cached, &go_on)?;
    say(&format!("import ({how:?})"), bytes, since);
    Ok(store.get(&imported.id)?.ok_or(BlobError::Unknown)?)
}

fn fetch(from: &Blob, store: &BlobStore, place: Place) -> Result<std::sync::Arc<Blob>, Failure> {
    let size = from.division().size();
    let to = store.begin(from.id(), size, place, "example")?;
    let (mut encoding, mut writing) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let mut encoded = Vec::new();
    for granule in 0..from.division().count() {
        encoded.clear();
        let since = Instant::now();
        from.encode(granule, &mut encoded)?;
        let between = Instant::now();
        to.write(granule, &encoded)?;
        encoding += between - since;
        writing += between.elapsed();
    }
    say("encode, one thread", size, Instant::now() - encoding);
    say("write, one thread", size, Instant::now() - writing);
    let since = Instant::now();
    to.commit()?;
    say("commit of all of it", size, since);
    let since = Instant::now();
    to.finish()?;
    say("finish", size, since);
    Ok(to)
}

fn one_large(folder: &Path, size: u64) -> Result<(), Failure> {
    println!("one file of {} MiB", size >> 20);
    std::fs::create_dir_all(folder)?;
    let mut rng = Rng::from_number(1);
    let part: Vec<u8> = (0..1 << 17).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    let path = folder.join("source");
    let mut file = std::fs::File::create(&path)?;
    for _ in 0..size / part.len() as u64 {
        std::io::Write::write_all(&mut file, &part)?;
    }
    let files = [SegmentTarget { path, bytes: size, executable: false, mtime: None }];
    let from = open(&folder.join("from"))?;
    let from = import(&from, &files, ImportHow::Reference)?;
    import(&open(&folder.join("copy"))?, &files, ImportHow::Copy)?;
    let store = open(&folder.join("to"))?;
    fetch(&from, &store, Place::Inside)?;
    Ok(())
}

fn many_small(folder: &Path, count: u64) -> Result<(), Failure> {
    println!("{count} files of 1 KiB");
    let mut rng = Rng::from_number(2);
    let tree = folder.join("source");
    for number in 0..count {
        let path = tree.join(format!("{:03}/{number}", number % 200));
        if number < 200 {
            std::fs::create_dir_all(tree.join(format!("{number:03}")))?;
        }
        let content: Vec<u8> = (0..128).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
        std::fs::write(path, content)?;
    }
    let since = Instant::now();
    let found = walk(&tree, WalkLimits::default())?;
    say("walk", count << 10, since);
    let files: Vec<_> = found
        .files
        .iter()
        .map(|file| SegmentTarget {
            path: file.path.clone(),
            bytes: file.bytes,
            executable: false,
            mtime: None,
        })
        .collect();
    let from = open(&folder.join("from"))?;
    let from = import(&from, &files, ImportHow::Reference)?;
    let part = folder.join("part");
    let targets = found.files.iter().map(|file| SegmentTarget {
        path: part.join(&file.relative),
        bytes: file.bytes,
        executable: file.executable,
        mtime: None,
    });
    let store = open(&folder.join("to"))?;
    let to = fetch(&from, &store, Place::Segments(targets.collect()))?;
    let since = Instant::now();
    to.move_to(&part, &folder.join("done"))?;
    say("move", count << 10, since);
    Ok(())
}
