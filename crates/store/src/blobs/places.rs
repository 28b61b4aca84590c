//! The places of a blob: files elsewhere with the same bytes, any of which can be read.
//!
//! The first place is the one that is read. When its files are not what they were, the next one whose
//! files are becomes the first. A row of `meta` names each further place, and a note of its own beside
//! `meta` lists its files.
//!
//! **Invariant:** a place was hashed, or written from verified bytes, when it was noted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use potluck_base::BlobId;

use super::blob::{Blob, PLACE_BYTES_MAX};
use super::entry::{DATA, Entry, PLACE, lock};
use super::meta::{Meta, OtherPlace, Phase};
use super::place::{SegmentTarget, Segments, Stamp};
use super::store::BlobStore;
use super::{BlobError, files};

/// Most places of a blob. What is shared from further ones is found by none of them.
pub(crate) const PLACES_MAX: usize = 64;

/// A place of a blob, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPlace {
    /// What it is called there.
    pub name: String,
    /// The file, or the folder that its files are below; `None` if the bytes are in the store.
    pub path: Option<PathBuf>,
}

impl BlobStore {
    /// The places of a blob, the one that is read first.
    #[must_use]
    pub fn places(&self, id: &BlobId) -> Vec<NamedPlace> {
        let Ok(entry) = self.entry(id) else { return Vec::new() };
        let meta = entry.meta();
        let first = (meta.name, meta.outside.map(|(path, _)| path));
        let others = meta.others.into_iter();
        let others = others.map(|place| (place.name, place.outside.map(|(path, ..)| path)));
        std::iter::once(first).chain(others).map(|(name, path)| NamedPlace { name, path }).collect()
    }

    /// Notes that files which were written from the bytes of a complete blob are a place of it.
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

    /// Forgets the places that `which` says so of, and their names. Returns whether any is left; if not,
    /// nothing was forgotten: the blob itself is to go.
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
        entry.change(|meta| {
            meta.others.retain(|place| {
                number += 1;
                let goes = goes.get(number) == Some(&true);
                if goes {
                    dropped.push(place.clone());
                }
                !goes
            });
        })?;
        dropped.iter().for_each(|place| remove_note(&entry, place));
        if goes[0] && !blob.next_place() {
            // The files of the others are not what they were.
            return Ok(false);
        }
        Ok(true)
    }
}

/// Adds a place, or notes its files anew if it is known by this name.
pub(crate) fn add(
    entry: &Arc<Entry>,
    name: &str,
    outside: Option<&Segments>,
) -> Result<(), BlobError> {
    let meta = entry.meta();
    if meta.name == name && is_same(entry, &meta.outside, PLACE, outside)? {
        return Ok(());
    }
    for place in meta.others.iter().filter(|place| place.name == name) {
        let seen = place.outside.clone().map(|(path, count, _)| (path, count));
        if is_same(entry, &seen, &note(place), outside)? {
            if let Some(segments) = outside {
                save(entry, &note(place), segments)?;
            }
            return Ok(());
        }
    }
    if meta.others.len() + 1 >= PLACES_MAX {
        return Ok(());
    }
    let numbers = meta.others.iter().filter_map(|place| place.outside.as_ref());
    let number = numbers.map(|(.., number)| number + 1).max().unwrap_or(1);
    let outside = match outside {
        Some(segments) => {
            let place = (segments.base().to_owned(), segments.len() as u32, number);
            save(entry, &format!("{PLACE}-{number}"), segments)?;
            Some(place)
        }
        None => None,
    };
    entry.change(|meta| meta.others.push(OtherPlace { name: name.to_owned(), outside }))
}

/// Takes bytes that lie in `folder` into the store's own folder of a blob, as its first place.
pub(crate) fn keep_inside(blob: &Blob, folder: &Path, name: &str) -> Result<(), BlobError> {
    let entry = &blob.entry;
    let mut segments = blob.segments.write().unwrap_or_else(PoisonError::into_inner);
    let Meta { name: old_name, outside: Some(_), .. } = entry.meta() else {
        drop(segments);
        return add(entry, name, None);
    };
    let data = entry.file(DATA);
    std::fs::rename(folder.join(DATA), &data).map_err(BlobError::at(&data))?;
    let old = segments.clone();
    blob.close_files();
    entry.change(|meta| {
        meta.outside = None;
        meta.set_name(name);
    })?;
    *segments = Segments::inside(&data, entry.size);
    drop(segments);
    add(entry, &old_name, Some(&old))
}

