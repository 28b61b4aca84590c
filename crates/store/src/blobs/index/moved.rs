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
use crate::blobs::place::Segments;
use crate::blobs::{BlobError, SEGMENTS_MAX, files};

/// Folders on their way in or out, as they were called beside the blobs.
const ASIDE: [&str; 2] = [".new-", ".old-"];
/// Blobs moved before the disk is waited for.
const BATCH: usize = 512;
/// Most bytes of a `place` file: a KiB a segment.
const PLACE_BYTES_MAX: u64 = SEGMENTS_MAX as u64 * 1024;

impl Index {
    /// Moves the notes of all blobs into the index unless that is done.
    pub(super) fn move_over(&self, blobs: &Path) -> Result<(), BlobError> {
        let done = rows::note_row("moved");
        if self.engine.get(&done)?.is_some() {
            return Ok(());
        }
        let mut moved = Vec::new();
        for found in std::fs::read_dir(blobs).map_err(BlobError::at(blobs))? {
            let path = found.map_err(BlobError::at(blobs))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if ASIDE.iter().any(|begin| name.starts_with(begin)) {
                std::fs::remove_dir_all(&path).map_err(BlobError::at(&path))?;
            } else if let Ok(id) = name.parse::<BlobId>() {
                if self.move_blob(&path, id).is_err() {
                    self.damaged.fetch_add(1, Ordering::Relaxed);
                    set_aside(&path);
                } else {
                    moved.push(path);
                }
            }
            if moved.len() >= BATCH {
                self.forget_files(&mut moved)?;
            }
        }
        self.forget_files(&mut moved)?;
        self.engine.commit(Changes::from([(done, Some(Bytes::new()))]), true)?;
        self.engine.sync()
    }

    fn move_blob(&self, folder: &Path, id: BlobId) -> Result<(), BlobError> {
        if self.has(&id)? {
            return Ok(());
        }
        let path = folder.join(META);
        let bytes = files::read_sealed(&path, META_BYTES_MAX).map_err(BlobError::at(&path))?;
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
            let bytes = files::read_sealed(&path, PLACE_BYTES_MAX).map_err(BlobError::at(&path))?;
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
