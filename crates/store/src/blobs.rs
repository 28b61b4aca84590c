//! Blobs on disk: byte sequences named by their BLAKE3 hash, whole or partly fetched.
//!
//! A [`BlobStore`] is in `blobs/` of the data folder. The metadata of each blob is in the engine's files below
//! `index`; a blob that needs files of its own has a folder. The bytes of a blob are in its *place*: the file
//! `data` in that folder, or *segments*, files elsewhere whose concatenation is the blob. A [`Blob`] is a
//! lease on a blob: while it lives, the blob is not removed.
//!
//! | file | what |
//! |---|---|
//! | `place` | the segments, if there are more than fit in a row of the index |
//! | `outboard` | the inner nodes of the hash tree in pre-order, if there is more than one group |
//! | `have` | of a partial blob: a journal of the granules that are stored |
//! | `data` | the bytes, if they are not in segments |
//!
//! Beside them, `.fetched/` has one file for each destination of fetches: the files that were put there, with
//! their sizes and times.
//!
//! Calls block; they are meant for blocking threads.
//!
//! **Invariants:** no byte is written or returned whose hash was not compared with the blob's id; granules in
//! the journal survive a killed process, committed ones survive a loss of power; files that the store did
//! not create are never written, changed or deleted; no content of the disk causes a panic; memory does not
//! depend on the number of blobs.

mod blob;
mod entry;
mod error;
mod files;
mod finish;
mod folder;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gc;
mod hash;
mod import;
mod index;
mod journal;
mod meta;
mod opened;
mod outline;
mod place;
mod places;
mod read;
mod remembered;
mod reuse;
mod room;
mod space;
mod store;
mod sync;
mod tree;
mod verify;
mod walk;
mod write;

#[cfg(test)]
#[cfg(unix)]
mod tests;

pub use blob::Blob;
pub use entry::{BlobPlace, BlobState, BlobView};
pub use error::{BlobError, ReadError, WriteError};
pub use files::{mark, write_sparse};
pub use gc::{GcEntry, GcReason, GcReport};
pub use import::{ImportHow, ImportOptions, Imported};
pub use opened::{Opened, create_file, create_folder, name_bytes_max, rename_file};
pub use outline::{NODES_MAX, Outline};
pub use place::SegmentTarget;
pub use places::NamedPlace;
pub use read::READ_BYTES_MAX;
pub use remembered::Remembered;
pub use reuse::{Guess, Part};
pub use store::{BlobCounts, BlobLimits, BlobStore, Keep, Place};
pub use verify::{VerifiedBlobs, verify_blobs};
pub use walk::{SkipReason, Walk, WalkLimits, WalkedFile, walk};

/// Most segments in a blob.
pub const SEGMENTS_MAX: usize = 1 << 20;
/// Files that are open at once for one blob.
const OPEN_FILES_MAX: usize = 64;
