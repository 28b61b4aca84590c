//! The lock on a data folder: one process at a time uses it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::OpenError;

/// A locked data folder. The lock is released when the last clone is dropped; the operating system releases
/// it when the process ends, in any way.
#[derive(Debug, Clone)]
pub struct FolderLock {
    folder: PathBuf,
    // Kept open for its lock.
    _file: Arc<File>,
}

impl FolderLock {
    /// Locks `folder`. Creates it if it is missing.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process or store holds the lock, [`OpenError::Io`] if the folder
    /// cannot be used.
    pub fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        Self::lock(folder, file)
    }

    /// Locks `folder` for reading, without creating or changing a file. `None` if it has no lock file, so no
    /// node ever used it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process or store holds the lock, [`OpenError::Io`] if the folder
    /// cannot be read.
    pub fn acquire_to_read(folder: &Path) -> Result<Option<Self>, OpenError> {
        match File::open(folder.join("lock")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(OpenError::Io { folder: folder.to_owned(), source }),
            Ok(file) => Self::lock(folder, file).map(Some),
        }
    }

    fn lock(folder: &Path, file: File) -> Result<Self, OpenError> {
        match file.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _file: Arc::new(file) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => {
                Err(OpenError::Io { folder: folder.to_owned(), source })
            }
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
