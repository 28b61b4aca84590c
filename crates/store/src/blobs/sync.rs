//! Making what was written durable.
//!
//! **Invariant:** the journal says that granules are on the disk only after their data and nodes were synced
//! without an error.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::blob::Blob;
use super::entry::{HAVE, OUTBOARD};
use super::opened::open_to_write;
use super::place::Segments;
use super::{BlobError, OPEN_FILES_MAX, files};

impl Blob {
    /// Makes all granules that were written so far durable.
    ///
    /// # Errors
    /// The disk refused. After a failed sync the data count as not durable, even if later syncs succeed. The
    /// caller must drop the blob and open it again, which hashes the data again.
    pub fn commit(&self) -> Result<(), BlobError> {
        let _one = self.committing.lock();
        self.commit_alone()
    }

    pub(crate) fn commit_alone(&self) -> Result<(), BlobError> {
        let mut progress = self.progress.lock();
        if progress.sync_failed {
            let source = io::Error::other("an earlier sync failed");
            return Err(BlobError::Io { path: self.entry.folder.clone(), source });
        }
        let Some(journal) = &progress.journal else { return Ok(()) };
        let records = journal.records();
        if progress.unsynced_bytes == 0 && progress.touched.is_empty() {
            return Ok(());
        }
        let bytes = progress.unsynced_bytes;
        let touched = std::mem::take(&mut progress.touched);
        drop(progress);
        let synced = self.sync_files(&touched).and_then(|()| self.mark(records));
        let mut progress = self.progress.lock();
        if synced.is_ok() {
            progress.unsynced_bytes = progress.unsynced_bytes.saturating_sub(bytes);
        } else {
            progress.sync_failed = true;
        }
        synced
    }

    fn mark(&self, records: u32) -> Result<(), BlobError> {
        let path = self.entry.file(HAVE);
        let file = match &mut self.progress.lock().journal {
            Some(journal) => journal.synced(records).map_err(BlobError::at(&path))?,
            None => return Ok(()),
        };
        file.sync_data().map_err(BlobError::at(&path))
    }

    fn sync_files(&self, touched: &BTreeSet<usize>) -> Result<(), BlobError> {
        let segments = self.segments();
        let folders =
            sync_segments(&segments, touched, |number| match self.handles.lock().peek(&number) {
                Some(handle) => Ok(handle.file.clone()),
                None => open_to_write(&segments.path(number), false).map(Into::into),
            });
        folders.map_err(BlobError::at(segments.base()))?;
        if let Some(outboard) = &self.outboard {
            outboard.sync_data().map_err(BlobError::at(&self.entry.file(OUTBOARD)))?;
        }
        Ok(())
    }
}

/// Syncs the data of segments, and the entries of their folders.
fn sync_segments(
    segments: &Segments,
    touched: &BTreeSet<usize>,
    open: impl Fn(usize) -> io::Result<std::sync::Arc<std::fs::File>>,
) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for number in touched {
        if let Some(folder) = segments.path(*number).parent()
            && !folders.contains(folder)
        {
            folders.insert(folder.to_owned());
        }
    }
    if touched.len() > OPEN_FILES_MAX && sync_file_systems(&folders)? {
        return Ok(());
    }
    for number in touched {
        open(*number)?.sync_data()?;
    }
    folders.iter().try_for_each(|folder| files::sync_folder(folder))
}

/// Syncs the file systems of these folders, which is much faster than one sync per file if there are many
/// files. Returns whether this system supports it.
#[cfg(target_os = "linux")]
fn sync_file_systems(folders: &BTreeSet<PathBuf>) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let mut devices = BTreeSet::new();
    for folder in folders {
        let folder = std::fs::File::open(folder)?;
        if devices.insert(folder.metadata()?.dev()) {
            rustix::fs::syncfs(&folder)?;
        }
    }
    Ok(true)
}

/// Syncs the file systems of these folders. Returns whether this system supports it.
#[cfg(not(target_os = "linux"))]
fn sync_file_systems(_: &BTreeSet<PathBuf>) -> io::Result<bool> {
    Ok(false)
}
