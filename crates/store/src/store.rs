//! The record store: executes a batch of operations, commits once, and then returns the replies.

use std::path::Path;

use bytes::Bytes;
use potluck_base::{Key, NetworkId, NodeId, UnixMillis};
use potluck_record::{Envelope, Place, StorageFailure, StorageOp, StorageReply};

use crate::backend::{Backend, BackendError, Changes, Durability, Heal, Healed, Room, Usage};
use crate::config::{Quotas, StoreConfig, SyncMode};
use crate::disk::DiskBackend;
use crate::error::OpenError;
use crate::fingerprints::{FingerprintIndex, KeyChange};
use crate::folder::FolderLock;
use crate::ledger::Ledger;
use crate::memory::MemoryBackend;
use crate::names;
use crate::quota::{KNOWN_MAX, KnownShares, Limits};
use crate::records::{execute, summaries};
use crate::rows::{self, ExpiryEntry};
use crate::txn::{Fault, Txn};

/// The format of rows that this version reads and writes. Format 1 held envelopes of version 1.
const FORMAT: u32 = 2;
const META_FORMAT: &str = "format";
const META_NETWORK: &str = "network";
/// Present when the index of names is complete. A folder of an earlier version does not have it.
const META_NAMES: &str = "names";
pub(crate) const META_LEDGER: &str = "ledger";
/// Own envelopes that are removed in one commit. All of them are in memory at once, at most 40 MiB. Raising
/// it makes fewer commits.
const FORGOTTEN_AT_ONCE: usize = 256;

potluck_base::statistics! {
    /// The contents of a store and its counters.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct StoreStats in "store" {
        /// Keys held as replica, without internal ones.
        gauge records: u64,
        /// Internal keys held as replica: provider records.
        gauge internal_records: u64,
        /// Envelopes held as replica.
        gauge envelopes: u64,
        /// Envelopes that this node wrote.
        gauge own: u64,
        /// Bytes of all envelopes.
        gauge(Bytes) record_bytes: u64,
        /// Bytes of all rows. The limit disk_bytes applies to them.
        gauge(Bytes) row_bytes: u64,
        /// Bytes of disk that the files take.
        gauge(Bytes) disk_bytes: u64,
        /// Bytes of memory in the cache and the write buffers.
        gauge(Bytes) memory_bytes: u64,
        /// Writers with envelopes held as replica.
        gauge members: u64,
        /// Bytes of the writer that has the most here.
        gauge(Bytes) member_bytes_max: u64,
        /// Keys displaced by others since the start, because the store was full.
        counter displaced: u64,
        /// Envelopes refused since the start because of their writer's quota.
        counter quota_refused: u64,
        /// Damaged rows found since the start.
        counter corrupt_rows: u64,
        /// Times that all rows were written anew after damage since the start.
        counter healed: u64,
        /// Commits since the start.
        counter commits: u64,
        /// Operations since the start.
        counter ops: u64,
    }
}

/// The records of one node, on a backend. It has one owner; calls block.
pub struct RecordStore<B> {
    backend: B,
    ledger: Ledger,
    index: FingerprintIndex,
    durability: Durability,
    limits: Limits,
    /// The bytes of the writer with the most, as far as known.
    top_member: shares::Largest,
    known_shares: KnownShares,
    displaced: u64,
    quota_refused: u64,
    stopped: Option<String>,
    /// The bytes of all rows when an operation last found no room.
    full_at: Option<u64>,
    /// Whether the rows are being written anew after damage.
    healing: bool,
    healed: u64,
    corrupt_rows: u64,
    commits: u64,
    ops: u64,
}

/// A record store on disk.
pub type DiskStore = RecordStore<DiskBackend>;
/// A record store in memory, for the simulator.
pub type MemoryStore = RecordStore<MemoryBackend>;

impl DiskStore {
    /// Opens the store in `folder` and locks the folder. Creates the store if it does not exist.
    ///
    /// # Errors
    /// [`OpenError`], with a message for users.
    pub fn open(folder: &Path, config: &StoreConfig) -> Result<Self, OpenError> {
        Self::open_locked(FolderLock::acquire(folder)?, config)
    }

