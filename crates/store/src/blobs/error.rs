//! What can go wrong with blobs.

use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The folder could not be taken.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The disk is too full.
    #[error("not enough room on the disk: {needed} bytes needed, {free} free")]
    NoSpace {
        /// Bytes that are to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The blob is larger than any may be.
    #[error("{size} bytes are too many for one blob")]
    TooLarge {
        /// Its bytes.
        size: u64,
    },
    /// The store has as many blobs as it may.
    #[error("the store is full with {max} blobs")]
    TooManyBlobs {
        /// How many it may have.
        max: usize,
    },
    /// There are more files than may make up one blob.
    #[error("more than {max} files")]
    TooManyFiles {
        /// How many there may be.
        max: usize,
    },
    /// The segments do not add up to the blob's size, or are not where they were said to be.
    #[error("the files do not add up to the blob")]
    WrongSegments,
    /// A file is where one is to be written.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file is not what it was said to be, or changed while it was read.
    #[error("{} changed while it was read, or has another size than the system says", .0.display())]
    Changed(PathBuf),
    /// It is a link, a pipe, a device or a socket, or a file that the system makes while it is read.
    #[error("{} is neither a plain file nor a folder", .0.display())]
    NotPlain(PathBuf),
    /// A caller holds the blob.
    #[error("the blob is in use")]
    InUse,
    /// There is no such blob.
    #[error("there is no such blob")]
    Unknown,
    /// Some of the blob is missing still.
    #[error("{granules} granules are missing")]
    Incomplete {
        /// How many granules.
        granules: u32,
    },
    /// What is noted beside the blob is damaged.
    #[error("what is noted beside the blob is damaged")]
    Damaged,
    /// The caller stopped it.
    #[error("stopped")]
    Cancelled,
}

impl BlobError {
    /// Names the path that an error of the operating system is about.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// Why bytes were not handed out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are not there, or behind the end.
    #[error("not there")]
    Missing,
    /// They are not the blob's bytes any more.
    #[error("the files changed on the disk")]
    Changed,
    /// The operating system refused.
    #[error(transparent)]
    Io(io::Error),
}

/// Why a granule was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is not the granule of this blob. Nothing was written.
    #[error("the bytes are not those of the blob")]
    Corrupt,
    /// The disk is full.
    #[error("the disk is full")]
    NoSpace,
    /// The operating system refused.
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
