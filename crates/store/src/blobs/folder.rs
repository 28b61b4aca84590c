//! The folder of one blob: how it is filled, read back, and told from what it is not.
//!
//! **Invariant:** a folder is read as it was written or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use potluck_base::{BlobId, Division};

use super::blob::read_segments;
use super::entry::{self, Entry, HAVE, META, OUTBOARD, PLACE};
use super::finish::recover_move;
use super::journal::Journal;
use super::meta::{META_BYTES_MAX, Meta, Phase};
use super::place::Segments;
use super::{BlobError, files, tree};
use crate::FolderLock;

/// Behind the name of a folder that makes no sense any more.
const DAMAGED: &str = ".damaged";

/// What is noted about a blob at first: complete, inside, neither pinned nor shared.
pub(crate) fn new_meta(id: BlobId, size: u64, name: &str) -> Meta {
    let mut meta = Meta {
        id,
        size,
        name: String::new(),
        phase: Phase::Complete,
        pinned: false,
        shared: false,
        outside: None,
        moving: None,
        mtime: None,
        mode: None,
        others: Vec::new(),
    };
    meta.set_name(name);
    meta
}

/// Whether a blob that is known already is what somebody wants to begin.
pub(crate) fn goes_on(
    entry: &Entry,
    size: u64,
    outside: Option<&Segments>,
) -> Result<bool, BlobError> {
    Ok(match entry.phase() {
        Phase::Complete => true,
        Phase::Changed => false,
        Phase::Partial => {
            let inside = entry.meta().outside.is_none();
            entry.size == size
                && match outside {
                    None => inside,
                    Some(wanted) => !inside && read_segments(entry)?.same_files(wanted),
                }
        }
    })
}

/// Whether none of the files is there, so that all that will be are ours.
pub(crate) fn check_absent(segments: &Segments) -> Result<(), BlobError> {
    if segments.base().symlink_metadata().is_err() {
        return Ok(());
    }
    for path in (0..segments.len()).map(|number| segments.path(number)) {
        if path.symlink_metadata().is_ok() {
            return Err(BlobError::Exists(path));
        }
    }
    Ok(())
}

/// Writes what a partial blob has at first.
pub(crate) fn fill_folder(
    folder: &Path,
    meta: &Meta,
    outside: Option<&Segments>,
) -> Result<(), BlobError> {
    let journal = folder.join(HAVE);
    Journal::create(&journal, &meta.id).map_err(BlobError::at(&journal))?;
    let nodes = tree::of(meta.size).outboard_size();
    if nodes > 0 {
        let path = folder.join(OUTBOARD);
        File::create(&path)
            .and_then(|file| {
                file.set_len(nodes)?;
                file.sync_all()
            })
            .map_err(BlobError::at(&path))?;
    }
    if let Some(segments) = outside {
        let path = folder.join(PLACE);
        let bytes = segments.encode().ok_or(BlobError::WrongSegments)?;
        files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))?;
    }
    entry::save(folder, meta)
}

/// Removes a folder made aside unless it was made use of.
pub(crate) fn discard_unless<T>(made: Result<T, BlobError>, folder: &Path) -> Result<T, BlobError> {
    if made.is_err() {
        // What stays is removed when the store is opened.
        let _ = std::fs::remove_dir_all(folder);
    }
    made
}

/// Reads what is noted in a blob's folder.
pub(crate) fn load(
    lock: &Arc<FolderLock>,
    folder: &Path,
    id: BlobId,
) -> Result<Arc<Entry>, BlobError> {
    let path = folder.join(META);
    let bytes = files::read_sealed(&path, META_BYTES_MAX).map_err(BlobError::at(&path))?;
    let meta = bytes.and_then(|bytes| Meta::decode(&bytes)).ok_or(BlobError::Damaged)?;
    let division = Division::of(meta.size).ok_or(BlobError::Damaged)?;
    if meta.id != id {
        return Err(BlobError::Damaged);
    }
    let modified =
        path.metadata().and_then(|meta| meta.modified()).map_err(BlobError::at(&path))?;
    let used_ms = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let phase = meta.phase;
    let journal = folder.join(HAVE);
    let have_bytes = if phase == Phase::Partial {
        let said =
            Journal::peek(&journal, &id, division.count()).map_err(BlobError::at(&journal))?;
        division.bytes_in(&said.synced) + division.bytes_in(&said.unsynced)
    } else {
        files::remove_if_there(&journal).map_err(BlobError::at(&journal))?;
        0
    };
    let entry = Entry::new(lock, folder.to_owned(), meta, have_bytes, used_ms);
    recover_move(&entry)?;
    Ok(entry)
}

/// Gives a folder that makes no sense another name, so that it is not in the way.
pub(crate) fn set_aside(folder: &Path) {
    for number in 0..100 {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!("{DAMAGED}-{number}"));
        let aside = PathBuf::from(name);
        if aside.symlink_metadata().is_err() {
            // If even this fails it stays, and is in nobody's list.
            let _ = std::fs::rename(folder, aside);
            return;
        }
    }
}

/// Removes a file of a partial blob.
pub(crate) fn remove_ours(path: &Path) -> io::Result<()> {
    match files::remove_if_there(path) {
        // Somebody put a folder there, or where a folder was.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(())
        }
        removed => removed,
    }
}
