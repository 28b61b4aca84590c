//! Why something about files was not done.

use std::path::PathBuf;
use std::sync::Arc;

use potluck_store::blobs::{BlobError, ReadError};
use potluck_swarm::{FetchError, ManifestError};

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesErrorKind {
    /// The request is invalid.
    Usage,
    /// There is no such thing here.
    Absent,
    /// No node that has it could be reached.
    Unavailable,
    /// The system does not allow it, or something is in the way.
    Refused,
    /// The received content is not the requested one.
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
    /// A file was asked for as if it were a folder.
    #[error("this is a file and no folder; ask for it without a path")]
    NotFolder,
    /// It is a pipe, a device or a socket, or a file that the system makes while it is read.
    #[error(
        "`{}` is neither a plain file nor a folder; what a program writes is shared by \
         `potluck share - --name NAME`",
        .0.display()
    )]
    NotShareable(PathBuf),
    /// It belongs to a node's data folder.
    #[error("{} is in the data folder {}, which a node keeps for itself; only what lies in its folder \
        `{}` can be shared", path.display(), folder.display(), crate::folder::layout::FILES)]
    OwnFolder {
        /// The requested path.
        path: PathBuf,
        /// The data folder.
        folder: PathBuf,
    },
    /// Too much is being shared at the same time.
    #[error("the node is reading {0} files and folders to share them already; try again")]
    Busy(usize),
    /// Something is where the result belongs.
    #[error("`{}` is there already; move it away or choose another folder", .0.display())]
    Exists(PathBuf),
    /// The fetch failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The disk became full while it was written.
    #[error("the disk that `{}` is on is full; what came is kept, and the same fetch goes on when \
        there is room", .0.display())]
    Full(PathBuf),
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
            BlobError::NotPlain(path) => Self::NotShareable(path),
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
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FilesErrorKind {
        match self {
            Self::NoFolder | Self::NotShareable(_) | Self::IsFolder => FilesErrorKind::Usage,
            Self::Unknown
            | Self::NoSuchPath(_)
            | Self::NotFolder
            | Self::Fetch(FetchError::Unknown) => FilesErrorKind::Absent,
            Self::Exists(_) | Self::OwnFolder { .. } => FilesErrorKind::Refused,
            Self::Fetch(FetchError::NoPlace) | Self::Full(_) => FilesErrorKind::NoSpace,
            Self::Fetch(_) | Self::Stopped | Self::Busy(_) => FilesErrorKind::Unavailable,
            Self::Manifest(_) => FilesErrorKind::Verification,
            Self::Read(_) => FilesErrorKind::Failed,
            Self::Store(error) => match &**error {
                BlobError::NoSpace { .. } => FilesErrorKind::NoSpace,
                BlobError::TooLarge { .. }
                | BlobError::TooManyFiles { .. }
                | BlobError::WrongSegments => FilesErrorKind::Usage,
                BlobError::TooManyBlobs { .. } | BlobError::InUse => FilesErrorKind::Refused,
                BlobError::Io { source, .. } => match source.kind() {
                    std::io::ErrorKind::NotFound => FilesErrorKind::Absent,
                    std::io::ErrorKind::PermissionDenied => FilesErrorKind::Refused,
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                        FilesErrorKind::NoSpace
                    }
                    _ => FilesErrorKind::Failed,
                },
                _ => FilesErrorKind::Failed,
            },
        }
    }
}
