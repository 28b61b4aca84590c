//! Moving over what was noted in a file beside each blob before there was an index.
//!
//! **Invariant:** a file goes only after the index has its contents on the disk, so a crash at any
//! moment repeats a part of it and loses nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use potluck_base::{BlobId, Division};

use super::{Index, Noted, rows};
use crate::backend::Changes;
use crate::blobs::entry::{HAVE, META, PLACE};
use crate::blobs::folder::set_aside;
use crate::blobs::meta::{META_BYTES_MAX, Meta, Phase};
use crate::blobs::place::{PLACE_BYTES_MAX, Segments};
use crate::blobs::{BlobError, files};

/// Folders on their way in or out, as they were called beside the blobs.
const ASIDE: [&str; 2] = [".new-", ".old-"];
/// The note that it is not noted yet which folders the data that was moved over belongs to.
const WITHOUT_OWNERS: &str = "without owners";
/// Blobs moved before the disk is waited for.
const BATCH: usize = 512;

/// Reads a note beside a blob; `None` if it is not there or damaged.
fn read_note(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, BlobError> {
    match files::read_sealed(path, bytes_max) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map_err(BlobError::at(path)),
    }
}

impl Index {
    /// Moves the notes of all blobs into the index unless that is done.
    pub(super) fn move_over(&self, blobs: &Path) -> Result<(), BlobError> {
        let done = rows::note_row("moved");
        if self.engine.get(&done)?.is_some() {
            return Ok(());
        }
        let mut moved = Vec::new();
        let mut any = false;
        for found in std::fs::read_dir(blobs).map_err(BlobError::at(blobs))? {
            let path = found.map_err(BlobError::at(blobs))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if ASIDE.iter().any(|begin| name.starts_with(begin)) {
                std::fs::remove_dir_all(&path).map_err(BlobError::at(&path))?;
            } else if let Ok(id) = name.parse::<BlobId>() {
                match self.move_blob(&path, id) {
                    Ok(()) => {
                        any = true;
                        moved.push(path);
                    }
                    Err(BlobError::Damaged) => {
                        self.damaged.fetch_add(1, Ordering::Relaxed);
                        set_aside(&path);
                    }
                    // A full disk, for example: nothing is known about the blob, so it stays.
                    Err(error) => return Err(error),
                }
            }
            if moved.len() >= BATCH {
                self.forget_files(&mut moved)?;
            }
        }
        self.forget_files(&mut moved)?;
        // A second row, which goes when the owners are noted: they were not before there was an index.
        let without_owners = any.then(|| (rows::note_row(WITHOUT_OWNERS), Some(Bytes::new())));
        let done = (done, Some(Bytes::new()));
        self.engine.commit(without_owners.into_iter().chain([done]).collect(), true)?;
        self.engine.sync()
    }

    /// Whether it is not noted which folders the data belongs to that was moved over.
    pub(crate) fn lacks_owners(&self) -> Result<bool, BlobError> {
        Ok(self.engine.get(&rows::note_row(WITHOUT_OWNERS))?.is_some())
    }

    /// Notes that it is noted.
    pub(crate) fn has_owners(&self) -> Result<(), BlobError> {
        self.engine.commit(Changes::from([(rows::note_row(WITHOUT_OWNERS), None)]), true)?;
        self.engine.sync()
    }

    fn move_blob(&self, folder: &Path, id: BlobId) -> Result<(), BlobError> {
        if self.has(&id)? {
            return Ok(());
        }
        let path = folder.join(META);
        let bytes = read_note(&path, META_BYTES_MAX)?;
        let meta = bytes.and_then(|bytes| Meta::decode(&bytes)).ok_or(BlobError::Damaged)?;
        Division::of(meta.size).ok_or(BlobError::Damaged)?;
        if meta.id != id {
            return Err(BlobError::Damaged);
        }
        let used =
            path.metadata().and_then(|meta| meta.modified()).map_err(BlobError::at(&path))?;
        let used_ms = used.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        if meta.phase != Phase::Partial {
            let journal = folder.join(HAVE);
            files::remove_if_there(&journal).map_err(BlobError::at(&journal))?;
        }
        let mut with = Changes::new();
        if meta.outside.is_some() {
            let path = folder.join(PLACE);
            let bytes = read_note(&path, PLACE_BYTES_MAX)?;
            let segments = bytes.and_then(|bytes| Segments::decode(&bytes));
            let segments = segments.ok_or(BlobError::Damaged)?;
            with = Self::place_change(&id, 0, &segments)?.unwrap_or_default();
        }
        self.put(None, Noted { meta, used_ms, number: 0 }, with).map(drop)
    }

    /// Removes the files whose contents the index has now.
    fn forget_files(&self, moved: &mut Vec<PathBuf>) -> Result<(), BlobError> {
        self.engine.sync()?;
        for folder in moved.drain(..) {
            let path = folder.join(META);
            files::remove_if_there(&path).map_err(BlobError::at(&path))?;
            let id = folder.file_name().and_then(|name| name.to_str()?.parse::<BlobId>().ok());
            if id.is_some_and(|id| matches!(self.place(&id, 0), Ok(Some(_)))) {
                let path = folder.join(PLACE);
                files::remove_if_there(&path).map_err(BlobError::at(&path))?;
            }
            // Goes only if nothing else is in it.
            let _ = std::fs::remove_dir(&folder);
        }
        Ok(())
    }
}
