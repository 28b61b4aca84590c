//! The lock on a data folder: one node at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// A data folder held for this process. Released when dropped, and by the operating system when the
/// process ends in whatever way.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    // Held for its lock.
    _file: File,
}

impl FolderLock {
    /// Takes `folder`, making it if need be.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another has it, [`OpenError::Io`] if it cannot be used.
    pub fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
