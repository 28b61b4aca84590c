//! Errors of the blob store.

use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The folder could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operating system returned an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The disk is too full.
    #[error("not enough room on the disk: {needed} bytes needed, {free} free")]
    NoSpace {
        /// Bytes that would be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The blob is larger than the limit.
    #[error("{size} bytes are too many for one blob")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The store has the maximal number of blobs.
    #[error("the store is full with {max} blobs")]
    TooManyBlobs {
        /// The limit.
        max: usize,
    },
    /// The blob would have too many files.
    #[error("more than {max} files")]
    TooManyFiles {
        /// The limit.
        max: usize,
    },
    /// The segments do not add up to the blob's size, or are not at the stated paths.
    #[error("the files do not add up to the blob")]
    WrongSegments,
    /// A file exists at a path where one would be written.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file has another size than stated, or changed while it was read.
    #[error("{} changed while it was read, or has another size than the system says", .0.display())]
    Changed(PathBuf),
    /// The path is a link, a pipe, a device or a socket, or a file that the system generates while it is
    /// read.
    #[error("{} is neither a plain file nor a folder", .0.display())]
    NotPlain(PathBuf),
    /// A caller holds the blob.
    #[error("the blob is in use")]
    InUse,
    /// There is no such blob.
    #[error("there is no such blob")]
    Unknown,
    /// The blob is not complete.
    #[error("{granules} granules are missing")]
    Incomplete {
        /// The number of missing granules.
        granules: u32,
    },
    /// The metadata of the blob are damaged.
    #[error("what is noted beside the blob is damaged")]
    Damaged,
    /// The caller stopped the operation.
    #[error("stopped")]
    Cancelled,
}

impl BlobError {
    /// Adds the path to an error of the operating system.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not stored, or are after the end of the blob.
    #[error("not there")]
    Missing,
    /// The bytes are no longer those of the blob.
    #[error("the files changed on the disk")]
    Changed,
    /// The operating system returned an error.
    #[error(transparent)]
    Io(io::Error),
}

/// Why a granule was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The bytes are not those of this granule. Nothing was written.
    #[error("the bytes are not those of the blob")]
    Corrupt,
    /// The disk is full.
    #[error("the disk is full")]
    NoSpace,
    /// The operating system returned an error.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}
