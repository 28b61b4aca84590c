//! The backend of the simulator: a map that can lose its unsynced writes.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::backend::{Backend, BackendError, Changes, Durability, Room, RowIter, Usage};

/// Rows in memory. A commit that is not synced is lost by [`crash`](Self::crash).
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    rows: BTreeMap<Vec<u8>, Bytes>,
    /// The rows changed since the last sync, with their values at that time. A crash restores them.
    undo: Changes,
    bytes: u64,
}

impl MemoryBackend {
    /// An empty backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything since the last synced commit, as a loss of power does.
    pub fn crash(&mut self) {
        for (row, value) in std::mem::take(&mut self.undo) {
            self.set(row, value);
        }
    }

    /// Damages the rows of `from..=to` permanently, like a disk that returns wrong bytes: flips one bit of
    /// each. Returns the number of rows.
    pub(crate) fn damage(&mut self, from: &[u8], to: &[u8]) -> usize {
        let spoiled: Vec<(Vec<u8>, Bytes)> = self
            .rows
            .range(from.to_vec()..=to.to_vec())
            .filter(|(_, value)| !value.is_empty())
            .map(|(row, value)| {
                let mut value = value.to_vec();
                let middle = value.len() / 2;
                value[middle] ^= 0x10;
                (row.clone(), value.into())
            })
            .collect();
        let count = spoiled.len();
        for (row, value) in spoiled {
            // The copy that a crash would restore is on the same disk.
            self.undo.remove(&row);
            self.set(row, Some(value));
        }
        count
    }

    /// Changes a row and returns its old value.
    fn set(&mut self, row: Vec<u8>, value: Option<Bytes>) -> Option<Bytes> {
        let row_bytes = row.len();
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, |v| row_bytes + v.len()) as u64;
        self.bytes += size(&value);
        let before = match value {
            Some(value) => self.rows.insert(row, value),
            None => self.rows.remove(&row),
        };
        self.bytes -= size(&before);
        before
    }
}

impl Backend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.rows.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        let rows = self.rows.range(from.to_vec()..=to.to_vec());
        Box::new(rows.map(|(row, value)| Ok((Bytes::copy_from_slice(row), value.clone()))))
    }

    fn commit(&mut self, changes: Changes, durability: Durability) -> Result<(), BackendError> {
        for (row, value) in changes {
            let before = self.set(row.clone(), value);
            self.undo.entry(row).or_insert(before);
        }
        match durability {
            Durability::Buffered => Ok(()),
            Durability::Synced => self.sync(),
        }
    }

    fn sync(&mut self) -> Result<(), BackendError> {
        self.undo.clear();
        Ok(())
    }

    fn room(&self) -> Room {
        Room::Plenty
    }

    fn usage(&self) -> Usage {
        Usage { disk_bytes: 0, memory_bytes: self.bytes }
    }
}
