//! The backend of a real node: one keyspace of an LSM tree (`fjall`).
//!
//! Properties of the engine, known from its sources and by tests:
//! - After any write error, also on a full disk, it refuses all further writes. So the free space is checked
//!   before a batch ([`Room`]), and any error stops the store.
//! - When it waits for write buffers to be flushed, it does not notice that the flushing thread died. So this
//!   backend waits before a commit and checks the threads.
//! - The size of write buffers is fixed when a keyspace is created. So this backend seals them itself.
//! - A kill while it creates its folder leaves the folder unusable. So the folder is created under another
//!   name and renamed.
//! - It trusts its manifests and deletes files that a damaged manifest does not name. So the manifests are
//!   checked first.
//! - It panics on some other damage. So panics are caught and become errors.
//! - A block with a wrong checksum stays for ever: each read of it fails, and so does the first compaction
//!   that reads it, after which no more writes are possible. So damage is healed by writing the readable
//!   rows into a new folder ([`crate::heal`]).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fjall::config::{PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use crate::backend::{
    Backend, BackendError, Changes, Durability, Heal, Ranges, Room, RowIter, Usage,
};
use crate::config::{Budget, SEALED_MAX, StoreConfig};
use crate::engine_files;
use crate::error::OpenError;
use crate::folder::FolderLock;
use crate::heal::{self, Healing};

/// The engine's folder inside the data folder.
pub(crate) const RECORDS: &str = "records";
/// The folder in which the engine is created. Remains of a kill in it are never read.
pub(crate) const RECORDS_NEW: &str = "records.new";
const KEYSPACE: &str = "rows";

/// Memory of the engine for a copy that is read once completely.
const COPY_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that a row takes in a write buffer besides its own: allocations, list node, handles.
pub(crate) const ROW_OVERHEAD: u64 = 160;
/// Tables on the first level at which commits wait for compaction. The engine itself stops writes at 30.
pub(crate) const L0_TABLES_MAX: usize = 20;
/// Most disk space that is reserved for rewriting tables, besides the fixed reserve. The reserve is a quarter
/// of all tables, up to this.
const REWRITE_RESERVE_MAX: u64 = 1024 * 1024 * 1024;
/// Time between two checks of a wait; and the number of checks after which a commit no longer waits for
/// compaction.
pub(crate) const POLL: Duration = Duration::from_millis(1);
pub(crate) const COMPACTION_POLLS_MAX: u32 = 5_000;

/// The open engine.
pub(crate) struct Engine {
    // Fields are dropped in this order.
    pub(crate) rows: Keyspace,
    pub(crate) database: Database,
}

impl Engine {
    /// A batch of these changes, and the bytes that it takes in a write buffer.
    fn batch(&self, changes: Changes, mode: PersistMode) -> (OwnedWriteBatch, u64) {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), changes.len())
            .durability(Some(mode));
        let mut buffered = 0;
        for (row, value) in changes {
            let bytes = row.len() + value.as_ref().map_or(0, Bytes::len);
            buffered += bytes as u64 + ROW_OVERHEAD;
            match value {
                Some(value) => batch.insert(&self.rows, row, value),
                None => batch.remove(&self.rows, row),
            }
        }
        (batch, buffered)
    }

    /// Writes rows into an engine that has no other user. The engine seals its write buffers itself.
    pub(crate) fn fill(&self, changes: Changes) -> Result<(), BackendError> {
        let (batch, _) = self.batch(changes, PersistMode::Buffer);
        while self.rows.sealed_memtable_count() > SEALED_MAX
            || self.rows.l0_table_count() >= L0_TABLES_MAX
        {
            // Fails if a worker thread of the engine died.
            self.database.persist(PersistMode::Buffer).map_err(translate)?;
            std::thread::sleep(POLL);
        }
        guarded(|| batch.commit().map_err(translate))
    }

    /// Makes all earlier writes durable.
    pub(crate) fn sync(&self) -> Result<(), BackendError> {
        guarded(|| self.database.persist(PersistMode::SyncAll).map_err(translate))
    }
}

impl Ranges for Engine {
    fn rows(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        let mut rows = match guarded(|| Ok(self.rows.range(from..=to))) {
            Ok(rows) => rows,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        // After an error the state of the engine's iterator is unknown, so this iterator ends.
        let mut failed = false;
        Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let row = guarded(|| {
                let row = rows.next().map(fjall::Guard::into_inner).transpose();
                Ok(row.map_err(translate)?.map(|(row, value)| (row.into(), value.into())))
            });
            failed = row.is_err();
            row.transpose()
        }))
    }
}

