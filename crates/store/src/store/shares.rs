//! Counts the usage of each writer: once for a folder of an older version, and for the gauge of the largest
//! usage.

use potluck_base::PublicKey;

use crate::backend::{Backend, BackendError, Changes, Durability};
use crate::ledger::Ledger;
use crate::quota::{Share, Tally};
use crate::rows;
use crate::salvage::{Found, Salvage};

use super::META_LEDGER;

/// Writers that are read when a store is opened, to find the largest usage. With more writers, the gauge may
/// be too low until the largest writer writes again. Raising it makes opening slower.
const LOOKED_AT: usize = 10_000;

/// The writer with the largest usage, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Largest {
    writer: Option<PublicKey>,
    bytes: u64,
}

impl Largest {
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Applies the changes of a batch.
    pub(super) fn note(&mut self, changed: &[(PublicKey, Share)]) {
        changed.iter().for_each(|(writer, share)| self.offer(*writer, *share));
    }

    fn offer(&mut self, writer: PublicKey, share: Share) {
        if share.bytes > self.bytes || self.writer == Some(writer) {
            *self = Self { writer: Some(writer), bytes: share.bytes };
        }
    }
}

/// The writer with the largest usage.
pub(super) fn largest<B: Backend>(backend: &B) -> Result<Largest, BackendError> {
    let mut largest = Largest::default();
    for found in Salvage::over(backend, rows::share_rows()).take(LOOKED_AT) {
        if let Found::Row(row, value) = found? {
            let Some(writer) = row.get(1..).and_then(|it| it.try_into().ok()) else { continue };
            let share = Share::decode(&value).unwrap_or_default();
            largest.offer(PublicKey::from_bytes(writer), share);
        }
    }
    Ok(largest)
}

/// Counts the usage of each writer from the envelopes, and writes it and then the counters. If it is
/// interrupted, it starts again at the next opening, because the counters are written last.
pub(super) fn count<B: Backend>(backend: &mut B, ledger: Ledger) -> Result<Ledger, BackendError> {
    let stale: Vec<_> = Salvage::over(&*backend, rows::share_rows())
        .map(|found| {
            Ok(if let Found::Row(row, _) = found? { Some((row.to_vec(), None)) } else { None })
        })
        .collect::<Result<Vec<_>, BackendError>>()?;
    backend.commit(stale.into_iter().flatten().collect(), Durability::Buffered)?;
    let mut ledger = Ledger { writers: 0, ..ledger };
    let (mut tally, mut after) = (Tally::default(), None);
    loop {
        let mut rows_of = rows::replica_rows();
        if let Some(after) = after.take() {
            rows_of = after..=rows_of.into_inner().1;
        }
        for found in Salvage::over(&*backend, rows_of) {
            let Found::Row(row, value) = found? else { continue };
            let Some(writer) = rows::envelope_writer(&row) else { continue };
            tally.add(writer, value.len());
            if tally.is_full() {
                let mut next = row.to_vec();
                next.push(0);
                after = Some(next);
                break;
            }
        }
        let mut changes = Changes::new();
        for (writer, more) in tally.take() {
            let row = rows::share_row(&writer);
            let before = backend.get(&row)?.as_deref().and_then(Share::decode).unwrap_or_default();
            ledger.writers += u64::from(before.records == 0);
            changes.insert(row, Some(before.plus(more).encode()));
        }
        let done = after.is_none();
        if done {
            changes.insert(rows::meta_row(META_LEDGER), Some(ledger.encode().into()));
        }
        backend.commit(changes, if done { Durability::Synced } else { Durability::Buffered })?;
        if done {
            return Ok(ledger);
        }
    }
}
