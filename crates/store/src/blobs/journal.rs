//! The journal of a partial blob: which granules are stored, and which of them are on the disk.
//!
//! The journal consists of records of 16 bytes and is only appended to. A record has a kind and a value (u32
//! each, little-endian) and a checksum that also covers the blob's id and the record's number. `Have` is
//! written when the bytes of a granule were passed to the operating system, so a killed process loses none.
//! `Synced` says that the data of all `Have` among the records up to that count are on the disk; granules of
//! later records are hashed again when the journal is opened.
//!
//! **Invariant:** records after a damaged record are cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use potluck_base::{BlobId, GranuleSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const RECORD_BYTES: usize = 16;
const HAVE: u32 = 1;
const SYNCED: u32 = 2;
const LOST: u32 = 3;
/// When a journal with this many records more than two per granule is opened, it is written anew.
const SPARE_RECORDS: u64 = 4096;

/// A journal open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    seed: u64,
    records: u32,
}

/// The contents of a journal when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Granules that are on the disk.
    pub(crate) synced: GranuleSet,
    /// Granules that may not be on the disk.
    pub(crate) unsynced: GranuleSet,
}

impl Journal {
    /// An empty journal in a new file.
    pub(crate) fn create(path: &Path, id: &BlobId) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Self { file, seed: seed(id), records: 0 })
    }

    /// Opens the journal of a blob of `count` granules, and cuts off a torn end.
    pub(crate) fn open(path: &Path, id: &BlobId, count: u32) -> io::Result<(Self, Recovered)> {
        let (records, recovered) = replay(path, id, count)?;
        let bytes = u64::from(records) * RECORD_BYTES as u64;
        OpenOptions::new().write(true).open(path)?.set_len(bytes)?;
        let file = OpenOptions::new().append(true).open(path)?;
        let journal = Self { file, seed: seed(id), records };
        if u64::from(records) > 2 * u64::from(count) + SPARE_RECORDS {
            return Ok((journal.anew(path, id, &recovered)?, recovered));
        }
        Ok((journal, recovered))
    }

    /// Reads a journal without changing it.
    pub(crate) fn peek(path: &Path, id: &BlobId, count: u32) -> io::Result<Recovered> {
        replay(path, id, count).map(|(_, recovered)| recovered)
    }

    fn anew(self, path: &Path, id: &BlobId, recovered: &Recovered) -> io::Result<Self> {
        let aside = path.with_extension("new");
        super::files::remove_if_there(&aside)?;
        let mut journal = Self::create(&aside, id)?;
        journal.append(recovered.synced.iter().map(|granule| (HAVE, granule)))?;
        let synced = journal.records;
        journal.append(std::iter::once((SYNCED, synced)))?;
        journal.append(recovered.unsynced.iter().map(|granule| (HAVE, granule)))?;
        journal.file.sync_data()?;
        std::fs::rename(&aside, path)?;
        path.parent().map_or(Ok(()), super::files::sync_folder)?;
        Ok(journal)
    }

    /// The number of records.
    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Records a granule whose bytes were passed to the operating system.
    pub(crate) fn have(&mut self, granule: u32) -> io::Result<()> {
        self.append(std::iter::once((HAVE, granule)))
    }

    /// Records that granules are not stored after all.
    pub(crate) fn lost(&mut self, granules: impl IntoIterator<Item = u32>) -> io::Result<()> {
        self.append(granules.into_iter().map(|granule| (LOST, granule)))
    }

    /// Records that the data of the first `records` records are on the disk. The caller must sync the
    /// returned file.
    pub(crate) fn synced(&mut self, records: u32) -> io::Result<File> {
        self.append(std::iter::once((SYNCED, records)))?;
        self.file.try_clone()
    }

    fn append(&mut self, records: impl Iterator<Item = (u32, u32)>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut next = self.records;
        for (kind, value) in records {
            bytes.extend_from_slice(&record(self.seed, next, kind, value));
            next = next.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        }
        if let Err(error) = self.file.write_all(&bytes) {
            // An incomplete record would make all later records unreadable.
            self.file.set_len(u64::from(self.records) * RECORD_BYTES as u64)?;
            return Err(error);
        }
        self.records = next;
        Ok(())
    }
}

fn seed(id: &BlobId) -> u64 {
    xxh3_64(id.as_bytes())
}

fn record(seed: u64, number: u32, kind: u32, value: u32) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..8].copy_from_slice(&value.to_le_bytes());
    let sum = xxh3_64_with_seed(&bytes[..8], seed.wrapping_add(u64::from(number)));
    bytes[8..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads the intact records, and the state that they describe.
fn replay(path: &Path, id: &BlobId, count: u32) -> io::Result<(u32, Recovered)> {
    let seed = seed(id);
    let mut file = BufReader::new(File::open(path)?);
    let mut records = Vec::new();
    let mut bytes = [0; RECORD_BYTES];
    loop {
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        let (kind, value) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let known = matches!(kind, HAVE | LOST) && value < count || kind == SYNCED;
        if !known || bytes != record(seed, records.len() as u32, kind, value) {
            break;
        }
        records.push((kind, value));
    }
    let marks = records.iter().filter(|(kind, _)| *kind == SYNCED);
    let synced_records = marks.map(|(_, records)| *records as usize).max().unwrap_or(0);
    let mut recovered =
        Recovered { synced: GranuleSet::empty(count), unsynced: GranuleSet::empty(count) };
    for (number, (kind, value)) in records.iter().enumerate() {
        match *kind {
            HAVE if number < synced_records => {
                recovered.synced.insert(*value);
            }
            HAVE if !recovered.synced.contains(*value) => {
                recovered.unsynced.insert(*value);
            }
            LOST => {
                recovered.synced.remove(*value);
                recovered.unsynced.remove(*value);
            }
            _ => {}
        }
    }
    Ok((records.len() as u32, recovered))
}
