//! Heals a damaged engine by writing its readable rows into a new folder.
//!
//! A page with a wrong checksum cannot be removed from the engine, and the first compaction that reads it
//! stops all writes. So a thread copies the readable rows into a new folder, which then replaces the old one.
//! Summaries, the expiry index and the counters are computed from the envelopes, so they are right whatever
//! was damaged. Lost envelopes come back from other replicas, which see that the digests differ.
//!
//! A lost own envelope must not be treated as if it had never been written, because its writer would then not
//! continue its own writes. The expiry index tells which own envelopes existed. If this node is also a
//! replica of the key, the envelope is copied from there; otherwise a row records that it was lost, until it
//! expires.
//!
//! **Invariant:** at every moment one of the two folders is complete, and [`settle`] determines which.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use potluck_base::Key;
use potluck_record::{Place, SignedHead};

use crate::backend::{BackendError, Changes, Healed};
use crate::config::Budget;
use crate::disk::{
    Engine, RECORDS, RECORDS_NEW, caught, describe, guarded, open_engine, translate,
};
use crate::engine_files::sync_folder;
use crate::ledger::Ledger;
use crate::quota::{Share, Tally};
use crate::rows::{self, ExpiryEntry, Summary};
use crate::salvage::{Found, Salvage, Stretch};
use crate::store::META_LEDGER;

/// The path of the damaged folder while the new one replaces it.
const RECORDS_OLD: &str = "records.old";
/// Rows of one commit. Raising it takes memory and makes fewer commits.
const BATCH_ROWS: usize = 2000;
/// Memory of the new engine while it is filled.
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Most unreadable ranges in which single rows are searched. Rows in further ranges come from other replicas.
const STRETCHES_MAX: usize = 1000;
/// The value of the row of an own envelope that was lost.
pub(crate) const LOST: &[u8] = b"lost";

/// The thread that writes the rows into a new folder.
pub(crate) struct Healing {
    thread: JoinHandle<Result<Healed, String>>,
    stop: Arc<AtomicBool>,
}

impl Healing {
    /// Starts the thread. If the engine only refuses writes, it is healed only if damage is found; otherwise
    /// the disk is at fault.
    pub(crate) fn start(engine: Engine, folder: &Path, damaged: bool) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { folder: folder.to_owned(), damaged, stop: Arc::clone(&stop) };
        let thread =
            std::thread::Builder::new().name("potluck-heal".to_owned()).spawn(move || {
                caught(|| work.run(engine)).unwrap_or_else(|| Err(GAVE_UP.to_owned()))
            })?;
        Ok(Self { thread, stop })
    }

    /// The result, or itself if the thread is still running.
    pub(crate) fn outcome(self) -> Result<Result<Healed, String>, Self> {
        if !self.thread.is_finished() {
            return Err(self);
        }
        Ok(self.thread.join().unwrap_or_else(|_| Err(GAVE_UP.to_owned())))
    }

    /// Stops the thread at the next batch.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // The result is no longer needed.
        let _ = self.thread.join();
    }
}

const GAVE_UP: &str = "the storage engine gave up while its rows were written anew";

/// Completes or reverts an exchange of folders that a crash interrupted.
pub(crate) fn settle(folder: &Path) -> io::Result<()> {
    let (path, old) = (folder.join(RECORDS), folder.join(RECORDS_OLD));
    if !old.try_exists()? {
        return Ok(());
    }
    if path.try_exists()? {
        return std::fs::remove_dir_all(&old);
    }
    // The new folder may be incomplete. The damaged folder is healed again when its damage is found.
    std::fs::rename(&old, &path)?;
    sync_folder(folder)
}

