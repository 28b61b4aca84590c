//! The storage engine under the index: one keyspace, opened and written as that of the records.
//!
//! **Invariant:** commits come one after the other; what a [`Engine::sync`] that began after them has
//! returned for is on the disk.

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

/// The engine's folder inside that of the blobs, and where it is made.
const FOLDER: &str = "index";
const FOLDER_NEW: &str = "index.new";
/// What the engine may take: a quarter for cached blocks, the rest for write buffers and what goes
/// with them.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Left free on the disk beside the tables that are rewritten: the engine does not survive a disk that
/// is really full.
const RESERVE_BYTES: u64 = 32 * 1024 * 1024;
const REWRITE_RESERVE_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of rows that a start may have read from the journal without writing them out.
const RECOVERED_MAX: u64 = 1024 * 1024;
/// Rows between two looks at the room on the disk.
const LOOK_EVERY: u32 = 64;

/// See the module.
pub(crate) struct Engine {
    rows: Keyspace,
    database: Database,
    path: PathBuf,
    mode: SyncMode,
    memtable_bytes: u64,
    filled: Mutex<Filled>,
}

/// How full the write buffer and the disk are.
struct Filled {
    unsealed_bytes: u64,
    /// Commits until the disk is looked at again.
    look_in: u32,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the engine in the folder of the blobs, making it with `birth` rows if need be.
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
            // What was read from the journal need not be read again by the next start.
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

    /// The rows in `from..=to` in their order, read as they are asked for.
    pub(crate) fn range<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), BlobError>> + use<'a> {
        let rows: RowIter<'a> = match guarded(|| Ok(self.rows.range(from..=to))) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(mut rows) => {
                // After an error the iterator's state is unknown: end there.
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

    /// Applies all changes or none. They outlive the process, and a loss of power after a
    /// [`Engine::sync`]. What `grows` is refused while the disk is nearly full.
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

    /// Bytes of its cache and write buffers.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.database.cache_size() + self.database.write_buffer_size()
    }

    /// Bytes of disk that its files take. Looks at every file.
    pub(crate) fn disk_bytes(&self) -> u64 {
        engine_files::bytes(&self.path)
    }

    fn check_room(&self) -> Result<(), BlobError> {
        // A file system that cannot say is taken to have room: its errors will tell.
        let free = fs4::available_space(&self.path).unwrap_or(u64::MAX);
        let rewriting = (self.rows.disk_space() / 4).min(REWRITE_RESERVE_MAX);
        let needed = RESERVE_BYTES.saturating_add(rewriting);
        if free < needed { Err(BlobError::NoSpace { needed, free }) } else { Ok(()) }
    }

    /// Waits until few enough write buffers and tables are unfinished, as the records' backend does.
    fn wait_for_workers(&self) -> Result<(), BackendError> {
        let mut polls = 0;
        loop {
            let flushing = self.rows.sealed_memtable_count() > SEALED_MAX;
            let compacting = self.rows.l0_table_count() >= L0_TABLES_MAX;
            if !flushing && (!compacting || polls >= COMPACTION_POLLS_MAX) {
                return Ok(());
            }
            // Fails if a worker died.
            self.database.persist(PersistMode::Buffer).map_err(translate)?;
            std::thread::sleep(POLL);
            polls += 1;
        }
    }
}
