//! The index of the blob store on disk: the metadata of each blob, the words in the names of offered blobs,
//! the order of uses, and the counters.
//!
//! Memory holds only the counters and the cache of the engine, so it does not grow with the number of blobs.
//!
//! **Invariant:** the metadata of a blob changes in one batch with its words, its row in the order of uses
//! and the counters.

mod engine;
mod moved;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::BlobId;
use potluck_base::words::{fit_all, words_of};

use super::BlobError;
use super::place::Segments;
use crate::backend::Changes;
use crate::config::SyncMode;
use crate::{FolderLock, OpenError};
use engine::Engine;
use rows::{ENTRY, INTENT, NUMBER};

pub(crate) use rows::{Class, Counts, DAMAGED, Noted, PARTIAL, USED};

/// The format of the index.
const FORMAT: u32 = 1;
/// Most segments of a place that is stored as a row. The segments of a larger place are in a file of the
/// blob's folder.
const ROW_SEGMENTS_MAX: usize = 256;
/// Rows of one word that a search reads. Raising it finds more names with a common word, and makes a search
/// for such a word slower.
const CANDIDATES_MAX: usize = 4096;

/// The index. See the module.
#[derive(Debug)]
pub(crate) struct Index {
    engine: Engine,
    counts: Mutex<Counts>,
    damaged: AtomicUsize,
    // Held with the index, so that no other store opens the folder.
    _lock: Arc<FolderLock>,
}

