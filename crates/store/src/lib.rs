//! Records and blobs on disk: crash-safe and bounded.
//!
//! [`RecordStore`] carries out the core's [`StorageOp`](potluck_record::StorageOp)s in batches: one
//! atomic commit and one sync a batch, and only then the replies. The record logic is written once
//! on top of a small [`Backend`]; [`DiskStore`] runs it on an LSM tree ([`DiskBackend`]),
//! [`MemoryStore`] on a map ([`MemoryBackend`]) that can lose its unsynced writes as a crash does.
//!
//! [`BlobStore`](blobs::BlobStore) keeps the bytes that records are too small for: files as they are
//! imported, fetched granule by granule and handed out, each byte verified against the blob's name.
//! Its files are described in [`blobs`].
//!
//! # Layout
//! A data folder holds `lock` (held while the record store is open), `records/` (the engine's files)
//! and `blobs/` (an index, a folder for each blob that needs one, and a `lock` of the blob store).
//!
//! Records are one ordered space of byte keys; the first byte says what a row is. Numbers are big
//! endian.
//!
//! | row | value |
//! |---|---|
//! | `c` hash (16) | the signed certificate of a writer |
//! | `f` | reserved: an index of fingerprints |
//! | `h` key | summary of a key held as replica: digest (16), writers (u16), flags (1: internal), bytes (u64) |
//! | `m` name | `format` (u32), `network` (32 bytes), `names` (that `n` is complete), `ledger` (counters and the first expiry) |
//! | `n` space (1: own, with the owner's key, 2: commons) name | nothing: the names held as replica, in order |
//! | `o` key | the envelope this node wrote |
//! | `r` key writer | one writer's envelope, held as replica |
//! | `w` writer | what a writer has as replica: envelopes (u64), their bytes (u64) |
//! | `x` expiry (u64) place key writer | nothing: the envelopes in order of their end of life |
//!
//! **Invariants:** an answer to a change of records means that it is durable; `h`, `w`, `x` and the ledger
//! change in the same batch as the envelopes they describe; a folder belongs to one network; no byte of
//! a blob is handed out unverified; nothing that is on disk makes this panic; after a disk error no
//! change of records is acknowledged any more.

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
