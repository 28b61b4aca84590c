//! The store: which blobs there are, how one is opened, begun and removed.
//!
//! **Invariants:** a blob's folder appears whole or not at all, since it is made aside and renamed; a
//! blob is opened once, however many hold it; one that is held is never removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use potluck_base::{BlobId, Division};

use super::blob::{Blob, read_segments};
use super::entry::{BlobView, Entry, lock, unix_ms};
use super::folder::{
    check_absent, discard_unless, fill_folder, goes_on, load, new_meta, remove_ours, set_aside,
};
use super::meta::{Meta, Phase};
use super::place::{SegmentTarget, Segments};
use super::{BlobError, files, space};
use crate::FolderLock;

/// The folder of all blobs inside the data folder.
const BLOBS: &str = "blobs";
/// Folders on their way in; what a crash leaves of them is removed.
const NEW: &str = ".new-";
/// Folders on their way out.
const OLD: &str = ".old-";

/// What a store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLimits {
    /// Bytes of blobs kept inside the store that are neither pinned nor shared; over it the least
    /// recently used ones go.
    pub cache_bytes: u64,
    /// How many blobs there may be.
    pub blobs_max: usize,
}

/// Whether a blob stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// While there is room.
    Cached,
    /// Until it is unpinned.
    Pinned,
}

/// Where the bytes of a blob are to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the store's own folder.
    Inside,
    /// In these files, laid end to end. While the blob is partial they are the store's: it makes them
    /// with the folders above them, and removes the files if the blob is removed.
    Segments(Vec<SegmentTarget>),
}

/// Blobs on disk. All methods block and may be called from many threads.
#[derive(Debug)]
pub struct BlobStore {
    folder: PathBuf,
    pub(crate) limits: BlobLimits,
    index: RwLock<BTreeMap<BlobId, Arc<Entry>>>,
    /// Held while blobs come and go; counts the folders made aside.
    changes: Mutex<u64>,
    /// Later than all uses so far.
    clock: AtomicU64,
    damaged: usize,
    lock: Arc<FolderLock>,
}

