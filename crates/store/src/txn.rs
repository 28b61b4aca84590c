//! A batch in progress. Reads see the backend with the batch's own changes applied.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::RangeInclusive;

use bytes::Bytes;
use potluck_base::{Key, PublicKey};
use potluck_record::{Envelope, Place, StorageFailure};

use crate::backend::{Backend, BackendError, Changes, Room, RowIter};
use crate::fingerprints::{FingerprintIndex, KeyChange};
use crate::ledger::Ledger;
use crate::quota::{KnownShares, Limits, Share};
use crate::rows::{self, ExpiryEntry, Summary};

/// Why an operation was not carried out.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This operation failed; others can continue.
    Failed(StorageFailure),
    /// The backend is unusable.
    Broken(String),
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Corrupt(_) => Self::Failed(StorageFailure::Corrupt),
            BackendError::Broken(detail) => Self::Broken(detail),
        }
    }
}

const CORRUPT: Fault = Fault::Failed(StorageFailure::Corrupt);

/// The changes of a batch so far.
pub(crate) struct Txn<'a, B> {
    backend: &'a B,
    changes: Changes,
    /// The usage of writers whose envelopes changed, with the changes so far.
    shares: BTreeMap<PublicKey, Share>,
    /// The earlier usage of some writers.
    known: Option<&'a KnownShares>,
    /// The counters with the changes so far.
    pub(crate) ledger: Ledger,
    /// The free space of the disk.
    pub(crate) room: Room,
    /// The index of fingerprints without the changes so far.
    pub(crate) index: &'a FingerprintIndex,
    /// The effects of the changes so far on that index.
    pub(crate) key_changes: Vec<KeyChange>,
    /// The limits of the store.
    pub(crate) limits: Limits,
    /// Keys that were displaced for others.
    pub(crate) displaced: u64,
    /// Damaged rows that were found and skipped. Rows whose damage fails an operation are counted by the
    /// caller.
    pub(crate) corrupt_rows: u64,
}

impl<'a, B: Backend> Txn<'a, B> {
    pub(crate) fn new(
        backend: &'a B,
        index: &'a FingerprintIndex,
        ledger: Ledger,
        room: Room,
        limits: Limits,
    ) -> Self {
        Self {
            backend,
            changes: Changes::new(),
            ledger,
            room,
            index,
            key_changes: Vec::new(),
            shares: BTreeMap::new(),
            known: None,
            limits,
            displaced: 0,
            corrupt_rows: 0,
        }
    }

    /// Uses the known usage of these writers, which spares reads.
    pub(crate) const fn knowing(mut self, known: &'a KnownShares) -> Self {
        self.known = Some(known);
        self
    }

    /// Returns the changes and the counters with them.
    pub(crate) fn finish(
        mut self,
        known: &mut Vec<(PublicKey, Share)>,
    ) -> (Changes, Ledger, Vec<KeyChange>) {
        for (writer, share) in self.shares {
            let value = (share.records > 0).then(|| share.encode());
            self.changes.insert(rows::share_row(&writer), value);
            known.push((writer, share));
        }
        (self.changes, self.ledger, self.key_changes)
    }

    /// Reads one row.
    pub(crate) fn get(&self, row: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.changes.get(row) {
            Some(pending) => Ok(pending.clone()),
            None => Ok(self.backend.get(row)?),
        }
    }

