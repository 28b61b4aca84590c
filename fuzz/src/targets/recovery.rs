//! A data folder whose files were spoiled: it opens, or refuses in words, and what lies in other files is
//! there.

use std::fs;
use std::path::{Path, PathBuf};

use potluck_base::BlobId;
use potluck_record::{Envelope, MergeAs, Place, StorageOp, StorageReply};
use potluck_store::blobs::{BlobLimits, BlobStore, Keep};
use potluck_store::{DiskStore, StoreConfig, SyncMode};
use tempfile::TempDir;

use crate::outcome::Seen;
use crate::samples as common;
use crate::script::Script;
use crate::target::Feed;

pub(super) const LIMITS: BlobLimits = BlobLimits { cache_bytes: 1 << 20, blobs_max: 16 };
const BLOB: &[u8] = &[7; 70_000];

/// A folder as it was left by a node that stopped.
struct Folder {
    left: TempDir,
    files: Vec<PathBuf>,
    envelopes: Vec<Envelope>,
    blob: BlobId,
}

fn config() -> StoreConfig {
    StoreConfig {
        memory_bytes: 4 << 20,
        sync: SyncMode::Buffered,
        ..StoreConfig::new(common::network())
    }
}

fn open(folder: &Path) -> Result<DiskStore, potluck_store::OpenError> {
    DiskStore::open(&folder.join("records"), &config())
}

impl Folder {
    fn new() -> Self {
        let left = tempfile::tempdir().expect("a folder");
        let envelopes = common::envelopes_of_names();
        // Opened twice, so that some rows are in a table and some in the journal.
        for half in envelopes.chunks(3) {
            let mut store = open(left.path()).expect("a folder of its own");
            for envelope in half {
                let (envelope, place) = (envelope.clone(), Place::Replica);
                let reply =
                    store.apply(&[StorageOp::Merge { envelope, place, how: MergeAs::Repair }]);
                assert!(matches!(reply[..], [StorageReply::Merged { .. }]), "{reply:?}");
            }
            store.sync();
        }
        let blobs = BlobStore::open_with(left.path(), LIMITS, SyncMode::Buffered);
        let blobs = blobs.expect("a folder of its own");
        let blob = blobs.add_bytes(BLOB, "blob", Keep::Pinned).expect("room");
        drop(blobs);
        let mut files = Vec::new();
        list(left.path(), left.path(), &mut files);
        files.sort();
        Self { left, files, envelopes, blob }
    }
}

fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            list(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).expect("below the root").to_owned());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}

/// Spoils one file; where it lies.
fn spoil(folder: &Path, files: &[PathBuf], script: &mut Script<'_>) -> Option<PathBuf> {
    let file = files.get(usize::from(script.byte()) % files.len())?;
    let path = folder.join(file);
    let mut bytes = fs::read(&path).unwrap_or_default();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let at = usize::from(script.short()) << 8 | usize::from(script.byte());
    // Journals end in zeros, whose loss says nothing.
    let at = at % (end + 16).min(bytes.len().max(1));
    match script.byte() % 7 {
        0 => bytes.truncate(at),
        1 => bytes.extend_from_slice(script.bytes()),
        2 => {
            let zeroed = (at + usize::from(script.short())).min(bytes.len());
            bytes[at.min(zeroed)..zeroed].fill(0);
        }
        3 => {
            fs::remove_file(&path).ok()?;
            return Some(file.clone());
        }
        4 => bytes = script.bytes().to_vec(),
        _ => *bytes.get_mut(at)? ^= script.byte() | 1,
    }
    fs::write(&path, bytes).ok()?;
    Some(file.clone())
}

/// Files of a data folder, one to three of them spoiled.
pub(super) fn recovery() -> Box<Feed> {
    let folder = Folder::new();
    Box::new(move |bytes, seen| {
        let work = tempfile::tempdir().expect("a folder");
        copy(folder.left.path(), work.path());
        let mut script = Script::new(bytes);
        let mut spoiled = Vec::new();
        for _ in 0..=script.byte() % 3 {
            spoiled.extend(spoil(work.path(), &folder.files, &mut script));
        }
        let touches = |part: &str| spoiled.iter().any(|file| file.starts_with(part));
        records(&folder, work.path(), touches("records"), seen);
        blobs(&folder, work.path(), touches("blobs"), seen);
    })
}

fn records(folder: &Folder, work: &Path, touched: bool, seen: &mut Seen) {
    let mut store = match open(work) {
        Ok(store) => store,
        Err(error) => {
            assert!(touched && error.to_string().len() > 20, "{error}");
            seen.note("records", &std::mem::discriminant(&error));
            return;
        }
    };
    let mut held = 0;
    for envelope in &folder.envelopes {
        let (key, place) = (envelope.head().key(), Place::Replica);
        let reply = store.apply(&[StorageOp::Load { key, place }]);
        let StorageReply::Loaded { envelopes } = &reply[0] else {
            assert!(touched, "{reply:?}");
            seen.note("load", &reply);
            continue;
        };
        // What is given is what was written.
        assert!(envelopes.iter().all(|read| read == envelope), "{envelopes:?}");
        assert!(touched || envelopes.len() == 1, "{key:?} is lost");
        held += envelopes.len();
    }
    seen.accept("held", &held);
    seen.count("held", held as u64);
}

fn blobs(folder: &Folder, work: &Path, touched: bool, seen: &mut Seen) {
    let store = match BlobStore::open_with(work, LIMITS, SyncMode::Buffered) {
        Ok(store) => store,
        Err(error) => {
            assert!(touched && error.to_string().len() > 20, "{error}");
            seen.note("blobs", &std::mem::discriminant(&error));
            return;
        }
    };
    let blob = store.get(&folder.blob);
    let read = blob.as_ref().ok().and_then(Option::as_ref).map(|blob| blob.read_all(1 << 20));
    match &read {
        Some(Ok(bytes)) => assert!(bytes == BLOB, "other bytes were given"),
        other => assert!(touched, "{other:?}"),
    }
    seen.note(
        "blob",
        &read.map(|read| read.map(|_| ()).map_err(|error| std::mem::discriminant(&error))),
    );
}

/// Samples: each way to spoil some of the files.
pub(super) fn samples() -> Vec<Vec<u8>> {
    let ways = (0..7).flat_map(|way| {
        (0..24).step_by(4).map(move |file| vec![0, file, 0, 0, 9, way, 5, 1, 2, 3])
    });
    ways.collect()
}