impl BlobStore {
    /// Opens the blobs of a data folder, making it if need be. Blobs whose notes are damaged are set
    /// aside and counted ([`BlobStore::damaged`]).
    ///
    /// # Errors
    /// [`BlobError::Open`] if another store has the folder; [`BlobError::Io`].
    pub fn open(data_folder: &Path, limits: BlobLimits) -> Result<Self, BlobError> {
        let folder = data_folder.join(BLOBS);
        let lock = Arc::new(FolderLock::acquire(&folder)?);
        // Files are opened without following links, which may well be on the way to the data folder.
        let folder = folder.canonicalize().map_err(BlobError::at(&folder))?;
        let mut store = Self {
            limits,
            index: RwLock::default(),
            changes: Mutex::new(0),
            clock: AtomicU64::new(0),
            damaged: 0,
            lock,
            folder,
        };
        let found = std::fs::read_dir(&store.folder).map_err(BlobError::at(&store.folder))?;
        let mut entries = BTreeMap::new();
        for found in found {
            let path = found.map_err(BlobError::at(&store.folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with(NEW) || name.starts_with(OLD) {
                std::fs::remove_dir_all(&path).map_err(BlobError::at(&path))?;
            } else if let Ok(id) = name.parse::<BlobId>() {
                match load(&store.lock, &path, id) {
                    Ok(entry) => {
                        entries.insert(id, entry);
                    }
                    Err(_) => {
                        store.damaged += 1;
                        set_aside(&path);
                    }
                }
            }
        }
        let last = entries.values().map(|entry| entry.used_ms()).max();
        store.clock = AtomicU64::new(last.unwrap_or(0));
        store.index = RwLock::new(entries);
        Ok(store)
    }

    /// The data folder that it is in.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// How many blobs could not be read when the store was opened.
    #[must_use]
    pub const fn damaged(&self) -> usize {
        self.damaged
    }

    /// Holds a blob. `None` if there is no such.
    ///
    /// # Errors
    /// What is noted beside it cannot be read.
    pub fn get(&self, id: &BlobId) -> Result<Option<Arc<Blob>>, BlobError> {
        let entry = self.index().get(id).cloned();
        entry.map_or(Ok(None), |entry| self.lease(&entry))
    }

    /// All blobs, in the order of their names in the network.
    #[must_use]
    pub fn list(&self) -> Vec<BlobView> {
        self.index().values().map(|entry| entry.view()).collect()
    }

    /// What there is to see of one blob.
    #[must_use]
    pub fn view(&self, id: &BlobId) -> Option<BlobView> {
        self.index().get(id).map(|entry| entry.view())
    }

    /// Begins to fetch a blob, or goes on if it was begun with the same place. One that is complete is
    /// given as it is.
    ///
    /// # Errors
    /// [`BlobError::NoSpace`] if the disk has no room for what is missing; [`BlobError::Exists`] if
    /// one of the files is there already; [`BlobError::InUse`] if it is being fetched to another place.
    pub fn begin(
        &self,
        id: BlobId,
        size: u64,
        place: Place,
        name: &str,
    ) -> Result<Arc<Blob>, BlobError> {
        Division::of(size).ok_or(BlobError::TooLarge { size })?;
        let outside = match place {
            Place::Segments(targets) if !targets.is_empty() => {
                let segments = Segments::outside(targets.into_iter().map(|file| (file, None)))?;
                if segments.bytes() != size {
                    return Err(BlobError::WrongSegments);
                }
                Some(segments)
            }
            _ => None,
        };
        let mut changes = lock(&self.changes);
        let old = self.index().get(&id).cloned();
        if let Some(entry) = old {
            if goes_on(&entry, size, outside.as_ref())? {
                if entry.phase() == Phase::Partial {
                    let missing = size.saturating_sub(entry.have_bytes.load(Ordering::Relaxed));
                    space::check(outside.as_ref().map_or(&self.folder, |to| to.base()), missing)?;
                }
                // Opening may take long; others need not wait.
                drop(changes);
                return self.lease(&entry)?.ok_or(BlobError::Unknown);
            }
            self.take_out(&entry, &mut changes)?;
        }
        self.check_count()?;
        if let Some(segments) = &outside {
            check_absent(segments)?;
        }
        space::check(outside.as_ref().map_or(&self.folder, |to| to.base()), size)?;
        let folder = self.new_folder(&mut changes)?;
        let mut meta = new_meta(id, size, name);
        meta.phase = Phase::Partial;
        meta.outside = outside.as_ref().map(|place| (place.base().to_owned(), place.len() as u32));
        let filled = fill_folder(&folder, &meta, outside.as_ref());
        let entry = discard_unless(filled.and_then(|()| self.install(&folder, meta)), &folder)?;
        self.lease(&entry)?.ok_or(BlobError::Unknown)
    }

    /// Sets whether this node offers a blob, and its name if one is given.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], or the disk refused.
    pub fn set_shared(
        &self,
        id: &BlobId,
        shared: bool,
        name: Option<&str>,
    ) -> Result<(), BlobError> {
        self.entry(id)?.change(|meta| {
            meta.shared = shared;
            if let Some(name) = name {
                meta.set_name(name);
            }
        })
    }

    /// Notes what is told of a blob that is one file: when its bytes were changed last, in seconds since
    /// 1970, and its permissions as Unix counts them.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], or the disk refused.
    pub fn set_marks(
        &self,
        id: &BlobId,
        mtime: Option<i64>,
        mode: Option<u32>,
    ) -> Result<(), BlobError> {
        self.entry(id)?.change(|meta| (meta.mtime, meta.mode) = (mtime, mode))
    }

    /// Makes a blob stay until it is unpinned, or not any more.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], or the disk refused.
    pub fn set_pinned(&self, id: &BlobId, pinned: bool) -> Result<(), BlobError> {
        self.entry(id)?.change(|meta| meta.pinned = pinned)
    }

    /// Removes a blob: what lies in the store, and the files of one that is partial. Files elsewhere
    /// that are whole are left alone.
    ///
    /// # Errors
    /// [`BlobError::Unknown`]; [`BlobError::InUse`] while somebody holds it; the disk refused.
    pub fn remove(&self, id: &BlobId) -> Result<(), BlobError> {
        let mut changes = lock(&self.changes);
        let entry = self.entry(id)?;
        self.take_out(&entry, &mut changes)
    }

    /// Opens the blob of an entry, or gives the one that is open.
    pub(crate) fn lease(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Blob>>, BlobError> {
        let mut live = lock(&entry.live);
        if live.removed {
            return Ok(None);
        }
        entry.used(self.tick());
        if let Some(blob) = live.blob.upgrade() {
            return Ok(Some(blob));
        }
        let blob = Arc::new(Blob::open(entry.clone())?);
        live.blob = Arc::downgrade(&blob);
        Ok(Some(blob))
    }

    /// Removes a blob that nobody holds.
    pub(crate) fn take_out(
        &self,
        entry: &Arc<Entry>,
        changes: &mut MutexGuard<'_, u64>,
    ) -> Result<(), BlobError> {
        let Some(mut live) = entry.unheld() else { return Err(BlobError::InUse) };
        if entry.phase() == Phase::Partial
            && entry.meta().outside.is_some()
            && let Ok(segments) = read_segments(entry)
        {
            for path in (0..segments.len()).map(|number| segments.path(number)) {
                remove_ours(&path).map_err(BlobError::at(&path))?;
            }
        }
        **changes += 1;
        let old = self.folder.join(format!("{OLD}{}", **changes));
        std::fs::rename(&entry.folder, &old).map_err(BlobError::at(&entry.folder))?;
        live.removed = true;
        self.index_mut().remove(&entry.id);
        std::fs::remove_dir_all(&old).map_err(BlobError::at(&old))
    }

    /// A new folder aside, to be filled and installed.
    pub(crate) fn new_folder(
        &self,
        changes: &mut MutexGuard<'_, u64>,
    ) -> Result<PathBuf, BlobError> {
        **changes += 1;
        let folder = self.folder.join(format!("{NEW}{}", **changes));
        std::fs::create_dir(&folder).map_err(BlobError::at(&folder))?;
        Ok(folder)
    }

    /// Makes a filled folder that of a blob.
    pub(crate) fn install(&self, folder: &Path, meta: Meta) -> Result<Arc<Entry>, BlobError> {
        let path = self.folder.join(meta.id.to_string());
        std::fs::rename(folder, &path).map_err(BlobError::at(&path))?;
        files::sync_folder(&self.folder).map_err(BlobError::at(&self.folder))?;
        let entry = Entry::new(&self.lock, path, meta, 0, self.tick());
        self.index_mut().insert(entry.id, entry.clone());
        Ok(entry)
    }

    pub(crate) fn check_count(&self) -> Result<(), BlobError> {
        let max = self.limits.blobs_max;
        if self.index().len() < max { Ok(()) } else { Err(BlobError::TooManyBlobs { max }) }
    }

    pub(crate) fn changes(&self) -> MutexGuard<'_, u64> {
        lock(&self.changes)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn entry(&self, id: &BlobId) -> Result<Arc<Entry>, BlobError> {
        self.index().get(id).cloned().ok_or(BlobError::Unknown)
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, BTreeMap<BlobId, Arc<Entry>>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<BlobId, Arc<Entry>>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, and later than any time it gave before.
    fn tick(&self) -> u64 {
        let now = unix_ms();
        let last = self
            .clock
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        last.map_or(now, |last| now.max(last + 1))
    }
}