impl Index {
    /// Opens the index in the folder of the blobs. Reads only the counters. Metadata files of versions before
    /// the index are moved into it once.
    pub(crate) fn open(
        blobs: &Path,
        mode: SyncMode,
        lock: Arc<FolderLock>,
    ) -> Result<Self, BlobError> {
        let birth = Changes::from([
            (rows::note_row("format"), Some(Bytes::copy_from_slice(&FORMAT.to_be_bytes()))),
            (rows::note_row("counts"), Some(Counts::default().encode())),
        ]);
        let engine = Engine::open(blobs, mode, &birth)?;
        let damaged = |detail: &str| {
            let folder = blobs.join("index");
            BlobError::Open(OpenError::IndexDamaged { folder, detail: detail.to_owned() })
        };
        let format = engine.get(&rows::note_row("format"))?;
        if format.as_deref() != Some(&FORMAT.to_be_bytes()[..]) {
            return Err(damaged("it is in a format that this version does not know"));
        }
        let counts = engine.get(&rows::note_row("counts"))?;
        let counts = counts.and_then(|bytes| Counts::decode(&bytes));
        let counts = counts.ok_or_else(|| damaged("its counters make no sense"))?;
        let index =
            Self { engine, counts: Mutex::new(counts), damaged: AtomicUsize::new(0), _lock: lock };
        index.move_over(blobs)?;
        index.end_intents(blobs)?;
        Ok(index)
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// The number of blobs that were found with damaged metadata.
    pub(crate) fn damaged(&self) -> usize {
        self.damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.engine.memory_bytes()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    /// Makes all earlier changes durable.
    pub(crate) fn sync(&self) -> Result<(), BlobError> {
        self.engine.sync()
    }

    /// The metadata of a blob.
    pub(crate) fn noted(&self, id: &BlobId) -> Result<Option<Noted>, BlobError> {
        let Some(row) = self.engine.get(&rows::id_row(ENTRY, id))? else { return Ok(None) };
        Ok(Some(self.decoded(id, &row)?))
    }

    fn decoded(&self, id: &BlobId, row: &[u8]) -> Result<Noted, BlobError> {
        let noted = Noted::decode(row).filter(|noted| noted.meta.id == *id);
        noted.ok_or_else(|| {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            BlobError::Damaged
        })
    }

    /// Whether the index has the blob.
    pub(crate) fn has(&self, id: &BlobId) -> Result<bool, BlobError> {
        Ok(self.engine.get(&rows::id_row(ENTRY, id))?.is_some())
    }

    /// Replaces the metadata `old`, which the index has, by `new`, in one batch with the rows `with`. Returns
    /// `new` with its number. The change survives the end of the process, and a loss of power after the next
    /// sync.
    pub(crate) fn put(
        &self,
        old: Option<&Noted>,
        mut new: Noted,
        with: Changes,
    ) -> Result<Noted, BlobError> {
        let mut counts = self.counts.lock();
        let mut after = *counts;
        let mut changes = with;
        prepare(&mut after, old, &mut new, &mut changes)?;
        changes.insert(rows::note_row("counts"), Some(after.encode()));
        self.engine.commit(changes, true)?;
        *counts = after;
        Ok(new)
    }

    /// Adds many new blobs in one batch, each with its place.
    pub(crate) fn put_many(&self, new: Vec<(Noted, Segments)>) -> Result<(), BlobError> {
        let mut counts = self.counts.lock();
        let (mut after, mut changes) = (*counts, Changes::new());
        for (mut noted, segments) in new {
            let place = Self::place_change(&noted.meta.id, 0, &segments)?;
            changes.extend(place.ok_or(BlobError::WrongSegments)?);
            prepare(&mut after, None, &mut noted, &mut changes)?;
        }
        changes.insert(rows::note_row("counts"), Some(after.encode()));
        self.engine.commit(changes, true)?;
        *counts = after;
        Ok(())
    }

    /// Removes a blob. With `folder`, also writes the intent to remove its folder next.
    pub(crate) fn remove(&self, old: &Noted, folder: bool) -> Result<(), BlobError> {
        let id = &old.meta.id;
        let mut counts = self.counts.lock();
        let mut after = *counts;
        after.count(old, true);
        let mut changes = Changes::new();
        leave(old, &mut changes);
        changes.insert(rows::id_row(ENTRY, id), None);
        for row in self.engine.range(&rows::place_row(id, 0), &rows::place_row(id, u16::MAX)) {
            changes.insert(row?.0.to_vec(), None);
        }
        for row in self.engine.range(&owner_first(id), &owner_last(id)) {
            changes.insert(row?.0.to_vec(), None);
        }
        if folder {
            changes.insert(rows::id_row(INTENT, id), Some(Bytes::new()));
        }
        changes.insert(rows::note_row("counts"), Some(after.encode()));
        self.engine.commit(changes, false)?;
        *counts = after;
        Ok(())
    }

    /// Records that the folder of a blob is about to be installed. If the blob is not added, the next start
    /// removes the folder.
    pub(crate) fn intend(&self, id: &BlobId) -> Result<(), BlobError> {
        let row = rows::id_row(INTENT, id);
        self.engine.commit(Changes::from([(row, Some(Bytes::new()))]), true)?;
        self.engine.sync()
    }

    /// The row that ends an intent.
    pub(crate) fn end_of_intent(id: &BlobId) -> Changes {
        Changes::from([(rows::id_row(INTENT, id), None)])
    }

    pub(crate) fn write(&self, changes: Changes) -> Result<(), BlobError> {
        self.engine.commit(changes, false)
    }

    /// Removes the folders that were being installed or removed when the process ended.
    fn end_intents(&self, blobs: &Path) -> Result<(), BlobError> {
        let mut ended = Changes::new();
        for row in self.engine.range(&[INTENT], &[INTENT + 1]) {
            let (row, _) = row?;
            let Some(id) = rows::id_of(&row[1..]) else { continue };
            let folder = blobs.join(id.to_string());
            if !self.has(&id)? && folder.symlink_metadata().is_ok() {
                std::fs::remove_dir_all(&folder).map_err(BlobError::at(&folder))?;
            }
            ended.insert(row.to_vec(), None);
        }
        if ended.is_empty() { Ok(()) } else { self.engine.commit(ended, false) }
    }

    /// The segments of a place of a blob, if they are in a row.
    pub(crate) fn place(&self, id: &BlobId, place: u16) -> Result<Option<Segments>, BlobError> {
        let Some(row) = self.engine.get(&rows::place_row(id, place))? else { return Ok(None) };
        Segments::decode(&row).map(Some).ok_or(BlobError::Damaged)
    }

    /// The change that writes a place. `None` if it has too many segments for a row.
    pub(crate) fn place_change(
        id: &BlobId,
        place: u16,
        segments: &Segments,
    ) -> Result<Option<Changes>, BlobError> {
        if segments.len() > ROW_SEGMENTS_MAX {
            return Ok(None);
        }
        let bytes = segments.encode().ok_or(BlobError::WrongSegments)?;
        Ok(Some(Changes::from([(rows::place_row(id, place), Some(bytes.into()))])))
    }

    /// The change that removes the row of a place.
    pub(crate) fn no_place(id: &BlobId, place: u16) -> Changes {
        Changes::from([(rows::place_row(id, place), None)])
    }

    /// The metadata of the blobs after the id `after`, in the order of ids. Damaged rows are left out.
    pub(crate) fn page<'a>(
        &'a self,
        after: Option<&BlobId>,
    ) -> impl Iterator<Item = Result<Noted, BlobError>> + use<'a> {
        let mut from = after.map_or_else(|| vec![ENTRY], |id| rows::id_row(ENTRY, id));
        if after.is_some() {
            from.push(0);
        }
        self.engine.range(&from, &[ENTRY + 1]).filter_map(|row| match row {
            Ok((row, value)) => {
                let id = rows::id_of(row.get(1..)?)?;
                self.decoded(&id, &value).ok().map(Ok)
            }
            Err(error) => Some(Err(error)),
        })
    }