    /// Opens the store in a locked folder.
    ///
    /// # Errors
    /// [`OpenError`], with a message for users.
    pub fn open_locked(lock: FolderLock, config: &StoreConfig) -> Result<Self, OpenError> {
        let folder = lock.folder().to_owned();
        let backend = DiskBackend::open(lock, config, &birth_rows(&config.network))?;
        check_meta(&backend, &folder, &config.network)?;
        let durability = match config.sync {
            SyncMode::Data => Durability::Synced,
            SyncMode::Buffered => Durability::Buffered,
        };
        let mut limits = Limits::NONE;
        limits.disk_bytes = config.disk_bytes.unwrap_or(u64::MAX);
        limits.set(&config.quotas);
        Self::load(backend, durability, limits)
            .map_err(|error| OpenError::Damaged { folder, detail: error.to_string() })
    }
}

impl MemoryStore {
    /// An empty store in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::load(MemoryBackend::new(), Durability::Synced, Limits::NONE)
            .expect("a map in memory cannot fail")
    }

    /// A separate store with the same rows, as in a copy of a data folder.
    ///
    /// # Panics
    /// Never: a map in memory cannot fail.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self::load(self.backend.clone(), self.durability, self.limits)
            .expect("a map in memory cannot fail")
    }

    /// Loses all unsynced changes, as in a loss of power and a restart.
    pub fn crash(&mut self) {
        let mut backend = std::mem::take(&mut self.backend);
        backend.crash();
        *self =
            Self::load(backend, self.durability, self.limits).expect("a map in memory cannot fail");
    }

    /// Flips one bit in each envelope of `key` at one place, like silent corruption of a disk. Returns the
    /// number of envelopes.
    pub fn damage(&mut self, key: &Key, place: Place) -> usize {
        let rows = rows::envelope_rows(place, key);
        self.backend.damage(rows.start(), rows.end())
    }
}

#[cfg(feature = "fuzzing")]
impl MemoryStore {
    pub(crate) fn backend_copied(&self) -> MemoryBackend {
        self.backend.clone()
    }

    pub(crate) fn reopened(backend: MemoryBackend) -> Result<Self, BackendError> {
        Self::load(backend, Durability::Synced, Limits::NONE)
    }
}

#[cfg(test)]
impl MemoryStore {
    pub(crate) const fn backend(&self) -> &MemoryBackend {
        &self.backend
    }

    /// Makes the store look like one of a version that did not count the usage of writers.
    pub(crate) fn forget_shares(&mut self) {
        self.ledger.writers = Ledger::UNCOUNTED;
        let ledger = self.ledger.encode()[..48].to_vec();
        let changes = [(rows::meta_row(META_LEDGER), Some(ledger.into()))].into();
        self.backend.commit(changes, Durability::Synced).expect("a map in memory cannot fail");
    }
}

impl<B: Backend> RecordStore<B> {
    fn load(mut backend: B, durability: Durability, limits: Limits) -> Result<Self, BackendError> {
        if backend.get(&rows::meta_row(META_NAMES))?.is_none() {
            names::build(&mut backend)?;
            let complete = Changes::from([(rows::meta_row(META_NAMES), Some(Bytes::new()))]);
            backend.commit(complete, Durability::Buffered)?;
        }
        let mut ledger = ledger_of(&backend)?;
        if ledger.writers == Ledger::UNCOUNTED {
            ledger = shares::count(&mut backend, ledger)?;
        }
        let top_member = shares::largest(&backend)?;
        Ok(Self {
            backend,
            healing: false,
            healed: 0,
            ledger,
            index: FingerprintIndex::default(),
            durability,
            limits,
            top_member,
            known_shares: KnownShares::new(KNOWN_MAX),
            displaced: 0,
            quota_refused: 0,
            stopped: None,
            full_at: None,
            corrupt_rows: 0,
            commits: 0,
            ops: 0,
        })
    }

    /// Executes a batch in order: later operations see the changes of earlier ones. Commits the batch at
    /// once, and then returns the replies, one for each operation.
    pub fn apply(&mut self, ops: &[StorageOp]) -> Vec<StorageReply> {
        self.apply_as(ops, self.durability)
    }

    /// Like [`apply`](Self::apply), but without a sync: the changes are not durable before
    /// [`sync`](Self::sync). For callers that sync several batches at once, and for simulations of such
    /// callers.
    pub fn apply_unsynced(&mut self, ops: &[StorageOp]) -> Vec<StorageReply> {
        self.apply_as(ops, Durability::Buffered)
    }

