//! The places of a blob: files elsewhere with the same bytes. The store can read any of them.
//!
//! The first place is the one that is read. If its files have changed, the next place with unchanged files
//! becomes the first. The metadata of the blob names each further place, and a separate row lists the files
//! of that place.
//!
//! **Invariant:** when a place was added, its bytes were hashed, or written from verified bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use potluck_base::BlobId;

use super::blob::Blob;
use super::entry::{DATA, Entry};
use super::folder::{note_place, place_file, read_place};
use super::index::Index;
use super::meta::{Meta, OtherPlace, Phase};
use super::place::{SegmentTarget, Segments, Stamp};
use super::store::BlobStore;
use super::{BlobError, files};
use crate::backend::Changes;

/// Most places of a blob. Further ones are not recorded, so the blob is not read from their files.
pub(crate) const PLACES_MAX: usize = 64;

/// A place of a blob, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPlace {
    /// The name of the blob at this place.
    pub name: String,
    /// The file, or the folder that its files are below; `None` if the bytes are in the store.
    pub path: Option<PathBuf>,
}

impl BlobStore {
    /// The places of a blob, beginning with the one that is read.
    #[must_use]
    pub fn places(&self, id: &BlobId) -> Vec<NamedPlace> {
        let Ok(entry) = self.entry(id) else { return Vec::new() };
        let meta = entry.meta();
        let first = (meta.name, meta.outside.map(|(path, _)| path));
        let others = meta.others.into_iter();
        let others = others.map(|place| (place.name, place.outside.map(|(path, ..)| path)));
        std::iter::once(first).chain(others).map(|(name, path)| NamedPlace { name, path }).collect()
    }

