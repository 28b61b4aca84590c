//! Getting over damaged rows of replicas: what cannot be read is not held, and the key's summary says
//! so, or no other node would ever bring it back.
//!
//! Nothing is deleted: a damaged row lies there until a good envelope of its writer takes its place,
//! or its time is over. What only looks damaged to this version is not lost by it.

use potluck_base::Key;
use potluck_record::{Place, StateDigest, StorageFailure};

use crate::backend::Backend;
use crate::rows::{self, Summary};
use crate::txn::{Fault, Txn};

/// Most summaries of one range that are made anew at once: it bounds the batch.
const RANGE_MAX: usize = 1_000;

/// Whether a fault is damage of what it was about, and not of the backend.
pub(crate) const fn is_damage(fault: &Fault) -> bool {
    matches!(fault, Fault::Failed(StorageFailure::Corrupt))
}

/// Makes the summary of a key anew, from the envelopes that can be read. Returns whether it was
/// another before.
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
        // Of a damaged summary the rows tell what it counted.
        Err(fault) if is_damage(&fault) => {
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

/// Makes the summaries of `from..=to` anew that cannot be read.
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
    // The row of no key describes nothing.
    nonsense.into_iter().for_each(|row| txn.delete(row));
    for key in damaged {
        mend(txn, &key)?;
    }
    Ok(())
}
