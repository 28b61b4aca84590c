//! A lease on one blob: its files, and its stored granules.
//!
//! **Invariant:** a granule is in the set only after its bytes and tree nodes were written and the journal
//! has it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use potluck_base::{BlobId, Division, GranuleSet, LruMap};

use super::entry::{Entry, HAVE, OUTBOARD};
use super::folder::read_segments;
use super::journal::Journal;
use super::meta::Phase;
use super::place::Segments;
use super::{BlobError, OPEN_FILES_MAX, tree};

/// A blob held by a caller. While one lives, the store keeps the blob, and no other store can open the
/// folder.
#[derive(Debug)]
pub struct Blob {
    pub(crate) entry: Arc<Entry>,
    pub(crate) division: Division,
    /// Locked for writing only while files move.
    pub(crate) segments: RwLock<Segments>,
    /// The number of times that the blob switched to another place. If several readers find the files of one
    /// place changed, only the first one switches.
    pub(crate) places_taken: AtomicU64,
    pub(crate) handles: Mutex<LruMap<usize, Handle>>,
    pub(crate) outboard: Option<File>,
    pub(crate) progress: Mutex<Progress>,
    /// Notified when the write of a claimed granule has ended.
    pub(crate) resolved: Condvar,
    /// Locked by commits and other work that must not run twice at once.
    pub(crate) committing: Mutex<()>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) file: Arc<File>,
    /// The last time when it was compared with its stamp.
    pub(crate) checked: Instant,
}

/// The progress of a blob.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// Stored granules of a partial blob.
    pub(crate) have: GranuleSet,
    /// Granules of a complete blob that are not read any more.
    pub(crate) lost: Option<GranuleSet>,
    /// Granules that a caller is writing.
    pub(crate) claimed: HashSet<u32>,
    pub(crate) journal: Option<Journal>,
    /// Tree nodes above granules that were written since the blob was opened: at most one for each granule.
    pub(crate) saved_nodes: HashSet<u64>,
    /// Segments written since the last commit.
    pub(crate) touched: BTreeSet<usize>,
    pub(crate) unsynced_bytes: u64,
    /// A sync failed, and a later one would not report it: no more commits until the blob is reopened.
    pub(crate) sync_failed: bool,
}

impl Blob {
    /// Opens the blob of an entry. Granules of a partial blob after its last commit are hashed again.
    pub(crate) fn open(entry: Arc<Entry>) -> Result<Self, BlobError> {
        let phase = entry.phase();
        let division = Division::of(entry.size).ok_or(BlobError::TooLarge { size: entry.size })?;
        let mut segments = read_segments(&entry)?;
        if phase == Phase::Partial {
            // An interrupted finish may have stamped files that were still being written.
            segments = segments.unstamped();
        }
        if segments.bytes() != entry.size {
            return Err(BlobError::Damaged);
        }
        let outboard = open_outboard(&entry, phase)?;
        let progress = Progress {
            phase,
            have: GranuleSet::empty(division.count()),
            lost: entry.lost(),
            claimed: HashSet::new(),
            journal: None,
            saved_nodes: HashSet::new(),
            touched: BTreeSet::new(),
            unsynced_bytes: 0,
            sync_failed: false,
        };
        let blob = Self {
            division,
            segments: RwLock::new(segments),
            places_taken: AtomicU64::new(0),
            handles: Mutex::new(LruMap::new(OPEN_FILES_MAX)),
            outboard,
            progress: Mutex::new(progress),
            resolved: Condvar::new(),
            committing: Mutex::new(()),
            entry,
        };
        if phase == Phase::Partial {
            blob.recover()?;
        }
        Ok(blob)
    }