/// Whether a place has just these files.
fn is_same(
    entry: &Entry,
    seen: &Option<(PathBuf, u32)>,
    note: &str,
    outside: Option<&Segments>,
) -> Result<bool, BlobError> {
    Ok(match (seen, outside) {
        (None, None) => true,
        (Some((path, count)), Some(segments)) => {
            path == segments.base()
                && *count as usize == segments.len()
                && load(entry, note)?.is_some_and(|known| known.same_files(segments))
        }
        _ => false,
    })
}

fn note(place: &OtherPlace) -> String {
    place.outside.as_ref().map_or_else(String::new, |(.., number)| format!("{PLACE}-{number}"))
}

fn remove_note(entry: &Entry, place: &OtherPlace) {
    if place.outside.is_some() {
        // One that stays is overwritten, or goes with the blob.
        let _ = files::remove_if_there(&entry.file(&note(place)));
    }
}

fn save(entry: &Entry, note: &str, segments: &Segments) -> Result<(), BlobError> {
    let path = entry.file(note);
    let bytes = segments.encode().ok_or(BlobError::WrongSegments)?;
    files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))
}

fn load(entry: &Entry, note: &str) -> Result<Option<Segments>, BlobError> {
    let path = entry.file(note);
    let bytes = files::read_sealed(&path, PLACE_BYTES_MAX).map_err(BlobError::at(&path))?;
    Ok(bytes.and_then(|bytes| Segments::decode(&bytes)))
}

impl Blob {
    /// Reads another place from now on, since the files of the first one are not what they were, or it is
    /// to be forgotten; the first one is. Returns whether there is one whose files are what they were.
    pub(crate) fn next_place(&self) -> bool {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let entry = &self.entry;
        loop {
            let Some(place) = entry.meta().others.first().cloned() else { return false };
            let taken = match &place.outside {
                None => self.take_inside(&mut segments),
                Some((base, count, _)) => self.take(&place, base, *count, &mut segments),
            };
            let name = place.name.clone();
            let noted = entry.change(|meta| {
                meta.others.remove(0);
                if let Some(outside) = &taken {
                    meta.outside.clone_from(outside);
                    meta.set_name(&name);
                }
            });
            remove_note(entry, &place);
            if noted.is_err() {
                return false;
            }
            if taken.is_some() {
                self.close_files();
                return true;
            }
        }
    }

    /// Reads the files of a place if they are what they were.
    fn take(
        &self,
        place: &OtherPlace,
        base: &Path,
        count: u32,
        segments: &mut Segments,
    ) -> Option<Option<(PathBuf, u32)>> {
        let entry = &self.entry;
        let found = load(entry, &note(place)).ok()??;
        let fits = found.bytes() == entry.size && found.len() == count as usize;
        if !fits || !is_intact(&found) || save(entry, PLACE, &found).is_err() {
            return None;
        }
        *segments = found;
        Some(Some((base.to_owned(), count)))
    }

    /// Reads what lies inside, if that is there.
    fn take_inside(&self, segments: &mut Segments) -> Option<Option<(PathBuf, u32)>> {
        let data = self.entry.file(DATA);
        let length = data.symlink_metadata().ok()?.len();
        (length == self.entry.size).then(|| {
            *segments = Segments::inside(&data, length);
            None
        })
    }
}

/// Whether all files look as they did.
fn is_intact(segments: &Segments) -> bool {
    segments.iter().enumerate().all(|(number, segment)| {
        let seen = segments.path(number).symlink_metadata();
        seen.is_ok_and(|seen| segment.stamp.is_none_or(|stamp| stamp == Stamp::of(&seen)))
    })
}

/// What a blob has lost: files of several that are not what they were.
impl Blob {
    /// The granules that are not handed out any more although the blob was complete, since a file that they
    /// are of is not what it was; `None` if there are none, or it is not handed out at all.
    #[must_use]
    pub fn lost(&self) -> Option<potluck_base::GranuleSet> {
        lock(&self.progress).lost.clone()
    }

    /// Notes that some files are not what they were. Returns whether others are left.
    pub(crate) fn lose_files(&self, changed: &[usize]) -> bool {
        let segments = self.segments();
        let mut progress = lock(&self.progress);
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

    /// The files that some bytes lie in and that are not what they were.
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
