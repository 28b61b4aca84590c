//! Tests of the blob store, by topic, and their helpers.

mod fetch;
mod import;
mod index;
mod journal;
mod places;
mod recover;
mod reuse;
mod store;
mod tree;
mod walk;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use potluck_base::{BlobId, Rng};

use super::*;

pub(crate) const MIB: usize = 1 << 20;
/// Around every boundary of chunks, groups and granules.
pub(crate) const SIZES: [usize; 12] =
    [0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 131_072, 131_073, MIB + 3, 5 * MIB];

/// Bytes without repetition, the same in every run.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::from_number(seed);
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn open(folder: &Path) -> BlobStore {
    BlobStore::open(folder, BlobLimits { cache_bytes: 1 << 40, blobs_max: 100 }).unwrap()
}

/// A store with one blob kept inside.
pub(crate) fn seeded(folder: &Path, content: &[u8]) -> (BlobStore, Arc<Blob>) {
    let store = open(folder);
    let id = store.add_bytes(content, "dish", Keep::Cached).unwrap();
    let blob = store.get(&id).unwrap().unwrap();
    (store, blob)
}

pub(crate) fn encoded(blob: &Blob, granule: u32) -> Vec<u8> {
    let mut out = Vec::new();
    blob.encode(granule, &mut out).unwrap();
    out
}

/// Copies granules that the other blob lacks.
pub(crate) fn hand_over(from: &Blob, to: &Blob, granules: impl IntoIterator<Item = u32>) {
    for granule in granules {
        assert!(to.write(granule, &encoded(from, granule)).unwrap(), "{granule} is new");
    }
}

pub(crate) fn target(path: &Path, bytes: usize) -> SegmentTarget {
    SegmentTarget { path: path.to_owned(), bytes: bytes as u64, executable: false, mtime: None }
}

/// Writes files of these sizes below `folder`. Returns them and their concatenated bytes.
pub(crate) fn files(folder: &Path, sizes: &[usize]) -> (Vec<SegmentTarget>, Vec<u8>) {
    let content = bytes(sizes.iter().sum(), sizes.len() as u64);
    let mut targets = Vec::new();
    let mut begin = 0;
    std::fs::create_dir_all(folder).unwrap();
    for (number, size) in sizes.iter().enumerate() {
        let path = folder.join(format!("file{number}"));
        std::fs::write(&path, &content[begin..begin + size]).unwrap();
        begin += size;
        targets.push(target(&path, *size));
    }
    (targets, content)
}

pub(crate) fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The bytes of a whole blob, read in steps that match no boundary.
pub(crate) fn content(blob: &Blob) -> Vec<u8> {
    let mut all = Vec::new();
    let size = blob.division().size();
    while (all.len() as u64) < size {
        let begin = all.len() as u64;
        all.extend_from_slice(&blob.read(begin..(begin + 300_001).min(size)).unwrap());
    }
    all
}

pub(crate) fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn blob_folder(store_folder: &Path, id: BlobId) -> std::path::PathBuf {
    store_folder.join("blobs").join(id.to_string())
}