    /// Whether a place of a complete blob consists of exactly these files, in this order, and the files are
    /// unchanged. Files without bytes count too.
    ///
    /// # Errors
    /// The disk refused.
    pub fn lies_at(&self, id: &BlobId, paths: &[PathBuf]) -> Result<bool, BlobError> {
        let Some(entry) = self.find(id)?.filter(|entry| entry.phase() == Phase::Complete) else {
            return Ok(false);
        };
        let meta = entry.meta();
        let first = meta.outside.iter().map(|_| 0);
        let others = meta.others.iter().filter(|place| place.outside.is_some()).map(note);
        for number in first.chain(others) {
            let just_these = |segments: &Segments| {
                segments.len() == paths.len()
                    && paths.iter().enumerate().all(|(number, path)| *path == segments.path(number))
                    && is_intact(segments)
            };
            if read_place(&entry, number)?.as_ref().is_some_and(just_these) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds files that were written from the bytes of a complete blob as a place of it.
    ///
    /// # Errors
    /// [`BlobError::Unknown`]; a file is not there; the disk refused.
    pub fn add_written(
        &self,
        id: &BlobId,
        targets: &[SegmentTarget],
        name: &str,
    ) -> Result<(), BlobError> {
        let entry = self.entry(id)?;
        let stamped = |file: &SegmentTarget| {
            let seen = file.path.symlink_metadata().map_err(BlobError::at(&file.path))?;
            Ok((file.clone(), Some(Stamp::of(&seen))))
        };
        let stamped = targets.iter().map(stamped).collect::<Result<Vec<_>, BlobError>>()?;
        let segments = Segments::outside(stamped)?;
        let _one = self.changes();
        if entry.phase() == Phase::Complete && segments.bytes() == entry.size {
            add(&entry, name, Some(&segments))?;
        }
        Ok(())
    }

    /// Removes the places that `which` selects, with their names. Returns whether a place is left. If none
    /// would be left, removes nothing and returns `false`: the caller then removes the blob itself.
    ///
    /// # Errors
    /// [`BlobError::Unknown`] if there is no such blob or place; the disk refused.
    pub fn forget_places(
        &self,
        id: &BlobId,
        which: &dyn Fn(&NamedPlace) -> bool,
    ) -> Result<bool, BlobError> {
        let places = self.places(id);
        let goes: Vec<bool> = places.iter().map(which).collect();
        if !goes.contains(&true) {
            return Err(BlobError::Unknown);
        }
        if !goes.contains(&false) {
            return Ok(false);
        }
        let entry = self.entry(id)?;
        let blob = self.lease(&entry)?.ok_or(BlobError::Unknown)?;
        let _one = self.changes();
        let mut number = 0;
        let mut dropped = Vec::new();
        for place in entry.meta().others {
            number += 1;
            if goes.get(number) == Some(&true) {
                dropped.push(place);
            }
        }
        let gone = dropped.iter().flat_map(|place| no_note(&entry, place)).collect();
        entry.change_with(|meta| meta.others.retain(|place| !dropped.contains(place)), gone)?;
        dropped.iter().for_each(|place| remove_file(&entry, place));
        if goes[0] && !blob.next_place(None) {
            // The files of all other places have changed.
            return Ok(false);
        }
        Ok(true)
    }
}

/// Adds a place, or records its files again if the blob has it under this name.
pub(crate) fn add(
    entry: &Arc<Entry>,
    name: &str,
    outside: Option<&Segments>,
) -> Result<(), BlobError> {
    let meta = entry.meta();
    if meta.name == name && is_same(entry, &meta.outside, 0, outside)? {
        return Ok(());
    }
    for place in meta.others.iter().filter(|place| place.name == name) {
        let seen = place.outside.clone().map(|(path, count, _)| (path, count));
        if is_same(entry, &seen, note(place), outside)? {
            let Some(segments) = outside else { return Ok(()) };
            let noted = note_place(&entry.folder, &entry.id, note(place), segments)?;
            return entry.change_with(|_| (), noted);
        }
    }
    if meta.others.len() + 1 >= PLACES_MAX {
        return Ok(());
    }
    let taken: Vec<u16> = meta.others.iter().map(note).collect();
    let free = (1..PLACES_MAX as u16).find(|number| !taken.contains(number));
    let Some(number) = free else { return Ok(()) };
    let (outside, noted) = match outside {
        Some(segments) => {
            let place = (segments.base().to_owned(), segments.len() as u32, number.into());
            (Some(place), note_place(&entry.folder, &entry.id, number, segments)?)
        }
        None => (None, Changes::new()),
    };
    let name = name.to_owned();
    entry.change_with(|meta| meta.others.push(OtherPlace { name, outside }), noted)
}

/// Moves the bytes in `folder` into the store's own folder of the blob, as its first place.
pub(crate) fn keep_inside(blob: &Blob, folder: &Path, name: &str) -> Result<(), BlobError> {
    let entry = &blob.entry;
    let mut segments = blob.segments.write();
    let Meta { name: old_name, outside: Some(_), .. } = entry.meta() else {
        drop(segments);
        return add(entry, name, None);
    };
    let data = entry.file(DATA);
    std::fs::create_dir_all(&entry.folder).map_err(BlobError::at(&entry.folder))?;
    std::fs::rename(folder.join(DATA), &data).map_err(BlobError::at(&data))?;
    let old = segments.clone();
    blob.close_files();
    entry.change(|meta| {
        meta.outside = None;
        meta.set_name(name);
    })?;
    *segments = Segments::inside(&data, entry.size);
    blob.places_taken.fetch_add(1, Ordering::AcqRel);
    drop(segments);
    add(entry, &old_name, Some(&old))
}

/// Whether a place consists of exactly these files.
fn is_same(
    entry: &Entry,
    seen: &Option<(PathBuf, u32)>,
    number: u16,
    outside: Option<&Segments>,
) -> Result<bool, BlobError> {
    Ok(match (seen, outside) {
        (None, None) => true,
        (Some((path, count)), Some(segments)) => {
            path == segments.base()
                && *count as usize == segments.len()
                && read_place(entry, number)?.is_some_and(|known| known.same_files(segments))
        }
        _ => false,
    })
}

/// The number under which the files of a further place are recorded. It is 0 if its bytes are inside the
/// store.
fn note(place: &OtherPlace) -> u16 {
    place.outside.as_ref().and_then(|(.., number)| u16::try_from(*number).ok()).unwrap_or(0)
}

/// The change that removes the row of a further place.
fn no_note(entry: &Entry, place: &OtherPlace) -> Changes {
    if place.outside.is_some() { Index::no_place(&entry.id, note(place)) } else { Changes::new() }
}

fn remove_file(entry: &Entry, place: &OtherPlace) {
    if place.outside.is_some() {
        // If the removal fails, the file is overwritten later or removed with the blob.
        let _ = files::remove_if_there(&entry.file(&place_file(note(place))));
    }
}

/// The new first place, if it is outside the store, and the change that records its files.
type Taken = (Option<(PathBuf, u32)>, Changes);

impl Blob {
    /// Reads the blob from another place from now on, because the files of the first place have changed or it
    /// is to be removed. Removes the first place. Returns whether there is a place with unchanged files.
    ///
    /// A reader passes the value of [`Blob::places_taken`] from before it checked the files. If another
    /// reader has switched the place since then, the checked files are no longer the ones that are read, and
    /// nothing changes.
    pub(crate) fn next_place(&self, seen: Option<u64>) -> bool {
        let mut segments = self.segments.write();
        if seen.is_some_and(|seen| seen != self.places_taken()) {
            return true;
        }
        let entry = &self.entry;
        loop {
            let Some(place) = entry.meta().others.first().cloned() else { return false };
            let taken = match &place.outside {
                None => self.take_inside(&mut segments),
                Some((base, count, _)) => self.take(&place, base, *count, &mut segments),
            };
            let name = place.name.clone();
            let mut changes = no_note(entry, &place);
            let outside = taken.map(|(outside, first)| {
                changes.extend(first);
                outside
            });
            let change = |meta: &mut Meta| {
                meta.others.remove(0);
                if let Some(outside) = &outside {
                    meta.outside.clone_from(outside);
                    meta.set_name(&name);
                }
            };
            if entry.change_with(change, changes).is_err() {
                return false;
            }
            remove_file(entry, &place);
            if outside.is_some() {
                self.places_taken.fetch_add(1, Ordering::AcqRel);
                self.close_files();
                return true;
            }
        }
    }

    /// Reads the files of a place if they are unchanged. Returns the change that records it as the first
    /// place.
    fn take(
        &self,
        place: &OtherPlace,
        base: &Path,
        count: u32,
        segments: &mut Segments,
    ) -> Option<Taken> {
        let entry = &self.entry;
        let found = read_place(entry, note(place)).ok()??;
        let fits = found.bytes() == entry.size && found.len() == count as usize;
        if !fits || !is_intact(&found) {
            return None;
        }
        let noted = note_place(&entry.folder, &entry.id, 0, &found).ok()?;
        *segments = found;
        Some((Some((base.to_owned(), count)), noted))
    }

    /// Reads the bytes inside the store, if they exist.
    fn take_inside(&self, segments: &mut Segments) -> Option<Taken> {
        let data = self.entry.file(DATA);
        let length = data.symlink_metadata().ok()?.len();
        (length == self.entry.size).then(|| {
            *segments = Segments::inside(&data, length);
            (None, Index::no_place(&self.entry.id, 0))
        })
    }
}

/// Whether all files are unchanged.
fn is_intact(segments: &Segments) -> bool {
    segments.iter().enumerate().all(|(number, segment)| {
        let seen = segments.path(number).symlink_metadata();
        seen.is_ok_and(|seen| segment.stamp.is_none_or(|stamp| stamp == Stamp::of(&seen)))
    })
}

/// Granules of a complete blob that can no longer be read, because some of its files have changed.
impl Blob {
    /// The granules that are no longer read although the blob was complete, because a file with a part of
    /// them has changed. `None` if there are none, or if the whole blob is no longer read.
    #[must_use]
    pub fn lost(&self) -> Option<potluck_base::GranuleSet> {
        self.progress.lock().lost.clone()
    }

    /// Records that some files have changed. Returns whether other files are left.
    pub(crate) fn lose_files(&self, changed: &[usize]) -> bool {
        let segments = self.segments();
        let mut progress = self.progress.lock();
        let count = self.division.count();
        let lost = progress.lost.get_or_insert_with(|| potluck_base::GranuleSet::empty(count));
        for number in changed {
            let range = segments.range(*number);
            if !range.is_empty() {
                lost.insert_range(self.division.covering(&range));
            }
        }
        let (none, all) = (lost.is_empty(), lost.is_full());
        if none || all {
            progress.lost = None;
        }
        self.entry.set_lost(progress.lost.clone());
        !all
    }

    /// The files with these numbers that have changed.
    pub(crate) fn changed_files(&self, numbers: impl Iterator<Item = usize>) -> Vec<usize> {
        let segments = self.segments();
        let changed = |number: &usize| {
            let seen = segments.path(*number).symlink_metadata();
            let stamp = segments.get(*number).stamp;
            !seen.is_ok_and(|seen| stamp.is_none_or(|stamp| stamp == Stamp::of(&seen)))
        };
        numbers.filter(changed).collect()
    }
}
