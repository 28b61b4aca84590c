//! The interface to the storage engine of the record logic: an ordered map of byte keys with atomic batches.
//! It has two implementations, [`DiskBackend`](crate::DiskBackend) and
//! [`MemoryBackend`](crate::MemoryBackend).

use std::collections::BTreeMap;

use bytes::Bytes;

/// The changes of one batch: rows with their new value, or `None` to delete the row.
pub type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// Rows in the order of their keys.
pub type RowIter<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes), BackendError>> + 'a>;

/// Why an operation of a backend failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The bytes that were read are not those that were written. Other rows may be intact.
    #[error("damaged data: {0}")]
    Corrupt(String),
    /// Any other error. Whether a write happened is unknown, and no further write must be tried.
    #[error("{0}")]
    Broken(String),
}

/// The durability of a commit when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Passed to the operating system: survives the end of the process, but not a loss of power.
    Buffered,
    /// On the disk.
    Synced,
}

/// The free space of the disk, apart from the limits of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Almost none: only changes that free space may be written.
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

/// The result of healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Healed {
    /// Damaged rows of envelopes, as far as they can be counted: rows on an unreadable page cannot.
    pub damaged_rows: u64,
    /// Ranges of rows that could not be read.
    pub gaps: u64,
}

/// The state of healing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heal {
    /// There is no damage.
    Whole,
    /// Healing runs in the background. Until it ends, nothing can be read or written.
    UnderWay,
    /// All rows are readable again, without those that were damaged.
    Done(Healed),
    /// Healing failed: the disk returns errors or is full.
    Failed(String),
}

/// An ordered map of byte keys with atomic batches. It has one owner; calls block.
pub trait Backend: Send {
    /// The value of one row.
    ///
    /// # Errors
    /// [`BackendError`] if it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError>;

    /// The rows in `from..=to`, ascending. They are read while the iterator advances.
    fn range(&self, from: &[u8], to: &[u8]) -> RowIter<'_>;

    /// Applies all changes or none.
    ///
    /// # Errors
    /// [`BackendError`]: whether they were applied is unknown until the backend is opened again.
    fn commit(&mut self, changes: Changes, durability: Durability) -> Result<(), BackendError>;

    /// Makes every earlier commit durable.
    ///
    /// # Errors
    /// [`BackendError`]: whether they are durable is unknown.
    fn sync(&mut self) -> Result<(), BackendError>;

    /// The free space of the disk.
    fn room(&self) -> Room;

    /// Whether damage was found that only healing can repair.
    fn is_hurt(&self) -> bool {
        false
    }

    /// Begins to heal damage, or returns the state of healing.
    fn heal(&mut self) -> Heal {
        Heal::Whole
    }

    /// The approximate usage. May read the size of every file.
    fn usage(&self) -> Usage;
}

/// A source of rows in order.
pub(crate) trait Ranges {
    /// The rows in `from..=to`, ascending.
    fn rows(&self, from: &[u8], to: &[u8]) -> RowIter<'_>;
}

impl<B: Backend> Ranges for B {
    fn rows(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        self.range(from, to)
    }
}