    /// Reads the rows in this range.
    pub(crate) fn range(&self, rows: RangeInclusive<Vec<u8>>) -> Range<'_> {
        let stored = self.backend.range(rows.start(), rows.end()).peekable();
        Range { stored, pending: self.changes.range(rows).peekable() }
    }

    pub(crate) fn put(&mut self, row: Vec<u8>, value: Bytes) {
        self.changes.insert(row, Some(value));
    }

    pub(crate) fn delete(&mut self, row: Vec<u8>) {
        self.changes.insert(row, None);
    }

    /// The summary of a key held as replica.
    pub(crate) fn summary(&self, key: &Key) -> Result<Option<Summary>, Fault> {
        let Some(value) = self.get(&rows::summary_row(key))? else {
            return Ok(None);
        };
        Summary::decode(&value).map(Some).ok_or(CORRUPT)
    }

    /// Replaces the summary of a key, and its share of the counters.
    pub(crate) fn set_summary(&mut self, key: &Key, old: Option<&Summary>, new: Option<&Summary>) {
        self.key_changes.push(KeyChange::of(key, old, new));
        if let Some(old) = old {
            self.ledger.subtract(old);
        }
        let row = rows::summary_row(key);
        if let Some(new) = new {
            self.ledger.add(new);
            self.put(row, new.encode());
        } else {
            self.delete(row);
        }
    }

    /// Records that the summary of a key could not be read and is replaced: its leaf of the index is counted
    /// again.
    pub(crate) fn lost_summary(&mut self, key: &Key) {
        self.key_changes.push(KeyChange::unknown(key));
    }

    /// The usage of a writer as replica.
    pub(crate) fn share(&self, writer: &PublicKey) -> Result<Share, Fault> {
        if let Some(share) = self.shares.get(writer) {
            return Ok(*share);
        }
        if let Some(share) = self.known.and_then(|known| known.peek(writer)) {
            return Ok(*share);
        }
        let value = self.backend.get(&rows::share_row(writer))?;
        Ok(value.as_deref().and_then(Share::decode).unwrap_or_default())
    }

    /// Records that a writer's envelope of `old` bytes became one of `new` bytes.
    pub(crate) fn change_share(
        &mut self,
        writer: &PublicKey,
        old: Option<usize>,
        new: Option<usize>,
    ) -> Result<(), Fault> {
        let before = self.share(writer)?;
        let after = before.changed(old, new);
        match (before.records, after.records) {
            (0, 1..) => self.ledger.writers = self.ledger.writers.saturating_add(1),
            (1.., 0) => self.ledger.writers = self.ledger.writers.saturating_sub(1),
            _ => {}
        }
        self.shares.insert(*writer, after);
        Ok(())
    }

    /// Reads one envelope. Returns it with its length.
    pub(crate) fn envelope(
        &self,
        place: Place,
        key: &Key,
        writer: &PublicKey,
    ) -> Result<Option<(Envelope, usize)>, Fault> {
        let row = rows::envelope_row(place, key, writer);
        let Some(value) = self.get(&row)? else {
            return Ok(None);
        };
        let envelope = match place {
            Place::Replica => rows::decode_envelope(&row, place, &value),
            // The row of an own envelope has no writer, so any writer is accepted.
            Place::Own => Envelope::decode(&value).ok().filter(|own| own.head().key() == *key),
        };
        Ok(Some((envelope.ok_or(CORRUPT)?, value.len())))
    }

    /// Adds an envelope to the expiry index.
    pub(crate) fn index(&mut self, entry: &ExpiryEntry) {
        self.ledger.first_expiry = self.ledger.first_expiry.min(entry.expires.0);
        self.put(entry.row(), Bytes::new());
    }

    /// Removes an envelope from the expiry index.
    pub(crate) fn unindex(&mut self, entry: &ExpiryEntry) {
        self.delete(entry.row());
    }
}

/// Stored rows with the pending changes applied, ascending.
pub(crate) struct Range<'a> {
    stored: Peekable<RowIter<'a>>,
    pending: Peekable<btree_map::Range<'a, Vec<u8>, Option<Bytes>>>,
}

impl Iterator for Range<'_> {
    type Item = Result<(Bytes, Bytes), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.stored.peek(), self.pending.peek()) {
                (Some(Ok((stored, _))), Some((pending, _))) => stored[..].cmp(&pending[..]),
                (Some(_), _) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order == Ordering::Less {
                return self.stored.next().map(|row| row.map_err(Fault::from));
            }
            if order == Ordering::Equal {
                self.stored.next();
            }
            let (row, value) = self.pending.next()?;
            if let Some(value) = value {
                return Some(Ok((Bytes::copy_from_slice(row), value.clone())));
            }
        }
    }
}
