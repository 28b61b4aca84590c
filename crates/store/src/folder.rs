//! The lock on a data folder: one node at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::OpenError;

/// A data folder held for this process. Released when dropped, and by the operating system when the
/// process ends in whatever way.
#[derive(Debug, Clone)]
pub struct FolderLock {
    folder: PathBuf,
    // Held for its lock, by the last of the clones too.
    _file: Arc<File>,
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
        Self::lock(folder, file)
    }

    /// Takes `folder` to read it, without making or changing anything. `None` if it has no lock file, so
    /// no node ever ran on it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another has it, [`OpenError::Io`] if it cannot be read.
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
