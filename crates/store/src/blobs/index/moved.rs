//! Moves the metadata files that versions before the index stored beside each blob into the index.
//!
//! **Invariant:** a file is removed only after the index has its contents on the disk. A crash at any moment
//! repeats a part of the work and loses nothing.

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

/// Name prefixes of folders that older versions were installing or removing.
const ASIDE: [&str; 2] = [".new-", ".old-"];
/// The row that says that the owners of the moved data (the folders that they belong to) are not recorded
/// yet.
const WITHOUT_OWNERS: &str = "without owners";
/// Blobs that are moved between two syncs.
const BATCH: usize = 512;

/// Reads a metadata file beside a blob. `None` if it does not exist or is damaged.
fn read_note(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, BlobError> {
    match files::read_sealed(path, bytes_max) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map_err(BlobError::at(path)),
    }
}

impl Index {
    /// Moves the metadata of all blobs into the index, unless that was done before.
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
                    // Another error, such as a full disk, says nothing about the blob, so the blob stays.
                    Err(error) => return Err(error),
                }
            }
            if moved.len() >= BATCH {
                self.forget_files(&mut moved)?;
            }
        }
        self.forget_files(&mut moved)?;
        // A second row, which is removed when the owners are recorded. Versions before the index did not
        // record owners.
        let without_owners = any.then(|| (rows::note_row(WITHOUT_OWNERS), Some(Bytes::new())));
        let done = (done, Some(Bytes::new()));
        self.engine.commit(without_owners.into_iter().chain([done]).collect(), true)?;
        self.engine.sync()
    }

    /// Whether the owners of moved data are not recorded yet.
    pub(crate) fn lacks_owners(&self) -> Result<bool, BlobError> {
        Ok(self.engine.get(&rows::note_row(WITHOUT_OWNERS))?.is_some())
    }

    /// Records that the owners of moved data are recorded.
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

    /// Removes the metadata files whose contents the index has.
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
            // Succeeds only if the folder is empty.
            let _ = std::fs::remove_dir(&folder);
        }
        Ok(())
    }
}