    fn recover(&self) -> Result<(), BlobError> {
        let path = self.entry.file(HAVE);
        let (mut journal, recovered) = Journal::open(&path, &self.entry.id, self.division.count())
            .map_err(BlobError::at(&path))?;
        let (right, wrong): (Vec<u32>, Vec<u32>) = recovered.unsynced.iter().partition(|granule| {
            self.verify(&self.division.bytes(*granule), None, std::io::sink()).is_ok()
        });
        journal.lost(wrong).map_err(BlobError::at(&path))?;
        let mut progress = self.progress.lock();
        progress.have = recovered.synced;
        for granule in right {
            progress.have.insert(granule);
            let bytes = self.division.bytes(granule);
            progress.unsynced_bytes += bytes.end - bytes.start;
            progress.touched.extend(self.segments().pieces(bytes).map(|piece| piece.segment));
        }
        progress.journal = Some(journal);
        self.note_have_bytes(&progress);
        Ok(())
    }

    /// The length of the encoding of a granule. It follows from the size of the blob.
    #[must_use]
    pub fn encoded_bytes(&self, granule: u32) -> usize {
        tree::encoded_bytes(tree::of(self.division.size()), &self.division.bytes(granule))
    }

    /// The blob's id.
    #[must_use]
    pub fn id(&self) -> BlobId {
        self.entry.id
    }

    /// How it is divided into granules.
    #[must_use]
    pub const fn division(&self) -> Division {
        self.division
    }

    /// The stored granules that may be read.
    #[must_use]
    pub fn have(&self) -> GranuleSet {
        let progress = self.progress.lock();
        match progress.phase {
            Phase::Partial => progress.have.clone(),
            Phase::Complete => {
                let mut have = GranuleSet::full(self.division.count());
                for granule in progress.lost.iter().flat_map(GranuleSet::iter) {
                    have.remove(granule);
                }
                have
            }
            Phase::Changed => GranuleSet::empty(self.division.count()),
        }
    }

    /// Whether a granule is stored and may be read.
    #[must_use]
    pub fn has(&self, granule: u32) -> bool {
        let progress = self.progress.lock();
        match progress.phase {
            Phase::Partial => progress.have.contains(granule),
            Phase::Complete => {
                let lost = progress.lost.as_ref().is_some_and(|lost| lost.contains(granule));
                granule < self.division.count() && !lost
            }
            Phase::Changed => false,
        }
    }

    /// Stored bytes that may be read.
    #[must_use]
    pub fn have_bytes(&self) -> u64 {
        let progress = self.progress.lock();
        match progress.phase {
            Phase::Partial => self.division.bytes_in(&progress.have),
            Phase::Complete => {
                let lost = progress.lost.as_ref().map_or(0, |lost| self.division.bytes_in(lost));
                self.division.size() - lost
            }
            Phase::Changed => 0,
        }
    }

    /// Whether all bytes are stored and the blob was finished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.progress.lock().phase == Phase::Complete
    }

    /// Whether its files were found changed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.progress.lock().phase == Phase::Changed
    }

    /// Bytes written since the last commit.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.progress.lock().unsynced_bytes
    }

    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Segments> {
        self.segments.read()
    }

    /// The number of changes of the place.
    pub(crate) fn places_taken(&self) -> u64 {
        self.places_taken.load(Ordering::Acquire)
    }

    pub(crate) fn close_files(&self) {
        *self.handles.lock() = LruMap::new(OPEN_FILES_MAX);
    }

    pub(crate) fn note_have_bytes(&self, progress: &Progress) {
        let bytes = self.division.bytes_in(&progress.have);
        self.entry.have_bytes.store(bytes, Ordering::Relaxed);
    }
}

fn open_outboard(entry: &Entry, phase: Phase) -> Result<Option<File>, BlobError> {
    let bytes = tree::of(entry.size).outboard_size();
    if bytes == 0 || phase == Phase::Changed {
        return Ok(None);
    }
    let path = entry.file(OUTBOARD);
    let file = OpenOptions::new()
        .read(true)
        .write(phase == Phase::Partial)
        .open(&path)
        .map_err(BlobError::at(&path))?;
    let length = file.metadata().map_err(BlobError::at(&path))?.len();
    if length == bytes { Ok(Some(file)) } else { Err(BlobError::Damaged) }
}
