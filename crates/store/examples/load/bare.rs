//! The storage engine alone, with the same rows and the same memory: what the record logic costs beside it.

use std::path::Path;

use fjall::config::{PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use potluck_record::StorageOp;

use crate::Failure;

/// Bytes of a summary's value, and of the counters that are written in each batch.
const SUMMARY_BYTES: usize = 27;
const LEDGER_BYTES: usize = 48;

/// A row to write.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// The engine with one keyspace.
pub(crate) struct Bare {
    rows: Keyspace,
    database: Database,
}

impl Bare {
    pub(crate) fn open(folder: &Path, memory_bytes: u64) -> Result<Self, Failure> {
        let database = Database::builder(folder)
            .cache_size(memory_bytes / 4)
            .worker_threads(2)
            .max_journaling_size(128 << 20)
            .open()?;
        let rows = database.keyspace("rows", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memory_bytes / 8)
                .filter_block_partitioning_policy(PartitioningPolicy::all(true))
                .index_block_partitioning_policy(PartitioningPolicy::all(true))
                .filter_block_pinning_policy(PinningPolicy::all(false))
                .index_block_pinning_policy(PinningPolicy::all(false))
        })?;
        Ok(Self { rows, database })
    }

    pub(crate) fn commit(&mut self, rows: Vec<Row>) -> Result<(), Failure> {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), rows.len())
            .durability(Some(PersistMode::SyncData));
        for (row, value) in rows {
            batch.insert(&self.rows, row, value);
        }
        Ok(batch.commit()?)
    }
}

/// The rows that a store writes for these merges.
pub(crate) fn rows(ops: &[StorageOp]) -> Vec<Row> {
    let mut rows = vec![(b"mledger".to_vec(), vec![0; LEDGER_BYTES])];
    for op in ops {
        let StorageOp::Merge { envelope, .. } = op else { continue };
        let head = envelope.head();
        let (key, writer) = (*head.key().as_bytes(), *head.writer().as_bytes());
        let expires = head.expires().0.to_be_bytes();
        rows.push(([b"h", &key[..]].concat(), vec![0x5a; SUMMARY_BYTES]));
        rows.push(([b"r", &key[..], &writer].concat(), envelope.encode().to_vec()));
        rows.push(([b"x", &expires[..], &[0], &key, &writer].concat(), Vec::new()));
    }
    rows
}