    /// The blobs of the index by use with this tag, least recently used first.
    pub(crate) fn by_use(
        &self,
        tag: u8,
    ) -> impl Iterator<Item = Result<(u64, BlobId), BlobError>> + '_ {
        let rows = self.engine.range(&[tag], &[tag + 1]);
        rows.filter_map(|row| row.map(|(row, _)| rows::of_used_row(&row)).transpose())
    }

    /// The time of the last use of any cached blob.
    pub(crate) fn last_use(&self) -> Result<u64, BlobError> {
        let last = self.engine.last(&[USED], &[USED + 1])?;
        Ok(last.and_then(|row| rows::of_used_row(&row)).map_or(0, |(used_ms, _)| used_ms))
    }

    /// The offered blobs with a number after `after`, in the order in which they were shared.
    pub(crate) fn offered(
        &self,
        after: u64,
    ) -> impl Iterator<Item = Result<(u64, BlobId), BlobError>> + '_ {
        let from = rows::number_row(after.saturating_add(1));
        self.engine.range(&from, &[NUMBER + 1]).filter_map(|row| match row {
            Ok((row, id)) => {
                let number = u64::from_be_bytes(*row.get(1..)?.first_chunk()?);
                rows::id_of(&id).map(|id| Ok((number, id)))
            }
            Err(error) => Some(Err(error)),
        })
    }

    /// At most `max` offered blobs whose name matches all these words, which must be in the form of
    /// [`words_of`]. If every word is very common, only the first [`CANDIDATES_MAX`] names of the rarest are
    /// read.
    pub(crate) fn find(&self, words: &[String], max: usize) -> Result<Vec<Noted>, BlobError> {
        let mut rarest: Option<Vec<u64>> = None;
        for word in words {
            let (from, to) = rows::word_rows(word);
            let limit = rarest.as_ref().map_or(CANDIDATES_MAX, Vec::len);
            let mut numbers = Vec::new();
            for row in self.engine.range(&from, &to).take(limit) {
                numbers.extend(rows::number_of_word_row(&row?.0));
            }
            if rarest.as_ref().is_none_or(|known| numbers.len() < known.len()) {
                rarest = Some(numbers);
            }
        }
        let mut numbers = rarest.unwrap_or_default();
        numbers.sort_unstable();
        numbers.dedup();
        let mut found = Vec::new();
        for number in numbers {
            if found.len() >= max {
                break;
            }
            let Some(id) = self.engine.get(&rows::number_row(number))? else { continue };
            let Some(id) = rows::id_of(&id) else { continue };
            // A blob with damaged metadata is not found.
            let Ok(Some(noted)) = self.noted(&id) else { continue };
            if noted.is_offered() && fit_all(words, &words_of(noted.meta.shown_name())) {
                found.push(noted);
            }
        }
        Ok(found)
    }

    /// Records that `data` is the data of the folder with the manifest `list`.
    pub(crate) fn own(&self, data: &BlobId, list: &BlobId) -> Result<(), BlobError> {
        let row = rows::owner_row(data, list);
        if self.engine.get(&row)?.is_some() {
            return Ok(());
        }
        self.engine.commit(Changes::from([(row, Some(Bytes::new()))]), true)
    }

    /// The manifests of the folders that have this blob as their data.
    pub(crate) fn owners(&self, data: &BlobId, max: usize) -> Result<Vec<BlobId>, BlobError> {
        let mut owners = Vec::new();
        for row in self.engine.range(&owner_first(data), &owner_last(data)).take(max) {
            owners.extend(rows::id_of(row?.0.get(33..).unwrap_or_default()));
        }
        Ok(owners)
    }

    /// The position of the round over all offered blobs.
    pub(crate) fn cursor(&self) -> Result<u64, BlobError> {
        let row = self.engine.get(&rows::note_row("cursor"))?;
        let cursor = row.as_deref().and_then(|bytes| bytes.try_into().ok());
        Ok(cursor.map_or(0, u64::from_be_bytes))
    }

    /// Records the position of the round. The write is not synced: after a loss of power a part of the round
    /// is repeated.
    pub(crate) fn set_cursor(&self, cursor: u64) -> Result<(), BlobError> {
        let value = Bytes::copy_from_slice(&cursor.to_be_bytes());
        self.engine.commit(Changes::from([(rows::note_row("cursor"), Some(value))]), false)
    }
}

