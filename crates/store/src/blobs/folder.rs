//! The folder of one blob: how it is filled, read back, and told from what it is not.
//!
//! **Invariant:** a folder is read as it was written or not at all.

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

/// Whether a blob that is known already is the one that a caller begins.
pub(crate) fn goes_on(
    entry: &Entry,
    size: u64,
    outside: Option<&Segments>,
) -> Result<bool, BlobError> {
    Ok(match entry.phase() {
        // Of one whose files changed in part, the rest is fetched anew.
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

/// The rows that note where the bytes of a blob lie; what is too much for them goes into a file of its
/// folder.
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

/// Where the place with this number lies, if that is noted.
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

/// Notes that the files of a blob are at these segments, and that no move is under way.
pub(crate) fn end_move(entry: &Entry, segments: &Segments) -> Result<(), BlobError> {
    let place = note_place(&entry.folder, &entry.id, 0, segments)?;
    let end = |meta: &mut Meta| {
        meta.moving = None;
        meta.outside = Some((segments.base().to_owned(), segments.len() as u32));
    };
    entry.change_with(end, place)
}

/// Determines how a move ended that a crash interrupted, and notes it.
fn recover_move(entry: &Entry) -> Result<(), BlobError> {
    let Some(Move { from, to }) = entry.meta().moving else { return Ok(()) };
    let segments = read_segments(entry)?;
    let arrived = from.symlink_metadata().is_err() && to.symlink_metadata().is_ok();
    match segments.moved(&from, &to) {
        Some(moved) if arrived => end_move(entry, &moved),
        // Not begun, or noted already.
        _ => end_move(entry, &segments),
    }
}

/// The file of a place that is too much for a row.
pub(crate) fn place_file(number: u16) -> String {
    match number {
        0 => PLACE.to_owned(),
        further => format!("{PLACE}-{further}"),
    }
}

/// Bytes of a partial blob that its journal says are there.
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

/// Removes a folder made aside, if there is one, unless it was made use of.
pub(crate) fn discard_unless<T>(made: Result<T, BlobError>, folder: &Path) -> Result<T, BlobError> {
    if made.is_err() {
        // What stays is removed when the store is opened.
        let _ = std::fs::remove_dir_all(folder);
    }
    made
}

/// Makes the entry of a blob of which this is noted.
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

/// Gives a folder that makes no sense another name, so that it is not in the way.
pub(crate) fn set_aside(folder: &Path) {
    for number in 0..100 {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!("{DAMAGED}-{number}"));
        let aside = PathBuf::from(name);
        if aside.symlink_metadata().is_err() {
            // If even this fails it stays, and no list has it.
            let _ = std::fs::rename(folder, aside);
            return;
        }
    }
}

/// Removes a file of a partial blob.
pub(crate) fn remove_ours(path: &Path) -> io::Result<()> {
    match files::remove_if_there(path) {
        // Another program put a folder there, or where a folder was.
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
