//! The folder of one blob: filling it, reading it, and recovering it after a crash.
//!
//! **Invariant:** a folder is read as it was written, or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_base::{BlobId, Division};

use super::entry::{DATA, Entry, HAVE, OUTBOARD, PLACE};
use super::index::{Index, Noted};
use super::journal::Journal;
use super::meta::{Meta, Move, Phase};
use super::place::{PLACE_BYTES_MAX, Segments};
use super::{BlobError, files, tree};
use crate::backend::Changes;

/// The suffix of the name of a damaged folder.
const DAMAGED: &str = ".damaged";

/// The initial metadata of a blob: complete, inside the store, neither pinned nor shared.
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

/// Whether a known blob continues the fetch that a caller begins: it is complete, or partial with the same
/// size and place.
pub(crate) fn goes_on(
    entry: &Entry,
    size: u64,
    outside: Option<&Segments>,
) -> Result<bool, BlobError> {
    Ok(match entry.phase() {
        // If some files of a complete blob have changed, their granules are fetched again.
        Phase::Complete => entry.lost().is_none(),
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

/// Whether none of the files exists. Files that appear later are then the store's own.
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

/// Creates the files of a new partial blob: its journal and its outboard.
pub(crate) fn fill_folder(folder: &Path, meta: &Meta) -> Result<(), BlobError> {
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
    Ok(())
}

/// The change that records the place of a blob with this number. If it has too many segments for a row,
/// writes them to a file in the blob's folder.
pub(crate) fn note_place(
    folder: &Path,
    id: &BlobId,
    number: u16,
    segments: &Segments,
) -> Result<Changes, BlobError> {
    if let Some(row) = Index::place_change(id, number, segments)? {
        return Ok(row);
    }
    std::fs::create_dir_all(folder).map_err(BlobError::at(folder))?;
    let path = folder.join(place_file(number));
    let bytes = segments.encode().ok_or(BlobError::WrongSegments)?;
    files::write_sealed(&path, &bytes).map_err(BlobError::at(&path))?;
    Ok(Index::no_place(id, number))
}

/// The segments of the place with this number. `None` if it is not recorded.
pub(crate) fn read_place(entry: &Entry, number: u16) -> Result<Option<Segments>, BlobError> {
    if let Some(segments) = entry.index.place(&entry.id, number)? {
        return Ok(Some(segments));
    }
    let path = entry.file(&place_file(number));
    let bytes = files::read_sealed(&path, PLACE_BYTES_MAX).map_err(BlobError::at(&path))?;
    Ok(bytes.and_then(|bytes| Segments::decode(&bytes)))
}

/// The files that hold the bytes of an entry's blob.
pub(crate) fn read_segments(entry: &Entry) -> Result<Segments, BlobError> {
    if entry.meta().outside.is_none() {
        return Ok(Segments::inside(&entry.file(DATA), entry.size));
    }
    read_place(entry, 0)?.ok_or(BlobError::Damaged)
}

/// Records the segments of a blob, and that no move is in progress.
pub(crate) fn end_move(entry: &Entry, segments: &Segments) -> Result<(), BlobError> {
    let place = note_place(&entry.folder, &entry.id, 0, segments)?;
    let end = |meta: &mut Meta| {
        meta.moving = None;
        meta.outside = Some((segments.base().to_owned(), segments.len() as u32));
    };
    entry.change_with(end, place)
}

/// Determines whether a move that a crash interrupted was done, and records the result.
fn recover_move(entry: &Entry) -> Result<(), BlobError> {
    let Some(Move { from, to }) = entry.meta().moving else { return Ok(()) };
    let segments = read_segments(entry)?;
    let arrived = from.symlink_metadata().is_err() && to.symlink_metadata().is_ok();
    match segments.moved(&from, &to) {
        Some(moved) if arrived => end_move(entry, &moved),
        // The move was not begun, or it was recorded already.
        _ => end_move(entry, &segments),
    }
}

/// The file with the segments of a place that has too many for a row.
pub(crate) fn place_file(number: u16) -> String {
    match number {
        0 => PLACE.to_owned(),
        further => format!("{PLACE}-{further}"),
    }
}

/// Stored bytes of a partial blob, according to its journal.
pub(crate) fn journalled(folder: &Path, meta: &Meta) -> Result<u64, BlobError> {
    if meta.phase != Phase::Partial {
        return Ok(0);
    }
    let division = Division::of(meta.size).ok_or(BlobError::Damaged)?;
    let journal = folder.join(HAVE);
    let said = Journal::peek(&journal, &meta.id, division.count());
    let said = said.map_err(BlobError::at(&journal))?;
    Ok(division.bytes_in(&said.synced) + division.bytes_in(&said.unsynced))
}

/// Removes a temporary folder if `made` is an error.
pub(crate) fn discard_unless<T>(made: Result<T, BlobError>, folder: &Path) -> Result<T, BlobError> {
    if made.is_err() {
        // The next start removes what is left.
        let _ = std::fs::remove_dir_all(folder);
    }
    made
}

/// Creates the entry of a blob from its metadata.
pub(crate) fn load(
    index: &Arc<Index>,
    folder: PathBuf,
    noted: Noted,
) -> Result<Arc<Entry>, BlobError> {
    let have_bytes = journalled(&folder, &noted.meta)?;
    let entry = Entry::new(index, folder, noted, have_bytes);
    recover_move(&entry)?;
    Ok(entry)
}

/// Renames a damaged folder, so that its name is free.
pub(crate) fn set_aside(folder: &Path) {
    for number in 0..100 {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!("{DAMAGED}-{number}"));
        let aside = PathBuf::from(name);
        if aside.symlink_metadata().is_err() {
            // If the rename fails, the folder stays, and no list has it.
            let _ = std::fs::rename(folder, aside);
            return;
        }
    }
}

/// Removes a file of a partial blob.
pub(crate) fn remove_ours(path: &Path) -> io::Result<()> {
    match files::remove_if_there(path) {
        // Another program put a folder at this path, or replaced a folder above it.
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