/// Adds the rows to a batch that replace `old` by `new`, and counts both. Gives `new` a number if it is
/// offered and has none.
fn prepare(
    counts: &mut Counts,
    old: Option<&Noted>,
    new: &mut Noted,
    changes: &mut Changes,
) -> Result<(), BlobError> {
    if new.is_offered() && new.number == 0 {
        counts.last_number += 1;
        new.number = counts.last_number;
    }
    if let Some(old) = old {
        counts.count(old, true);
        leave(old, changes);
    }
    counts.count(new, false);
    for row in new.used_rows().into_iter().chain(new.word_rows()) {
        changes.insert(row, Some(Bytes::new()));
    }
    if new.is_offered() {
        let id = Bytes::copy_from_slice(new.meta.id.as_bytes());
        changes.insert(rows::number_row(new.number), Some(id));
    }
    if let Some(old) = old {
        unchanged(old, new, changes);
    }
    let bytes = new.encode().ok_or(BlobError::WrongSegments)?;
    changes.insert(rows::id_row(ENTRY, &new.meta.id), Some(bytes));
    Ok(())
}

fn owner_first(data: &BlobId) -> Vec<u8> {
    rows::owner_row(data, &BlobId::from_bytes([0; 32]))
}

fn owner_last(data: &BlobId) -> Vec<u8> {
    rows::owner_row(data, &BlobId::from_bytes([0xff; 32]))
}

/// Removes the rows that follow from the metadata `old`.
fn leave(old: &Noted, changes: &mut Changes) {
    for row in old.used_rows().into_iter().chain(old.word_rows()) {
        changes.insert(row, None);
    }
    if old.is_offered() {
        changes.insert(rows::number_row(old.number), None);
    }
}

/// Drops the changes of rows that are equal before and after: most changes are of one field.
fn unchanged(old: &Noted, new: &Noted, changes: &mut Changes) {
    let kept = new.used_rows().into_iter().chain(new.word_rows());
    let were: Vec<_> = old.used_rows().into_iter().chain(old.word_rows()).collect();
    for row in kept.filter(|row| were.contains(row)) {
        changes.remove(&row);
    }
    if old.is_offered() && new.is_offered() && old.number == new.number {
        changes.remove(&rows::number_row(new.number));
    }
}