    fn apply_as(&mut self, ops: &[StorageOp], durability: Durability) -> Vec<StorageReply> {
        self.ops += ops.len() as u64;
        let all = |failure| vec![StorageReply::Failed(failure); ops.len()];
        if self.stopped.is_none() && self.healing {
            self.go_on_healing();
        }
        if self.healing {
            return all(StorageFailure::Healing);
        }
        let outcome = self.try_apply(ops, durability);
        if self.stopped.is_none() && self.backend.is_hurt() {
            self.healing = true;
            self.go_on_healing();
        }
        match outcome {
            Ok(replies) => replies,
            // Whether the batch was written is unknown, as after a crash.
            Err(_) if self.healing => all(StorageFailure::Healing),
            Err(detail) => {
                self.stopped.get_or_insert(detail);
                all(StorageFailure::Stopped)
            }
        }
    }

    /// Begins to heal damage that a batch found, or checks whether healing has ended.
    fn go_on_healing(&mut self) {
        let ended = match self.backend.heal() {
            Heal::UnderWay => return,
            Heal::Whole => Ok(Healed::default()),
            Heal::Done(healed) => Ok(healed),
            Heal::Failed(detail) => Err(detail),
        };
        self.healing = false;
        let reloaded = ended.and_then(|healed| {
            self.ledger = ledger_of(&self.backend).map_err(|error| error.to_string())?;
            self.known_shares = KnownShares::new(KNOWN_MAX);
            self.top_member = shares::largest(&self.backend).map_err(|error| error.to_string())?;
            self.corrupt_rows += healed.damaged_rows;
            self.healed += 1;
            // Fingerprints are summed key by key until the index is built again.
            self.index = FingerprintIndex::default();
            Ok(())
        });
        if let Err(detail) = reloaded {
            self.stopped.get_or_insert(detail);
        }
    }

    /// Whether the rows are being written anew after damage. Operations fail until that has ended.
    #[must_use]
    pub const fn is_healing(&self) -> bool {
        self.healing
    }

    fn try_apply(
        &mut self,
        ops: &[StorageOp],
        durability: Durability,
    ) -> Result<Vec<StorageReply>, String> {
        if let Some(detail) = &self.stopped {
            return Err(detail.clone());
        }
        let merges = ops.iter().any(|op| matches!(op, StorageOp::Merge { .. }));
        let room = if merges { self.backend.room() } else { Room::Plenty };
        let txn = Txn::new(&self.backend, &self.index, self.ledger, room, self.limits);
        let mut txn = txn.knowing(&self.known_shares);
        let mut replies = Vec::with_capacity(ops.len());
        let (mut refused, mut taken_back) = (false, 0);
        for op in ops {
            let before = txn.ledger.row_bytes();
            replies.push(match execute(&mut txn, op) {
                Ok(reply) => reply,
                Err(Fault::Failed(failure)) => {
                    txn.corrupt_rows += u64::from(failure == StorageFailure::Corrupt);
                    refused |= failure == StorageFailure::Full;
                    self.quota_refused += u64::from(failure == StorageFailure::Quota);
                    StorageReply::Failed(failure)
                }
                Err(Fault::Broken(detail)) => return Err(detail),
            });
            if matches!(op, StorageOp::TakeBack { .. }) {
                taken_back += before.saturating_sub(txn.ledger.row_bytes());
            }
        }
        self.corrupt_rows += txn.corrupt_rows;
        self.displaced += txn.displaced;
        let mut shares = Vec::new();
        let (mut changes, ledger, key_changes) = txn.finish(&mut shares);
        if !changes.is_empty() {
            self.top_member.note(&shares);
            changes.insert(rows::meta_row(META_LEDGER), Some(ledger.encode().into()));
            self.backend.commit(changes, durability).map_err(|error| error.to_string())?;
            self.commits += 1;
        }
        self.update_index(ops, &key_changes, &mut replies);
        for (writer, share) in shares {
            self.known_shares.insert(writer, share);
        }
        let grew = ledger.row_bytes() > self.ledger.row_bytes();
        self.ledger = ledger;
        if refused {
            self.full_at = Some(self.ledger.row_bytes());
        } else if grew {
            self.full_at = None;
        }
        // Rows of refused operations that were rolled back make no room for others.
        self.full_at = self.full_at.map(|bytes| bytes.saturating_sub(taken_back));
        Ok(replies)
    }

