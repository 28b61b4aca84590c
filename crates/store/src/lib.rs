//! Records and blobs on disk: crash-safe and bounded.
//!
//! [`RecordStore`] executes the core's [`StorageOp`](potluck_record::StorageOp)s in batches: one atomic
//! commit and one sync for each batch, and then the replies. The record logic is written once for the trait
//! [`Backend`]. [`DiskStore`] runs it on an LSM tree ([`DiskBackend`]), [`MemoryStore`] on a map
//! ([`MemoryBackend`]) that can lose its unsynced writes as in a crash.
//!
//! [`BlobStore`](blobs::BlobStore) keeps byte sequences that are too large for records: files that were
//! imported, or fetched granule by granule. It verifies every byte against the blob's id before it returns
//! it. Its files are described in [`blobs`].
//!
//! # Layout
//! A data folder holds `lock` (held while the record store is open), `records/` (the engine's files)
//! and `blobs/` (an index, a folder for each blob that needs one, and a `lock` of the blob store).
//!
//! The records are one ordered map of byte keys. The first byte is the kind of a row. Numbers are big-endian.
//!
//! | row | value |
//! |---|---|
//! | `c` hash (16) | the signed certificate of a writer |
//! | `f` | reserved: an index of fingerprints |
//! | `h` key | summary of a key held as replica: digest (16), writers (u16), flags (1: internal), bytes (u64)
//! |
//! | `m` name | `format` (u32), `network` (32 bytes), `names` (present when `n` is complete), `ledger`
//! (counters and the first expiry) |
//! | `n` space (1: own, with the owner's key, 2: commons) name | empty: the names held as replica, in order |
//! | `o` key | the envelope this node wrote |
//! | `r` key writer | one writer's envelope, held as replica |
//! | `w` writer | the usage of a writer as replica: envelopes (u64), their bytes (u64) |
//! | `x` expiry (u64) place key writer | empty: the envelopes in the order of their expiry |
//!
//! **Invariants:** a reply to a change of records means that the change is durable; `h`, `w`, `x` and the
//! ledger change in the same batch as the envelopes that they describe; a folder belongs to one network; no
//! byte of a blob is returned unverified; no content of the disk causes a panic; after a disk error no
//! further change of records is acknowledged.

mod backend;
pub mod blobs;
mod certificates;
mod config;
mod disk;
mod engine_files;
mod error;
mod expiry;
mod fingerprints;
mod folder;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heal;
mod ledger;
mod memory;
mod mend;
mod names;
mod own;
mod quota;
mod records;
mod rows;
mod salvage;
mod shadow;
mod store;
mod txn;
mod verify;

pub use backend::{Backend, BackendError, Changes, Durability, Heal, Healed, Room, RowIter, Usage};
pub use config::{Quotas, StoreConfig, SyncMode};
pub use disk::DiskBackend;
pub use error::OpenError;
pub use folder::FolderLock;
pub use memory::MemoryBackend;
pub use store::{DiskStore, MemoryStore, RecordStore, StoreStats};
pub use verify::{
    Finding, Findings, Progress, VerifiedRecords, VerifyOptions, Wrong, verify_records,
};
