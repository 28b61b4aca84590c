//! The metadata of a blob in use.
//!
//! **Invariant:** metadata is shown only after it was written to the index, except for the time of the last
//! use, which may be older on disk by [`USE_SAVED_EVERY_MS`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use potluck_base::{BlobId, GranuleSet};

use super::BlobError;
use super::blob::Blob;
use super::index::{Index, Noted};
use super::meta::{Meta, Phase};
use crate::backend::Changes;

/// Milliseconds by which the time of the last use on disk may be older. Raising it saves writes and makes
/// the order of eviction less exact after a crash.
const USE_SAVED_EVERY_MS: u64 = 60_000;

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPlace {
    /// In the folder of the store.
    Inside,
    /// In files elsewhere.
    Outside {
        /// The file, or the folder that the files are below.
        path: PathBuf,
        /// The number of files.
        segments: u32,
    },
}

/// The state of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// Some of its bytes are stored.
    Partial {
        /// Bytes that are stored.
        have_bytes: u64,
    },
    /// All of its bytes are stored.
    Complete,
    /// Its files have changed; it is not read any more.
    Changed,
}

/// The view of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobView {
    /// Its id in the network.
    pub id: BlobId,
    /// Its bytes.
    pub size: u64,
    /// Its name.
    pub name: String,
    /// The modification time of a blob that is one file, in seconds since 1970.
    pub mtime: Option<i64>,
    /// The Unix permissions of a blob that is one file.
    pub mode: Option<u32>,
    /// Where its bytes are.
    pub place: BlobPlace,
    /// Its state.
    pub state: BlobState,
    /// Whether it is kept until it is unpinned.
    pub pinned: bool,
    /// Whether this node offers it.
    pub shared: bool,
    /// Whether a caller holds it now.
    pub in_use: bool,
    /// When it was last used, in milliseconds since 1970.
    pub used_unix_ms: u64,
}

/// The milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// One blob of the store.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: BlobId,
    pub(crate) size: u64,
    pub(crate) folder: PathBuf,
    /// The metadata as the index has it.
    noted: Mutex<Noted>,
    /// Stored bytes of a partial blob.
    pub(crate) have_bytes: AtomicU64,
    used_ms: AtomicU64,
    /// Granules of a complete blob that are not read any more, since some of its files have changed.
    lost: Mutex<Option<GranuleSet>>,
    /// The blob while a caller holds it.
    pub(crate) live: Mutex<Lease>,
    /// Whether the blob was removed from the index: a change of its metadata would bring it back. Set while
    /// `noted` is locked.
    gone: AtomicBool,
    // The index holds the lock that keeps other stores out of the folder.
    pub(crate) index: Arc<Index>,
}

/// Whether a caller holds a blob.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub(crate) blob: Weak<Blob>,
    /// Removed from the store: it cannot be opened any more.
    pub(crate) removed: bool,
}

impl Entry {
    pub(crate) fn new(
        index: &Arc<Index>,
        folder: PathBuf,
        noted: Noted,
        have_bytes: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: noted.meta.id,
            size: noted.meta.size,
            folder,
            have_bytes: AtomicU64::new(have_bytes),
            used_ms: AtomicU64::new(noted.used_ms),
            noted: Mutex::new(noted),
            lost: Mutex::default(),
            live: Mutex::default(),
            gone: AtomicBool::new(false),
            index: index.clone(),
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn meta(&self) -> Meta {
        self.noted.lock().meta.clone()
    }

    pub(crate) fn noted(&self) -> Noted {
        self.noted.lock().clone()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.noted.lock().meta.phase
    }

    /// Changes the metadata, on disk first.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Meta)) -> Result<(), BlobError> {
        self.change_with(change, Changes::new())
    }

    /// Changes the metadata in one batch with other rows.
    pub(crate) fn change_with(
        &self,
        change: impl FnOnce(&mut Meta),
        with: Changes,
    ) -> Result<(), BlobError> {
        let mut noted = self.noted.lock();
        let mut changed = noted.clone();
        change(&mut changed.meta);
        if changed == *noted && with.is_empty() {
            return Ok(());
        }
        if self.gone.load(Ordering::Relaxed) {
            return Err(BlobError::Unknown);
        }
        changed.used_ms = self.used_ms();
        *noted = self.index.put(Some(&noted), changed, with)?;
        drop(noted);
        self.index.sync()
    }