    /// Applies the committed changes to the index of fingerprints, and executes the operations that build it,
    /// which read committed rows.
    fn update_index(
        &mut self,
        ops: &[StorageOp],
        changes: &[KeyChange],
        replies: &mut [StorageReply],
    ) {
        let none = FingerprintIndex::default();
        let rows = Txn::new(&self.backend, &none, self.ledger, Room::Plenty, self.limits);
        if !changes.is_empty() {
            self.index.commit(changes, &rows);
        }
        for (op, reply) in ops.iter().zip(replies) {
            if let StorageOp::Index { limit } = op {
                *reply = self.index.build(&rows, *limit);
            }
        }
    }

    /// Removes the envelopes that this node wrote, durably, and returns their number. For a node with a new
    /// identity, whose writes do not continue those of the old one. Replicas stay.
    ///
    /// # Errors
    /// The store stopped. Some envelopes may be removed already; the next call removes the others.
    pub fn forget_own(&mut self) -> Result<u64, StorageFailure> {
        let mut count = 0;
        loop {
            match self.forget_some_own()? {
                0 => return Ok(count),
                some => count += some,
            }
        }
    }

    fn forget_some_own(&mut self) -> Result<u64, StorageFailure> {
        let (backend, index) = (&self.backend, &self.index);
        let mut txn = Txn::new(backend, index, self.ledger, Room::Plenty, self.limits);
        let found: Result<Vec<_>, Fault> =
            txn.range(rows::own_rows()).take(FORGOTTEN_AT_ONCE).collect();
        let found = found.map_err(|_| StorageFailure::Corrupt)?;
        let count = found.len() as u64;
        for (row, value) in found {
            if let Ok(envelope) = Envelope::decode(&value) {
                txn.unindex(&ExpiryEntry::of(Place::Own, envelope.head()));
            }
            txn.ledger.subtract_own(value.len());
            txn.delete(row.to_vec());
        }
        let (mut changes, ledger, _) = txn.finish(&mut Vec::new());
        changes.insert(rows::meta_row(META_LEDGER), Some(ledger.encode().into()));
        if let Err(error) = self.backend.commit(changes, Durability::Synced) {
            self.stopped.get_or_insert(error.to_string());
            return Err(StorageFailure::Stopped);
        }
        self.ledger = ledger;
        Ok(count)
    }

    /// Whether the store is full: the disk has little free space, or the store's own limit refused the last
    /// record that would have grown it, and nothing else was removed since.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let at_limit = self.full_at.is_some_and(|bytes| self.ledger.row_bytes() >= bytes);
        self.backend.room() != Room::Plenty || (at_limit && self.limits.is_bounded())
    }

    /// Makes all applied changes durable. Returns whether it succeeded. If not, the store has stopped.
    pub fn sync(&mut self) -> bool {
        if self.stopped.is_none()
            && let Err(error) = self.backend.sync()
        {
            self.stopped = Some(error.to_string());
        }
        self.stopped.is_none()
    }

    /// The reason if the store stopped after a disk error. All operations fail until it is opened again.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The time of the next [`StorageOp::Expire`]. Nothing expires before it, and most likely something
    /// expires then.
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        (self.ledger.first_expiry != u64::MAX).then_some(UnixMillis(self.ledger.first_expiry))
    }

    /// Changes the limit for the bytes of rows. Rows above a lower limit stay.
    pub fn set_disk_bytes(&mut self, disk_bytes: Option<u64>) {
        self.limits.disk_bytes = disk_bytes.unwrap_or(u64::MAX);
    }

    /// Changes the other limits. Rows above a lower limit stay.
    pub fn set_quotas(&mut self, quotas: &Quotas) {
        self.limits.set(quotas);
    }

    /// Sets the position of this node. From now on a full store displaces records that are farther from it
    /// than the incoming ones.
    pub fn set_center(&mut self, me: NodeId) {
        self.limits.center = Some(Key::from_bytes(*me.as_bytes()));
    }

    /// The contents of the store and its counters. Reads the size of every file.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let Usage { disk_bytes, memory_bytes } = self.backend.usage();
        self.counted(&StoreStats { disk_bytes, memory_bytes, ..StoreStats::default() })
    }

    /// The same without reading the sizes of files: the disk usage is copied from `before`.
    #[must_use]
    pub fn counted(&self, before: &StoreStats) -> StoreStats {
        StoreStats {
            records: self.ledger.records,
            internal_records: self.ledger.internal_records,
            envelopes: self.ledger.envelopes,
            own: self.ledger.own,
            record_bytes: self.ledger.record_bytes,
            row_bytes: self.ledger.row_bytes(),
            disk_bytes: before.disk_bytes,
            memory_bytes: before.memory_bytes,
            members: self.ledger.writers,
            member_bytes_max: self.top_member.bytes(),
            displaced: self.displaced,
            quota_refused: self.quota_refused,
            corrupt_rows: self.corrupt_rows,
            healed: self.healed,
            commits: self.commits,
            ops: self.ops,
        }
    }

    /// Counts all rows again and compares the result with the counters. A check for tests and `doctor`
    /// commands, which reads every row of the index.
    ///
    /// # Errors
    /// [`BackendError`] if a row cannot be read.
    pub fn counters_hold(&self) -> Result<bool, BackendError> {
        let counted = recount(&self.backend)?;
        // The stored first expiry may be too early, because it is not updated at every change.
        let first_expiry = self.ledger.first_expiry;
        Ok(first_expiry <= counted.first_expiry
            && Ledger { first_expiry, ..counted } == self.ledger)
    }
}

