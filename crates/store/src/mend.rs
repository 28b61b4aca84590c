//! Damaged rows of replicas. An envelope that cannot be read does not count as stored, and the summary of its
//! key is corrected; otherwise no other node would repair it.
//!
//! Nothing is deleted: a damaged row stays until a valid envelope of its writer replaces it or it expires. So
//! a row that only this version cannot read is not lost.

use potluck_base::Key;
use potluck_record::{Place, StateDigest, StorageFailure};

use crate::backend::Backend;
use crate::rows::{self, Summary};
use crate::txn::{Fault, Txn};

/// Most summaries of one range that one operation computes again. Raising it makes larger batches.
const RANGE_MAX: usize = 1_000;

/// Whether a fault is a damaged row, and not a fault of the backend.
pub(crate) const fn is_damage(fault: &Fault) -> bool {
    matches!(fault, Fault::Failed(StorageFailure::Corrupt))
}

/// Computes the summary of a key again from the readable envelopes. Returns whether it differs from before.
pub(crate) fn mend<B: Backend>(txn: &mut Txn<'_, B>, key: &Key) -> Result<bool, Fault> {
    let mut readable: Option<Summary> = None;
    let mut counted = Summary { digest: StateDigest::EMPTY, writers: 0, internal: false, bytes: 0 };
    for row in txn.range(rows::envelope_rows(Place::Replica, key)) {
        let (row, value) = row?;
        counted.writers = counted.writers.saturating_add(1);
        counted.bytes = counted.bytes.saturating_add(value.len() as u64);
        if let Some(envelope) = rows::decode_envelope(&row, Place::Replica, &value) {
            let head = envelope.head();
            let before = readable.unwrap_or_else(|| Summary::empty(head));
            readable = Some(before.with(head, value.len()));
        }
    }
    let before = match txn.summary(key) {
        // If the summary is damaged, its old counts are taken from the rows.
        Err(fault) if is_damage(&fault) => {
            txn.lost_summary(key);
            counted.internal = readable.is_some_and(|readable| readable.internal);
            Some(counted)
        }
        before => before?,
    };
    if before == readable {
        return Ok(false);
    }
    txn.set_summary(key, before.as_ref(), readable.as_ref());
    Ok(true)
}

/// Computes the unreadable summaries of `from..=to` again.
pub(crate) fn mend_range<B: Backend>(
    txn: &mut Txn<'_, B>,
    from: &Key,
    to: &Key,
) -> Result<(), Fault> {
    let (mut damaged, mut nonsense) = (Vec::new(), Vec::new());
    for row in txn.range(rows::summary_row(from)..=rows::summary_row(to)) {
        let (row, value) = row?;
        match rows::summary_key(&row) {
            Some(key) if Summary::decode(&value).is_none() => damaged.push(key),
            Some(_) => {}
            None => nonsense.push(row.to_vec()),
        }
        if damaged.len() + nonsense.len() >= RANGE_MAX {
            break;
        }
    }
    // A summary row without a valid key describes nothing.
    nonsense.into_iter().for_each(|row| txn.delete(row));
    for key in damaged {
        mend(txn, &key)?;
    }
    Ok(())
}
