//! The blob store: opens, begins and removes blobs.
//!
//! **Invariants:** a blob exists once the index has it, and its folder is in place before that; a blob is
//! opened once for any number of holders; a blob that is held is never removed; memory has only the entries
//! that callers hold, and the ones used last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use potluck_base::{BlobId, Division, LruMap};

use super::blob::Blob;
use super::entry::{BlobView, Entry, unix_ms, view_of};
use super::folder::{
    check_absent, discard_unless, fill_folder, goes_on, load, new_meta, note_place, read_segments,
    remove_ours,
};
use super::index::{Index, Noted};
use super::meta::{Meta, Phase};
use super::place::{SegmentTarget, Segments};
use super::{BlobError, files, space};
use crate::FolderLock;
use crate::backend::Changes;
use crate::config::SyncMode;

/// The folder of all blobs inside the data folder.
pub(crate) const BLOBS: &str = "blobs";
/// The folder of blobs that are being created or removed. Remains of a crash in it are removed.
const ASIDE: &str = "aside";
/// Entries in memory that no caller holds.
const RECENT_MAX: usize = 1024;
/// Most blobs in a list without pages.
const LIST_MAX: usize = 10_000;

/// Most folders with the same data that are returned.
const OWNERS_MAX: usize = 1024;

/// The limits of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLimits {
    /// Bytes of blobs inside the store that are neither pinned nor shared; beyond, the least recently used
    /// ones are removed.
    pub cache_bytes: u64,
    /// The number of blobs.
    pub blobs_max: usize,
}

/// How long a blob is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// While there is room.
    Cached,
    /// Until it is unpinned.
    Pinned,
}

/// Where the bytes of a blob are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the folder of the store.
    Inside,
    /// In these files, concatenated. While the blob is partial, the files belong to the store: it creates
    /// them with the folders above them, and removes the files if the blob is removed.
    Segments(Vec<SegmentTarget>),
}

/// Blobs on disk. All methods block and may be called from many threads.
#[derive(Debug)]
pub struct BlobStore {
    folder: PathBuf,
    pub(crate) limits: BlobLimits,
    pub(crate) index: Arc<Index>,
    entries: Mutex<Entries>,
    /// Locked while blobs are added and removed. Counts the folders in [`ASIDE`].
    changes: Mutex<u64>,
    /// A time later than all uses so far.
    clock: AtomicU64,
}

/// The entries in memory: one for each blob, while a caller has it.
#[derive(Debug)]
struct Entries {
    held: BTreeMap<BlobId, Weak<Entry>>,
    recent: LruMap<BlobId, Arc<Entry>>,
    /// The size of `held` at which dropped entries are removed from it.
    prune_at: usize,
}

impl Entries {
    fn get(&mut self, id: &BlobId) -> Option<Arc<Entry>> {
        // Counts as a use.
        self.recent.get_mut(id);
        self.held.get(id)?.upgrade()
    }

    fn insert(&mut self, entry: &Arc<Entry>) {
        if self.held.len() >= self.prune_at {
            self.held.retain(|_, entry| entry.strong_count() > 0);
            self.prune_at = (2 * self.held.len()).max(2 * RECENT_MAX);
        }
        self.held.insert(entry.id, Arc::downgrade(entry));
        if let Some((_, left)) = self.recent.insert(entry.id, entry.clone()) {
            left.save_use(1);
        }
    }
}

/// What the store counts. Kept as blobs come and go, on disk too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobCounts {
    /// All blobs.
    pub blobs: u64,
    /// Blobs that have a name: files and folders.
    pub listed: u64,
    /// Bytes of whole files and of the data of whole folders.
    pub bytes: u64,
    /// Blobs that others may have.
    pub given: u64,
    /// Files and folders that others may have.
    pub offered: u64,
}

impl Drop for BlobStore {
    fn drop(&mut self) {
        self.in_memory().iter().for_each(|entry| entry.save_use(1));
    }
}

impl BlobStore {
    /// Opens the blobs of a data folder, and creates it if it does not exist. The time does not depend on
    /// the number of blobs. Metadata files of an older version are moved into the index once; blobs with
    /// damaged metadata are set aside then and counted ([`BlobStore::damaged`]).
    ///
    /// # Errors
    /// [`BlobError::Open`] if another store has the folder or its index is damaged; [`BlobError::Io`].
    pub fn open(data_folder: &Path, limits: BlobLimits) -> Result<Self, BlobError> {
        Self::open_with(data_folder, limits, SyncMode::Data)
    }

