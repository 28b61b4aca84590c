//! The storage engine that the record logic needs: an ordered space of byte keys with atomic batches. Two
//! implementations: [`DiskBackend`](crate::DiskBackend) and
//! [`MemoryBackend`](crate::MemoryBackend).

use std::collections::BTreeMap;

use bytes::Bytes;

/// The changes of one batch: rows to write, or to delete where there is no value.
pub type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Rows in the order of their keys.
pub type RowIter<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), BackendError>> + 'a>;

/// Why an operation of a backend failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The bytes read are not those that were written. Other rows may well be fine.
    #[error("damaged data: {0}")]
    Corrupt(String),
    /// Anything else; whether a write happened is unknown and no further one must be tried.
    #[error("{0}")]
    Broken(String),
}

/// The durability of a commit when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: outlives the process, not a loss of power.
    Buffered,
    /// On the disk.
    Synced,
}

/// The free space of the disk, apart from the limits of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Nearly none: only what frees space may be written.
    None,
    /// Less than the reserve: nothing may grow.
    Scarce,
    /// Enough.
    Plenty,
}

/// The disk and memory usage of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of disk that its files take.
    pub disk_bytes: u64,
    /// Bytes of memory in its cache and write buffers.
    pub memory_bytes: u64,
}

/// What healing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Healed {
    /// Rows of envelopes that were damaged, as far as they can be counted: those on an unreadable page
    /// cannot.
    pub damaged_rows: u64,
    /// Stretches of rows that could not be read.
    pub gaps: u64,
}

/// How far healing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heal {
    /// There is nothing to heal.
    Whole,
    /// It goes on in the background; until it is done, nothing can be read or written.
    UnderWay,
    /// The rows are whole again, without those that were damaged.
    Done(Healed),
    /// It cannot be healed: the disk fails, or is full.
    Failed(String),
}

/// An ordered space of byte keys with atomic batches. One owner; calls block.
pub trait Backend: Send {
    /// The value of one row.
    ///
    /// # Errors
    /// [`BackendError`] if it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError>;

    /// The rows in `from..=to`, ascending, read as they are asked for.
    fn range(&self, from: &[u8], to: &[u8]) -> RowIter<'_>;

    /// Applies all changes or none.
    ///
    /// # Errors
    /// [`BackendError`]: whether they were applied is unknown until the backend is opened again.
    fn commit(&mut self, changes: Changes, durability: Durability) -> Result<(), BackendError>;

    /// Makes every earlier commit durable.
    ///
    /// # Errors
    /// [`BackendError`]: whether they are is unknown.
    fn sync(&mut self) -> Result<(), BackendError>;

    /// The free space of the disk.
    fn room(&self) -> Room;

    /// Whether damage was met that stays until it is healed.
    fn is_hurt(&self) -> bool {
        false
    }

    /// Begins to heal what is hurt, or says how far it is.
    fn heal(&mut self) -> Heal {
        Heal::Whole
    }

    /// The approximate usage. May read the size of every file.
    fn usage(&self) -> Usage;
}

/// Anything with rows to read in order.
pub(crate) trait Ranges {
    /// The rows in `from..=to`, ascending.
    fn rows(&self, from: &[u8], to: &[u8]) -> RowIter<'_>;
}

impl<B: Backend> Ranges for B {
    fn rows(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        self.range(from, to)
    }
}
