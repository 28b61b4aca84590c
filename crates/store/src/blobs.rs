//! Blobs on disk: byte sequences named by their BLAKE3 hash, whole or partly fetched.
//!
//! A [`BlobStore`] lies under `blobs/` in the data folder. What is noted about each blob is in the engine's
//! files below `index`; a blob that needs files of its own has a folder. The bytes of a blob lie in its
//! *place*: the file `data` in that folder, or *segments*, files elsewhere whose concatenation is the blob.
//! A [`Blob`] is a lease on one of them: while it lives the blob stays.
//!
//! | file | what |
//! |---|---|
//! | `place` | the segments, if the bytes lie in more files elsewhere than fit in a row of the index |
//! | `outboard` | the inner nodes of the hash tree in pre-order, if there is more than one group |
//! | `have` | while partly fetched: a journal of the granules that are there |
//! | `data` | the bytes, if they lie here |
//!
//! Beside them, `.fetched/` has one file for each place that something was fetched to: what was put
//! there, and how it looked.
//!
//! Calls block; they are meant for threads that may.
//!
//! **Invariants:** no byte is written or handed out whose hash was not compared with the blob's name;
//! what is in the journal survives a killed process, what was committed survives a loss of power;
//! files of others are never written, changed or deleted; nothing on disk makes this panic; memory does not
//! depend on how many blobs there are.

mod blob;
mod entry;
mod error;
mod files;
mod finish;
mod folder;
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
pub use walk::{SkipReason, Walk, WalkLimits, WalkedFile, walk};

/// Most segments in a blob.
pub const SEGMENTS_MAX: usize = 1 << 20;
/// Files held open for one blob at once.
const OPEN_FILES_MAX: usize = 64;
