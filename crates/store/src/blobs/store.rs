//! The store: which blobs there are, how one is opened, begun and removed.
//!
//! **Invariants:** a blob is there once the index has it, and its folder was in place before; a blob
//! is opened once, however many hold it; one that is held is never removed; in memory is only what
//! a caller holds, and the entries used last.

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
const BLOBS: &str = "blobs";
/// Where the folders of blobs are on their way in and out; what a crash leaves here is removed.
const ASIDE: &str = "aside";
/// Entries kept in memory although no caller holds them.
const RECENT_MAX: usize = 1024;
/// Most blobs in a list that is not asked for in pages.
const LIST_MAX: usize = 10_000;

/// Most folders with the same data that are told of.
const OWNERS_MAX: usize = 1024;

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
    pub(crate) index: Arc<Index>,
    entries: Mutex<Entries>,
    /// Held while blobs come and go; counts the folders made aside.
    changes: Mutex<u64>,
    /// Later than all uses so far.
    clock: AtomicU64,
}

/// The entries in memory: one a blob, for as long as a caller has it.
#[derive(Debug)]
struct Entries {
    held: BTreeMap<BlobId, Weak<Entry>>,
    recent: LruMap<BlobId, Arc<Entry>>,
    /// How many there may be in `held` before those that are gone are taken out.
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
    /// Opens the blobs of a data folder, making it if need be. Takes as long for ten million blobs as
    /// for ten. What an older version noted beside the blobs is moved into the index once; blobs whose
    /// notes are damaged are set aside then and counted ([`BlobStore::damaged`]).
    ///
    /// # Errors
    /// [`BlobError::Open`] if another store has the folder or its index is damaged; [`BlobError::Io`].
    pub fn open(data_folder: &Path, limits: BlobLimits) -> Result<Self, BlobError> {
        Self::open_with(data_folder, limits, SyncMode::Data)
    }

    /// As [`BlobStore::open`]; `sync` says when a change counts as done.
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
        // Files are opened without following links, which may well be on the way to the data folder.
        let folder = folder.canonicalize().map_err(BlobError::at(&folder))?;
        let aside = folder.join(ASIDE);
        if aside.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&aside).map_err(BlobError::at(&aside))?;
        }
        std::fs::create_dir(&aside).map_err(BlobError::at(&aside))?;
        let index = Arc::new(Index::open(&folder, sync, lock)?);
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

    /// The data folder that it is in.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// How many blobs were found whose notes cannot be read.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.index.damaged()
    }

    /// What is counted. Costs nothing.
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

    /// Holds a blob. `None` if there is no such.
    ///
    /// # Errors
    /// What is noted about it cannot be read.
    pub fn get(&self, id: &BlobId) -> Result<Option<Arc<Blob>>, BlobError> {
        self.find(id)?.map_or(Ok(None), |entry| self.lease(&entry))
    }

    /// Holds a blob for a look at it, which is no use of it. `None` if there is no such.
    ///
    /// # Errors
    /// What is noted about it cannot be read.
    pub fn look(&self, id: &BlobId) -> Result<Option<Arc<Blob>>, BlobError> {
        self.find(id)?.map_or(Ok(None), |entry| Self::open_entry(&entry))
    }

    /// Notes that `data` is the data of the folder that the blob `list` lists.
    ///
    /// # Errors
    /// The disk refused.
    pub fn set_owner(&self, data: &BlobId, list: &BlobId) -> Result<(), BlobError> {
        self.index.own(data, list)?;
        self.sync()
    }

    /// The lists of the folders whose data a blob is, at most 1,024; some may be gone.
    ///
    /// # Errors
    /// The disk refused.
    pub fn owners(&self, data: &BlobId) -> Result<Vec<BlobId>, BlobError> {
        self.index.owners(data, OWNERS_MAX)
    }

    /// Notes once which folders the data belongs to that an older version stored, which did not note it:
    /// `data_of` gives the data of the folder that a blob lists, if it lists one.
    ///
    /// # Errors
    /// The disk refused; it is done at the next start.
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

    /// The blobs, in the order of their names in the network: the first ten thousand. More come by
    /// [`BlobStore::page`].
    #[must_use]
    pub fn list(&self) -> Vec<BlobView> {
        self.page(None, LIST_MAX).unwrap_or_default()
    }

    /// At most `max` blobs behind `after`, in the order of their names in the network. What cannot be
    /// read is left out.
    ///
    /// # Errors
    /// The disk refused.
    pub fn page(&self, after: Option<&BlobId>, max: usize) -> Result<Vec<BlobView>, BlobError> {
        self.index.page(after).take(max).map(|noted| Ok(self.seen(noted?))).collect()
    }

    /// At most `max` blobs that are partly here, those first whose fetch rests longest.
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

    /// What is given to others under a name and fits these words, which are as
    /// [`words_of`](potluck_base::words::words_of) makes them: at most `max`, in the order in which they
    /// were shared.
    ///
    /// # Errors
    /// The disk refused.
    pub fn search(&self, words: &[String], max: usize) -> Result<Vec<BlobView>, BlobError> {
        let found = self.index.find(words, max)?;
        Ok(found.into_iter().map(|noted| self.seen(noted)).collect())
    }

    /// At most `max` of what is given to others under a name, in the order in which it was shared,
    /// behind the number `after`; with the number of the last one.
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

    /// How far the round over all that is offered has come: the number to go on behind.
    ///
    /// # Errors
    /// The disk refused.
    pub fn round_cursor(&self) -> Result<u64, BlobError> {
        self.index.cursor()
    }

    /// Notes how far the round has come.
    ///
    /// # Errors
    /// The disk refused.
    pub fn set_round_cursor(&self, cursor: u64) -> Result<(), BlobError> {
        self.index.set_cursor(cursor)
    }

    /// What there is to see of one blob.
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
        let mut changes = self.changes.lock();
        if let Some(entry) = self.find(&id)? {
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
    /// [`BlobError::Unknown`]; [`BlobError::InUse`] while a caller holds it; the disk refused.
    pub fn remove(&self, id: &BlobId) -> Result<(), BlobError> {
        let mut changes = self.changes.lock();
        let entry = self.entry(id)?;
        self.take_out(&entry, &mut changes)
    }

    /// Opens the blob of an entry, or gives the one that is open.
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

    /// The path of a folder aside that is not there.
    pub(crate) fn no_folder(&self, changes: &mut MutexGuard<'_, u64>) -> PathBuf {
        **changes += 1;
        self.folder.join(ASIDE).join(changes.to_string())
    }

    /// A new folder aside, to be filled and installed.
    pub(crate) fn new_folder(
        &self,
        changes: &mut MutexGuard<'_, u64>,
    ) -> Result<PathBuf, BlobError> {
        let folder = self.no_folder(changes);
        std::fs::create_dir(&folder).map_err(BlobError::at(&folder))?;
        Ok(folder)
    }

    /// Makes a filled folder, if there is one, that of a blob, and notes the blob with its place. It is
    /// durable once synced.
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
            // What a crash between the folder and the index left.
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

    /// Makes what was noted durable.
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
        // Locked until it is in, so that there is never a second one.
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

    /// The time, and later than any time it gave before.
    fn tick(&self) -> u64 {
        let now = unix_ms();
        let last = self
            .clock
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        last.map_or(now, |last| now.max(last + 1))
    }
}
