//! Why something about files was not done.

use std::path::PathBuf;
use std::sync::Arc;

use potluck_store::blobs::{BlobError, ReadError};
use potluck_swarm::{FetchError, ManifestError};

/// What to make of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesErrorKind {
    /// What was asked for makes no sense.
    Usage,
    /// There is no such thing here.
    Absent,
    /// Nobody who has it could be reached.
    Unavailable,
    /// The system does not allow it, or something is in the way.
    Refused,
    /// What came is not what was asked for.
    Verification,
    /// There is no room.
    NoSpace,
    /// Anything else.
    Failed,
}

/// Why something about files was not done. What was fetched and verified before is kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FilesError {
    /// The node keeps nothing on disk.
    #[error("a node that keeps everything in memory has no files; give it a data folder")]
    NoFolder,
    /// There is no such file here.
    #[error("there is no such file on this node")]
    Unknown,
    /// The folder has no such file.
    #[error("there is no file `{0}` in this folder")]
    NoSuchPath(String),
    /// A folder was asked for where a file is needed.
    #[error("this is a folder; name a file inside it")]
    IsFolder,
    /// It is neither a file nor a folder.
    #[error("`{}` is neither a file nor a folder", .0.display())]
    NotShareable(PathBuf),
    /// Something is where the result belongs.
    #[error("`{}` is there already; move it away or choose another folder", .0.display())]
    Exists(PathBuf),
    /// The fetch failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The list of files of a folder is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store of blobs did not do it.
    #[error(transparent)]
    Store(Arc<BlobError>),
    /// Bytes could not be read.
    #[error("the file could not be read: {0}")]
    Read(Arc<ReadError>),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl From<BlobError> for FilesError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Exists(path) => Self::Exists(path),
            BlobError::Unknown => Self::Unknown,
            error => Self::Store(Arc::new(error)),
        }
    }
}

impl From<ReadError> for FilesError {
    fn from(error: ReadError) -> Self {
        Self::Read(Arc::new(error))
    }
}

impl FilesError {
    /// What to make of it.
    #[must_use]
    pub fn kind(&self) -> FilesErrorKind {
        match self {
            Self::NoFolder | Self::NotShareable(_) | Self::IsFolder => FilesErrorKind::Usage,
            Self::Unknown | Self::NoSuchPath(_) => FilesErrorKind::Absent,
            Self::Exists(_) => FilesErrorKind::Refused,
            Self::Fetch(FetchError::NoPlace) => FilesErrorKind::NoSpace,
            Self::Fetch(_) | Self::Stopped => FilesErrorKind::Unavailable,
            Self::Manifest(_) => FilesErrorKind::Verification,
            Self::Read(_) => FilesErrorKind::Failed,
            Self::Store(error) => match &**error {
                BlobError::NoSpace { .. } => FilesErrorKind::NoSpace,
                BlobError::TooLarge { .. } | BlobError::TooManyFiles { .. } => {
                    FilesErrorKind::Usage
                }
                BlobError::TooManyBlobs { .. } | BlobError::InUse => FilesErrorKind::Refused,
                BlobError::Io { source, .. } => match source.kind() {
                    std::io::ErrorKind::NotFound => FilesErrorKind::Absent,
                    std::io::ErrorKind::PermissionDenied => FilesErrorKind::Refused,
                    std::io::ErrorKind::StorageFull => FilesErrorKind::NoSpace,
                    _ => FilesErrorKind::Failed,
                },
                _ => FilesErrorKind::Failed,
            },
        }
    }
}
