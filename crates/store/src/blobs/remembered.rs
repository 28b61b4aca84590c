//! Records which files fetches wrote to which place: one small file for each place, in the folder of the
//! blobs. A later fetch to the same place uses it to tell its own files from files that were changed since.
//!
//! **Invariants:** at most [`PLACES_MAX`] places are remembered, the most recent ones. A record that cannot
//! be read counts as forgotten.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_128;

use super::place::{Stamp, path_bytes, path_of};
use super::store::BlobStore;
use super::{BlobError, SEGMENTS_MAX, files};

/// The folder of these records, inside the folder of all blobs.
const FOLDER: &str = ".fetched";
/// Places that are remembered. Raising it costs disk space; a fetch to a forgotten place does not replace the
/// files there.
const PLACES_MAX: usize = 4096;
/// Longest record in bytes: 1 KiB for each file of a place.
const BYTES_MAX: u64 = SEGMENTS_MAX as u64 * 1024;
const VERSION: u32 = 1;

/// The files that fetches put at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    there: PathBuf,
    /// The files by their path below the place. If the place is one file, its path is empty.
    files: BTreeMap<PathBuf, Stamp>,
}

impl Remembered {
    /// An empty record: nothing was fetched to this place.
    #[must_use]
    pub const fn nothing(there: PathBuf) -> Self {
        Self { there, files: BTreeMap::new() }
    }

    /// The file or folder of the place.
    #[must_use]
    pub fn there(&self) -> &Path {
        &self.there
    }

    /// The files that fetches wrote, by their path below the place.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Whether a fetch wrote this file and it was not changed since: size, modification time and identity are
    /// the same.
    #[must_use]
    pub fn is_untouched(&self, below: &Path, seen: &Metadata) -> bool {
        let stamp = self.files.get(below);
        seen.is_file() && stamp.is_some_and(|stamp| stamp.is_same_file(&Stamp::of(seen)))
    }

    /// Records that a fetch wrote these files, with their current stamps. Removes files from the record that
    /// no longer exist.
    pub fn put(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for below in files {
            match at(&self.there, &below).symlink_metadata() {
                Ok(seen) if seen.is_file() => {
                    self.files.insert(below, Stamp::of(&seen));
                }
                _ => {
                    self.files.remove(&below);
                }
            }
        }
        let there = &self.there;
        self.files.retain(|below, _| at(there, below).symlink_metadata().is_ok());
        while self.files.len() > SEGMENTS_MAX {
            self.files.pop_last();
        }
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let row = |(path, stamp): (&PathBuf, &Stamp)| {
            Some(FileRow { path: path_bytes(path)?.into(), stamp: *stamp })
        };
        let files = self.files.iter().map(row).collect::<Option<_>>()?;
        let there = path_bytes(&self.there)?.into();
        minicbor::to_vec(PlaceRow { version: VERSION, there, files }).ok()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let row: PlaceRow = minicbor::decode(bytes).ok()?;
        if row.version != VERSION || row.files.len() > SEGMENTS_MAX {
            return None;
        }
        let file = |row: FileRow| Some((path_of(row.path.into())?, row.stamp));
        let files = row.files.into_iter().map(file).collect::<Option<_>>()?;
        Some(Self { there: path_of(row.there.into())?, files })
    }
}

/// The path of a file below a place, or of the place itself.
fn at(there: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { there.to_owned() } else { there.join(below) }
}

impl BlobStore {
    /// The record of a place. It is empty if nothing was fetched there or the record was forgotten.
    #[must_use]
    pub fn remembered(&self, there: &Path) -> Remembered {
        let nothing = || Remembered::nothing(there.to_owned());
        let Some(name) = file_name(there) else { return nothing() };
        self.read_remembered(&name).filter(|found| found.there == there).unwrap_or_else(nothing)
    }

    /// Other places in the same folder with a record, at most `max`, the most recent first.
    #[must_use]
    pub fn remembered_beside(&self, there: &Path, max: usize) -> Vec<PathBuf> {
        let (Some(own), Some(prefix)) = (file_name(there), there.parent().and_then(prefix)) else {
            return Vec::new();
        };
        let mut found = self.all_remembered();
        found.retain(|(_, name)| name.starts_with(&prefix) && *name != own);
        let newest = found.into_iter().rev().take(max);
        newest.filter_map(|(_, name)| Some(self.read_remembered(&name)?.there)).collect()
    }

    /// Stores the record of a place, and removes the oldest records if there are too many.
    ///
    /// # Errors
    /// The disk refused.
    pub fn remember(&self, what: &Remembered) -> Result<(), BlobError> {
        let folder = self.folder().join(FOLDER);
        let (Some(name), Some(bytes)) = (file_name(&what.there), what.encode()) else {
            return Ok(());
        };
        std::fs::create_dir_all(&folder).map_err(BlobError::at(&folder))?;
        let path = folder.join(&name);
        files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))?;
        let found = self.all_remembered();
        for (_, old) in found.iter().take(found.len().saturating_sub(PLACES_MAX)) {
            let old = folder.join(old);
            files::remove_if_there(&old).map_err(BlobError::at(&old))?;
        }
        Ok(())
    }

    fn read_remembered(&self, name: &str) -> Option<Remembered> {
        let path = self.folder().join(FOLDER).join(name);
        Remembered::decode(&files::read_sealed(&path, BYTES_MAX).ok()??)
    }

    /// The names of all records with their times, the most recent last.
    fn all_remembered(&self) -> Vec<(SystemTime, String)> {
        let Ok(found) = std::fs::read_dir(self.folder().join(FOLDER)) else { return Vec::new() };
        let file = |found: std::io::Result<std::fs::DirEntry>| {
            let found = found.ok()?;
            Some((found.metadata().ok()?.modified().ok()?, found.file_name().into_string().ok()?))
        };
        let mut names: Vec<_> = found.filter_map(file).collect();
        names.sort();
        names
    }
}

/// The file name of the record of a place. All places in one folder have the same prefix.
fn file_name(there: &Path) -> Option<String> {
    Some(format!("{}{:032x}", prefix(there.parent()?)?, xxh3_128(&path_bytes(there)?)))
}

fn prefix(folder: &Path) -> Option<String> {
    Some(format!("{:032x}-", xxh3_128(&path_bytes(folder)?)))
}

#[derive(Encode, Decode)]
struct PlaceRow {
    #[n(0)]
    version: u32,
    #[n(1)]
    there: ByteVec,
    #[n(2)]
    files: Vec<FileRow>,
}

#[derive(Encode, Decode)]
struct FileRow {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    stamp: Stamp,
}