struct Work {
    folder: PathBuf,
    damaged: bool,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, old: Engine) -> Result<Healed, String> {
        if !self.damaged && !self.has_gaps(&old)? {
            return Err("the storage engine stopped after a failed write".to_owned());
        }
        let aside = self.folder.join(RECORDS_NEW);
        match std::fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
            _ => {}
        }
        let healed = self.copy(&old, &aside)?;
        drop(old);
        self.exchange(&aside).map_err(|error| error.to_string())?;
        Ok(healed)
    }

    fn has_gaps(&self, old: &Engine) -> Result<bool, String> {
        for tag in 0..u8::MAX {
            for found in Salvage::over(old, vec![tag]..=vec![tag + 1]) {
                self.go_on()?;
                if matches!(found.map_err(|error| error.to_string())?, Found::Gap(_)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn go_on(&self) -> Result<(), String> {
        if self.stop.load(Ordering::Relaxed) { Err("stopped".to_owned()) } else { Ok(()) }
    }

    fn copy(&self, old: &Engine, aside: &Path) -> Result<Healed, String> {
        let (database, keyspace) = caught(|| open_engine(aside, &Budget::of(MEMORY_BYTES)))
            .ok_or_else(|| GAVE_UP.to_owned())?
            .map_err(|error| describe(&error))?;
        let mut copy = Copy {
            work: self,
            new: Engine { rows: keyspace, database },
            changes: Changes::new(),
            ledger: Ledger::default(),
            healed: Healed::default(),
            tally: Tally::default(),
            stretches: Vec::new(),
        };
        copy.others(old)?;
        copy.replicas(old)?;
        copy.own(old)?;
        copy.lost(old)?;
        let ledger = copy.ledger.encode();
        copy.put(rows::meta_row(META_LEDGER), ledger.into())?;
        copy.commit()?;
        copy.new.sync().map_err(|error| error.to_string())?;
        Ok(copy.healed)
    }

    fn exchange(&self, aside: &Path) -> io::Result<()> {
        let (path, old) = (self.folder.join(RECORDS), self.folder.join(RECORDS_OLD));
        std::fs::rename(&path, &old)?;
        std::fs::rename(aside, &path)?;
        sync_folder(&self.folder)?;
        std::fs::remove_dir_all(&old)
    }
}

/// The copy of rows into a new engine.
struct Copy<'a> {
    work: &'a Work,
    new: Engine,
    changes: Changes,
    ledger: Ledger,
    healed: Healed,
    tally: Tally,
    /// The ranges in which envelopes could not be read.
    stretches: Vec<Stretch>,
}

impl Copy<'_> {
    fn put(&mut self, row: Vec<u8>, value: Bytes) -> Result<(), String> {
        self.changes.insert(row, Some(value));
        if self.changes.len() >= BATCH_ROWS { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), String> {
        self.work.go_on()?;
        self.new.fill(std::mem::take(&mut self.changes)).map_err(|error| error.to_string())
    }

    /// The next row of the old engine. `None` if there is none.
    fn next(&mut self, old: &mut Salvage<'_, Engine>) -> Result<Option<(Bytes, Bytes)>, String> {
        loop {
            match old.next().transpose().map_err(|error| error.to_string())? {
                Some(Found::Row(row, value)) => return Ok(Some((row, value))),
                Some(Found::Gap(stretch)) => {
                    self.healed.gaps += 1;
                    if self.stretches.len() < STRETCHES_MAX {
                        self.stretches.push(stretch);
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Copies the rows that are not computed from other rows and are not envelopes.
    fn others(&mut self, old: &Engine) -> Result<(), String> {
        for tag in (0..u8::MAX).filter(|tag| !rows::is_of_records(*tag)) {
            let mut found = Salvage::over(old, vec![tag]..=vec![tag, 0xff]);
            while let Some((row, value)) = self.next(&mut found)? {
                self.put(row.to_vec(), value)?;
            }
        }
        Ok(())
    }

    fn replicas(&mut self, old: &Engine) -> Result<(), String> {
        let mut under: Option<(Key, Summary)> = None;
        let mut found = Salvage::over(old, rows::replica_rows());
        while let Some((row, value)) = self.next(&mut found)? {
            let Some(envelope) = rows::decode_envelope(&row, Place::Replica, &value) else {
                self.healed.damaged_rows += 1;
                continue;
            };
            let head = envelope.head();
            let summary = match under {
                Some((key, summary)) if key == head.key() => summary,
                before => {
                    self.summary(before)?;
                    Summary::empty(head)
                }
            };
            under = Some((head.key(), summary.with(head, value.len())));
            self.index(&ExpiryEntry::of(Place::Replica, head))?;
            if let Some(name) = rows::name_row(head) {
                self.put(name, Bytes::new())?;
            }
            self.tally.add(head.writer(), value.len());
            if self.tally.is_full() {
                self.shares()?;
            }
            self.put(row.to_vec(), value)?;
        }
        self.shares()?;
        self.summary(under)
    }

    /// Adds the counted usage of writers to the written usage.
    fn shares(&mut self) -> Result<(), String> {
        for (writer, more) in self.tally.take() {
            let row = rows::share_row(&writer);
            let before = self.written(&row)?;
            let before = before.as_deref().and_then(Share::decode).unwrap_or_default();
            self.ledger.writers += u64::from(before.records == 0);
            self.put(row, before.plus(more).encode())?;
        }
        Ok(())
    }

    fn summary(&mut self, of: Option<(Key, Summary)>) -> Result<(), String> {
        let Some((key, summary)) = of else { return Ok(()) };
        self.ledger.add(&summary);
        self.put(rows::summary_row(&key), summary.encode())
    }

    fn index(&mut self, entry: &ExpiryEntry) -> Result<(), String> {
        self.ledger.first_expiry = self.ledger.first_expiry.min(entry.expires.0);
        self.put(entry.row(), Bytes::new())
    }

    fn own(&mut self, old: &Engine) -> Result<(), String> {
        let mut found = Salvage::over(old, rows::own_rows());
        while let Some((row, value)) = self.next(&mut found)? {
            match rows::decode_envelope(&row, Place::Own, &value) {
                Some(envelope) => {
                    self.ledger.add_own(value.len());
                    self.index(&ExpiryEntry::of(Place::Own, envelope.head()))?;
                    self.put(row.to_vec(), value)?;
                }
                None => self.healed.damaged_rows += 1,
            }
        }
        Ok(())
    }

    /// Copies the envelopes in unreadable ranges, as far as the expiry index names them and they can be read
    /// alone, because they are in another part of the engine than the damaged page.
    fn lost(&mut self, old: &Engine) -> Result<(), String> {
        self.commit()?;
        if self.stretches.is_empty() {
            return Ok(());
        }
        let mut found = Salvage::over(old, ExpiryEntry::rows_from(0));
        while let Some((row, _)) = self.next(&mut found)? {
            let Some(entry) = ExpiryEntry::decode(&row) else { continue };
            let row = rows::envelope_row(entry.place, &entry.key, &entry.writer);
            if !self.stretches.iter().any(|stretch| stretch.from <= row && row < stretch.to) {
                continue;
            }
            let value = guarded(|| Ok(old.rows.get(&row).map_err(translate)?.map(Bytes::from)));
            let value = match value {
                Ok(value) => value,
                Err(BackendError::Corrupt(_)) => None,
                Err(broken) => return Err(broken.to_string()),
            };
            let envelope = value
                .as_ref()
                .and_then(|value| rows::decode_envelope(&row, entry.place, value))
                .filter(|envelope| ExpiryEntry::of(entry.place, envelope.head()) == entry);
            match (entry.place, value.zip(envelope)) {
                (Place::Replica, Some((value, envelope))) => {
                    self.replica_back(row, value, envelope.head())?;
                }
                (Place::Own, Some((value, _))) => self.own_back(row, value, &entry)?,
                (Place::Replica, None) => self.healed.damaged_rows += 1,
                (Place::Own, None) => {
                    self.healed.damaged_rows += 1;
                    let value = self.as_replica(&entry)?.unwrap_or(Bytes::from_static(LOST));
                    self.own_back(row, value, &entry)?;
                }
            }
        }
        self.shares()
    }

    fn replica_back(
        &mut self,
        row: Vec<u8>,
        value: Bytes,
        head: &SignedHead,
    ) -> Result<(), String> {
        let before = self.written(&rows::summary_row(&head.key()))?;
        let before = before.as_deref().and_then(Summary::decode);
        if let Some(before) = &before {
            self.ledger.subtract(before);
        }
        let after = before.unwrap_or_else(|| Summary::empty(head)).with(head, value.len());
        self.summary(Some((head.key(), after)))?;
        self.index(&ExpiryEntry::of(Place::Replica, head))?;
        if let Some(name) = rows::name_row(head) {
            self.put(name, Bytes::new())?;
        }
        self.tally.add(head.writer(), value.len());
        self.put(row, value)
    }

    /// The envelope of an index entry of an own envelope, if this node is also a replica of the key. It is
    /// the same envelope, because two envelopes of a writer have different expiries.
    fn as_replica(&self, entry: &ExpiryEntry) -> Result<Option<Bytes>, String> {
        let row = rows::envelope_row(Place::Replica, &entry.key, &entry.writer);
        let Some(value) = self.written(&row)? else { return Ok(None) };
        let envelope = rows::decode_envelope(&row, Place::Replica, &value);
        let same = envelope.is_some_and(|envelope| envelope.head().expires() == entry.expires);
        Ok(same.then_some(value))
    }

    fn own_back(&mut self, row: Vec<u8>, value: Bytes, entry: &ExpiryEntry) -> Result<(), String> {
        self.ledger.add_own(value.len());
        self.index(entry)?;
        self.put(row, value)
    }

    /// A row of the new engine.
    fn written(&self, row: &[u8]) -> Result<Option<Bytes>, String> {
        if let Some(pending) = self.changes.get(row) {
            return Ok(pending.clone());
        }
        let row = guarded(|| Ok(self.new.rows.get(row).map_err(translate)?.map(Bytes::from)));
        row.map_err(|error| error.to_string())
    }
}