    /// Records that the files have changed; in memory even if the disk refuses.
    pub(crate) fn set_changed(&self) {
        if self.change(|meta| meta.phase = Phase::Changed).is_err() {
            self.noted.lock().meta.phase = Phase::Changed;
        }
    }

    /// Records in memory that some of its files have changed.
    pub(crate) fn set_lost(&self, granules: Option<GranuleSet>) {
        *self.lost.lock() = granules;
    }

    /// Granules of a complete blob that are not read any more.
    pub(crate) fn lost(&self) -> Option<GranuleSet> {
        self.lost.lock().clone()
    }

    /// Records a use at `now_ms`, and sometimes writes it to the disk.
    pub(crate) fn used(&self, now_ms: u64) {
        self.used_ms.fetch_max(now_ms, Ordering::Relaxed);
        self.save_use(USE_SAVED_EVERY_MS);
    }

    /// Writes the time of the last use to the disk, if the one there is older by
    /// [`USE_SAVED_EVERY_MS`]. Only the order of eviction depends on it, so it may fail.
    pub(crate) fn save_use(&self, older_ms: u64) {
        let mut noted = self.noted.lock();
        let used_ms = self.used_ms();
        if used_ms.saturating_sub(noted.used_ms) < older_ms.max(1) {
            return;
        }
        let changed = Noted { used_ms, ..noted.clone() };
        if !self.gone.load(Ordering::Relaxed)
            && let Ok(changed) = self.index.put(Some(&noted), changed, Changes::new())
        {
            *noted = changed;
        }
    }

    /// Removes it from the index, with an intent if its folder is removed next.
    pub(crate) fn forget(&self, folder: bool) -> Result<(), BlobError> {
        let noted = self.noted.lock();
        self.index.remove(&noted, folder)?;
        self.gone.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// The lease if no caller holds the blob or opens it now.
    pub(crate) fn unheld(&self) -> Option<MutexGuard<'_, Lease>> {
        let live = self.live.try_lock()?;
        (live.blob.strong_count() == 0).then_some(live)
    }

    pub(crate) fn view(&self) -> BlobView {
        let noted = Noted { used_ms: self.used_ms(), ..self.noted() };
        let have_bytes = self.have_bytes.load(Ordering::Relaxed);
        let mut view = view_of(noted, have_bytes, self.unheld().is_none());
        if view.state == BlobState::Complete && self.lost.lock().is_some() {
            view.state = BlobState::Changed;
        }
        view
    }
}

/// The view of a blob with this metadata.
pub(crate) fn view_of(noted: Noted, have_bytes: u64, in_use: bool) -> BlobView {
    let Noted { meta, used_ms, .. } = noted;
    BlobView {
        id: meta.id,
        size: meta.size,
        name: meta.shown_name().to_owned(),
        mtime: meta.mtime,
        mode: meta.mode,
        place: match meta.outside {
            Some((path, segments)) => BlobPlace::Outside { path, segments },
            None => BlobPlace::Inside,
        },
        state: match meta.phase {
            Phase::Partial => BlobState::Partial { have_bytes },
            Phase::Complete => BlobState::Complete,
            Phase::Changed => BlobState::Changed,
        },
        pinned: meta.pinned,
        shared: meta.shared,
        in_use,
        used_unix_ms: used_ms,
    }
}

/// The metadata file of versions before the index.
pub(crate) const META: &str = "meta";
/// The file with the segments of a blob in very many files.
pub(crate) const PLACE: &str = "place";
/// The nodes of its hash tree.
pub(crate) const OUTBOARD: &str = "outboard";
/// The journal of stored granules.
pub(crate) const HAVE: &str = "have";
/// The bytes of a blob inside the store.
pub(crate) const DATA: &str = "data";