/// Rows on disk.
pub struct DiskBackend {
    // Fields are dropped in this order: the lock last.
    /// `None` while the rows are written anew.
    engine: Option<Engine>,
    healing: Option<Healing>,
    budget: Budget,
    /// The approximate bytes in the active write buffer.
    unsealed_bytes: u64,
    reserve_bytes: u64,
    /// Damage that the engine reported and that only healing can repair.
    hurt: Hurt,
    lock: FolderLock,
}

/// Records damage that a read or a write found.
#[derive(Debug, Default)]
struct Hurt {
    damaged: AtomicBool,
    refuses_writes: AtomicBool,
}

impl Hurt {
    fn note<T>(&self, outcome: Result<T, BackendError>) -> Result<T, BackendError> {
        if matches!(outcome, Err(BackendError::Corrupt(_))) {
            self.damaged.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl DiskBackend {
    /// Opens the engine in the folder of `lock`. If it is new, creates it with the rows `birth`.
    pub(crate) fn open(
        lock: FolderLock,
        config: &StoreConfig,
        birth: &Changes,
    ) -> Result<Self, OpenError> {
        let folder = lock.folder().to_owned();
        let budget = Budget::of(config.memory_bytes);
        let path = folder.join(RECORDS);
        heal::settle(&folder).map_err(|source| io_error(&folder, source))?;
        if !path.try_exists().map_err(|source| io_error(&folder, source))? {
            create(&folder, &folder.join(RECORDS_NEW), &path, birth)?;
        }
        engine_files::check(&path)
            .map_err(|source| io_error(&folder, source))?
            .map_err(|detail| OpenError::Damaged { folder: path.clone(), detail })?;
        let (database, rows) = match caught(|| open_engine(&path, &budget)) {
            Some(opened) => opened.map_err(|error| refusal(&folder, error))?,
            None => {
                let detail = "the storage engine cannot make sense of them".to_owned();
                return Err(OpenError::Damaged { folder: path, detail });
            }
        };
        let mut backend = Self {
            unsealed_bytes: database.write_buffer_size(),
            engine: Some(Engine { rows, database }),
            healing: None,
            budget,
            reserve_bytes: config.reserve_bytes,
            hurt: Hurt::default(),
            lock,
        };
        backend.seal_if_full().map_err(|error| OpenError::Damaged {
            folder: folder.join(RECORDS),
            detail: error.to_string(),
        })?;
        Ok(backend)
    }

    /// Opens a copy of the engine's folder for reading: nothing is compacted or flushed.
    pub(crate) fn open_copy(lock: FolderLock, path: &Path) -> Result<Self, OpenError> {
        let budget = Budget { workers: 0, ..Budget::of(COPY_MEMORY_BYTES) };
        let damaged = |detail| OpenError::Damaged { folder: lock.folder().join(RECORDS), detail };
        engine_files::check(path)
            .map_err(|source| io_error(lock.folder(), source))?
            .map_err(damaged)?;
        let opened = caught(|| open_engine(path, &budget));
        let opened = opened
            .ok_or_else(|| damaged("the storage engine cannot make sense of them".to_owned()))?;
        let (database, rows) = opened.map_err(|error| refusal(lock.folder(), error))?;
        Ok(Self {
            engine: Some(Engine { rows, database }),
            healing: None,
            budget,
            unsealed_bytes: 0,
            reserve_bytes: 0,
            hurt: Hurt::default(),
            lock,
        })
    }

    /// The lock of the folder. A caller may keep a clone of it after this backend is closed.
    pub(crate) const fn lock(&self) -> &FolderLock {
        &self.lock
    }

    fn engine(&self) -> Result<&Engine, BackendError> {
        let healing = || BackendError::Broken("the rows are being written anew".to_owned());
        self.engine.as_ref().ok_or_else(healing)
    }

    /// Waits until few write buffers and tables are unfinished. This bounds memory, and avoids the engine's
    /// own wait, which would not notice that its worker threads died.
    fn wait_for_workers(&self) -> Result<(), BackendError> {
        let engine = self.engine()?;
        let mut polls = 0;
        loop {
            let flushing = engine.rows.sealed_memtable_count() > SEALED_MAX;
            let compacting = engine.rows.l0_table_count() >= L0_TABLES_MAX;
            if !flushing && (!compacting || polls >= COMPACTION_POLLS_MAX) {
                return Ok(());
            }
            // Fails if a worker thread of the engine died.
            self.written(engine.database.persist(PersistMode::Buffer))?;
            std::thread::sleep(POLL);
            polls += 1;
        }
    }

    fn seal_if_full(&mut self) -> Result<(), BackendError> {
        if self.unsealed_bytes >= self.budget.memtable_bytes {
            let engine = self.engine()?;
            guarded(|| self.written(engine.rows.rotate_memtable()))?;
            self.unsealed_bytes = 0;
        }
        Ok(())
    }

    /// Records whether the engine refuses all writes, as it does after a compaction that read a damaged
    /// block.
    fn written<T>(&self, outcome: fjall::Result<T>) -> Result<T, BackendError> {
        if matches!(outcome, Err(fjall::Error::Poisoned)) {
            self.hurt.refuses_writes.store(true, Ordering::Relaxed);
        }
        self.hurt.note(outcome.map_err(translate))
    }

    fn reopen(&mut self) -> Result<(), String> {
        let path = self.lock.folder().join(RECORDS);
        let (database, rows) = caught(|| open_engine(&path, &self.budget))
            .ok_or_else(|| "the storage engine gave up".to_owned())?
            .map_err(|error| describe(&error))?;
        self.unsealed_bytes = database.write_buffer_size();
        self.engine = Some(Engine { rows, database });
        self.hurt = Hurt::default();
        Ok(())
    }
}

impl Drop for DiskBackend {
    fn drop(&mut self) {
        // The folder stays locked until the healing thread has stopped writing in it.
        if let Some(healing) = self.healing.take() {
            healing.stop();
        }
    }
}

impl Backend for DiskBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        let engine = self.engine()?;
        let found = guarded(|| Ok(engine.rows.get(key).map_err(translate)?.map(Bytes::from)));
        self.hurt.note(found)
    }

    fn range(&self, from: &[u8], to: &[u8]) -> RowIter<'_> {
        match self.engine() {
            Ok(engine) => Box::new(engine.rows(from, to).map(|row| self.hurt.note(row))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn commit(&mut self, changes: Changes, durability: Durability) -> Result<(), BackendError> {
        self.wait_for_workers()?;
        let engine = self.engine()?;
        let mode = match durability {
            Durability::Buffered => PersistMode::Buffer,
            Durability::Synced => PersistMode::SyncData,
        };
        let (batch, bytes) = engine.batch(changes, mode);
        guarded(|| self.written(batch.commit()))?;
        self.unsealed_bytes += bytes;
        self.seal_if_full()
    }

    fn sync(&mut self) -> Result<(), BackendError> {
        let engine = self.engine()?;
        guarded(|| self.written(engine.database.persist(PersistMode::SyncData)))
    }

    fn room(&self) -> Room {
        // If the file system cannot report its free space, it is taken to have room; a full disk then shows
        // as an error of a write.
        let free = fs4::available_space(self.lock.folder()).unwrap_or(u64::MAX);
        let tables = self.engine.as_ref().map_or(0, |engine| engine.rows.disk_space());
        let rewriting = (tables / 4).min(REWRITE_RESERVE_MAX);
        let reserve = self.reserve_bytes.saturating_add(rewriting);
        if free < reserve / 4 {
            Room::None
        } else if free < reserve {
            Room::Scarce
        } else {
            Room::Plenty
        }
    }

    fn usage(&self) -> Usage {
        let memory =
            |engine: &Engine| engine.database.cache_size() + engine.database.write_buffer_size();
        Usage {
            disk_bytes: engine_files::bytes(&self.lock.folder().join(RECORDS)),
            memory_bytes: self.engine.as_ref().map_or(0, memory),
        }
    }

    fn is_hurt(&self) -> bool {
        self.hurt.damaged.load(Ordering::Relaxed)
            || self.hurt.refuses_writes.load(Ordering::Relaxed)
    }

    fn heal(&mut self) -> Heal {
        if let Some(healing) = self.healing.take() {
            return match healing.outcome() {
                Err(healing) => {
                    self.healing = Some(healing);
                    Heal::UnderWay
                }
                Ok(Ok(report)) => match self.reopen() {
                    Ok(()) => Heal::Done(report),
                    Err(detail) => Heal::Failed(detail),
                },
                Ok(Err(detail)) => Heal::Failed(detail),
            };
        }
        if !self.is_hurt() {
            return Heal::Whole;
        }
        let Some(engine) = self.engine.take() else { return Heal::Whole };
        let damaged = self.hurt.damaged.load(Ordering::Relaxed);
        match Healing::start(engine, self.lock.folder(), damaged) {
            Ok(healing) => {
                self.healing = Some(healing);
                Heal::UnderWay
            }
            Err(error) => Heal::Failed(error.to_string()),
        }
    }
}

pub(crate) fn open_engine(path: &Path, budget: &Budget) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .cache_size(budget.cache_bytes)
        // Zero for a copy that is only read; the checked variant of this method refuses zero.
        .worker_threads_unchecked(budget.workers)
        .max_cached_files(Some(budget.open_files))
        .max_journaling_size(128 * 1024 * 1024)
        .open()?;
    let options = || {
        KeyspaceCreateOptions::default()
            // This backend seals write buffers itself; this limit applies only if it does not.
            .max_memtable_size(64 * 1024 * 1024)
            // Filters are partitioned and cached, so that the cache size bounds them too.
            .filter_block_partitioning_policy(PartitioningPolicy::all(true))
            .index_block_partitioning_policy(PartitioningPolicy::all(true))
            .filter_block_pinning_policy(PinningPolicy::all(false))
            .index_block_pinning_policy(PinningPolicy::all(false))
    };
    let rows = database.keyspace(KEYSPACE, options)?;
    Ok((database, rows))
}

/// Why the engine did not open, as a message.
fn refusal(folder: &Path, error: fjall::Error) -> OpenError {
    use fjall::{Error, LsmError};
    use std::io::ErrorKind;
    match error {
        Error::Locked => OpenError::Locked { folder: folder.to_owned() },
        Error::Io(source) | Error::Storage(LsmError::Io(source))
            if !matches!(
                source.kind(),
                // The errors that a truncated or missing file gives.
                ErrorKind::UnexpectedEof | ErrorKind::NotFound | ErrorKind::InvalidInput
            ) =>
        {
            io_error(folder, source)
        }
        error => OpenError::Damaged { folder: folder.join(RECORDS), detail: describe(&error) },
    }
}

/// Creates the engine's folder with its first rows under another name, and renames it.
pub(crate) fn create(
    folder: &Path,
    aside: &Path,
    path: &Path,
    birth: &Changes,
) -> Result<(), OpenError> {
    let failed = |source| io_error(folder, source);
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    guarded(|| {
        let (database, rows) = open_engine(aside, &Budget::of(0)).map_err(translate)?;
        let mut batch = OwnedWriteBatch::with_capacity(database, birth.len())
            .durability(Some(PersistMode::SyncAll));
        for (row, value) in birth {
            batch.insert(&rows, row.clone(), value.clone().unwrap_or_default());
        }
        batch.commit().map_err(translate)
    })
    .map_err(|error| failed(std::io::Error::other(error)))?;
    std::fs::rename(aside, path).map_err(failed)?;
    engine_files::sync_folder(folder).map_err(failed)
}

fn io_error(folder: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io { folder: folder.to_owned(), source }
}

/// Calls the engine. A panic in the engine becomes an error.
pub(crate) fn guarded<T>(
    call: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    caught(call)
        .unwrap_or_else(|| Err(BackendError::Broken("the storage engine gave up".to_owned())))
}

/// Calls the engine. `None` if it panicked. Its state is not used after that: a store that did not open is
/// dropped, and an open store stops.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

pub(crate) fn translate(error: fjall::Error) -> BackendError {
    use fjall::{Error, LsmError};
    let truncated = |error: &std::io::Error| error.kind() == std::io::ErrorKind::UnexpectedEof;
    match error {
        Error::Storage(LsmError::Io(source)) | Error::Io(source) if !truncated(&source) => {
            BackendError::Broken(source.to_string())
        }
        Error::Storage(_)
        | Error::Io(_)
        | Error::JournalRecovery(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::InvalidVersion(_)
        | Error::Unrecoverable => BackendError::Corrupt(describe(&error)),
        Error::Poisoned => {
            BackendError::Broken("the storage engine stopped after a failed write".to_owned())
        }
        _ => BackendError::Broken(describe(&error)),
    }
}

/// The engine's error message without its prefix, on one line.
pub(crate) fn describe(error: &fjall::Error) -> String {
    format!("{error:?}").replace('\n', " ")
}