/// The counters that were written with the last batch.
fn ledger_of<B: Backend>(backend: &B) -> Result<Ledger, BackendError> {
    let row = backend.get(&rows::meta_row(META_LEDGER))?;
    row.as_deref().and_then(Ledger::decode).map_or_else(|| recount(backend), Ok)
}

/// The counters, computed from the rows.
fn recount<B: Backend>(backend: &B) -> Result<Ledger, BackendError> {
    let failed = |fault| match fault {
        Fault::Failed(failure) => BackendError::Corrupt(failure.to_string()),
        Fault::Broken(detail) => BackendError::Broken(detail),
    };
    let index = FingerprintIndex::default();
    let txn = Txn::new(backend, &index, Ledger::default(), Room::Plenty, Limits::NONE);
    let mut ledger = Ledger::default();
    let (first, last) = (Key::from_bytes([0; 32]), Key::from_bytes([0xff; 32]));
    for entry in summaries(&txn, &first, &last) {
        ledger.add(&entry.map_err(failed)?.1);
    }
    for row in txn.range(rows::own_rows()) {
        ledger.add_own(row.map_err(failed)?.1.len());
    }
    for row in txn.range(rows::share_rows()) {
        row.map_err(failed)?;
        ledger.writers += 1;
    }
    let earliest = txn.range(ExpiryEntry::rows_from(0)).next().transpose().map_err(failed)?;
    if let Some(entry) = earliest.and_then(|(row, _)| ExpiryEntry::decode(&row)) {
        ledger.first_expiry = entry.expires.0;
    }
    Ok(ledger)
}

/// The rows that every store on disk has from its creation.
fn birth_rows(network: &NetworkId) -> Changes {
    [(META_FORMAT, FORMAT.to_be_bytes().to_vec()), (META_NETWORK, network.as_bytes().to_vec())]
        .into_iter()
        .map(|(name, value)| (rows::meta_row(name), Some(value.into())))
        .collect()
}

pub(crate) fn check_meta(
    backend: &DiskBackend,
    folder: &Path,
    network: &NetworkId,
) -> Result<(), OpenError> {
    let damaged =
        |detail: &str| OpenError::Damaged { folder: folder.to_owned(), detail: detail.to_owned() };
    let read = |name| backend.get(&rows::meta_row(name)).map_err(|e| damaged(&e.to_string()));
    let format = read(META_FORMAT)?.and_then(|value| Some(value.first_chunk::<4>()?.to_owned()));
    let found = u32::from_be_bytes(format.ok_or_else(|| damaged("no format row"))?);
    if found < FORMAT {
        return Err(OpenError::OlderFormat { found, known: FORMAT });
    }
    if found > FORMAT {
        return Err(OpenError::NewerFormat { found, known: FORMAT });
    }
    match read(META_NETWORK)? {
        None => Err(damaged("no network row")),
        Some(owner) if owner[..] == network.as_bytes()[..] => Ok(()),
        Some(_) => Err(OpenError::OtherNetwork { folder: folder.to_owned() }),
    }
}

mod shares;

#[cfg(test)]
mod tests;
