//! Removes expired envelopes, with an index in the order of expiry.

use potluck_base::{Key, UnixMillis};
use potluck_record::{Place, StorageFailure, StorageReply};

use crate::backend::Backend;
use crate::names;
use crate::rows::{self, ExpiryEntry, Summary};
use crate::txn::{Fault, Txn};

/// Most envelopes removed by one operation, whatever its limit. Raising it makes larger batches.
const DROPS_MAX: u32 = 10_000;

/// Removes up to `limit` envelopes whose life has ended at `now`.
pub(crate) fn expire<B: Backend>(
    txn: &mut Txn<'_, B>,
    now: UnixMillis,
    limit: u32,
) -> Result<StorageReply, Fault> {
    let limit = limit.min(DROPS_MAX) as usize;
    if txn.ledger.first_expiry > now.0 {
        return Ok(StorageReply::Expired { dropped: 0, more: false });
    }
    let mut due = Vec::new();
    let mut nonsense = Vec::new();
    let mut first_left = None;
    for row in txn.range(ExpiryEntry::rows_from(txn.ledger.first_expiry)) {
        let (row, _) = row?;
        let Some(entry) = ExpiryEntry::decode(&row) else {
            nonsense.push(row.to_vec());
            continue;
        };
        if entry.expires > now || due.len() == limit {
            first_left = Some(entry.expires);
            break;
        }
        due.push(entry);
    }
    txn.corrupt_rows += nonsense.len() as u64;
    nonsense.into_iter().for_each(|row| txn.delete(row));
    let mut dropped = 0;
    for entry in &due {
        match drop_entry(txn, entry) {
            Ok(was_there) => dropped += u32::from(was_there),
            // The engine cannot read the row. It stays, so that expiry continues with the other rows.
            Err(Fault::Failed(_)) => {
                txn.corrupt_rows += 1;
                txn.unindex(entry);
            }
            Err(broken) => return Err(broken),
        }
    }
    txn.ledger.first_expiry = first_left.map_or(u64::MAX, |expires| expires.0);
    let more = first_left.is_some_and(|expires| expires <= now);
    Ok(StorageReply::Expired { dropped, more })
}

/// Removes one envelope and its index entry. Returns whether the envelope existed.
fn drop_entry<B: Backend>(txn: &mut Txn<'_, B>, entry: &ExpiryEntry) -> Result<bool, Fault> {
    let found = match txn.envelope(entry.place, &entry.key, &entry.writer) {
        // A damaged envelope is removed too, but its share of the summary is unknown.
        Err(Fault::Failed(StorageFailure::Corrupt)) => return drop_damaged(txn, entry),
        found => found?,
    };
    // An entry can be left over from a damaged row. The expiry in the envelope decides.
    let Some((envelope, bytes)) =
        found.filter(|(envelope, _)| ExpiryEntry::of(entry.place, envelope.head()) == *entry)
    else {
        txn.unindex(entry);
        return Ok(false);
    };
    match entry.place {
        Place::Replica => {
            let before = txn.summary(&entry.key)?;
            let after = before.map(|before| before.without(envelope.head(), bytes));
            let after = after.filter(|after| after.writers > 0);
            if after.is_none() {
                names::remove(txn, envelope.head());
            }
            txn.set_summary(&entry.key, before.as_ref(), after.as_ref());
            txn.change_share(&entry.writer, Some(bytes), None)?;
        }
        Place::Own => txn.ledger.subtract_own(bytes),
    }
    txn.unindex(entry);
    txn.delete(rows::envelope_row(entry.place, &entry.key, &entry.writer));
    Ok(true)
}

fn drop_damaged<B: Backend>(txn: &mut Txn<'_, B>, entry: &ExpiryEntry) -> Result<bool, Fault> {
    let row = rows::envelope_row(entry.place, &entry.key, &entry.writer);
    if entry.place == Place::Replica {
        let before = txn.summary(&entry.key)?;
        let after = summarize_others(txn, &entry.key, &row)?;
        let bytes = txn.get(&row)?.map(|value| value.len());
        txn.change_share(&entry.writer, bytes, None)?;
        txn.set_summary(&entry.key, before.as_ref(), after.as_ref());
    } else {
        let bytes = txn.get(&row)?.map_or(0, |value| value.len());
        txn.ledger.subtract_own(bytes);
    }
    txn.corrupt_rows += 1;
    txn.unindex(entry);
    txn.delete(row);
    Ok(true)
}

/// The summary of a key without one envelope, computed from the other envelopes.
fn summarize_others<B: Backend>(
    txn: &Txn<'_, B>,
    key: &Key,
    but: &[u8],
) -> Result<Option<Summary>, Fault> {
    let mut summary: Option<Summary> = None;
    for row in txn.range(rows::envelope_rows(Place::Replica, key)) {
        let (row, value) = row?;
        let envelope = rows::decode_envelope(&row, Place::Replica, &value);
        if let Some(envelope) = envelope.filter(|_| row != but) {
            let head = envelope.head();
            let before = summary.unwrap_or_else(|| Summary::empty(head));
            summary = Some(before.with(head, value.len()));
        }
    }
    Ok(summary)
}
