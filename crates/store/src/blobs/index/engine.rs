//! The storage engine of the index: one keyspace, opened and written like the engine of the records.
//!
//! **Invariant:** commits are applied one after the other. When [`Engine::sync`] returns, all commits that
//! ended before it began are on the disk.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};
use parking_lot::Mutex;

use crate::OpenError;
use crate::backend::{BackendError, Changes, RowIter};
use crate::blobs::BlobError;
use crate::config::{Budget, SEALED_MAX, SyncMode};
use crate::disk::{
    COMPACTION_POLLS_MAX, L0_TABLES_MAX, POLL, ROW_OVERHEAD, caught, create, guarded, open_engine,
    translate,
};
use crate::engine_files;

/// The engine's folder inside the folder of the blobs.
const FOLDER: &str = "index";
const FOLDER_NEW: &str = "index.new";
/// Memory budget of the engine: a quarter for cached blocks, the rest for write buffers and their overhead.
/// Raising it makes reads faster and costs memory.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of disk that stay free besides the room for rewriting tables, because the engine fails if the disk
/// is completely full. Raising it makes the index refuse new blobs earlier.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
const REWRITE_RESERVE_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of rows that a start may recover from the journal without flushing them to a table.
const RECOVERED_MAX: u64 = 1024 * 1024;
/// Commits between two checks of the free disk space.
const LOOK_EVERY: u32 = 64;

/// The engine. See the module.
pub(crate) struct Engine {
    rows: Keyspace,
    database: Database,
    path: PathBuf,
    mode: SyncMode,
    memtable_bytes: u64,
    filled: Mutex<Filled>,
}

/// The fill of the write buffer, and the commits since the last check of the disk.
struct Filled {
    unsealed_bytes: u64,
    /// Commits until the next check of the disk.
    look_in: u32,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the engine in the folder of the blobs. If it is new, creates it with the rows `birth`.
    pub(crate) fn open(blobs: &Path, mode: SyncMode, birth: &Changes) -> Result<Self, BlobError> {
        let path = blobs.join(FOLDER);
        let io = |source| OpenError::Io { folder: blobs.to_owned(), source };
        let damaged = |detail| OpenError::IndexDamaged { folder: path.clone(), detail };
        if !path.try_exists().map_err(io)? {
            create(blobs, &blobs.join(FOLDER_NEW), &path, birth)?;
        }
        engine_files::check(&path).map_err(io)?.map_err(damaged)?;
        let budget = Budget::of(MEMORY_BYTES);
        let (database, rows) = caught(|| open_engine(&path, &budget))
            .ok_or_else(|| damaged("the storage engine cannot make sense of it".to_owned()))?
            .map_err(|error| damaged(translate(error).to_string()))?;
        let recovered = database.write_buffer_size();
        let filled = Filled { unsealed_bytes: recovered, look_in: 0 };
        let memtable_bytes = budget.memtable_bytes;
        let engine =
            Self { rows, database, path, mode, memtable_bytes, filled: Mutex::new(filled) };
        if recovered >= RECOVERED_MAX {
            // After this, the next start need not read these rows from the journal again.
            guarded(|| engine.rows.rotate_memtable().map_err(translate).map(drop))
                .map_err(|error| engine.failed(error))?;
            engine.filled.lock().unsealed_bytes = 0;
        }
        Ok(engine)
    }

    fn failed(&self, error: BackendError) -> BlobError {
        BlobError::at(&self.path)(std::io::Error::other(error))
    }

    pub(crate) fn get(&self, row: &[u8]) -> Result<Option<Bytes>, BlobError> {
        guarded(|| Ok(self.rows.get(row).map_err(translate)?.map(Bytes::from)))
            .map_err(|error| self.failed(error))
    }

    /// The rows in `from..=to` in order. They are read while the iterator advances.
    pub(crate) fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), BlobError>> + use<'a> {
        let rows: RowIter<'a> = match guarded(|| Ok(self.rows.range(from..=to))) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(mut rows) => {
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
        };
        rows.map(|row| row.map_err(|error| self.failed(error)))
    }

    /// The last row in `from..=to`.
    pub(crate) fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Bytes>, BlobError> {
        let last = guarded(|| {
            let row = self.rows.range(from..=to).next_back();
            let row = row.map(fjall::Guard::into_inner).transpose().map_err(translate)?;
            Ok(row.map(|(row, _)| Bytes::from(row)))
        });
        last.map_err(|error| self.failed(error))
    }

    /// Applies all changes or none. The changes survive the end of the process, and a loss of power after a
    /// [`Engine::sync`]. A commit that `grows` the index is refused while the disk is nearly full.
    pub(crate) fn commit(&self, changes: Changes, grows: bool) -> Result<(), BlobError> {
        let mut filled = self.filled.lock();
        if filled.look_in == 0 && grows {
            self.check_room()?;
            filled.look_in = LOOK_EVERY;
        }
        filled.look_in = filled.look_in.saturating_sub(1);
        self.wait_for_workers().map_err(|error| self.failed(error))?;
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), changes.len())
            .durability(Some(PersistMode::Buffer));
        for (row, value) in changes {
            let bytes = row.len() + value.as_ref().map_or(0, Bytes::len);
            filled.unsealed_bytes += bytes as u64 + ROW_OVERHEAD;
            match value {
                Some(value) => batch.insert(&self.rows, row, value),
                None => batch.remove(&self.rows, row),
            }
        }
        let done = guarded(|| batch.commit().map_err(translate)).and_then(|()| {
            if filled.unsealed_bytes < self.memtable_bytes {
                return Ok(());
            }
            filled.unsealed_bytes = 0;
            guarded(|| self.rows.rotate_memtable().map_err(translate).map(drop))
        });
        done.map_err(|error| self.failed(error))
    }

    /// Makes every earlier commit durable.
    pub(crate) fn sync(&self) -> Result<(), BlobError> {
        if self.mode == SyncMode::Buffered {
            return Ok(());
        }
        guarded(|| self.database.persist(PersistMode::SyncData).map_err(translate))
            .map_err(|error| self.failed(error))
    }

    /// Bytes of the cache and the write buffers.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.database.cache_size() + self.database.write_buffer_size()
    }

    /// Bytes of disk that its files take. Reads the metadata of every file.
    pub(crate) fn disk_bytes(&self) -> u64 {
        engine_files::bytes(&self.path)
    }

    fn check_room(&self) -> Result<(), BlobError> {
        // If the file system cannot report its free space, it is taken to have room; a full disk then shows
        // as an error of a write.
        let free = fs4::available_space(&self.path).unwrap_or(u64::MAX);
        let rewriting = (self.rows.disk_space() / 4).min(REWRITE_RESERVE_MAX);
        let needed = RESERVE_BYTES.saturating_add(rewriting);
        if free < needed { Err(BlobError::NoSpace { needed, free }) } else { Ok(()) }
    }

    /// Waits until few write buffers and tables are unfinished, as the backend of the records does.
    fn wait_for_workers(&self) -> Result<(), BackendError> {
        let mut polls = 0;
        loop {
            let flushing = self.rows.sealed_memtable_count() > SEALED_MAX;
            let compacting = self.rows.l0_table_count() >= L0_TABLES_MAX;
            if !flushing && (!compacting || polls >= COMPACTION_POLLS_MAX) {
                return Ok(());
            }
            // Fails if a worker thread of the engine died.
            self.database.persist(PersistMode::Buffer).map_err(translate)?;
            std::thread::sleep(POLL);
            polls += 1;
        }
    }
}