    /// As [`BlobStore::open`]; `sync` says when a change is acknowledged.
    ///
    /// # Errors
    /// As [`BlobStore::open`].
    pub fn open_with(
        data_folder: &Path,
        limits: BlobLimits,
        sync: SyncMode,
    ) -> Result<Self, BlobError> {
        let folder = data_folder.join(BLOBS);
        let lock = Arc::new(FolderLock::acquire(&folder)?);
        // Files are opened without following links, but the path of the data folder may have links.
        let folder = folder.canonicalize().map_err(BlobError::at(&folder))?;
        let aside = folder.join(ASIDE);
        if aside.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&aside).map_err(BlobError::at(&aside))?;
        }
        std::fs::create_dir(&aside).map_err(BlobError::at(&aside))?;
        let index = Arc::new(Index::open(&folder, sync, lock)?);
        Self::over(folder, index, limits)
    }

    /// The blobs in `folder` that this index notes.
    pub(crate) fn over(
        folder: PathBuf,
        index: Arc<Index>,
        limits: BlobLimits,
    ) -> Result<Self, BlobError> {
        Ok(Self {
            limits,
            clock: AtomicU64::new(index.last_use()?),
            index,
            entries: Mutex::new(Entries {
                held: BTreeMap::new(),
                recent: LruMap::new(RECENT_MAX),
                prune_at: 2 * RECENT_MAX,
            }),
            changes: Mutex::new(0),
            folder,
        })
    }

    /// The data folder of the store.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// The number of blobs with metadata that cannot be read.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.index.damaged()
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> BlobCounts {
        let counts = self.index.counts();
        BlobCounts {
            blobs: counts.blobs(),
            listed: counts.listed,
            bytes: counts.whole_bytes,
            given: counts.given,
            offered: counts.offered,
        }
    }

    /// Entries in memory: those that callers hold, and those used last.
    #[must_use]
    pub fn entries_in_memory(&self) -> usize {
        self.entries.lock().held.len()
    }

    /// Bytes of memory in the cache and the write buffers of the index.
    #[must_use]
    pub fn index_memory_bytes(&self) -> u64 {
        self.index.memory_bytes()
    }

    /// Bytes of disk that the index takes. Looks at each of its files.
    #[must_use]
    pub fn index_disk_bytes(&self) -> u64 {
        self.index.disk_bytes()
    }

    /// A lease on a blob. `None` if there is no such blob.
    ///
    /// # Errors
    /// The metadata of the blob cannot be read.
    pub fn get(&self, id: &BlobId) -> Result<Option<Arc<Blob>>, BlobError> {
        self.find(id)?.map_or(Ok(None), |entry| self.lease(&entry))
    }

    /// A lease on a blob that does not count as a use. `None` if there is no such blob.
    ///
    /// # Errors
    /// The metadata of the blob cannot be read.
    pub fn look(&self, id: &BlobId) -> Result<Option<Arc<Blob>>, BlobError> {
        self.find(id)?.map_or(Ok(None), |entry| Self::open_entry(&entry))
    }

    /// Records that `data` is the data of the folder with the manifest `list`.
    ///
    /// # Errors
    /// The disk refused.
    pub fn set_owner(&self, data: &BlobId, list: &BlobId) -> Result<(), BlobError> {
        self.index.own(data, list)?;
        self.sync()
    }

    /// The manifests of the folders that have this blob as their data, at most 1,024. Some may have been
    /// removed.
    ///
    /// # Errors
    /// The disk refused.
    pub fn owners(&self, data: &BlobId) -> Result<Vec<BlobId>, BlobError> {
        self.index.owners(data, OWNERS_MAX)
    }

    /// Records once the manifests of all data that an older version stored without them. `data_of` returns
    /// the data of the folder, if the blob is a manifest.
    ///
    /// # Errors
    /// The disk refused; the next start tries again.
    pub fn note_owners_once(
        &self,
        data_of: impl Fn(&Self, &BlobView) -> Option<BlobId>,
    ) -> Result<(), BlobError> {
        if !self.index.lacks_owners()? {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.page(after.as_ref(), LIST_MAX)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for view in &page {
                if let Some(data) = data_of(self, view) {
                    self.index.own(&data, &view.id)?;
                }
            }
        }
        self.index.has_owners()
    }

    /// The first ten thousand blobs in the order of their ids. See [`BlobStore::page`] for more.
    #[must_use]
    pub fn list(&self) -> Vec<BlobView> {
        self.page(None, LIST_MAX).unwrap_or_default()
    }

    /// At most `max` blobs after the id `after`, in the order of their ids. Blobs with metadata that cannot
    /// be read are left out.
    ///
    /// # Errors
    /// The disk refused.
    pub fn page(&self, after: Option<&BlobId>, max: usize) -> Result<Vec<BlobView>, BlobError> {
        self.index.page(after).take(max).map(|noted| Ok(self.seen(noted?))).collect()
    }

    /// At most `max` partial blobs, those with the oldest fetch first.
    ///
    /// # Errors
    /// The disk refused.
    pub fn partial(&self, max: usize) -> Result<Vec<BlobView>, BlobError> {
        let mut views = Vec::new();
        for found in self.index.by_use(super::index::PARTIAL).take(max) {
            views.extend(self.view(&found?.1));
        }
        Ok(views)
    }

    /// At most `max` offered blobs whose name has all these words, in the order in which they were shared.
    /// The words must be in the form of [`words_of`](potluck_base::words::words_of).
    ///
    /// # Errors
    /// The disk refused.
    pub fn search(&self, words: &[String], max: usize) -> Result<Vec<BlobView>, BlobError> {
        let found = self.index.find(words, max)?;
        Ok(found.into_iter().map(|noted| self.seen(noted)).collect())
    }

    /// At most `max` offered blobs with a name after the number `after`, in the order in which they were
    /// shared, and the number of the last one.
    ///
    /// # Errors
    /// The disk refused.
    pub fn offered(&self, after: u64, max: usize) -> Result<(Vec<BlobId>, u64), BlobError> {
        let (mut ids, mut last) = (Vec::new(), after);
        for found in self.index.offered(after).take(max) {
            let (number, id) = found?;
            ids.push(id);
            last = number;
        }
        Ok((ids, last))
    }

    /// The position of the round over all offered blobs: the number to continue after.
    ///
    /// # Errors
    /// The disk refused.
    pub fn round_cursor(&self) -> Result<u64, BlobError> {
        self.index.cursor()
    }

    /// Records the position of the round.
    ///
    /// # Errors
    /// The disk refused.
    pub fn set_round_cursor(&self, cursor: u64) -> Result<(), BlobError> {
        self.index.set_cursor(cursor)
    }

    /// The view of one blob.
    #[must_use]
    pub fn view(&self, id: &BlobId) -> Option<BlobView> {
        let live = self.entries.lock().get(id);
        match live {
            Some(entry) => Some(entry.view()),
            None => Some(self.seen(self.index.noted(id).ok()??)),
        }
    }

    fn seen(&self, noted: Noted) -> BlobView {
        let live = self.entries.lock().get(&noted.meta.id);
        if let Some(entry) = live {
            return entry.view();
        }
        let folder = self.folder.join(noted.meta.id.to_string());
        let have_bytes = super::folder::journalled(&folder, &noted.meta).unwrap_or(0);
        view_of(noted, have_bytes, false)
    }

    /// Begins to fetch a blob, or continues a fetch to the same place. A complete blob is returned as it
    /// is.
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
        let mut changes = self.changes.lock();
        if let Some(entry) = self.find(&id)? {
            if goes_on(&entry, size, outside.as_ref())? {
                if entry.phase() == Phase::Partial {
                    let missing = size.saturating_sub(entry.have_bytes.load(Ordering::Relaxed));
                    space::check(outside.as_ref().map_or(&self.folder, |to| to.base()), missing)?;
                }
                // Opening may take long, and other callers need not wait for it.
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
        let begun = (|| {
            fill_folder(&folder, &meta)?;
            let place = match &outside {
                Some(segments) => note_place(&folder, &id, 0, segments)?,
                None => Changes::new(),
            };
            self.install(&folder, meta, place)
        })();
        let entry = discard_unless(begun, &folder)?;
        drop(changes);
        self.sync()?;
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

    /// Records the modification time (in seconds since 1970) and the Unix permissions of a blob that is one
    /// file.
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

    /// Pins or unpins a blob. A pinned blob is kept.
    ///
    /// # Errors
    /// [`BlobError::Unknown`], or the disk refused.
    pub fn set_pinned(&self, id: &BlobId, pinned: bool) -> Result<(), BlobError> {
        self.entry(id)?.change(|meta| meta.pinned = pinned)
    }

    /// Removes a blob with its bytes in the store, or the files of a partial blob. Complete files elsewhere
    /// are not touched.
    ///
    /// # Errors
    /// [`BlobError::Unknown`]; [`BlobError::InUse`] while a caller holds it; the disk refused.
    pub fn remove(&self, id: &BlobId) -> Result<(), BlobError> {
        let mut changes = self.changes.lock();
        let entry = self.entry(id)?;
        self.take_out(&entry, &mut changes)
    }

    /// Opens the blob of an entry, or returns the open one.
    pub(crate) fn lease(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Blob>>, BlobError> {
        entry.used(self.tick());
        Self::open_entry(entry)
    }

    fn open_entry(entry: &Arc<Entry>) -> Result<Option<Arc<Blob>>, BlobError> {
        let mut live = entry.live.lock();
        if live.removed {
            return Ok(None);
        }
        if let Some(blob) = live.blob.upgrade() {
            return Ok(Some(blob));
        }
        let blob = Arc::new(Blob::open(entry.clone())?);
        live.blob = Arc::downgrade(&blob);
        Ok(Some(blob))
    }

    /// Removes a blob that no caller holds.
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
        let folder = entry.folder.is_dir();
        entry.forget(folder)?;
        live.removed = true;
        {
            let mut entries = self.entries.lock();
            entries.held.remove(&entry.id);
            entries.recent.remove(&entry.id);
        }
        self.sync()?;
        if !folder {
            return Ok(());
        }
        let old = self.no_folder(changes);
        std::fs::rename(&entry.folder, &old).map_err(BlobError::at(&entry.folder))?;
        self.index.write(Index::end_of_intent(&entry.id))?;
        std::fs::remove_dir_all(&old).map_err(BlobError::at(&old))
    }

    /// An unused path in [`ASIDE`].
    pub(crate) fn no_folder(&self, changes: &mut MutexGuard<'_, u64>) -> PathBuf {
        **changes += 1;
        self.folder.join(ASIDE).join(changes.to_string())
    }

    /// A new folder in [`ASIDE`], to be filled and installed.
    pub(crate) fn new_folder(
        &self,
        changes: &mut MutexGuard<'_, u64>,
    ) -> Result<PathBuf, BlobError> {
        let folder = self.no_folder(changes);
        std::fs::create_dir(&folder).map_err(BlobError::at(&folder))?;
        Ok(folder)
    }

    /// Moves the filled folder of a blob, if it has one, to its final path, and adds the blob and its place to
    /// the index. The blob is durable after the next sync.
    pub(crate) fn install(
        &self,
        folder: &Path,
        meta: Meta,
        place: Changes,
    ) -> Result<Arc<Entry>, BlobError> {
        let path = self.folder.join(meta.id.to_string());
        let mut with = place;
        if folder.is_dir() {
            self.index.intend(&meta.id)?;
            // The remains of a crash between the rename and the index.
            if path.symlink_metadata().is_ok() {
                std::fs::remove_dir_all(&path).map_err(BlobError::at(&path))?;
            }
            std::fs::rename(folder, &path).map_err(BlobError::at(&path))?;
            files::sync_folder(&self.folder).map_err(BlobError::at(&self.folder))?;
            with.extend(Index::end_of_intent(&meta.id));
        }
        let noted = Noted { meta, used_ms: self.tick(), number: 0 };
        let noted = self.index.put(None, noted, with)?;
        let entry = Entry::new(&self.index, path, noted, 0);
        self.entries.lock().insert(&entry);
        Ok(entry)
    }

    /// Makes the changes of the index durable.
    pub(crate) fn sync(&self) -> Result<(), BlobError> {
        self.index.sync()
    }

    pub(crate) fn check_count(&self) -> Result<(), BlobError> {
        let max = self.limits.blobs_max;
        let full = self.index.counts().blobs() >= max as u64;
        if full { Err(BlobError::TooManyBlobs { max }) } else { Ok(()) }
    }

    pub(crate) fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn entry(&self, id: &BlobId) -> Result<Arc<Entry>, BlobError> {
        self.find(id)?.ok_or(BlobError::Unknown)
    }

    /// The entry of a blob, read from the index unless it is in memory.
    pub(crate) fn find(&self, id: &BlobId) -> Result<Option<Arc<Entry>>, BlobError> {
        // Locked until the entry is added, so that there is never a second one.
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(id) {
            return Ok(Some(entry));
        }
        let Some(noted) = self.index.noted(id)? else { return Ok(None) };
        let entry = load(&self.index, self.folder.join(id.to_string()), noted)?;
        entries.insert(&entry);
        Ok(Some(entry))
    }

    /// The entries that are in memory.
    pub(crate) fn in_memory(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().held.values().filter_map(Weak::upgrade).collect()
    }

    /// The time, and later than any time that it returned before.
    fn tick(&self) -> u64 {
        let now = unix_ms();
        let last = self
            .clock
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        last.map_or(now, |last| now.max(last + 1))
    }
}
