//! What the store knows of each blob without opening it.
//!
//! **Invariant:** what is shown was written to `meta` before, save for the time of the last use, which
//! may be older on disk by [`USE_SAVED_EVERY_MS`].

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use potluck_base::{BlobId, GranuleSet};

use super::BlobError;
use super::blob::Blob;
use super::files;
use super::meta::{Meta, Phase};
use crate::FolderLock;

/// How old the time of the last use on disk may be.
const USE_SAVED_EVERY_MS: u64 = 60_000;

/// Where the bytes of a blob lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPlace {
    /// In the store's own folder.
    Inside,
    /// In files elsewhere.
    Outside {
        /// The file, or the folder that the files are below.
        path: PathBuf,
        /// How many files.
        segments: u32,
    },
}

/// How far a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// Some of it is there.
    Partial {
        /// Bytes that are there.
        have_bytes: u64,
    },
    /// All of it is there.
    Complete,
    /// Its files are not what they were; it is not handed out any more.
    Changed,
}

/// What there is to see of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobView {
    /// Its name in the network.
    pub id: BlobId,
    /// Its bytes.
    pub size: u64,
    /// What people call it.
    pub name: String,
    /// Of a blob that is one file: when its bytes were last changed, in seconds since 1970.
    pub mtime: Option<i64>,
    /// And its permissions as Unix counts them.
    pub mode: Option<u32>,
    /// Where its bytes lie.
    pub place: BlobPlace,
    /// How far it is.
    pub state: BlobState,
    /// Whether it stays until somebody unpins it.
    pub pinned: bool,
    /// Whether this node offers it.
    pub shared: bool,
    /// Whether somebody holds it now.
    pub in_use: bool,
    /// When it was last used, in milliseconds since 1970.
    pub used_unix_ms: u64,
}

/// What a blob is called: the first of its names that is one. The data of a folder has none.
fn shown_name(meta: &Meta) -> String {
    let others = meta.others.iter().map(|place| &place.name);
    let mut names = std::iter::once(&meta.name).chain(others);
    let shown = names.find(|name| !name.is_empty());
    shown.unwrap_or(&meta.name).clone()
}

/// The milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Takes a lock. What it guards is changed in single steps, so a panic elsewhere does not harm it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One blob of the store.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: BlobId,
    pub(crate) size: u64,
    pub(crate) folder: PathBuf,
    meta: Mutex<Meta>,
    /// Bytes that are there while the blob is partial.
    pub(crate) have_bytes: AtomicU64,
    used_ms: AtomicU64,
    used_saved_ms: AtomicU64,
    /// Granules of it that are not handed out any more, since files of it are not what they were while
    /// others are.
    lost: Mutex<Option<GranuleSet>>,
    /// The blob while somebody holds it.
    pub(crate) live: Mutex<Lease>,
    // Whoever holds the blob keeps other stores out of the folder.
    _lock: Arc<FolderLock>,
}

/// Whether somebody holds a blob.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub(crate) blob: Weak<Blob>,
    /// Removed from the store: nobody may open it any more.
    pub(crate) removed: bool,
}

impl Entry {
    pub(crate) fn new(
        lock: &Arc<FolderLock>,
        folder: PathBuf,
        meta: Meta,
        have_bytes: u64,
        used_ms: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: meta.id,
            size: meta.size,
            folder,
            meta: Mutex::new(meta),
            have_bytes: AtomicU64::new(have_bytes),
            used_ms: AtomicU64::new(used_ms),
            used_saved_ms: AtomicU64::new(used_ms),
            lost: Mutex::default(),
            live: Mutex::default(),
            _lock: lock.clone(),
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn meta(&self) -> Meta {
        lock(&self.meta).clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        lock(&self.meta).phase
    }

    /// Changes what is noted, on disk first.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Meta)) -> Result<(), BlobError> {
        let mut meta = lock(&self.meta);
        let mut changed = meta.clone();
        change(&mut changed);
        if changed == *meta {
            return Ok(());
        }
        save(&self.folder, &changed)?;
        *meta = changed;
        self.used_saved_ms.store(unix_ms(), Ordering::Relaxed);
        Ok(())
    }

    /// Notes that the files are not what they were. Holds in memory even if the disk refuses.
    pub(crate) fn set_changed(&self) {
        if self.change(|meta| meta.phase = Phase::Changed).is_err() {
            lock(&self.meta).phase = Phase::Changed;
        }
    }

    /// Notes, until the store is opened again, that some of its files are not what they were.
    pub(crate) fn set_lost(&self, granules: Option<GranuleSet>) {
        *lock(&self.lost) = granules;
    }

    /// Granules of a complete blob that are not handed out any more.
    pub(crate) fn lost(&self) -> Option<GranuleSet> {
        lock(&self.lost).clone()
    }

    /// Notes a use at `now_ms`; now and then on disk, as the time of change of `meta`.
    pub(crate) fn used(&self, now_ms: u64) {
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        let saved = self.used_saved_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(saved) < USE_SAVED_EVERY_MS {
            return;
        }
        self.used_saved_ms.store(now_ms, Ordering::Relaxed);
        // Only the order of eviction after a restart hangs on it.
        let _ = OpenOptions::new()
            .write(true)
            .open(self.file(META))
            .and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_millis(now_ms)));
    }

    pub(crate) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// The lease if nobody holds the blob or opens it now.
    pub(crate) fn unheld(&self) -> Option<MutexGuard<'_, Lease>> {
        let live = match self.live.try_lock() {
            Ok(live) => live,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        (live.blob.strong_count() == 0).then_some(live)
    }

    pub(crate) fn view(&self) -> BlobView {
        let meta = self.meta();
        BlobView {
            id: self.id,
            size: self.size,
            name: shown_name(&meta),
            mtime: meta.mtime,
            mode: meta.mode,
            place: match meta.outside {
                Some((path, segments)) => BlobPlace::Outside { path, segments },
                None => BlobPlace::Inside,
            },
            state: match meta.phase {
                Phase::Partial => {
                    BlobState::Partial { have_bytes: self.have_bytes.load(Ordering::Relaxed) }
                }
                Phase::Complete if lock(&self.lost).is_some() => BlobState::Changed,
                Phase::Complete => BlobState::Complete,
                Phase::Changed => BlobState::Changed,
            },
            pinned: meta.pinned,
            shared: meta.shared,
            in_use: self.unheld().is_none(),
            used_unix_ms: self.used_ms(),
        }
    }
}

/// The file that says what a blob is.
pub(crate) const META: &str = "meta";
/// The file that says where its bytes lie, if elsewhere.
pub(crate) const PLACE: &str = "place";
/// The nodes of its hash tree.
pub(crate) const OUTBOARD: &str = "outboard";
/// The journal of what is there.
pub(crate) const HAVE: &str = "have";
/// Its bytes, if they lie here.
pub(crate) const DATA: &str = "data";

/// Writes `meta` in a blob's folder.
pub(crate) fn save(folder: &Path, meta: &Meta) -> Result<(), BlobError> {
    let path = folder.join(META);
    let bytes = meta.encode().ok_or(BlobError::WrongSegments)?;
    files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))
}
